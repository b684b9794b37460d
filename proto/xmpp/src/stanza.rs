//! Stanzas: a typed head, and the body as it was read (RFC 6120 §8, RFC 6121).

use bytes::Bytes;

use crate::error::{Condition, StanzaError};
use crate::jid::Jid;
use crate::limits::{ID_BYTES_MAX, LANG_BYTES};
use crate::text::Text;
use crate::xml::{Body, Element, push_value};

macro_rules! types {
    ($(#[$doc:meta])* $enum:ident: $($(#[$each:meta])* $name:ident = $text:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $enum {
            $($(#[$each])* $name,)+
        }

        impl $enum {
            /// The value of the `type` attribute.
            pub const fn name(self) -> &'static str {
                match self {
                    $($enum::$name => $text,)+
                }
            }

            /// The type of that name, if it is one.
            pub fn from_name(name: &str) -> Option<$enum> {
                match name {
                    $($text => Some($enum::$name),)+
                    _ => None,
                }
            }
        }
    };
}

types! {
    /// The type of a message (RFC 6121 §5.2.2).
    MessageType:
    /// One message, outside of a conversation; what no or an unknown type means.
    Normal = "normal",
    /// Part of a conversation of two.
    Chat = "chat",
    /// From or to a room.
    Groupchat = "groupchat",
    /// News to which no answer is expected.
    Headline = "headline",
    /// A message could not be delivered.
    Error = "error",
}

types! {
    /// The type of a presence (RFC 6121 §4.7.1).
    PresenceType:
    /// The sender is there. It is written without a type.
    Available = "available",
    /// The sender is no longer there.
    Unavailable = "unavailable",
    /// The sender wants to see the recipient's presence.
    Subscribe = "subscribe",
    /// The sender lets the recipient see its presence.
    Subscribed = "subscribed",
    /// The sender no longer wants to see the recipient's presence.
    Unsubscribe = "unsubscribe",
    /// The recipient may not, or no longer, see the sender's presence.
    Unsubscribed = "unsubscribed",
    /// A server asks for the presence of a user.
    Probe = "probe",
    /// A presence could not be delivered or processed.
    Error = "error",
}

types! {
    /// The type of an IQ (RFC 6120 §8.2.3).
    IqType:
    /// Asks.
    Get = "get",
    /// Gives or changes.
    Set = "set",
    /// Answers a get or set.
    Result = "result",
    /// Answers a get or set that failed.
    Error = "error",
}

/// What a stanza is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`
    Message(MessageType),
    /// `<presence/>`
    Presence(PresenceType),
    /// `<iq/>`
    Iq(IqType),
}

impl Kind {
    /// The name of the element.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Message(_) => "message",
            Kind::Presence(_) => "presence",
            Kind::Iq(_) => "iq",
        }
    }

    /// The `type` attribute as it is written; `None` if it is left out.
    pub const fn type_attr(self) -> Option<&'static str> {
        match self {
            Kind::Message(MessageType::Normal) | Kind::Presence(PresenceType::Available) => None,
            Kind::Message(kind) => Some(kind.name()),
            Kind::Presence(kind) => Some(kind.name()),
            Kind::Iq(kind) => Some(kind.name()),
        }
    }

    /// The same stanza of type `error`.
    pub const fn to_error(self) -> Kind {
        match self {
            Kind::Message(_) => Kind::Message(MessageType::Error),
            Kind::Presence(_) => Kind::Presence(PresenceType::Error),
            Kind::Iq(_) => Kind::Iq(IqType::Error),
        }
    }

    /// Whether it is of type `error`.
    pub fn is_error(self) -> bool {
        self == self.to_error()
    }

    /// Whether an error may answer it: neither an error nor a result (RFC 6120 §8.2.3 and §8.3.1).
    pub fn may_be_answered(self) -> bool {
        !self.is_error() && self != Kind::Iq(IqType::Result)
    }
}

