//! The values of the rows that the engine itself writes. Each begins with a version byte.

use bytes::Bytes;
use kv::{BadValue, Fields, ValueWriter};
use peer::shard::HashKey;
use peer::{Epoch, IngestKey, SessionId};
use xmpp::jid::Jid;
use xmpp::scram::{Hash, Verifier};
use xmpp::stanza::{Kind, MessageType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

const VERSION: u8 = 1;

/// A row that cannot be read: written by a newer version, or damaged. A bug or an operator's
/// mistake, never a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowError;

impl From<BadValue> for RowError {
    fn from(_: BadValue) -> Self {
        Self
    }
}

fn open(value: &[u8]) -> Result<Fields<'_>, RowError> {
    let (version, reader) = Fields::open(value)?;
    if version != VERSION { Err(RowError) } else { Ok(reader) }
}

fn jid(text: &str) -> Result<Jid, RowError> {
    Jid::parse(text).map_err(|_| RowError)
}

/// `epoch/<shard>`: who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The owner's epoch.
    pub epoch: Epoch,
}

impl Fence {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        ValueWriter::new(VERSION, 24).varint(self.epoch.0).finish()
    }

    /// Reads the row's value.
    pub fn decode(value: &[u8]) -> Result<Self, RowError> {
        let mut fields = open(value)?;
        Ok(Self { epoch: Epoch(fields.varint()?) })
    }
}

/// `clock/<shard>`: a new owner gives out ids above `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The highest id given out, in microseconds since 1970.
    pub last: u64,
    /// The commit that wrote this: settles a commit whose result is unknown.
    pub op_id: u64,
    /// From this id on logs are searched for what may come again: a new owner looks no less far
    /// back.
    pub since: u64,
}

impl Clock {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        ValueWriter::new(VERSION, 32)
            .varint(self.last)
            .varint(self.op_id)
            .varint(self.since)
            .finish()
    }

    /// Reads the row's value.
    pub fn decode(value: &[u8]) -> Result<Self, RowError> {
        let mut r = open(value)?;
        Ok(Self { last: r.varint()?, op_id: r.varint()?, since: r.varint()? })
    }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// Its bare JID: the key holds only a hash of it.
    pub jid: Jid,
    /// Nobody can log in.
    pub disabled: bool,
    /// It is being deleted: nobody sees it any more, and its rows go. Such an account is disabled.
    pub deleted: bool,
    /// Raised by kick, disabling and password change; a login made before does not bind.
    pub generation: u64,
    /// When it was made, in microseconds since 1970.
    pub created_us: u64,
}

const DELETED: u8 = 2;

impl AccountRow {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        ValueWriter::new(VERSION, 24)
            .str(self.jid.as_str())
            .u8(if self.deleted { DELETED } else { u8::from(self.disabled) })
            .varint(self.generation)
            .varint(self.created_us)
            .finish()
    }

    /// Reads the row's value.
    pub fn decode(value: &[u8]) -> Result<Self, RowError> {
        let mut r = open(value)?;
        let (jid, state) = (jid(r.str()?)?, r.u8()?);
        Ok(Self {
            jid,
            disabled: state != 0,
            deleted: state == DELETED,
            generation: r.varint()?,
            created_us: r.varint()?,
        })
    }
}

/// The verifiers of an account, one for each hash.
pub fn encode_verifiers(verifiers: &[Verifier]) -> Bytes {
    let mut w = ValueWriter::new(VERSION, 24).varint(verifiers.len() as u64);
    for v in verifiers {
        let hash = match v.hash() {
            Hash::Sha1 => 1,
            Hash::Sha256 => 2,
            Hash::Sha512 => 3,
        };
        w = w
            .u8(hash)
            .bytes(v.salt())
            .varint(u64::from(v.iterations()))
            .bytes(v.stored_key().expose())
            .bytes(v.server_key().expose());
    }
    w.finish()
}

/// Reads the verifiers of an account.
pub fn decode_verifiers(value: &[u8]) -> Result<Vec<Verifier>, RowError> {
    let mut r = open(value)?;
    let count = r.varint()?.min(8);
    let mut verifiers = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let hash = match r.u8()? {
            1 => Hash::Sha1,
            2 => Hash::Sha256,
            3 => Hash::Sha512,
            _ => return Err(RowError),
        };
        let salt = r.bytes()?;
        let iterations = u32::try_from(r.varint()?).map_err(|_| RowError)?;
        let (stored, server) = (r.bytes()?, r.bytes()?);
        verifiers
            .push(Verifier::from_stored(hash, salt, iterations, stored, server).ok_or(RowError)?);
    }
    Ok(verifiers)
}

