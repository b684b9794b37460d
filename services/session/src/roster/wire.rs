//! The roster on the wire (RFC 6121 §2.1 and §2.3.3): requests read and judged, results and pushes
//! written.

use super::limits::{GROUP_BYTES_MAX, GROUPS_MAX, NAME_BYTES_MAX};
use super::{Item, Roster, version_text};
use bytes::Bytes;
use xmpp::error::Condition;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::stanza::IqType;
use xmpp::xml::{Node, Writer};

/// What a client asks of its roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Give me the roster, or what changed since this version (§2.1.3, §2.6.2).
    Get {
        /// The `ver` attribute, as it came.
        ver: Option<Box<str>>,
    },
    /// Make this item, or give it this name and these groups (§2.3, §2.4).
    Set(ItemSet),
    /// Remove the item with this bare JID (§2.5).
    Remove(Jid),
}

/// An item as a client wants it: what it may say of a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSet {
    /// The contact's bare JID.
    pub jid: Jid,
    /// Its name; empty for none (§2.4.1).
    pub name: String,
    /// Its groups, no two alike.
    pub groups: Vec<String>,
}

/// Reads a `get` or `set` with a `jabber:iq:roster` payload that `sender` sent to the account
/// `owner`.
///
/// # Errors
/// The stanza error of §2.3.3: `forbidden` for another's roster, `bad-request` for anything but one
/// item with one bare JID and for groups that are alike, `not-acceptable` for a name or group that
/// is too long, for an empty group and for too many, `not-allowed` for an item about oneself.
pub fn read_request(
    kind: IqType,
    query: Node<'_>,
    sender: &Jid,
    owner: &Jid,
) -> Result<Request, Condition> {
    let mut items = query.children().filter(|child| child.is("item", ns::ROSTER));
    let (first, second) = (items.next(), items.next());
    match kind {
        // Like an account that does not exist: a stranger who only asks learns nothing.
        IqType::Get if !sender.same_bare(owner) => Err(Condition::ServiceUnavailable),
        IqType::Get if first.is_some() => Err(Condition::BadRequest),
        IqType::Get => Ok(Request::Get { ver: query.attr("ver").map(Box::from) }),
        IqType::Set if !sender.same_bare(owner) => Err(Condition::Forbidden),
        IqType::Set => match (first, second) {
            (Some(item), None) => read_item(item, owner),
            _ => Err(Condition::BadRequest),
        },
        IqType::Result | IqType::Error => Err(Condition::BadRequest),
    }
}

fn read_item(item: Node<'_>, owner: &Jid) -> Result<Request, Condition> {
    let jid = item.attr("jid").ok_or(Condition::BadRequest)?;
    let jid = Jid::parse(jid).map_err(|_| Condition::JidMalformed)?;
    // Subscriptions are between bare JIDs (§3.1.2), so an item with a resource would be about
    // nobody.
    if !jid.is_bare() {
        return Err(Condition::BadRequest);
    }
    // Any other value is ignored, as are `ask` and `approved` (§2.1.2).
    if item.attr("subscription") == Some("remove") {
        return Ok(Request::Remove(jid));
    }
    if jid.same_bare(owner) {
        return Err(Condition::NotAllowed);
    }
    let name = item.attr("name").unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        return Err(Condition::NotAcceptable);
    }
    let groups = read_groups(item)?;
    Ok(Request::Set(ItemSet { jid, name: name.to_owned(), groups }))
}

fn read_groups(item: Node<'_>) -> Result<Vec<String>, Condition> {
    let mut groups: Vec<String> = Vec::new();
    for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
        let group = group.text();
        if groups.contains(&group) {
            return Err(Condition::BadRequest);
        }
        if group.is_empty() || group.len() > GROUP_BYTES_MAX || groups.len() == GROUPS_MAX {
            return Err(Condition::NotAcceptable);
        }
        groups.push(group);
    }
    Ok(groups)
}

/// The payload of a push of one contact (§2.1.6). What is not
/// [`listed`](crate::subscription::Subscription::listed) is pushed as removed.
pub fn write_push(item: &Item<'_>) -> Bytes {
    let mut out = Writer::new();
    start_query(&mut out, item.version);
    write_item(&mut out, item);
    out.finish()
}

