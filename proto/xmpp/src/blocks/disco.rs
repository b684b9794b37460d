//! XEP-0030 2.5: Service Discovery (what an entity is and can, and what it has), with the
//! extensions of XEP-0128, and the verification string of XEP-0115 1.6: Entity Capabilities.

use sha1::{Digest, Sha1};

use super::base64;
use super::forms::{FORM_TYPE, FieldKind, Form};
use crate::Jid;
use crate::ns;
use crate::xml::{Node, Writer};

/// What an entity is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its category, of the registry: `server`.
    pub category: String,
    /// Its type within the category: `im`.
    pub kind: String,
    /// The language of its name; empty if it does not say.
    pub lang: String,
    /// Its name for people; empty if it has none.
    pub name: String,
}

impl Identity {
    /// An identity whose name is in no language.
    pub fn new(category: &str, kind: &str, name: &str) -> Identity {
        Identity {
            category: category.to_owned(),
            kind: kind.to_owned(),
            lang: String::new(),
            name: name.to_owned(),
        }
    }
}

/// What `disco#info` says of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// What it is; at least one.
    pub identities: Vec<Identity>,
    /// What it can.
    pub features: Vec<String>,
    /// More about it (XEP-0128).
    pub forms: Vec<Form>,
}

impl Info {
    /// Reads `<query xmlns='http://jabber.org/protocol/disco#info'/>`. Identities without category
    /// or type, features without name and forms that are none are passed over; `None` if it is no
    /// such element.
    pub fn parse(query: Node<'_>) -> Option<Info> {
        if !query.is("query", ns::DISCO_INFO) {
            return None;
        }
        let mut info = Info::default();
        for child in query.children() {
            let attr = |name| child.attr(name).unwrap_or_default().to_owned();
            match (child.name(), child.ns()) {
                ("identity", ns::DISCO_INFO) => {
                    let (category, kind) = (attr("category"), attr("type"));
                    if !category.is_empty() && !kind.is_empty() {
                        let (lang, name) = (attr("xml:lang"), attr("name"));
                        info.identities.push(Identity { category, kind, lang, name });
                    }
                }
                ("feature", ns::DISCO_INFO) => {
                    info.features.extend(Some(attr("var")).filter(|var| !var.is_empty()));
                }
                ("x", ns::DATA_FORMS) => info.forms.extend(Form::parse(child).ok()),
                _ => {}
            }
        }
        Some(info)
    }

    /// Writes the answer to `disco#info`, for the node that was asked for.
    pub fn write(&self, out: &mut Writer, node: Option<&str>) {
        let filled = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        out.start_ns("query", ns::DISCO_INFO).attr_opt("node", node);
        for identity in &self.identities {
            out.start("identity")
                .attr("category", &identity.category)
                .attr("type", &identity.kind)
                .attr_opt("xml:lang", filled(&identity.lang).as_deref())
                .attr_opt("name", filled(&identity.name).as_deref())
                .end();
        }
        for feature in &self.features {
            out.start("feature").attr("var", feature).end();
        }
        for form in &self.forms {
            form.write(out);
        }
        out.end();
    }

    /// The verification string (XEP-0115 §5.1), hashed with SHA-1. The same for the same
    /// information in any order.
    pub fn verification(&self) -> String {
        let mut text = String::new();
        let mut push = |parts: &[&str]| {
            text.extend(parts.iter().copied());
            text.push('<');
        };
        let mut identities: Vec<&Identity> = self.identities.iter().collect();
        identities.sort();
        for id in identities {
            push(&[&id.category, "/", &id.kind, "/", &id.lang, "/", &id.name]);
        }
        for feature in sorted(self.features.iter()) {
            push(&[feature]);
        }
        for form in self.forms_in_order() {
            push(&[form.form_type().unwrap_or_default()]);
            let mut fields: Vec<_> = form.fields.iter().filter(|f| f.var != FORM_TYPE).collect();
            fields.sort_by(|a, b| a.var.cmp(&b.var));
            for field in fields {
                push(&[&field.var]);
                for value in sorted(field.values.iter()) {
                    push(&[value]);
                }
            }
        }
        base64::encode(&Sha1::digest(text.as_bytes()))
    }

    /// Those that count: with a FORM_TYPE that is hidden (XEP-0115 §5.4, 3.6).
    fn forms_in_order(&self) -> Vec<&Form> {
        let is_hidden = |form: &&Form| {
            form.field(FORM_TYPE)
                .is_some_and(|f| f.kind == FieldKind::Hidden && !f.values.is_empty())
        };
        let mut forms: Vec<&Form> = self.forms.iter().filter(is_hidden).collect();
        forms.sort_by_key(|form| form.form_type());
        forms
    }
}

fn sorted<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut texts: Vec<&str> = texts.map(String::as_str).collect();
    texts.sort_unstable();
    texts
}