/// The account's cursor: what any resource has taken of the log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    /// All messages up to this id were taken.
    pub taken: u64,
    /// All messages above it and up to this id were taken too, but for the exceptions.
    pub head: u64,
    /// First exception: above the first id and up to the second one nothing is known...
    pub unread: Option<(u64, u64)>,
    /// ... except that above the first id of these pairs and up to the second all is known after
    /// all...
    pub settled: Vec<(u64, u64)>,
    /// ... and that these were taken.
    pub done: Vec<u64>,
    /// Second exception: these were not taken.
    pub open: Vec<u64>,
    /// Messages that are not archived and were taken: their rows go when no retry can come.
    pub spent: Vec<u64>,
}

impl Cursor {
    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let ids = [&self.done, &self.open];
        debug_assert!(self.taken <= self.head && ids.iter().all(|ids| self.are_above(ids)));
        let (from, to) = self.unread.unwrap_or((self.taken, self.taken));
        let mut w = ValueWriter::new(VERSION, 48 + 8 * (self.open.len() + self.done.len()))
            .varint(self.taken)
            .varint(self.head - self.taken)
            .varint(from - self.taken)
            .varint(to - from);
        for ids in ids {
            w = w.varint(ids.len() as u64);
            for id in ids {
                w = w.varint(id - self.taken);
            }
        }
        w = w.varint(self.spent.len() as u64);
        for id in &self.spent {
            w = w.varint(*id);
        }
        w = w.varint(2 * self.settled.len() as u64);
        for (from, to) in &self.settled {
            w = w.varint(from - self.taken).varint(to - self.taken);
        }
        w.finish()
    }

    fn are_above(&self, ids: &[u64]) -> bool {
        ids.iter().all(|id| *id > self.taken)
    }

    /// Reads the row's value.
    pub fn decode(value: &[u8]) -> Result<Self, RowError> {
        let mut r = open(value)?;
        let taken = r.varint()?;
        let head = taken.checked_add(r.varint()?).ok_or(RowError)?;
        let from = taken.checked_add(r.varint()?).ok_or(RowError)?;
        let to = from.checked_add(r.varint()?).ok_or(RowError)?;
        let mut list = |above: u64| {
            let mut ids = Vec::new();
            for _ in 0..r.varint()? {
                ids.push(above.checked_add(r.varint()?).ok_or(RowError)?);
            }
            Ok::<_, RowError>(ids)
        };
        let (done, open, spent) = (list(taken)?, list(taken)?, list(0)?);
        // Rows of before it was said do not say it.
        let settled = list(taken).unwrap_or_default();
        let settled = settled.as_chunks().0.iter().map(|[from, to]| (*from, *to)).collect();
        let unread = (from < to).then_some((from, to));
        Ok(Self { taken, head, unread, settled, done, open, spent })
    }
}

/// A row that only says that it is there.
pub fn encode_mark() -> Bytes {
    Bytes::from_static(&[VERSION])
}

/// A row of the log, read in place.
#[derive(Clone, Debug)]
pub struct LogRow<'a> {
    /// The account sent it; otherwise it received it.
    pub outgoing: bool,
    /// An archive query finds it.
    pub archived: bool,
    /// It waits for a resource that takes it.
    pub offline: bool,
    /// The message's type.
    pub kind: MessageType,
    /// How it came in; a retry is recognised by it.
    pub ingest: Option<IngestKey>,
    /// What of the sending session was durable when this was written: below it nothing needs to be
    /// driven on.
    pub confirmed: u64,
    /// The sender.
    pub from: &'a str,
    /// The addressee.
    pub to: &'a str,
    /// The stanza's `id`.
    pub id: Option<&'a str>,
    /// The stanza's language.
    pub lang: Option<&'a str>,
    /// The stanza's content, standing alone.
    pub body: &'a [u8],
}

const OUTGOING: u8 = 1;
const ARCHIVED: u8 = 2;
const OFFLINE: u8 = 4;
const INGEST: u8 = 8;