/// A stanza: read and judged once, then carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// Message, presence or IQ, and its type.
    pub kind: Kind,
    /// To whom.
    pub to: Option<Jid>,
    /// From whom.
    pub from: Option<Jid>,
    /// Its id, which means something to its sender alone.
    pub id: Option<Text>,
    /// Its language, at most [`LANG_BYTES`].
    pub lang: Option<Text>,
    /// What the sender wrote in it.
    pub body: Body,
    /// Elements that the server added: well-formed and standing alone, as a
    /// [`Writer`](crate::xml::Writer) makes them. They are written after the body and are none of
    /// its children.
    pub added: Bytes,
}

/// Why an element is no stanza to carry on.
#[derive(Debug, Clone)]
pub enum StanzaFault {
    /// It is no stanza of this stream: negotiation, or an unknown element, which ends the stream
    /// with `unsupported-stanza-type` (RFC 6120 §4.9.3.24).
    NoStanza(Box<Element>),
    /// It is one, but broken: the sender may be told so.
    Refused(Box<Refusal>),
}

/// A stanza that is refused, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub condition: Condition,
    /// What it is; of an unknown type, that of its answer.
    pub kind: Kind,
    /// Whether an error may answer it.
    pub answerable: bool,
    /// To whom, if that is an address.
    pub to: Option<Jid>,
    /// From whom, if that is an address.
    pub from: Option<Jid>,
    /// Its id.
    pub id: Option<Text>,
}

impl Refusal {
    /// The error that answers it, unless it must not be answered. `from` is missing where the
    /// stanza was to no valid address.
    pub fn answer(&self) -> Option<Stanza> {
        self.answerable.then(|| Stanza {
            kind: self.kind.to_error(),
            to: self.from.clone(),
            from: self.to.clone(),
            id: self.id.clone(),
            lang: None,
            body: Body::default(),
            added: error_bytes(&StanzaError::new(self.condition)),
        })
    }
}

impl Stanza {
    /// A stanza with nothing but its kind.
    pub fn new(kind: Kind) -> Stanza {
        Stanza {
            kind,
            to: None,
            from: None,
            id: None,
            lang: None,
            body: Body::default(),
            added: Bytes::new(),
        }
    }

