//! What a message carries, as far as the server judges by it: whether it is worth keeping, and
//! whether a person's other devices want a copy. Several extensions have a say in both, so both are
//! decided here, as functions without side effects.

use xmpp::blocks::hints::Hints;
use xmpp::ns;
use xmpp::stanza::{Kind, MessageType, Stanza};
use xmpp::xml::{Body, Child};

/// Whether a message is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Worth {
    /// It belongs into the archive (XEP-0313 §6.1.1).
    pub archive: bool,
    /// It waits for a resource that takes it (XEP-0160 §3).
    pub offline: bool,
}

/// Judges a message. What is not a message is worth nothing.
///
/// Hints (XEP-0334 §4) go before everything but the type: what asks for both `<store/>` and
/// `<no-store/>` is not stored.
pub fn worth(stanza: &Stanza) -> Worth {
    let Kind::Message(kind) = stanza.kind else { return Worth::default() };
    let conversation = match kind {
        MessageType::Chat | MessageType::Normal => true,
        // XEP-0160 §3: news are of the moment. XEP-0313 §6.1.1: they may be archived if wanted.
        MessageType::Headline => false,
        // The room archives what is said in it; hints in errors are those of the refused message
        // (XEP-0334 §5).
        MessageType::Groupchat | MessageType::Error => return Worth::default(),
    };
    let hints = hints(&stanza.body);
    // Somebody else's archive is not archived again.
    if hints.no_store || stanza.body.has_child("result", ns::MAM) {
        return Worth::default();
    }
    let content = conversation && stanza.body.children().any(is_content);
    // XEP-0160 §3 leaves out chat messages of a mere chat state. They are no more in normal ones.
    let waits = stanza.body.children().any(|child| !is_annotation(child));
    Worth {
        archive: (content || hints.store) && !hints.no_permanent_store,
        offline: conversation && (waits || hints.store),
    }
}

/// What a conversation consists of: what is said, and that it was received and read.
fn is_content(child: Child<'_>) -> bool {
    match child.ns() {
        ns::CLIENT => matches!(child.name(), "body" | "subject"),
        ns::RECEIPTS => child.name() == "received",
        ns::CHAT_MARKERS => child.name() != "markable",
        ns::CONFERENCE => true,
        ns::MUC_USER => is_invitation(child),
        _ => false,
    }
}

/// Says nothing by itself.
fn is_annotation(child: Child<'_>) -> bool {
    match child.ns() {
        ns::CLIENT => child.name() == "thread",
        ns::HINTS | ns::STANZA_ID | ns::DELAY | ns::CARBONS | ns::CHAT_STATES => true,
        ns::RECEIPTS => child.name() == "request",
        ns::CHAT_MARKERS => child.name() == "markable",
        _ => false,
    }
}

/// A mediated invitation to a room (XEP-0045 §7.8.2) or its refusal.
fn is_invitation(child: Child<'_>) -> bool {
    child.is("x", ns::MUC_USER)
        && child.tree().is_ok_and(|x| {
            let x = x.root();
            x.child("invite", ns::MUC_USER).or_else(|| x.child("decline", ns::MUC_USER)).is_some()
        })
}

/// The hints of a message.
pub fn hints(body: &Body) -> Hints {
    Hints::of(body.children().map(|child| (child.name(), child.ns())))
}

