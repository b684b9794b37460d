//! XEP-0359 0.7: Unique and Stable Stanza IDs, and how the id of an archived message is written.

use crate::Jid;
use crate::ns;
use crate::xml::{Body, Child, Writer};

/// How many characters the text of an archive id has.
pub const ID_BYTES: usize = 16;

/// Writes the id of an archived message as text: lower case hexadecimal of fixed width, so that
/// texts sort as the numbers do. To everyone else it is opaque.
pub fn format(id: u64) -> String {
    // By hand, as `datetime::format`.
    let digit = |place: u32| char::from(b"0123456789abcdef"[(id >> (4 * place) & 15) as usize]);
    (0..16).rev().map(digit).collect()
}

/// Reads what [`format`] wrote, and nothing else: each id has one text.
pub fn parse(text: &str) -> Option<u64> {
    let is_ours =
        text.len() == ID_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Writes `<stanza-id/>`: the archive of `by` has the message under this id (§3.1).
pub fn write_stanza_id(out: &mut Writer, id: u64, by: &Jid) {
    out.start_ns("stanza-id", ns::STANZA_ID).attr("id", &format(id)).attr("by", by.as_str()).end();
}

/// Whether a child of an incoming stanza is a `<stanza-id/>` that claims to be by `owner`. Only
/// `owner` may write it, so it is removed from what others send (§5, security considerations).
pub fn is_stanza_id_by(child: Child<'_>, owner: &Jid) -> bool {
    child.is("stanza-id", ns::STANZA_ID)
        && child.attr("by").is_some_and(|by| Jid::parse(&by).is_ok_and(|by| by == *owner))
}

/// The id that the sender's client gave the message, for itself to know it by (§3.2). `None` if it
/// has none, or more than one.
pub fn origin_id(message: &Body) -> Option<String> {
    let mut found = message.children().filter(|child| child.is("origin-id", ns::STANZA_ID));
    let id = found.next()?.attr("id")?.into_owned();
    (!id.is_empty() && found.next().is_none()).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_of_other_forms_are_not_ours() {
        assert_eq!(format(0x1234_abcd), "000000001234abcd");
        for text in [
            "",
            "0",
            "000000001234ABCD",
            "+00000001234abcd",
            "000000001234abc",
            "000000001234abcd0",
            " 00000001234abcd",
            "000000001234abcg",
            "00000000é234abc",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn stanza_ids() {
        let by = Jid::parse("juliet@capulet.example").unwrap();
        let mut out = Writer::new();
        write_stanza_id(&mut out, 255, &by);
        assert_eq!(
            out.finish(),
            "<stanza-id xmlns='urn:xmpp:sid:0' id='00000000000000ff' by='juliet@capulet.example'/>"
        );
        let body = Body::parse(
            b"<stanza-id xmlns='urn:xmpp:sid:0' id='x' by='Juliet@CAPULET.example'/>\
              <stanza-id xmlns='urn:xmpp:sid:0' id='x' by='room@muc.example'/>\
              <stanza-id xmlns='urn:xmpp:sid:0' id='x'/>\
              <stanza-id xmlns='urn:xmpp:sid:0' id='x' by='@'/>\
              <stanza-id id='x' by='juliet@capulet.example'/>",
        )
        .unwrap();
        let forged: Vec<bool> = body.children().map(|child| is_stanza_id_by(child, &by)).collect();
        assert_eq!(forged, [true, false, false, false, false]);
    }

    #[test]
    fn origin_ids() {
        let of = |xml: &str| origin_id(&Body::parse(xml.as_bytes()).unwrap());
        assert_eq!(
            of("<body/><origin-id xmlns='urn:xmpp:sid:0' id='a&lt;b'/>").as_deref(),
            Some("a<b")
        );
        assert_eq!(of("<origin-id xmlns='urn:xmpp:sid:0' id=''/>"), None);
        assert_eq!(of("<origin-id xmlns='urn:xmpp:sid:0'/>"), None);
        assert_eq!(of("<origin-id id='a'/>"), None);
        assert_eq!(
            of("<origin-id xmlns='urn:xmpp:sid:0' id='a'/>\
                 <origin-id xmlns='urn:xmpp:sid:0' id='b'/>"),
            None
        );
    }

    proptest! {
        #[test]
        fn ids_come_back_and_sort(a: u64, b: u64) {
            prop_assert_eq!(parse(&format(a)), Some(a));
            prop_assert_eq!(format(a).cmp(&format(b)), a.cmp(&b));
        }

        #[test]
        fn one_text_for_each_id(text in "[0-9a-fA-F+ ]{15,17}") {
            if let Some(id) = parse(&text) {
                prop_assert_eq!(format(id), text);
            }
        }
    }
}
