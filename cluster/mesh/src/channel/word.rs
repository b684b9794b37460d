//! What channels tell each other on the control lane: a tag, and what belongs to it. Pure.

use bytes::{Buf as _, Bytes};
use peer::NodeId;

use crate::octets::Octets;

const HELLO: u8 = 1;
const TAKEN: u8 = 2;
const NEWS: u8 = 3;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The process that speaks: the first word on each link.
    Hello(NodeId),
    /// Frames that were taken from the other process so far, lane by lane.
    Taken(Vec<u64>),
    /// A message that is not kept.
    News(Bytes),
}

impl Word {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Word::Hello(node) => {
                out.push(HELLO);
                out.extend_from_slice(&node.number.to_be_bytes());
                out.extend_from_slice(&node.incarnation.to_be_bytes());
            }
            Word::Taken(lanes) => {
                out.reserve(1 + 8 * lanes.len());
                out.push(TAKEN);
                lanes.iter().for_each(|count| out.extend_from_slice(&count.to_be_bytes()));
            }
            Word::News(body) => {
                out.reserve(1 + body.len());
                out.push(NEWS);
                out.extend_from_slice(body);
            }
        }
        Bytes::from(out)
    }

    /// Reads a word. What a later version adds to a hello is not looked at; a word that this one
    /// does not know is not said to it, for the link's hello tells the version.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Word> {
        if bytes.is_empty() {
            return None;
        }
        let tag = bytes.get_u8();
        let mut octets = Octets(&bytes);
        match tag {
            HELLO => {
                Some(Word::Hello(NodeId { number: octets.u32()?, incarnation: octets.u32()? }))
            }
            TAKEN => {
                let mut lanes = Vec::new();
                while !octets.is_empty() {
                    lanes.push(octets.u64()?);
                }
                Some(Word::Taken(lanes))
            }
            NEWS => Some(Word::News(bytes)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_they_were_in_version_1() {
        let check = |word: Word, frozen: &[u8]| {
            assert_eq!(word.encode(), frozen);
            assert_eq!(Word::decode(Bytes::copy_from_slice(frozen)), Some(word));
        };
        let node = NodeId { number: 7, incarnation: 0x0102_0304 };
        check(Word::Hello(node), &[1, 0, 0, 0, 7, 1, 2, 3, 4]);
        check(Word::Taken(vec![]), &[2]);
        check(Word::Taken(vec![1, 256]), &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
        check(Word::News(Bytes::from_static(b"up")), &[3, b'u', b'p']);
        let longer = Bytes::from_static(&[1, 0, 0, 0, 7, 1, 2, 3, 4, 99]);
        assert_eq!(Word::decode(longer), Some(Word::Hello(node)), "a later version may say more");
    }

    #[test]
    fn what_is_no_word_is_refused() {
        for bytes in [&[][..], &[0], &[4], &[255, 1], &[1, 0, 0, 0, 7, 1, 2, 3], &[2, 0, 0, 0]] {
            assert_eq!(Word::decode(Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
    }
}