    /// Reads a first-level element. `content_ns` is that of the stream.
    ///
    /// A message of unknown type is `normal` (RFC 6121 §5.2.2); a presence or IQ of unknown type,
    /// an IQ without id or type, or a get or set without exactly one child is `bad-request` (RFC
    /// 6120 §8.2.3). One with an id above [`ID_BYTES_MAX`] is `policy-violation`.
    ///
    /// # Errors
    /// What cannot be carried on, and who is to be told.
    pub fn from_element(element: Element, content_ns: &str) -> Result<Stanza, StanzaFault> {
        if element.ns() != content_ns {
            return Err(StanzaFault::NoStanza(Box::new(element)));
        }
        let given = element.attr("type");
        // The kind of an unknown type is `Err`: that of its answer.
        let kind = match element.name() {
            "message" => Ok(Kind::Message(
                given.and_then(MessageType::from_name).unwrap_or(MessageType::Normal),
            )),
            "presence" => match given {
                None => Ok(Kind::Presence(PresenceType::Available)),
                Some(name) => PresenceType::from_name(name)
                    // Leaving the type out is the only way to say it.
                    .filter(|kind| *kind != PresenceType::Available)
                    .map(Kind::Presence)
                    .ok_or(Kind::Presence(PresenceType::Error)),
            },
            "iq" => given.and_then(IqType::from_name).map(Kind::Iq).ok_or(Kind::Iq(IqType::Error)),
            _ => return Err(StanzaFault::NoStanza(Box::new(element))),
        };
        let to = element.attr("to").map(Jid::parse).transpose();
        let from = element.attr("from").map(Jid::parse).transpose();
        let id = element.attr("id").map(Text::from);
        let lang = element.attr("xml:lang").filter(|lang| lang.len() <= LANG_BYTES).map(Text::from);
        let body = element.into_body();
        let condition = match (&kind, &to, &from) {
            (Ok(_), Err(_), _) | (Ok(_), _, Err(_)) => Some(Condition::JidMalformed),
            (Err(_), _, _) => Some(Condition::BadRequest),
            (Ok(Kind::Iq(iq)), _, _) if !is_whole(*iq, id.is_some(), &body) => {
                Some(Condition::BadRequest)
            }
            (Ok(_), _, _) if id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) => {
                Some(Condition::PolicyViolation)
            }
            _ => None,
        };
        let (to, from) = (to.ok().flatten(), from.ok().flatten());
        match (kind, condition) {
            (Ok(kind), None) => Ok(Stanza { kind, to, from, id, lang, body, added: Bytes::new() }),
            (kind, condition) => {
                let answerable = kind.map_or(true, Kind::may_be_answered);
                let kind = kind.unwrap_or_else(|kind| kind);
                let condition = condition.unwrap_or(Condition::BadRequest);
                let refusal = Refusal { condition, kind, answerable, to, from, id };
                Err(StanzaFault::Refused(Box::new(refusal)))
            }
        }
    }

    /// Whether it is an IQ that asks or gives, and so must be answered.
    pub fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Iq(IqType::Get | IqType::Set))
    }

    /// Adds elements of the server, as a [`Writer`](crate::xml::Writer) makes them, after those
    /// added before.
    pub fn add(&mut self, elements: &[u8]) {
        self.added = match self.added.is_empty() {
            true => Bytes::copy_from_slice(elements),
            false => [&self.added, elements].concat().into(),
        };
    }

    /// The result that answers this request, with the payload that a [`Writer`](crate::xml::Writer)
    /// made, or none (RFC 6120 §8.2.3).
    pub fn reply_result(&self, payload: impl Into<Bytes>) -> Stanza {
        Stanza {
            to: self.from.clone(),
            from: self.to.clone(),
            id: self.id.clone(),
            added: payload.into(),
            ..Stanza::new(Kind::Iq(IqType::Result))
        }
    }

    /// The error that answers this stanza; `None` if it must not be answered (RFC 6120 §8.3.1).
    pub fn reply_error(&self, error: impl Into<StanzaError>) -> Option<Stanza> {
        self.kind.may_be_answered().then(|| Stanza {
            to: self.from.clone(),
            from: self.to.clone(),
            id: self.id.clone(),
            added: error_bytes(&error.into()),
            ..Stanza::new(self.kind.to_error())
        })
    }

    /// Appends the stanza, for a stream whose default namespace is its content namespace.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_in(None, out);
    }

    /// Appends the stanza with its namespace, for a place where another one is in force: inside
    /// another element (XEP-0297) or without a stream around it (RFC 7395).
    pub fn write_in(&self, content_ns: Option<&str>, out: &mut Vec<u8>) {
        let name = self.kind.name().as_bytes();
        out.reserve(self.size_hint());
        out.push(b'<');
        out.extend_from_slice(name);
        attr(out, b" xmlns='", content_ns);
        attr(out, b" to='", self.to.as_ref().map(Jid::as_str));
        attr(out, b" from='", self.from.as_ref().map(Jid::as_str));
        attr(out, b" id='", self.id.as_deref());
        attr(out, b" type='", self.kind.type_attr());
        attr(out, b" xml:lang='", self.lang.as_deref());
        let body = self.body.as_bytes();
        if body.is_empty() && self.added.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        out.extend_from_slice(body);
        out.extend_from_slice(&self.added);
        out.extend_from_slice(b"</");
        out.extend_from_slice(name);
        out.push(b'>');
    }

    /// About how many bytes [`write`](Stanza::write) appends; more only where heads need escapes.
    pub fn size_hint(&self) -> usize {
        let of = |jid: &Option<Jid>| jid.as_ref().map_or(0, |jid| jid.as_str().len() + 8);
        let text = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.len() + 12);
        let head = of(&self.to) + of(&self.from) + text(&self.id) + text(&self.lang);
        64 + head + self.body.len() + self.added.len()
    }
}

