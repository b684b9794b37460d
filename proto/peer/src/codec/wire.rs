//! The pieces of which frames are made: numbers as varints, what varies in length with its length
//! in front, choices as one byte.
//!
//! Reading never panics, and never allocates for more than the bytes that are there.
//!
//! Two kinds of field lean on what stands before them. A connection is only its slot: the edge is
//! in the frame's head, so an edge cannot speak for a connection of another. An address that is the
//! bare form of the last stanza's sender or recipient is two bytes that say so, which is the rule
//! for the account that a stanza belongs to.

use bytes::Bytes;
use xmpp::jid::Jid;
use xmpp::text::Text;

use super::BadFrame;
use crate::limits::{ITEMS_MAX, OWN_BUFFER_BYTES};
use crate::{ConnId, Epoch, IngestKey, NodeId, Owner, SHARDS, SessionId, ShardId};

/// What is written, in the layout of one version.
pub(crate) struct Out<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    /// The version that the reader understands.
    pub(super) version: u8,
    /// Something was written that no reader takes.
    pub(super) too_large: bool,
    /// The edge that the head names.
    pub(super) edge: NodeId,
    /// Sender and recipient of the last stanza.
    pub(super) last: [Option<Jid>; 2],
}

/// For frames that name no edge.
pub(super) const NO_EDGE: NodeId = NodeId { number: 0, incarnation: 0 };

/// In place of an address's length, which is never zero: the address is one of `last`.
const SAME_AS: u8 = 0;

impl<'a> Out<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>, version: u8) -> Self {
        Self { bytes, version, too_large: false, edge: NO_EDGE, last: [None, None] }
    }

    /// Bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Seven bits in a byte, the lowest first, the high bit set on all but the last.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Bytes with their length in front.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    /// So many items follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.too_large |= count > ITEMS_MAX;
        self.number(count as u64);
    }

    pub(crate) fn put<T: Wire>(&mut self, value: &T) {
        value.put(self);
    }
}

/// What is read: a frame, and how far it was read.
pub(crate) struct Take<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
    /// The version in which the frame was written.
    pub(super) version: u8,
    /// The edge that the head names.
    pub(super) edge: NodeId,
    /// Sender and recipient of the last stanza.
    pub(super) last: [Option<Jid>; 2],
}

impl<'a> Take<'a> {
    pub(crate) fn new(frame: &'a Bytes, version: u8) -> Self {
        Self { frame, rest: frame, version, edge: NO_EDGE, last: [None, None] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, BadFrame> {
        let (first, rest) = self.rest.split_first().ok_or(BadFrame::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, BadFrame> {
        // Most numbers are one byte.
        match self.rest {
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Result<u64, BadFrame> {
        let mut number = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(BadFrame::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadFrame::Number)
    }

    pub(crate) fn raw(&mut self, len: usize) -> Result<&'a [u8], BadFrame> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(BadFrame::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadFrame> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(BadFrame::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn field(&mut self) -> Result<&'a [u8], BadFrame> {
        let len = usize::try_from(self.number()?).map_err(|_| BadFrame::Number)?;
        self.raw(len)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str, BadFrame> {
        std::str::from_utf8(self.field()?).map_err(|_| BadFrame::Text)
    }

    /// Bytes to keep. They share the frame's only where that has a buffer of its own and they are a
    /// good part of it: a stanza in a queue must not hold on to a buffer full of others.
    pub(crate) fn keep(&self, bytes: &'a [u8]) -> Bytes {
        let frame = self.frame.len();
        if frame >= OWN_BUFFER_BYTES && bytes.len() >= frame / 4 {
            self.frame.slice_ref(bytes)
        } else {
            Bytes::copy_from_slice(bytes)
        }
    }

    pub(crate) fn take<T: Wire>(&mut self) -> Result<T, BadFrame> {
        T::take(self)
    }
}

/// What can be a part of a frame.
pub(crate) trait Wire: Sized {
    fn put(&self, out: &mut Out<'_>);
    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame>;
}

/// A struct: its fields, in the order that is written here, for ever.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::codec::wire::Wire for $name {
            fn put(&self, out: &mut $crate::codec::wire::Out<'_>) {
                let Self { $($field),+ } = self;
                $(out.put($field);)+
            }

            fn take(
                from: &mut $crate::codec::wire::Take<'_>,
            ) -> Result<Self, $crate::codec::BadFrame> {
                Ok(Self { $($field: from.take()?),+ })
            }
        }
    };
}

/// An enum: a byte for the variant, then its fields, in the order that is written here, for ever.
macro_rules! wire_enum {
    ($name:ident { $($code:literal => $variant:ident $({ $($field:ident),+ $(,)? })?
        $(($($item:ident),+))?),+ $(,)? }) => {
        impl $crate::codec::wire::Wire for $name {
            fn put(&self, out: &mut $crate::codec::wire::Out<'_>) {
                match self {
                    $(Self::$variant $({ $($field),+ })? $(($($item),+))? => {
                        out.raw(&[$code]);
                        $($(out.put($field);)+)?
                        $($(out.put($item);)+)?
                    })+
                }
            }

            fn take(
                from: &mut $crate::codec::wire::Take<'_>,
            ) -> Result<Self, $crate::codec::BadFrame> {
                match from.byte()? {
                    $($code => Ok(Self::$variant $({ $($field: from.take()?),+ })?
                        $(($($crate::codec::wire::taken!($item, from)),+))?),)+
                    _ => Err($crate::codec::BadFrame::Choice),
                }
            }
        }
    };
}

/// The next field, whatever it is called.
macro_rules! taken {
    ($item:ident, $from:ident) => {
        $from.take()?
    };
}

pub(crate) use {taken, wire_enum, wire_struct};

impl Wire for u8 {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(&[*self]);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.byte()
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl Wire for $number {
            fn put(&self, out: &mut Out<'_>) {
                out.number(u64::from(*self));
            }

            fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
                Self::try_from(from.number()?).map_err(|_| BadFrame::Number)
            }
        })+
    };
}

numbers!(u16, u32, u64);

impl Wire for bool {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(&[u8::from(*self)]);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadFrame::Choice),
        }
    }
}