impl<'a> LogRow<'a> {
    /// The row of a message. `None` for what is not a message: only messages are logged.
    pub fn of(stanza: &'a Stanza, from: &'a str, to: &'a str) -> Option<Self> {
        let Kind::Message(kind) = stanza.kind else { return None };
        Some(Self {
            outgoing: false,
            archived: false,
            offline: false,
            kind,
            ingest: None,
            confirmed: 0,
            from,
            to,
            id: stanza.id.as_deref(),
            lang: stanza.lang.as_deref(),
            body: stanza.body.as_bytes(),
        })
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        let mut flags = 0;
        for (set, flag) in [
            (self.outgoing, OUTGOING),
            (self.archived, ARCHIVED),
            (self.offline, OFFLINE),
            (self.ingest.is_some(), INGEST),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let extra = self.from.len() + self.to.len() + self.body.len() + 80;
        let mut w = ValueWriter::new(VERSION, extra).u8(flags).u8(kind_byte(self.kind));
        if let Some(key) = &self.ingest {
            w = w
                .rest(&key.session.0.to_be_bytes())
                .varint(u64::from(key.attachment))
                .varint(key.number)
                .rest(&key.hash.to_be_bytes())
                .varint(self.confirmed);
        }
        w.str(self.from).str(self.to).opt_str(self.id).opt_str(self.lang).rest(self.body).finish()
    }

    /// Reads the row's value in place.
    pub fn decode(value: &'a [u8]) -> Result<Self, RowError> {
        let mut r = open(value)?;
        let flags = r.u8()?;
        let kind = byte_kind(r.u8()?)?;
        let (mut ingest, mut confirmed) = (None, 0);
        if flags & INGEST != 0 {
            let session = SessionId(u128::from_be_bytes(r.array()?));
            let attachment = u32::try_from(r.varint()?).map_err(|_| RowError)?;
            let number = r.varint()?;
            let hash = u64::from_be_bytes(r.array()?);
            ingest = Some(IngestKey { session, attachment, number, hash });
            confirmed = r.varint()?;
        }
        let (from, to) = (r.str()?, r.str()?);
        let (id, lang) = (r.opt_str()?, r.opt_str()?);
        Ok(Self {
            outgoing: flags & OUTGOING != 0,
            archived: flags & ARCHIVED != 0,
            offline: flags & OFFLINE != 0,
            kind,
            ingest,
            confirmed,
            from,
            to,
            id,
            lang,
            body: r.rest(),
        })
    }

    /// The message itself, with its full content.
    pub fn stanza(&self) -> Result<Stanza, RowError> {
        Ok(Stanza {
            kind: Kind::Message(self.kind),
            to: Some(Jid::parse(self.to).map_err(|_| RowError)?),
            from: Some(Jid::parse(self.from).map_err(|_| RowError)?),
            id: self.id.map(Text::from),
            lang: self.lang.map(Text::from),
            body: Body::parse(self.body).map_err(|_| RowError)?,
            added: Bytes::new(),
        })
    }
}

fn kind_byte(kind: MessageType) -> u8 {
    match kind {
        MessageType::Normal => 0,
        MessageType::Chat => 1,
        MessageType::Groupchat => 2,
        MessageType::Headline => 3,
        MessageType::Error => 4,
    }
}

fn byte_kind(byte: u8) -> Result<MessageType, RowError> {
    Ok(match byte {
        0 => MessageType::Normal,
        1 => MessageType::Chat,
        2 => MessageType::Groupchat,
        3 => MessageType::Headline,
        4 => MessageType::Error,
        _ => return Err(RowError),
    })
}

/// `m/cluster`: what all nodes of a cluster share and nobody else knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClusterRow {
    /// Distributes entities over shards and names their rows.
    pub hash: HashKey,
    /// Makes the salts of accounts that do not exist.
    pub decoy: [u8; 32],
}

impl ClusterRow {
    /// A new cluster's, from random bits.
    pub fn new(random: [u128; 3]) -> Self {
        let mut decoy = [0; 32];
        decoy[..16].copy_from_slice(&random[1].to_be_bytes());
        decoy[16..].copy_from_slice(&random[2].to_be_bytes());
        Self { hash: HashKey((random[0] >> 64) as u64, random[0] as u64), decoy }
    }

    /// The key with which owners sign what edges keep for them. Only who reads the store has it.
    pub fn snapshot_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        let mac = Hash::Sha256.hmac(&self.decoy, b"carillon snapshots");
        key.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
        key
    }

    /// The row's value.
    pub fn encode(&self) -> Bytes {
        ValueWriter::new(VERSION, 48)
            .rest(&self.hash.0.to_be_bytes())
            .rest(&self.hash.1.to_be_bytes())
            .rest(&self.decoy)
            .finish()
    }

    /// Reads the row's value.
    pub fn decode(value: &[u8]) -> Result<Self, RowError> {
        let mut r = open(value)?;
        let (high, low) = (u64::from_be_bytes(r.array()?), u64::from_be_bytes(r.array()?));
        Ok(Self { hash: HashKey(high, low), decoy: r.array()? })
    }
}

impl std::fmt::Debug for ClusterRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterRow(…)")
    }
}

/// The bare JID in the text of one, which a row holds in normal form.
pub(crate) fn bare(jid: &str) -> &str {
    jid.split_once('/').map_or(jid, |(bare, _)| bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let whole = Cursor {
            settled: vec![((1 << 50) + 12, (1 << 50) + 14)],
            taken: 1 << 50,
            head: (1 << 50) + 90,
            unread: Some(((1 << 50) + 10, (1 << 50) + 20)),
            done: vec![(1 << 50) + 15],
            open: vec![(1 << 50) + 1, (1 << 50) + 80],
            spent: vec![7, (1 << 50) - 1],
        };
        for cursor in [Cursor::default(), Cursor { taken: 7, head: 7, ..Cursor::default() }, whole]
        {
            assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }
        assert_eq!(Cursor::decode(&[1, 200]), Err(RowError));
    }
}