/// Whether other devices of the one who sent or got a message want a copy of it (XEP-0280 §6.1).
///
/// `incoming`: it came for the account; otherwise the account sent it. That an error answers a
/// message that was copied cannot be told from the error, so errors are not copied.
pub fn wants_copies(stanza: &Stanza, incoming: bool) -> bool {
    let body = &stanza.body;
    let Kind::Message(kind) = stanza.kind else { return false };
    if matches!(kind, MessageType::Groupchat | MessageType::Error)
        || body.has_child("private", ns::CARBONS)
        || hints(body).no_copy
    {
        return false;
    }
    if body.has_child("x", ns::CONFERENCE) || body.children().any(is_invitation) {
        return true;
    }
    if body.has_child("x", ns::MUC_USER) {
        // A private message in a room: the room itself sends it to each device that is there.
        return !incoming;
    }
    match kind {
        MessageType::Chat => true,
        MessageType::Normal if body.has_child("body", ns::CLIENT) => true,
        _ => body
            .children()
            .any(|child| matches!(child.ns(), ns::RECEIPTS | ns::CHAT_STATES | ns::CHAT_MARKERS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: MessageType, body: &str) -> Stanza {
        let mut stanza = Stanza::new(Kind::Message(kind));
        stanza.body = Body::parse(body.as_bytes()).expect("a body");
        stanza
    }

    const STATE: &str = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
    const THREAD: &str = "<thread>t</thread>";
    const RECEIVED: &str = "<received xmlns='urn:xmpp:receipts' id='1'/>";
    const REQUEST: &str = "<request xmlns='urn:xmpp:receipts'/>";
    const DISPLAYED: &str = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
    const MARKABLE: &str = "<markable xmlns='urn:xmpp:chat-markers:0'/>";
    const INVITE: &str = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x>";
    const IN_ROOM: &str = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
    const DIRECT: &str = "<x xmlns='jabber:x:conference' jid='r@m'/>";

    fn hint(name: &str) -> String {
        format!("<{name} xmlns='urn:xmpp:hints'/>")
    }

    #[test]
    fn what_is_kept() {
        use MessageType::{Chat, Error, Groupchat, Headline, Normal};
        let body = "<body>hi</body>";
        let with = |name: &str| format!("{body}{}", hint(name));
        for (kind, xml, archive, offline) in [
            (Chat, body, true, true),
            (Normal, body, true, true),
            (Normal, "<subject>s</subject>", true, true),
            (Chat, "", false, false),
            (Normal, "", false, false),
            (Chat, STATE, false, false),
            (Normal, STATE, false, false),
            (Chat, &format!("{STATE}{THREAD}{}", hint("no-copy")), false, false),
            (Chat, RECEIVED, true, true),
            (Chat, &format!("{STATE}{REQUEST}{MARKABLE}"), false, false),
            (Chat, DISPLAYED, true, true),
            (Normal, INVITE, true, true),
            (Normal, DIRECT, true, true),
            (Chat, "<any xmlns='urn:any'/>", false, true),
            (Chat, &format!("<any xmlns='urn:any'/>{}", hint("store")), true, true),
            (Chat, &with("no-store"), false, false),
            (Chat, &format!("{}{}", with("no-store"), hint("store")), false, false),
            (Chat, &with("no-permanent-store"), false, true),
            (Groupchat, body, false, false),
            (Groupchat, &with("store"), false, false),
            (Headline, body, false, false),
            (Headline, &with("store"), true, false),
            (Error, body, false, false),
            (Error, &with("store"), false, false),
            (Normal, "<result xmlns='urn:xmpp:mam:2' id='1'/><body>x</body>", false, false),
        ] {
            assert_eq!(worth(&message(kind, xml)), Worth { archive, offline }, "{kind:?} {xml}");
        }
    }

    #[test]
    fn what_is_copied() {
        use MessageType::{Chat, Error, Groupchat, Headline, Normal};
        let private = "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>";
        let in_room = format!("<body>x</body>{IN_ROOM}");
        for (kind, xml, sent, received) in [
            (Chat, "<body>x</body>", true, true),
            (Chat, STATE, true, true),
            (Normal, "<body>x</body>", true, true),
            (Normal, "<subject>x</subject>", false, false),
            (Normal, RECEIVED, true, true),
            (Normal, DISPLAYED, true, true),
            (Normal, DIRECT, true, true),
            (Normal, INVITE, true, true),
            (Chat, private, false, false),
            (Chat, &format!("<body>x</body>{}", hint("no-copy")), false, false),
            (Chat, &in_room, true, false),
            (Groupchat, "<body>x</body>", false, false),
            (Error, "<body>x</body>", false, false),
            (Headline, "<body>x</body>", false, false),
        ] {
            let stanza = message(kind, xml);
            let found = (wants_copies(&stanza, false), wants_copies(&stanza, true));
            assert_eq!(found, (sent, received), "{kind:?} {xml}");
        }
    }
}
