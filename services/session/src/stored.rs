//! The row of a session that an orderly stop stored.

use bytes::Bytes;
use kv::{Fields, ValueWriter};
use peer::SessionId;
use xmpp::jid::Jid;
use xmpp::stanza::{IqType, Kind, MessageType, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

use crate::module::Marks;
use crate::rows::RowError;

const VERSION: u8 = 1;

/// A session as it was when the server stopped.
#[derive(Debug)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    pub(crate) resource: String,
    pub(crate) attachment: u32,
    /// The number of the client's last durable stanza.
    pub(crate) handled: u64,
    /// The number up to which the client has taken ours.
    pub(crate) taken: u64,
    /// What it has not taken, oldest first.
    pub(crate) queue: Vec<QueuedRow>,
    /// Of the log, everything up to here was taken or is in the queue.
    pub(crate) read_to: u64,
    /// What is read of it from there on has waited, up to here.
    pub(crate) delayed_until: u64,
    pub(crate) presence: Option<Stanza>,
    pub(crate) marks: Marks,
    pub(crate) interested: bool,
    /// Its client may send again what it sent in a session before it.
    pub(crate) resends: bool,
    pub(crate) directed: Vec<Jid>,
    /// When its socket was lost, in microseconds since 1970.
    pub(crate) lost_us: u64,
}

/// One stanza that was released and not taken.
#[derive(Debug)]
pub(crate) struct QueuedRow {
    /// Its id in the log, or zero.
    pub(crate) log: u64,
    pub(crate) stanza: Stanza,
}

impl SessionRow {
    /// The row's value.
    pub(crate) fn encode(&self) -> Bytes {
        let mut w = ValueWriter::new(VERSION, 512)
            .rest(&self.id.0.to_be_bytes())
            .str(&self.resource)
            .varint(u64::from(self.attachment))
            .varint(self.handled)
            .varint(self.taken)
            .varint(self.read_to)
            .varint(self.delayed_until)
            .varint(u64::from(self.marks.0))
            .u8(u8::from(self.interested))
            .u8(u8::from(self.resends))
            .varint(self.lost_us)
            .u8(u8::from(self.presence.is_some()));
        if let Some(presence) = &self.presence {
            w = write_stanza(w, presence);
        }
        w = w.varint(self.directed.len() as u64);
        for to in &self.directed {
            w = w.str(to.as_str());
        }
        w = w.varint(self.queue.len() as u64);
        for queued in &self.queue {
            w = write_stanza(w.varint(queued.log), &queued.stanza);
        }
        w.finish()
    }

    /// Reads the row's value.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, RowError> {
        let (version, mut r) = Fields::open(value)?;
        if version != VERSION {
            return Err(RowError);
        }
        let id = SessionId(u128::from_be_bytes(r.array()?));
        let resource = r.str()?.to_owned();
        let attachment = u32::try_from(r.varint()?).map_err(|_| RowError)?;
        let (handled, taken, read_to) = (r.varint()?, r.varint()?, r.varint()?);
        let delayed_until = r.varint()?;
        let marks = Marks(u32::try_from(r.varint()?).map_err(|_| RowError)?);
        let interested = r.u8()? != 0;
        let resends = r.u8()? != 0;
        let lost_us = r.varint()?;
        let presence = if r.u8()? != 0 { Some(read_stanza(&mut r)?) } else { None };
        let mut directed = Vec::new();
        for _ in 0..r.varint()? {
            directed.push(Jid::parse(r.str()?).map_err(|_| RowError)?);
        }
        let mut queue = Vec::new();
        for _ in 0..r.varint()? {
            queue.push(QueuedRow { log: r.varint()?, stanza: read_stanza(&mut r)? });
        }
        Ok(Self {
            id,
            resource,
            attachment,
            handled,
            taken,
            queue,
            read_to,
            delayed_until,
            presence,
            marks,
            interested,
            resends,
            directed,
            lost_us,
        })
    }
}

fn write_stanza(w: ValueWriter, stanza: &Stanza) -> ValueWriter {
    let jid = |jid: &Option<Jid>| jid.as_ref().map(|jid| jid.as_str().to_owned());
    let type_name = match stanza.kind {
        Kind::Message(kind) => kind.name(),
        Kind::Presence(kind) => kind.name(),
        Kind::Iq(kind) => kind.name(),
    };
    w.str(stanza.kind.name())
        .str(type_name)
        .opt_str(jid(&stanza.to).as_deref())
        .opt_str(jid(&stanza.from).as_deref())
        .opt_str(stanza.id.as_deref())
        .opt_str(stanza.lang.as_deref())
        .bytes(stanza.body.as_bytes())
        .bytes(&stanza.added)
}

fn read_stanza(r: &mut Fields<'_>) -> Result<Stanza, RowError> {
    let (name, type_name) = (r.str()?, r.str()?);
    let kind = match name {
        "message" => MessageType::from_name(type_name).map(Kind::Message),
        "presence" => PresenceType::from_name(type_name).map(Kind::Presence),
        "iq" => IqType::from_name(type_name).map(Kind::Iq),
        _ => None,
    };
    let jid = |text: Option<&str>| text.map(Jid::parse).transpose().map_err(|_| RowError);
    let mut stanza = Stanza::new(kind.ok_or(RowError)?);
    stanza.to = jid(r.opt_str()?)?;
    stanza.from = jid(r.opt_str()?)?;
    stanza.id = r.opt_str()?.map(Text::from);
    stanza.lang = r.opt_str()?.map(Text::from);
    stanza.body = Body::parse(r.bytes()?).map_err(|_| RowError)?;
    stanza.added = Bytes::copy_from_slice(r.bytes()?);
    Ok(stanza)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_as_it_was_stored() {
        let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
        stanza.to = Some(Jid::parse("romeo@montague.example/orchard").expect("a JID"));
        stanza.id = Some(Text::from("m1"));
        stanza.body = Body::parse(b"<body>art thou not Romeo?</body>").expect("a body");
        let row = SessionRow {
            id: SessionId(77),
            resource: "orchard".into(),
            attachment: 3,
            handled: 1 << 33,
            taken: 12,
            queue: vec![QueuedRow { log: 99, stanza: stanza.clone() }],
            read_to: 98,
            delayed_until: 97,
            presence: Some(Stanza::new(Kind::Presence(PresenceType::Available))),
            marks: Marks(5),
            interested: true,
            resends: true,
            directed: vec![Jid::parse("a@b").expect("a JID")],
            lost_us: 1,
        };
        let read = SessionRow::decode(&row.encode()).expect("a row");
        assert_eq!(format!("{read:?}"), format!("{row:?}"));
        assert_eq!(read.queue[0].stanza, stanza);
        assert!(SessionRow::decode(&row.encode()[..20]).is_err());
    }
}