/// Writes `<c/>`, for presence and for stream features: whoever knows `ver` need not ask (XEP-0115
/// §4). `node` is the URI of the software.
pub fn write_caps(out: &mut Writer, node: &str, ver: &str) {
    out.start_ns("c", ns::CAPS).attr("hash", "sha-1").attr("node", node).attr("ver", ver).end();
}

/// One of the things that an entity has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its address.
    pub jid: Jid,
    /// Its node at that address.
    pub node: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
}

/// Writes the answer to `disco#items`, for the node that was asked for.
pub fn write_items<'a>(
    out: &mut Writer,
    node: Option<&str>,
    items: impl IntoIterator<Item = &'a Item>,
) {
    out.start_ns("query", ns::DISCO_ITEMS).attr_opt("node", node);
    for item in items {
        out.start("item")
            .attr("jid", item.jid.as_str())
            .attr_opt("node", item.node.as_deref())
            .attr_opt("name", item.name.as_deref())
            .end();
    }
    out.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::forms::FormKind;
    use crate::xml::Tree;

    /// XEP-0115 §5.2.
    const SIMPLE: &str = "<query xmlns='http://jabber.org/protocol/disco#info'>\
        <identity category='client' name='Exodus 0.9.1' type='pc'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/></query>";

    /// XEP-0115 §5.3.
    const COMPLEX: &str = "<query xmlns='http://jabber.org/protocol/disco#info' node='n'>\
        <identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
        <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
        <feature var='http://jabber.org/protocol/caps'/>\
        <feature var='http://jabber.org/protocol/disco#info'/>\
        <feature var='http://jabber.org/protocol/disco#items'/>\
        <feature var='http://jabber.org/protocol/muc'/>\
        <x xmlns='jabber:x:data' type='result'>\
        <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='ip_version' type='text-multi'><value>ipv4</value><value>ipv6</value></field>\
        <field var='os'><value>Mac</value></field>\
        <field var='os_version'><value>10.5.1</value></field>\
        <field var='software'><value>Psi</value></field>\
        <field var='software_version'><value>0.11</value></field></x></query>";

    fn parse(xml: &str) -> Info {
        Info::parse(Tree::parse(xml.as_bytes()).unwrap().root()).unwrap()
    }

    fn written(write: impl FnOnce(&mut Writer)) -> String {
        let mut out = Writer::new();
        write(&mut out);
        String::from_utf8(out.finish().to_vec()).unwrap()
    }

    #[test]
    fn verification_strings_of_xep_0115() {
        assert_eq!(parse(SIMPLE).verification(), "QgayPKawpkPSDYmwT/WM94uAlu0=");
        let mut info = parse(COMPLEX);
        assert_eq!(info.verification(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
        info.identities.reverse();
        info.features.reverse();
        info.forms[0].fields.reverse();
        info.forms[0].fields[4].values.reverse();
        assert_eq!(info.verification(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
        // A form without FORM_TYPE, or with one that is shown, does not count.
        info.forms.push(Form::default());
        info.forms.push(Form::default().with(FORM_TYPE, FieldKind::TextSingle, &["x"]));
        assert_eq!(info.verification(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
        info.forms.push(Form::new(FormKind::Result, "x"));
        assert_ne!(info.verification(), "q07IKJEyjvHSyhy//CH0CxmKi8w=");
    }

    #[test]
    fn information_is_read_and_written() {
        let info = parse(COMPLEX);
        let again = written(|out| info.write(out, Some("n&1")));
        assert!(again.contains(" node='n&amp;1'"), "{again}");
        assert_eq!(parse(&again), info);
        assert_eq!((info.identities.len(), info.features.len(), info.forms.len()), (2, 4, 1));
        let odd = parse(
            "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='a'/>\
             <feature/><x xmlns='jabber:x:data'/><y/></query>",
        );
        assert_eq!(odd, Info::default());
        let items =
            Tree::parse(b"<query xmlns='http://jabber.org/protocol/disco#items'/>").unwrap();
        assert_eq!(Info::parse(items.root()), None);
    }

    #[test]
    fn items_and_caps_are_written() {
        let item = Item {
            jid: Jid::parse("rooms.example.org").unwrap(),
            node: None,
            name: Some("Rooms & more".into()),
        };
        assert_eq!(
            written(|out| write_items(out, Some("n"), [&item])),
            "<query xmlns='http://jabber.org/protocol/disco#items' node='n'>\
             <item jid='rooms.example.org' name='Rooms &amp; more'/></query>"
        );
        assert_eq!(
            written(|out| write_caps(
                out,
                "https://carillon.example",
                "QgayPKawpkPSDYmwT/WM94uAlu0="
            )),
            "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
             node='https://carillon.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>"
        );
    }
}
