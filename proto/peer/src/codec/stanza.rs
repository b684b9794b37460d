//! A stanza in a frame: its head as it was judged, and its body with the index that was found when
//! it was parsed. The receiver looks at neither again (design: sentence 7 of section 2).

use xmpp::jid::Jid;
use xmpp::stanza::{IqType, Kind, MessageType, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

use super::BadFrame;
use super::wire::{Out, Take, Wire};

const TO: u8 = 1;
const FROM: u8 = 2;
const ID: u8 = 4;
const LANG: u8 = 8;
const ADDED: u8 = 16;
const BODY: u8 = 32;

impl Wire for Stanza {
    fn put(&self, out: &mut Out<'_>) {
        let Self { kind, to, from, id, lang, body, added } = self;
        out.last = [None, None];
        let flag = |bit: u8, is_there: bool| if is_there { bit } else { 0 };
        let has = flag(TO, to.is_some())
            | flag(FROM, from.is_some())
            | flag(ID, id.is_some())
            | flag(LANG, lang.is_some())
            | flag(ADDED, !added.is_empty())
            | flag(BODY, !body.is_empty());
        out.raw(&[code(*kind), has]);
        to.iter().chain(from).for_each(|jid| out.put(jid));
        id.iter().chain(lang).for_each(|text| out.put(text));
        if !added.is_empty() {
            out.put(added);
        }
        if !body.is_empty() {
            // The length of the index is known once it is written.
            let start = out.bytes.len();
            out.raw(&[0; 4]);
            body.encode(out.bytes);
            let len = out.bytes.len() - start - 4;
            match (u32::try_from(len), out.bytes.get_mut(start..start + 4)) {
                (Ok(len), Some(at)) => at.copy_from_slice(&len.to_be_bytes()),
                _ => out.too_large = true,
            }
        }
        out.last = [from.clone(), to.clone()];
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let kind = kind(from.byte()?).ok_or(BadFrame::Choice)?;
        let has = from.byte()?;
        if has & !(TO | FROM | ID | LANG | ADDED | BODY) != 0 {
            return Err(BadFrame::Choice);
        }
        let mut stanza = Stanza::new(kind);
        from.last = [None, None];
        stanza.to = if has & TO != 0 { Some(from.take::<Jid>()?) } else { None };
        stanza.from = if has & FROM != 0 { Some(from.take::<Jid>()?) } else { None };
        stanza.id = if has & ID != 0 { Some(from.take::<Text>()?) } else { None };
        stanza.lang = if has & LANG != 0 { Some(from.take::<Text>()?) } else { None };
        if has & ADDED != 0 {
            stanza.added = from.take()?;
        }
        if has & BODY != 0 {
            let len = from.array().map(u32::from_be_bytes)?;
            let row = from.raw(len as usize)?;
            stanza.body = Body::decode(from.keep(row)).map_err(|_| BadFrame::Body)?;
        }
        from.last = [stanza.from.clone(), stanza.to.clone()];
        Ok(stanza)
    }
}

const fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Message(MessageType::Normal) => 0,
        Kind::Message(MessageType::Chat) => 1,
        Kind::Message(MessageType::Groupchat) => 2,
        Kind::Message(MessageType::Headline) => 3,
        Kind::Message(MessageType::Error) => 4,
        Kind::Presence(PresenceType::Available) => 16,
        Kind::Presence(PresenceType::Unavailable) => 17,
        Kind::Presence(PresenceType::Subscribe) => 18,
        Kind::Presence(PresenceType::Subscribed) => 19,
        Kind::Presence(PresenceType::Unsubscribe) => 20,
        Kind::Presence(PresenceType::Unsubscribed) => 21,
        Kind::Presence(PresenceType::Probe) => 22,
        Kind::Presence(PresenceType::Error) => 23,
        Kind::Iq(IqType::Get) => 32,
        Kind::Iq(IqType::Set) => 33,
        Kind::Iq(IqType::Result) => 34,
        Kind::Iq(IqType::Error) => 35,
    }
}

const fn kind(code: u8) -> Option<Kind> {
    Some(match code {
        0 => Kind::Message(MessageType::Normal),
        1 => Kind::Message(MessageType::Chat),
        2 => Kind::Message(MessageType::Groupchat),
        3 => Kind::Message(MessageType::Headline),
        4 => Kind::Message(MessageType::Error),
        16 => Kind::Presence(PresenceType::Available),
        17 => Kind::Presence(PresenceType::Unavailable),
        18 => Kind::Presence(PresenceType::Subscribe),
        19 => Kind::Presence(PresenceType::Subscribed),
        20 => Kind::Presence(PresenceType::Unsubscribe),
        21 => Kind::Presence(PresenceType::Unsubscribed),
        22 => Kind::Presence(PresenceType::Probe),
        23 => Kind::Presence(PresenceType::Error),
        32 => Kind::Iq(IqType::Get),
        33 => Kind::Iq(IqType::Set),
        34 => Kind::Iq(IqType::Result),
        35 => Kind::Iq(IqType::Error),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let known: Vec<Kind> = (0..=u8::MAX).filter_map(kind).collect();
        assert_eq!(known.len(), 5 + 8 + 4);
        assert!((0..=u8::MAX).all(|byte| kind(byte).is_none_or(|kind| code(kind) == byte)));
    }
}
