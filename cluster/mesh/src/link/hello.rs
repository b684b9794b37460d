//! What each side of a link says first, on its control lane, and the counts of credit. Pure.

use super::outbox::Digested;
use crate::octets::Octets;

/// Version of the links' own protocol: frames' heads, hellos, credit, calls.
pub(crate) const VERSION: u16 = 1;
/// The oldest version that is still understood.
pub(crate) const VERSION_MIN: u16 = 1;

/// The first frame in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// What the sender speaks, and the oldest that it understands.
    pub(crate) version: u16,
    pub(crate) version_min: u16,
    /// Random bits of this run of the sender's process: a node that was started again is known.
    pub(crate) boot: u64,
    /// How many links to this peer the sender has lost. It tells a link that replaces a lost one
    /// from one that was dialled at the same time from the other side.
    pub(crate) lost: u64,
    /// Lanes that the sender reads: the control lane and one for each of its workers.
    pub(crate) lanes: u8,
    /// Work that the sender takes on each lane before it is digested.
    pub(crate) work_frames: u32,
    pub(crate) work_bytes: u32,
    /// The longest frame that it reads.
    pub(crate) frame_bytes: u32,
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(37);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.version_min.to_be_bytes());
        out.extend_from_slice(&self.boot.to_be_bytes());
        out.extend_from_slice(&self.lost.to_be_bytes());
        out.push(self.lanes);
        for number in [self.work_frames, self.work_bytes, self.frame_bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out
    }

    /// Reads a hello. What a later version adds at its end is not looked at.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Hello> {
        let mut octets = Octets(bytes);
        let hello = Hello {
            version: octets.u16()?,
            version_min: octets.u16()?,
            boot: octets.u64()?,
            lost: octets.u64()?,
            lanes: octets.u8()?,
            work_frames: octets.u32()?,
            work_bytes: octets.u32()?,
            frame_bytes: octets.u32()?,
        };
        (hello.lanes > 0 && hello.version_min <= hello.version).then_some(hello)
    }

    /// Whether two nodes understand each other.
    pub(crate) fn speaks_with(&self, other: &Hello) -> bool {
        self.version >= other.version_min && other.version >= self.version_min
    }
}

/// Lane and count, for each lane on which something was digested.
pub(crate) fn encode_credit(lanes: &[(u8, Digested)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lanes.len() * 17);
    for (lane, digested) in lanes {
        out.push(*lane);
        out.extend_from_slice(&digested.frames.to_be_bytes());
        out.extend_from_slice(&digested.bytes.to_be_bytes());
    }
    out
}

/// Reads what [`encode_credit`] writes.
pub(crate) fn decode_credit(bytes: &[u8]) -> Option<Vec<(u8, Digested)>> {
    let mut octets = Octets(bytes);
    let mut lanes = Vec::new();
    while !octets.is_empty() {
        let lane = octets.u8()?;
        lanes.push((lane, Digested { frames: octets.u64()?, bytes: octets.u64()? }));
    }
    Some(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello = Hello {
        version: 1,
        version_min: 1,
        boot: 0x0102_0304_0506_0708,
        lost: 9,
        lanes: 3,
        work_frames: 10,
        work_bytes: 11,
        frame_bytes: 12,
    };

    #[test]
    fn hellos_are_as_they_were_in_version_1() {
        let mut bytes = HELLO.encode();
        let frozen = [
            0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9, 3, 0, 0, 0, 10, 0, 0, 0,
            11, 0, 0, 0, 12,
        ];
        assert_eq!(bytes, frozen);
        assert_eq!(Hello::decode(&bytes), Some(HELLO));
        bytes.push(7);
        assert_eq!(Hello::decode(&bytes), Some(HELLO), "a later version may say more");
        for count in 0..frozen.len() {
            assert_eq!(Hello::decode(&frozen[..count]), None, "{count}");
        }
        assert_eq!(Hello::decode(&Hello { lanes: 0, ..HELLO }.encode()), None);
        assert_eq!(Hello::decode(&Hello { version: 0, ..HELLO }.encode()), None);
    }

    #[test]
    fn neighbouring_versions_understand_each_other() {
        let speak = |a: (u16, u16), b: (u16, u16)| {
            let hello = |it: (u16, u16)| Hello { version_min: it.0, version: it.1, ..HELLO };
            assert_eq!(hello(a).speaks_with(&hello(b)), hello(b).speaks_with(&hello(a)));
            hello(a).speaks_with(&hello(b))
        };
        assert!(speak((1, 1), (1, 2)));
        assert!(speak((1, 2), (2, 3)));
        assert!(!speak((1, 1), (2, 3)));
    }

    #[test]
    fn credit_round_trips() {
        let lanes = [(0, Digested { frames: 1, bytes: 2 }), (7, Digested { frames: 3, bytes: 4 })];
        let bytes = encode_credit(&lanes);
        assert_eq!(decode_credit(&bytes).unwrap(), lanes);
        assert_eq!(decode_credit(&[]), Some(Vec::new()));
        assert_eq!(decode_credit(&bytes[..20]), None);
    }
}