impl<const N: usize> Wire for [u8; N] {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(self);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.array()
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&self.is_some());
        if let Some(value) = self {
            out.put(value);
        }
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.take::<bool>()?.then(|| from.take()).transpose()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Out<'_>) {
        out.count(self.len());
        self.iter().for_each(|item| out.put(item));
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let count = from.number()?;
        // Each item takes a byte at least, so a count beyond that is a lie.
        if count > ITEMS_MAX as u64 || count > from.rest.len() as u64 {
            return Err(BadFrame::Count);
        }
        // Grown as the items come: a byte on the wire may be a hundred in memory.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(from.take()?);
        }
        Ok(items)
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&self.is_ok());
        match self {
            Ok(value) => out.put(value),
            Err(error) => out.put(error),
        }
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        Ok(if from.take()? { Ok(from.take()?) } else { Err(from.take()?) })
    }
}

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&**self);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.take().map(Box::new)
    }
}

impl Wire for () {
    fn put(&self, _: &mut Out<'_>) {}

    fn take(_: &mut Take<'_>) -> Result<Self, BadFrame> {
        Ok(())
    }
}

impl Wire for Bytes {
    fn put(&self, out: &mut Out<'_>) {
        out.field(self);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let bytes = from.field()?;
        Ok(from.keep(bytes))
    }
}

impl Wire for Text {
    fn put(&self, out: &mut Out<'_>) {
        out.field(self.as_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.str().map(Text::from)
    }
}

/// As its text, which was normalised by the node that parsed it; so it is only cut into its parts.
impl Wire for Jid {
    fn put(&self, out: &mut Out<'_>) {
        let is =
            |jid: &Option<Jid>| jid.as_ref().is_some_and(|jid| jid.bare_str() == self.as_str());
        match out.last.iter().position(is) {
            Some(which) => out.raw(&[SAME_AS, which as u8]),
            None => out.field(self.as_str().as_bytes()),
        }
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let text = from.str()?;
        if !text.is_empty() {
            return Jid::trusted(text).map_err(|_| BadFrame::Address);
        }
        let which = usize::from(from.byte()?);
        let last = from.last.get(which).and_then(Option::as_ref);
        last.map(Jid::to_bare).ok_or(BadFrame::Address)
    }
}

/// Only the slot: see the head of this file.
impl Wire for ConnId {
    fn put(&self, out: &mut Out<'_>) {
        debug_assert_eq!(self.edge, out.edge, "a connection of the edge that the head names");
        out.put(&self.slot);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        Ok(Self { edge: from.edge, slot: from.take()? })
    }
}

impl Wire for Epoch {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&self.0);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.take().map(Epoch)
    }
}

impl Wire for ShardId {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&self.0);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        match from.take()? {
            number if number < SHARDS => Ok(ShardId(number)),
            _ => Err(BadFrame::Number),
        }
    }
}

/// Sixteen bytes: random, so a varint would be longer.
impl Wire for SessionId {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(&self.0.to_be_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.array().map(u128::from_be_bytes).map(SessionId)
    }
}

/// Its hash is eight bytes, as random as the session.
impl Wire for IngestKey {
    fn put(&self, out: &mut Out<'_>) {
        let Self { session, attachment, number, hash } = self;
        out.put(session);
        out.put(attachment);
        out.put(number);
        out.raw(&hash.to_be_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        Ok(Self {
            session: from.take()?,
            attachment: from.take()?,
            number: from.take()?,
            hash: from.array().map(u64::from_be_bytes)?,
        })
    }
}

wire_struct!(NodeId { number, incarnation });
wire_struct!(Owner { shard, epoch });
