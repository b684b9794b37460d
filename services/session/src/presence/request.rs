//! A subscription request as it is kept in the roster until it is answered (RFC 6121 §3.1.3).
//!
//! Kept is what its sender chose: id, language and content. Between whom it is, the roster knows.

use crate::subscription::Verb;
use bytes::Bytes;
use kv::value::{BadValue, ValueReader, ValueWriter};
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;
use xmpp::text::Text;
use xmpp::xml::Body;

/// The version of the encoding.
const VERSION: u8 = 1;

/// The bytes to keep of a request, for [`Roster::apply`](crate::roster::Roster::apply).
pub fn keep_request(stanza: &Stanza) -> Bytes {
    ValueWriter::new(VERSION, stanza.size_hint())
        .opt_str(stanza.id.as_deref())
        .opt_str(stanza.lang.as_deref())
        .rest(stanza.body.as_bytes())
        .rest(&stanza.added)
        .finish()
}

/// The request again, from the contact to the user. Of bytes that cannot be read, or were not kept
/// because they were too many, the bare request: it is better than none.
pub fn kept_request(kept: &[u8], contact: &Jid, user: &Jid) -> Stanza {
    let mut stanza = super::subscription(Verb::Subscribe, contact, user, None);
    if let Ok((id, lang, content)) = read(kept)
        && let Ok(body) = Body::parse(&content)
    {
        stanza.id = id.map(Text::from);
        stanza.lang = lang.map(Text::from);
        stanza.body = body;
    }
    stanza
}

type Kept = (Option<String>, Option<String>, Bytes);

fn read(kept: &[u8]) -> Result<Kept, BadValue> {
    let mut reader = ValueReader::of_version(&Bytes::copy_from_slice(kept), VERSION)?;
    Ok((reader.opt_str()?, reader.opt_str()?, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xmpp::stanza::{Kind, PresenceType};

    fn written(stanza: &Stanza) -> String {
        let mut out = Vec::new();
        stanza.write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_kept_request_comes_back_whole() {
        let contact = Jid::parse("romeo@montague.example/orchard").expect("a JID");
        let user = Jid::parse("juliet@capulet.example").expect("a JID");
        let mut stanza = Stanza::new(Kind::Presence(PresenceType::Subscribe));
        let bare = "<presence to='juliet@capulet.example' from='romeo@montague.example' \
                    type='subscribe'/>";
        assert_eq!(written(&kept_request(&keep_request(&stanza), &contact, &user)), bare);
        stanza.id = Some(Text::from("xk3h1v69"));
        stanza.lang = Some(Text::from("en"));
        stanza.body = Body::parse(b"<status>Hi &amp; ho</status>").expect("XML");
        stanza.add(b"<nick xmlns='http://jabber.org/protocol/nick'>Romeo</nick>");
        let kept = keep_request(&stanza);
        assert_eq!(
            written(&kept_request(&kept, &contact, &user)),
            "<presence to='juliet@capulet.example' from='romeo@montague.example' id='xk3h1v69' \
             type='subscribe' xml:lang='en'><status>Hi &amp; ho</status>\
             <nick xmlns='http://jabber.org/protocol/nick'>Romeo</nick></presence>"
        );
        // Damaged or not kept: still a request.
        for cut in 0..kept.len() - 1 {
            let again = kept_request(&kept[..cut], &contact, &user);
            assert_eq!(again.kind, stanza.kind, "cut at {cut}");
        }
        assert_eq!(written(&kept_request(b"", &contact, &user)), bare);
        assert_eq!(written(&kept_request(b"\x01\x00\x00<status>", &contact, &user)), bare);
    }
}
