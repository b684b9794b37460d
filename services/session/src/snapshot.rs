//! What an edge keeps of a session for later owners (design: "Sessions"): everything that the
//! session means and that its edge cannot know. Opaque to the edge, and signed: an edge can give
//! back what it was given, for the connection that it was given for, and nothing else.

use bytes::Bytes;
use kv::{Fields, ValueWriter};
use peer::{ConnId, Epoch, NodeId};
use xmpp::jid::Jid;
use xmpp::scram::Hash;

use crate::rows::RowError;
use crate::session::{Born, Managed};
use crate::stored::SessionRow;

const VERSION: u8 = 1;

/// Bytes of the signature, the first of an HMAC-SHA-256.
const MAC_BYTES: usize = 16;

/// What a session means.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The connection that it is for.
    pub(crate) conn: ConnId,
    /// The bare JID.
    pub(crate) account: Jid,
    /// The account's session generation: after a kick, what was kept before it is worth nothing.
    pub(crate) generation: u64,
    pub(crate) born: Born,
    pub(crate) managed: Managed,
    /// The rest, as an orderly stop would store it: without counts and without the queue, which its
    /// edge knows better. `read_to` is where the session was in the log.
    pub(crate) row: SessionRow,
}

impl Snapshot {
    /// The bytes that an edge keeps.
    pub(crate) fn seal(&self, key: &[u8; 32]) -> Bytes {
        let managed = match self.managed {
            Managed::No => 0,
            Managed::Acked => 1,
            Managed::Resumable => 2,
        };
        let content = ValueWriter::new(VERSION, 256)
            .varint(u64::from(self.conn.edge.number))
            .varint(u64::from(self.conn.edge.incarnation))
            .varint(self.conn.slot)
            .str(self.account.as_str())
            .varint(self.generation)
            .varint(self.born.0.0)
            .varint(self.born.1)
            .u8(managed)
            .bytes(&self.row.encode())
            .finish();
        let mut sealed = sign(key, &content);
        sealed.extend_from_slice(&content);
        Bytes::from(sealed)
    }

    /// Reads what an edge has kept, if an owner of this cluster has made it.
    pub(crate) fn open(key: &[u8; 32], sealed: &[u8]) -> Option<Self> {
        let (mac, content) = sealed.split_at_checked(MAC_BYTES)?;
        let expected = sign(key, content);
        let differs = mac.iter().zip(&expected).fold(0, |all, (a, b)| all | (a ^ b));
        if differs != 0 { None } else { Self::read(content).ok() }
    }

    fn read(content: &[u8]) -> Result<Self, RowError> {
        let (version, mut r) = Fields::open(content)?;
        if version != VERSION {
            return Err(RowError);
        }
        let number = u32::try_from(r.varint()?).map_err(|_| RowError)?;
        let incarnation = u32::try_from(r.varint()?).map_err(|_| RowError)?;
        let conn = ConnId { edge: NodeId { number, incarnation }, slot: r.varint()? };
        let account = Jid::parse(r.str()?).map_err(|_| RowError)?;
        let generation = r.varint()?;
        let born = (Epoch(r.varint()?), r.varint()?);
        let managed = match r.u8()? {
            0 => Managed::No,
            1 => Managed::Acked,
            2 => Managed::Resumable,
            _ => return Err(RowError),
        };
        let row = SessionRow::decode(r.bytes()?)?;
        Ok(Self { conn, account, generation, born, managed, row })
    }
}

fn sign(key: &[u8; 32], content: &[u8]) -> Vec<u8> {
    let mut mac = Hash::Sha256.hmac(key, content);
    mac.truncate(MAC_BYTES);
    mac
}

#[cfg(test)]
mod tests {
    use peer::SessionId;

    use super::*;
    use crate::module::Marks;

    fn snapshot() -> Snapshot {
        Snapshot {
            conn: ConnId { edge: NodeId { number: 3, incarnation: 2 }, slot: 9 },
            account: Jid::parse("romeo@montague.example").expect("a JID"),
            generation: 5,
            born: (Epoch(4), 96),
            managed: Managed::Resumable,
            row: SessionRow {
                id: SessionId(77),
                resource: "orchard".into(),
                attachment: 3,
                handled: 0,
                taken: 0,
                queue: Vec::new(),
                read_to: 98,
                delayed_until: 97,
                presence: None,
                marks: Marks(5),
                interested: true,
                resends: false,
                directed: Vec::new(),
                lost_us: 0,
            },
        }
    }

    #[test]
    fn a_snapshot_is_read_by_who_has_the_key() {
        let sealed = snapshot().seal(&[1; 32]);
        let opened = Snapshot::open(&[1; 32], &sealed).expect("a snapshot");
        assert_eq!(format!("{opened:?}"), format!("{:?}", snapshot()));
        assert!(Snapshot::open(&[2; 32], &sealed).is_none());
    }

    #[test]
    fn what_was_changed_on_the_way_is_not_read() {
        let sealed = snapshot().seal(&[1; 32]);
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert!(Snapshot::open(&[1; 32], &changed).is_none(), "{at}");
        }
        for length in 0..sealed.len() {
            assert!(Snapshot::open(&[1; 32], &sealed[..length]).is_none(), "{length}");
        }
    }
}
