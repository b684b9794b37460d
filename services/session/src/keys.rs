//! Every key that the engine itself writes. `docs/DATA.md` lists them with who writes each and why.
//!
//! A key of an entity begins with `e` and 128 bits of a keyed hash of its bare JID, so that load
//! spreads and keys stay short whatever the JID. Then comes one byte that says what the row is.
//! Nothing begins with a time.

use bytes::Bytes;
use kv::Key;
use peer::shard::{HashKey, siphash_1_3};
use peer::{SessionId, ShardId};
use xmpp::jid::Jid;

/// What a row of an entity is: the byte after the entity's hash.
pub mod tag {
    /// The account: its JID, whether it is disabled, its session generation.
    pub const ACCOUNT: u8 = b'a';
    /// What any resource has taken of the log.
    pub const CURSOR: u8 = b'c';
    /// The log: one row a message.
    pub const LOG: u8 = b'l';
    /// Credentials: one row, with a verifier for each hash function.
    pub const CREDENTIALS: u8 = b'p';
    /// The roster, one row a contact.
    pub const ROSTER: u8 = b'r';
    /// Sessions stored by an orderly stop.
    pub const SESSION: u8 = b's';
    /// Days on which there are messages with a contact.
    pub const CONTACT_DAY: u8 = b'x';
}

/// The first part of all keys of one entity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Entity([u8; 16]);

impl Entity {
    /// The entity of a bare JID (a full JID counts as its bare one).
    pub fn of(key: &HashKey, jid: &Jid) -> Self {
        let bare = jid.bare_str().as_bytes();
        let other = HashKey(key.0 ^ 0x6361_7269_6c6c_6f6e, key.1.rotate_left(32));
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&siphash_1_3(key, bare).to_be_bytes());
        hash[8..].copy_from_slice(&siphash_1_3(&other, bare).to_be_bytes());
        Self(hash)
    }

    /// The hash itself, as it stands in keys that name a contact.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A key of this entity: its tag and what follows.
    pub fn key(&self, tag: u8, rest: &[&[u8]]) -> Key {
        let len = 18 + rest.iter().map(|part| part.len()).sum::<usize>();
        let mut key = Vec::with_capacity(len);
        key.push(b'e');
        key.extend_from_slice(&self.0);
        key.push(tag);
        for part in rest {
            key.extend_from_slice(part);
        }
        Bytes::from(key)
    }

    /// First and last-exclusive key of all rows with this tag.
    pub fn span(&self, tag: u8) -> (Key, Key) {
        (self.key(tag, &[]), self.key(tag + 1, &[]))
    }

    /// First and last-exclusive key of all rows of the entity.
    pub fn all(&self) -> (Key, Key) {
        (self.key(0, &[]), self.key(0xff, &[]))
    }

    /// A row of the log.
    pub fn log(&self, id: u64) -> Key {
        self.key(tag::LOG, &[&id.to_be_bytes()])
    }

    /// The row of one contact in the roster.
    pub fn roster(&self, contact: &Entity) -> Key {
        self.key(tag::ROSTER, &[&contact.0])
    }

    /// The row that says: on this day (days since 1970-01-01) there are messages with this contact.
    pub fn contact_day(&self, contact: &Entity, day: u32) -> Key {
        self.key(tag::CONTACT_DAY, &[&contact.0, &day.to_be_bytes()])
    }

    /// A stored session.
    pub fn session(&self, id: SessionId) -> Key {
        self.key(tag::SESSION, &[&id.0.to_be_bytes()])
    }
}

/// The log id in a log key, or `None` if it is not one.
pub fn log_id(key: &[u8]) -> Option<u64> {
    let (head, id) = key.split_at_checked(18)?;
    (head.first() == Some(&b'e') && head.last() == Some(&tag::LOG))
        .then(|| id.try_into().ok().map(u64::from_be_bytes))?
}

/// The day of an id: days since 1970-01-01, UTC.
pub fn day(id: u64) -> u32 {
    (id / 86_400_000_000) as u32
}

/// The clock of a shard: the highest id that it gave out, and the batch that wrote it.
pub fn clock(shard: ShardId) -> Key {
    shard_key(b'c', shard)
}

/// The fence of a shard: the epoch under which its owner writes.
pub fn epoch(shard: ShardId) -> Key {
    shard_key(b'f', shard)
}

/// First and last-exclusive key of the fences of all shards.
pub fn epochs() -> (Key, Key) {
    (Bytes::from_static(b"f"), Bytes::from_static(&[b'f' + 1]))
}

/// The shard whose fence a key is, or `None` if it is not one.
pub fn epoch_of(key: &[u8]) -> Option<ShardId> {
    match key {
        [b'f', low, high] => Some(ShardId(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

fn shard_key(kind: u8, shard: ShardId) -> Key {
    let [high, low] = shard.0.to_be_bytes();
    // The low bits first: neighbours in number are not neighbours on disk.
    Bytes::copy_from_slice(&[kind, low, high])
}

/// The directory entry of an account: its domain and localpart in the clear, for listing in order.
pub fn directory(jid: &Jid) -> Key {
    let mut key = directory_of(jid.domain()).to_vec();
    key.extend_from_slice(jid.local().unwrap_or_default().as_bytes());
    Bytes::from(key)
}

/// What all directory entries of a domain begin with. A domain has no NUL, so none is the beginning
/// of another.
pub fn directory_of(domain: &str) -> Key {
    let mut key = Vec::with_capacity(2 + domain.len());
    key.push(b'u');
    key.extend_from_slice(domain.as_bytes());
    key.push(0);
    Bytes::from(key)
}

/// What belongs to the whole cluster: its hash key.
pub fn cluster() -> Key {
    Bytes::from_static(b"m/cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_an_entity_stay_inside_its_span() {
        let hash = HashKey(1, 2);
        let romeo =
            Entity::of(&hash, &Jid::parse("romeo@montague.example/balcony").expect("a JID"));
        let bare = Entity::of(&hash, &Jid::parse("romeo@montague.example").expect("a JID"));
        let juliet = Entity::of(&hash, &Jid::parse("juliet@capulet.example").expect("a JID"));
        assert_eq!(romeo, bare);
        assert_ne!(romeo, juliet);
        let (start, end) = romeo.all();
        for key in [
            romeo.log(0),
            romeo.log(u64::MAX),
            romeo.roster(&juliet),
            romeo.contact_day(&juliet, 7),
        ] {
            assert!(start <= key && key < end);
        }
        assert_eq!(log_id(&romeo.log(77)), Some(77));
        assert_eq!(log_id(&romeo.roster(&juliet)), None);
        let (start, end) = epochs();
        for shard in [ShardId(0), ShardId(4095)] {
            assert!(start <= epoch(shard) && epoch(shard) < end);
            assert_eq!(epoch_of(&epoch(shard)), Some(shard));
        }
    }
}