fn attr(out: &mut Vec<u8>, opening: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(opening);
        push_value(out, value);
        out.push(b'\'');
    }
}

fn is_whole(kind: IqType, has_id: bool, body: &Body) -> bool {
    let children = body.children().len();
    has_id
        && match kind {
            IqType::Get | IqType::Set => children == 1,
            IqType::Result => children <= 1,
            IqType::Error => true,
        }
}

fn error_bytes(error: &StanzaError) -> Bytes {
    let mut out = Vec::with_capacity(128);
    error.write(&mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ReadLimits;
    use crate::ns;
    use crate::xml::{Item, Reader, Writer};

    const OPEN: &[u8] = b"<stream:stream xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";

    fn read(xml: &str) -> Result<Stanza, StanzaFault> {
        let mut reader = Reader::new(ReadLimits::AFTER_AUTH);
        assert!(matches!(reader.read(&mut &OPEN[..]), Ok(Some(Item::Open(_)))));
        match reader.read(&mut xml.as_bytes()) {
            Ok(Some(Item::Element(element))) => Stanza::from_element(element, ns::CLIENT),
            other => panic!("{xml}: {other:?}"),
        }
    }

    fn written(stanza: &Stanza) -> String {
        let mut out = Vec::new();
        stanza.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn refused(xml: &str) -> Refusal {
        match read(xml) {
            Err(StanzaFault::Refused(refusal)) => *refusal,
            other => panic!("{xml}: {other:?}"),
        }
    }

    #[test]
    fn heads_are_read_and_written_anew_and_bodies_carried() {
        for (xml, want) in [
            (
                "<message type='chat' id='&lt;1' xml:lang='de' from='a@x.example' \
                 to='B@x.example/r'>\
                 <body >hi</body></message>",
                "<message to='b@x.example/r' from='a@x.example' id='&lt;1' type='chat' \
                 xml:lang='de'><body >hi</body></message>",
            ),
            ("<message/>", "<message/>"),
            ("<message type='normal' unknown='1'> </message>", "<message> </message>"),
            ("<message type='unknown'/>", "<message/>"),
            ("<presence></presence>", "<presence/>"),
            ("<presence type='probe'/>", "<presence type='probe'/>"),
            ("<iq type='get' id=''><q/></iq>", "<iq id='' type='get'><q/></iq>"),
            ("<iq type='result' id='1'/>", "<iq id='1' type='result'/>"),
            (
                "<c:iq xmlns:c='jabber:client' type='set' id='1'><c:q/></c:iq>",
                "<iq id='1' type='set'><c:q xmlns:c='jabber:client'/></iq>",
            ),
        ] {
            assert_eq!(written(&read(xml).unwrap()), want);
        }
    }

    #[test]
    fn what_is_broken_is_refused_with_what_answers_it() {
        for (xml, condition, answer) in [
            (
                "<message to='@' from='a@x' id='1'/>",
                Condition::JidMalformed,
                Some("<message to='a@x' id='1' type='error'>"),
            ),
            ("<message to=''/>", Condition::JidMalformed, Some("<message type='error'>")),
            (
                "<message to='a@x' from='@'/>",
                Condition::JidMalformed,
                Some("<message from='a@x' type='error'>"),
            ),
            ("<message to='@' type='error'/>", Condition::JidMalformed, None),
            (
                "<presence type='available'/>",
                Condition::BadRequest,
                Some("<presence type='error'>"),
            ),
            ("<presence type='x' to='@'/>", Condition::BadRequest, Some("<presence type='error'>")),
            ("<iq id='1'/>", Condition::BadRequest, Some("<iq id='1' type='error'>")),
            ("<iq type='get'><q/></iq>", Condition::BadRequest, Some("<iq type='error'>")),
            ("<iq type='get' id='1'/>", Condition::BadRequest, Some("<iq id='1' type='error'>")),
            (
                "<iq type='set' id='1'><q/><q/></iq>",
                Condition::BadRequest,
                Some("<iq id='1' type='error'>"),
            ),
            ("<iq type='result' id='1'><q/><q/></iq>", Condition::BadRequest, None),
            ("<iq type='error'/>", Condition::BadRequest, None),
        ] {
            let refusal = refused(xml);
            assert_eq!(refusal.condition, condition, "{xml}");
            let written = refusal.answer().map(|answer| written(&answer));
            match (&written, answer) {
                (Some(written), Some(head)) => {
                    assert!(written.starts_with(head), "{xml}: {written}");
                    assert!(written.contains(&format!("<{} ", condition.name())), "{written}");
                }
                other => assert_eq!(other, (&None, None), "{xml}"),
            }
        }
    }

    #[test]
    fn an_absurd_id_is_refused_and_handed_back_once() {
        for (len, is_taken) in [(ID_BYTES_MAX, true), (ID_BYTES_MAX + 1, false)] {
            let id = "i".repeat(len);
            for kind in ["message", "presence"] {
                let xml = format!("<{kind} id='{id}'/>");
                assert_eq!(read(&xml).is_ok(), is_taken, "{kind} {len}");
            }
            let xml = format!("<iq type='get' id='{id}'><q/></iq>");
            assert_eq!(read(&xml).is_ok(), is_taken, "{len}");
            if !is_taken {
                let refusal = refused(&xml);
                assert_eq!(refusal.condition, Condition::PolicyViolation);
                let answer = refusal.answer().unwrap();
                assert_eq!(answer.id.as_deref(), Some(&id[..]), "its sender knows it by the id");
            }
        }
    }

    #[test]
    fn elements_of_other_kinds_and_namespaces_are_no_stanzas() {
        for xml in ["<messages/>", "<r xmlns='urn:xmpp:sm:3'/>", "<message xmlns='jabber:server'/>"]
        {
            assert!(matches!(read(xml), Err(StanzaFault::NoStanza(_))), "{xml}");
        }
    }

    #[test]
    fn answers_swap_addresses_and_keep_the_id() {
        let asked = read("<iq type='get' id='7' to='a.example' from='b@x/r'><q/></iq>").unwrap();
        assert!(asked.is_request());
        let mut payload = Writer::new();
        payload.empty("query", ns::ROSTER);
        assert_eq!(
            written(&asked.reply_result(payload.finish())),
            "<iq to='b@x/r' from='a.example' id='7' type='result'>\
             <query xmlns='jabber:iq:roster'/></iq>"
        );
        let error = asked.reply_error(Condition::ItemNotFound).unwrap();
        assert_eq!(
            written(&error),
            "<iq to='b@x/r' from='a.example' id='7' type='error'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        );
        assert_eq!(error.reply_error(Condition::ItemNotFound), None);
        assert_eq!(asked.reply_result("").reply_error(Condition::ItemNotFound), None);
    }

    #[test]
    fn additions_come_after_the_body_in_order() {
        let mut stanza = read("<message><body/></message>").unwrap();
        stanza.add(b"<a xmlns='urn:a'/>");
        stanza.add(b"<b xmlns='urn:b'/>");
        let want = "<body/><a xmlns='urn:a'/><b xmlns='urn:b'/></message>";
        assert_eq!(written(&stanza), format!("<message>{want}"));
        let mut out = Vec::new();
        stanza.write_in(Some(ns::CLIENT), &mut out);
        assert_eq!(out, format!("<message xmlns='jabber:client'>{want}").as_bytes());
        assert!(stanza.size_hint() >= out.len());
        assert!(!stanza.body.has_child("a", "urn:a"));
    }
}
