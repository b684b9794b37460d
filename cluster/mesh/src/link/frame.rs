//! The head of a frame, and cutting a stream of bytes into frames.
//!
//! A frame is `length u32 · class u8 · shard u16 · body`, big-endian; the length counts what
//! follows it. The body is the codec's, this file does not look into it.

use bytes::{Buf as _, Bytes, BytesMut};

/// What waits for room and what has it reserved (design: "Back-pressure acts in one place").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// New work: it is taken while the other end has room for it.
    Work,
    /// Confirmations and results: they answer work that was admitted, so their room is kept free.
    Reserved,
}

/// One frame, as it is handed to a link and as a link hands it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it needs room at the other end.
    pub class: Class,
    /// The shard that it is for; what is for no shard says 0.
    pub shard: u16,
    /// The codec's bytes.
    pub body: Bytes,
}

/// What goes over a lane, with what links tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Frame(Frame),
    Hello(Bytes),
    Credit(Bytes),
}

/// Bytes before a body.
pub(crate) const HEAD: usize = 7;

const WORK: u8 = 1;
const RESERVED: u8 = 2;
const HELLO: u8 = 3;
const CREDIT: u8 = 4;

/// The other side does not speak this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unframed {
    /// A frame is longer than may be.
    TooLong,
    /// A frame is shorter than its head, or of a class that does not exist.
    Malformed,
}

impl Item {
    pub(crate) fn head(&self) -> [u8; HEAD] {
        let (class, shard, body) = match self {
            Item::Frame(frame) => {
                let class = if frame.class == Class::Work { WORK } else { RESERVED };
                (class, frame.shard, &frame.body)
            }
            Item::Hello(body) => (HELLO, 0, body),
            Item::Credit(body) => (CREDIT, 0, body),
        };
        let count = u32::try_from(body.len() + HEAD - 4).unwrap_or(u32::MAX).to_be_bytes();
        let shard = shard.to_be_bytes();
        [count[0], count[1], count[2], count[3], class, shard[0], shard[1]]
    }

    pub(crate) fn body(&self) -> &Bytes {
        match self {
            Item::Frame(frame) => &frame.body,
            Item::Hello(body) | Item::Credit(body) => body,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        HEAD + self.body().len()
    }
}

/// Cuts what arrives on one lane into frames.
pub(crate) struct Unframer {
    buffer: BytesMut,
    bytes_max: usize,
}

impl Unframer {
    pub(crate) fn new(bytes_max: usize) -> Unframer {
        Unframer { buffer: BytesMut::new(), bytes_max }
    }

    /// Takes what arrived. Call [`Unframer::poll_item`] until it has no more: then at most one
    /// unfinished frame is kept.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame. The length is judged as soon as it is there, before any byte of the
    /// body.
    pub(crate) fn poll_item(&mut self) -> Result<Option<Item>, Unframed> {
        let Some(count) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let count = u32::from_be_bytes(*count) as usize;
        if count < HEAD - 4 {
            return Err(Unframed::Malformed);
        }
        if count.saturating_add(4) > self.bytes_max {
            return Err(Unframed::TooLong);
        }
        if self.buffer.len() < 4 + count {
            return Ok(None);
        }
        let mut whole = self.buffer.split_to(4 + count).freeze();
        whole.advance(4);
        let (class, shard) = (whole.get_u8(), whole.get_u16());
        let item = match class {
            WORK => Item::Frame(Frame { class: Class::Work, shard, body: whole }),
            RESERVED => Item::Frame(Frame { class: Class::Reserved, shard, body: whole }),
            HELLO => Item::Hello(whole),
            CREDIT => Item::Credit(whole),
            _ => return Err(Unframed::Malformed),
        };
        Ok(Some(item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Item> {
        let frame = |class, shard, body: &'static [u8]| {
            Item::Frame(Frame { class, shard, body: Bytes::from_static(body) })
        };
        vec![
            Item::Hello(Bytes::from_static(b"hello")),
            frame(Class::Work, 4095, b"stanza"),
            frame(Class::Reserved, 0, b""),
            Item::Credit(Bytes::from_static(&[1, 2, 3])),
            frame(Class::Work, 1, b"x"),
        ]
    }

    fn encoded(items: &[Item]) -> Vec<u8> {
        items.iter().flat_map(|it| [&it.head()[..], it.body()].concat()).collect()
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let (items, bytes) = (items(), encoded(&items()));
        for step in 1..=bytes.len() {
            let mut unframer = Unframer::new(64);
            let mut out = Vec::new();
            for chunk in bytes.chunks(step) {
                unframer.handle_bytes(chunk);
                while let Some(item) = unframer.poll_item().unwrap() {
                    out.push(item);
                }
            }
            assert_eq!(out, items, "in steps of {step}");
        }
    }

    #[test]
    fn the_head_is_as_written_down() {
        let item = Item::Frame(Frame {
            class: Class::Reserved,
            shard: 0x0102,
            body: Bytes::from_static(b"ab"),
        });
        assert_eq!(encoded(&[item]), [0, 0, 0, 5, 2, 1, 2, b'a', b'b']);
    }

    #[test]
    fn a_length_is_judged_before_its_body_comes() {
        let check = |length: u32, want| {
            let mut unframer = Unframer::new(64);
            unframer.handle_bytes(&length.to_be_bytes());
            assert_eq!(unframer.poll_item(), want, "{length}");
            assert!(unframer.buffer.capacity() <= 64);
        };
        check(60, Ok(None));
        check(61, Err(Unframed::TooLong));
        check(u32::MAX, Err(Unframed::TooLong));
        check(3, Ok(None));
        check(2, Err(Unframed::Malformed));
        let mut unframer = Unframer::new(64);
        unframer.handle_bytes(&[0, 0, 0, 3, 9, 0, 0]);
        assert_eq!(unframer.poll_item(), Err(Unframed::Malformed));
    }
}
