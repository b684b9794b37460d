//! Which shard an entity belongs to. Fixed for ever: changing it would mean to move every row.

use xmpp::jid::Jid;

/// How many shards there are.
pub const SHARDS: u16 = 4096;

/// A shard: a number below [`SHARDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// The shard of an entity, by a keyed hash of its bare JID, so that nobody can aim accounts at one
/// shard.
///
/// `key` is made once per cluster and stored with it.
pub fn shard_of(key: &HashKey, jid: &Jid) -> ShardId {
    let bare = jid.to_bare();
    let hash = siphash_1_3(key, bare.as_str().as_bytes());
    ShardId((hash % u64::from(SHARDS)) as u16)
}

/// The key of the cluster's hashes: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub u64, pub u64);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(…)")
    }
}

/// SipHash-1-3 (Aumasson and Bernstein, 2012). The standard library's hashers are free to change
/// between releases; what decides where rows live is not.
pub fn siphash_1_3(key: &HashKey, data: &[u8]) -> u64 {
    let mut v = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = data.as_chunks::<8>();
    for word in words {
        absorb(&mut v, u64::from_le_bytes(*word));
    }
    let mut last = [0u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = data.len() as u8;
    absorb(&mut v, u64::from_le_bytes(last));
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // The inputs are those of the paper's appendix: key 00..0f, message 00..n. The values come
        // from a second implementation, which reproduces the paper's value for SipHash-2-4.
        let key = HashKey(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let data: Vec<u8> = (0..64).collect();
        let known: [(usize, [u8; 8]); 6] = [
            (0, [220, 196, 15, 5, 88, 1, 172, 171]),
            (1, [147, 202, 87, 125, 243, 155, 244, 201]),
            (7, [64, 17, 177, 155, 152, 125, 146, 211]),
            (8, [142, 154, 41, 141, 17, 149, 144, 54]),
            (9, [228, 61, 6, 108, 179, 142, 164, 37]),
            (63, [168, 179, 187, 183, 98, 144, 25, 157]),
        ];
        for (length, hash) in known {
            assert_eq!(siphash_1_3(&key, &data[..length]).to_le_bytes(), hash, "{length} bytes");
        }
        for jid in ["a@b/c", "a@b"] {
            let jid = Jid::parse(jid).expect("a JID");
            assert_eq!(shard_of(&key, &jid), shard_of(&key, &jid.to_bare()));
        }
    }
}