impl Roster {
    /// The payload of a result with the whole roster (§2.1.4).
    pub fn write_result(&self) -> Bytes {
        let mut out = Writer::new();
        start_query(&mut out, self.version());
        for item in self.items() {
            write_item(&mut out, &item);
        }
        out.finish()
    }
}

fn start_query(out: &mut Writer, version: u64) {
    let version = version_text(version);
    let version = std::str::from_utf8(&version).unwrap_or_default();
    out.start_ns("query", ns::ROSTER).attr("ver", version);
}

fn write_item(out: &mut Writer, item: &Item<'_>) {
    out.start("item").attr("jid", item.jid);
    if item.state.listed() {
        out.attr_opt("name", Some(item.name).filter(|name| !name.is_empty()));
        out.attr("subscription", item.state.attribute());
        out.attr_opt("ask", item.state.pending_out().then_some("subscribe"));
        out.attr_opt("approved", item.state.approved().then_some("true"));
        for group in item.groups.iter() {
            out.leaf("group", group);
        }
    } else {
        out.attr("subscription", "remove");
    }
    out.end();
}

#[cfg(test)]
mod tests {
    use super::super::Contact;
    use super::*;
    use crate::subscription::{Subscription, Verb};
    use xmpp::xml::Tree;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).expect("a JID")
    }

    /// Reads a request of Juliet; `_` in the payload stands for the namespace.
    fn read(kind: IqType, payload: &str) -> Result<Request, Condition> {
        let payload = payload.replace('_', "xmlns='jabber:iq:roster'");
        let tree = Tree::parse(payload.as_bytes()).expect("XML");
        let owner = jid("juliet@example.com");
        read_request(kind, tree.root(), &jid("juliet@example.com/balcony"), &owner)
    }

    fn set(item: &str) -> Result<Request, Condition> {
        read(IqType::Set, &format!("<query _>{item}</query>"))
    }

    fn refused(item: &str) -> Condition {
        set(item).expect_err(item)
    }

    #[test]
    fn a_get_may_carry_a_version() {
        assert_eq!(read(IqType::Get, "<query _/>"), Ok(Request::Get { ver: None }));
        for ver in ["", "ver14"] {
            let request = read(IqType::Get, &format!("<query _ ver='{ver}'/>"));
            assert_eq!(request, Ok(Request::Get { ver: Some(ver.into()) }));
        }
        let item = "<query _><item jid='a@b.example'/></query>";
        assert_eq!(read(IqType::Get, item), Err(Condition::BadRequest));
    }

    #[test]
    fn a_set_names_one_contact() {
        let nurse = ItemSet {
            jid: jid("nurse@example.com"),
            name: "Nurse & <Co>".to_owned(),
            groups: vec!["Servants".to_owned(), "House".to_owned()],
        };
        // What a client may not say is ignored, not refused (2.1.2).
        let item = "<item jid='Nurse@example.com' name='Nurse &amp; &lt;Co>' subscription='both' \
                    ask='subscribe' approved='true'><group>Servants</group><group>House</group>\
                    <other xmlns='urn:x'/></item>";
        assert_eq!(set(item), Ok(Request::Set(nurse)));
        assert_eq!(
            set("<item jid='nurse@example.com' subscription='remove'/>"),
            Ok(Request::Remove(jid("nurse@example.com")))
        );
        let domain = set("<item jid='gateway.example.com'/>");
        assert!(matches!(domain, Ok(Request::Set(set)) if set.jid.local().is_none()));
    }

    #[test]
    fn errors_of_section_2_3_3() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(refused(""), Condition::BadRequest);
        assert_eq!(
            refused("<item jid='nurse@example.com'/><item jid='mother@example.com'/>"),
            Condition::BadRequest
        );
        assert_eq!(
            refused("<item jid='a@b.example'><group>G</group><group>G</group></item>"),
            Condition::BadRequest
        );
        assert_eq!(
            refused(&format!("<item jid='a@b.example' name='{long}'/>")),
            Condition::NotAcceptable
        );
        assert_eq!(refused("<item jid='a@b.example'><group/></item>"), Condition::NotAcceptable);
        assert_eq!(
            refused(&format!("<item jid='a@b.example'><group>{long}</group></item>")),
            Condition::NotAcceptable
        );
        let many: String = (0..=GROUPS_MAX).map(|n| format!("<group>{n}</group>")).collect();
        assert_eq!(
            refused(&format!("<item jid='a@b.example'>{many}</item>")),
            Condition::NotAcceptable
        );
        assert_eq!(refused("<item/>"), Condition::BadRequest);
        assert_eq!(refused("<item jid='a@@b'/>"), Condition::JidMalformed);
        assert_eq!(refused("<item jid='a@b.example/phone'/>"), Condition::BadRequest);
        assert_eq!(refused("<item jid='juliet@example.com'/>"), Condition::NotAllowed);
        let exact = "x".repeat(NAME_BYTES_MAX);
        assert!(set(&format!("<item jid='a@b.example' name='{exact}'/>")).is_ok());
    }

    #[test]
    fn the_roster_of_another_is_none_of_yours() {
        let tree =
            Tree::parse(b"<query xmlns='jabber:iq:roster'><item jid='n@example.com'/></query>")
                .expect("XML");
        let (mallory, owner) = (jid("mallory@example.com/x"), jid("juliet@example.com"));
        let set = read_request(IqType::Set, tree.root(), &mallory, &owner);
        assert_eq!(set, Err(Condition::Forbidden));
        let get = read_request(IqType::Get, tree.root(), &mallory, &owner);
        assert_eq!(get, Err(Condition::ServiceUnavailable));
    }

    fn text(bytes: Bytes) -> String {
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[test]
    fn results_show_items_and_only_items() {
        let mut roster = Roster::default();
        let empty = "<query xmlns='jabber:iq:roster' ver='0000000000000000'/>";
        assert_eq!(text(roster.write_result()), empty);

        let asked = Subscription::NONE.inbound(Verb::Subscribe);
        roster.apply("stranger@example.net", &asked, 1, b"<presence type='subscribe'/>");
        assert_eq!(text(roster.write_result()), empty, "a request is no item");

        let asking = Subscription::NONE.outbound(Verb::Subscribe);
        roster.apply("romeo@example.net", &asking, 2, b"");
        let approved = Subscription::NONE.outbound(Verb::Subscribed);
        roster.apply("friar@example.net", &approved, 3, b"");
        let mut nurse = Contact::new("nurse@example.com");
        nurse.state = Subscription::LISTED;
        nurse.name = "'Nurse' & Co".to_owned();
        nurse.groups = vec!["<Servants>".to_owned()];
        nurse.version = 0x1F;
        roster.put(&nurse);
        assert_eq!(
            text(roster.write_result()),
            "<query xmlns='jabber:iq:roster' ver='000000000000001f'>\
             <item jid='friar@example.net' subscription='none' approved='true'/>\
             <item jid='nurse@example.com' name='&apos;Nurse&apos; &amp; Co' subscription='none'>\
             <group>&lt;Servants&gt;</group></item>\
             <item jid='romeo@example.net' subscription='none' ask='subscribe'/></query>"
        );
    }

    #[test]
    fn a_push_has_one_item_and_its_version() {
        let mut roster = Roster::default();
        let change = Subscription::NONE.outbound(Verb::Subscribe);
        roster.apply("romeo@example.net", &change, 1, b"");
        let change = change.state.inbound(Verb::Subscribed);
        roster.apply("romeo@example.net", &change, 10, b"");
        let push =
            |roster: &Roster| text(write_push(&roster.find("romeo@example.net").expect("it")));
        assert_eq!(
            push(&roster),
            "<query xmlns='jabber:iq:roster' ver='000000000000000a'>\
             <item jid='romeo@example.net' subscription='to'/></query>"
        );
        let removed = change.state.removed().expect("an item");
        roster.apply("romeo@example.net", &removed, 11, b"");
        assert_eq!(
            push(&roster),
            "<query xmlns='jabber:iq:roster' ver='000000000000000b'>\
             <item jid='romeo@example.net' subscription='remove'/></query>"
        );
    }
}
