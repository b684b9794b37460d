//! Comparing what a client gets with what a dialogue expects.

use std::collections::BTreeMap;

use xmpp::limits::ReadLimits;
use xmpp::ns;
use xmpp::stanza::Stanza;
use xmpp::xml::{Item, Node, Reader, Tree};

/// What `{name}` stands for in a dialogue.
pub type Names = BTreeMap<String, String>;

/// Reads one stanza, as an edge reads it from a client.
///
/// # Panics
/// If it is none.
pub fn stanza(xml: &str) -> Stanza {
    let mut reader = Reader::new(ReadLimits::OWN);
    let (client, stream) = (ns::CLIENT, ns::STREAM);
    let all = format!("<s:stream xmlns='{client}' xmlns:s='{stream}' version='1.0'>{xml}");
    let mut rest = all.as_bytes();
    assert!(matches!(reader.read(&mut rest), Ok(Some(Item::Open(_)))), "{xml}");
    match reader.read(&mut rest) {
        Ok(Some(Item::Element(element))) => {
            Stanza::from_element(element, ns::CLIENT).unwrap_or_else(|why| panic!("{xml}: {why:?}"))
        }
        other => panic!("{xml}: {other:?}"),
    }
}

/// Whether a stanza is what a dialogue expects. Names that are met for the first time are kept.
///
/// # Errors
/// Where they differ.
pub fn matches(expected: &str, found: &Stanza, names: &mut Names) -> Result<(), String> {
    let mut bytes = Vec::new();
    found.write(&mut bytes);
    let found = Tree::parse(&bytes).map_err(|why| format!("the server wrote bad XML: {why}"))?;
    let expected = Tree::parse(expected.as_bytes()).map_err(|why| why.to_string())?;
    Comparison { names }.root(expected.root(), found.root())
}

struct Comparison<'a> {
    names: &'a mut Names,
}

impl Comparison<'_> {
    fn root(&mut self, expected: Node<'_>, found: Node<'_>) -> Result<(), String> {
        if expected.attr("type") != found.attr("type") {
            return Err(format!("type {:?}", found.attr("type")));
        }
        self.element(expected, found, false)
    }

    fn element(&mut self, expected: Node<'_>, found: Node<'_>, strict: bool) -> Result<(), String> {
        let (name, ns) = (expected.name(), expected.ns());
        if !found.is(name, ns) {
            return Err(format!(
                "<{}/> of {} instead of <{name}/> of {ns}",
                found.name(),
                found.ns()
            ));
        }
        for (attr, value) in expected.attrs() {
            let Some(have) = found.attr(attr) else {
                return Err(format!("<{name}/> has no {attr}"));
            };
            self.value(value, have).map_err(|why| format!("{attr} of <{name}/>: {why}"))?;
        }
        if strict && let Some((more, _)) = found.attrs().find(|(a, _)| expected.attr(a).is_none()) {
            return Err(format!("<{name}/> has {more}"));
        }
        self.content(expected, found)
    }

    fn content(&mut self, expected: Node<'_>, found: Node<'_>) -> Result<(), String> {
        if expected.text().trim() == "{...}" {
            return Ok(());
        }
        let name = expected.name();
        self.value(expected.text().trim(), found.text().trim())
            .map_err(|why| format!("text of <{name}/>: {why}"))?;
        let (want, have) = (expected.children().count(), found.children().count());
        for (one, other) in expected.children().zip(found.children()) {
            self.element(one, other, true)?;
        }
        if want != have {
            Err(format!("<{name}/> has {have} children, not {want}"))
        } else {
            Ok(())
        }
    }

    fn value(&mut self, expected: &str, found: &str) -> Result<(), String> {
        let name = expected.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let known = match name {
            Some("any") => return Ok(()),
            Some(name) => self.names.entry(name.to_owned()).or_insert_with(|| found.to_owned()),
            None => expected,
        };
        if known == found { Ok(()) } else { Err(format!("{found:?} instead of {known:?}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_and_what_is_not() {
        let found = stanza(
            "<message from='a@b' type='chat' id='1'><body>hi</body><x xmlns='u' a='1' b='2'/></message>",
        );
        let is = |xml: &str| matches(xml, &found, &mut Names::new());
        let x = "<x xmlns='u' a='1' b='2'/>";
        assert_eq!(is(&format!("<message type='chat'><body>hi</body>{x}</message>")), Ok(()));
        assert_eq!(is("<message type='chat' id='{any}'>{...}</message>"), Ok(()));
        for wrong in [
            format!("<message><body>hi</body>{x}</message>"),
            format!("<message type='chat' id='2'><body>hi</body>{x}</message>"),
            format!("<message type='chat'><body>ho</body>{x}</message>"),
            "<message type='chat'><body>hi</body></message>".to_owned(),
            "<message type='chat'><body>hi</body><x xmlns='u' a='1'/></message>".to_owned(),
            "<message type='chat'><body>hi</body><x xmlns='v' a='1' b='2'/></message>".to_owned(),
            format!("<message type='chat' to='{{any}}'><body>hi</body>{x}</message>"),
        ] {
            assert!(is(&wrong).is_err(), "{wrong}");
        }
        let mut names = Names::new();
        let named = "<message type='chat' id='{one}'>{...}</message>";
        assert_eq!(matches(named, &found, &mut names), Ok(()));
        assert_eq!(names["one"], "1");
        names.insert("one".into(), "2".into());
        assert!(matches(named, &found, &mut names).is_err());
    }
}
