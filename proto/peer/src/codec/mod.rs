//! The bytes of frames between nodes (docs/WIRE.md).
//!
//! A frame is its length (four bytes, big-endian, what follows them), a version, a kind, its two
//! ends, and what is said. The length is judged before anything is allocated ([`length`]). What was
//! decoded may be trusted as far as its node is: numbers, texts and lengths are checked, but
//! addresses and XML were judged by the edge that took them in.
//!
//! **Versions.** A node writes to a peer in the lower of both highest versions, which they tell
//! each other in the first frame ([`encode`] takes it). A version may add fields at the end of a
//! frame; a reader skips what a version above its own has added, and knows what is missing in a
//! version below its own. Anything else (a new kind, a new variant) is sent only when the control
//! plane has opened the gate for it, which is when every member can read it.

mod said;
mod stanza;
mod wire;

use std::fmt;

use bytes::Bytes;

use crate::NodeId;
use crate::frame::{Frame, Owner, Place};
use crate::limits::FRAME_BYTES_MAX;
use wire::{NO_EDGE, Out, Take};

/// The highest version that this program reads and writes.
pub const VERSION: u8 = 1;

/// The lowest version that this program reads and writes.
pub const VERSION_MIN: u8 = 1;

/// Bytes of a frame's length, in front of it.
pub const LENGTH_BYTES: usize = 4;

const _: () = assert!(VERSION_MIN <= VERSION && VERSION < u8::MAX);

/// Why bytes are no frame. The peer broke a rule, or is a program of another time: the link is
/// closed, for what follows cannot be told apart either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    /// Longer than [`FRAME_BYTES_MAX`], or without a head.
    Length(u32),
    /// Of a version that this program does not read: below [`VERSION_MIN`], or more than one above
    /// [`VERSION`].
    Version(u8),
    /// Of a kind that this program does not know.
    Kind(u8),
    /// It ends within a field.
    Short,
    /// A number of more bits than its field has, or of a shard that is none.
    Number,
    /// More items than a list may have, or than there are bytes.
    Count,
    /// A text that is not UTF-8.
    Text,
    /// An address that is none.
    Address,
    /// A variant that this program does not know.
    Choice,
    /// A body whose index does not fit its bytes.
    Body,
    /// Something follows the last field.
    Trailing,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a frame of {length} bytes"),
            Self::Version(version) => write!(f, "a frame of version {version}"),
            Self::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Self::Short => f.write_str("a frame that ends within a field"),
            Self::Number => f.write_str("a number that its field does not hold"),
            Self::Count => f.write_str("a list that is too long"),
            Self::Text => f.write_str("a text that is not UTF-8"),
            Self::Address => f.write_str("an address that is none"),
            Self::Choice => f.write_str("a variant that is not known here"),
            Self::Body => f.write_str("a body whose index does not fit its bytes"),
            Self::Trailing => f.write_str("something follows the last field"),
        }
    }
}

impl std::error::Error for BadFrame {}

/// A frame that no reader would take: above [`FRAME_BYTES_MAX`], or with a list above
/// [`ITEMS_MAX`](crate::limits::ITEMS_MAX). Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame above the limit")
    }
}

impl std::error::Error for TooLarge {}

/// What a frame is; each has a byte of its own, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// [`Frame::Up`]
    Up,
    /// [`Frame::Down`]
    Down,
    /// [`Frame::Between`]
    Between,
}

impl Kind {
    /// All kinds, in the order of their bytes.
    pub const ALL: [Kind; 3] = [Kind::Up, Kind::Down, Kind::Between];

    const fn code(self) -> u8 {
        match self {
            Self::Up => 1,
            Self::Down => 2,
            Self::Between => 3,
        }
    }

    fn of(code: u8) -> Result<Self, BadFrame> {
        let found = Self::ALL.into_iter().find(|kind| kind.code() == code);
        found.ok_or(BadFrame::Kind(code))
    }
}

/// What stands before what is said: enough to refuse a frame of a bygone epoch, and to hand it to
/// the worker that it is for, without reading the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version in which the frame is written.
    pub version: u8,
    /// What it is.
    pub kind: Kind,
    /// Who says it.
    pub source: Place,
    /// To whom.
    pub target: Place,
}

/// How many bytes follow a frame's length. They are not to be read, nor room made for them, before
/// this has been asked.
///
/// # Errors
/// [`BadFrame::Length`]
pub fn length(bytes: [u8; LENGTH_BYTES]) -> Result<usize, BadFrame> {
    let length = u32::from_be_bytes(bytes);
    match length as usize {
        0..2 => Err(BadFrame::Length(length)),
        taken if taken > FRAME_BYTES_MAX => Err(BadFrame::Length(length)),
        taken => Ok(taken),
    }
}

/// Appends a frame, its length in front, in the layout of a version that the reader understands.
///
/// # Errors
/// [`TooLarge`]; `bytes` is as it was.
pub fn encode(frame: &Frame, version: u8, bytes: &mut Vec<u8>) -> Result<(), TooLarge> {
    debug_assert!((VERSION_MIN..=VERSION).contains(&version));
    let start = bytes.len();
    bytes.extend_from_slice(&[0; LENGTH_BYTES]);
    let mut out = Out::new(bytes, version);
    put(frame, &mut out);
    let too_large = out.too_large;
    let length = bytes.len() - start - LENGTH_BYTES;
    let at = bytes.get_mut(start..start + LENGTH_BYTES);
    match (u32::try_from(length), at) {
        (Ok(length), Some(at)) if length as usize <= FRAME_BYTES_MAX && !too_large => {
            at.copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        _ => {
            bytes.truncate(start);
            Err(TooLarge)
        }
    }
}

/// The head of a frame; `frame` is what follows the length.
///
/// # Errors
/// Why it is no head.
pub fn head(frame: &Bytes) -> Result<Head, BadFrame> {
    take_head(frame).map(|(head, _)| head)
}

/// Reads a frame; `frame` is what follows the length.
///
/// # Errors
/// Why it is no frame.
pub fn decode(frame: &Bytes) -> Result<Frame, BadFrame> {
    let (head, mut from) = take_head(frame)?;
    let decoded = take(&head, &mut from)?;
    // What a later version added at the end is not for us.
    if from.is_empty() || from.version > VERSION { Ok(decoded) } else { Err(BadFrame::Trailing) }
}

fn put(frame: &Frame, out: &mut Out<'_>) {
    let mut begin = |kind: Kind, edge: NodeId| {
        out.raw(&[out.version, kind.code()]);
        out.edge = edge;
    };
    match frame {
        Frame::Up { edge, owner, said } => {
            begin(Kind::Up, *edge);
            out.put(edge);
            out.put(owner);
            out.put(said);
        }
        Frame::Down { owner, conn, said } => {
            begin(Kind::Down, conn.edge);
            out.put(owner);
            out.put(&conn.edge);
            out.put(conn);
            out.put(said);
        }
        Frame::Between(said) => {
            begin(Kind::Between, NO_EDGE);
            out.put(&said.source());
            out.put(&Owner { shard: said.target(), epoch: said.target_epoch() });
            said::put_between(said, out);
        }
    }
}

fn take_head(frame: &Bytes) -> Result<(Head, Take<'_>), BadFrame> {
    let mut from = Take::new(frame, VERSION);
    let version = from.byte()?;
    if !(VERSION_MIN..=VERSION + 1).contains(&version) {
        return Err(BadFrame::Version(version));
    }
    from.version = version;
    let kind = Kind::of(from.byte()?)?;
    let (source, target) = match kind {
        Kind::Up => {
            from.edge = from.take()?;
            (Place::Node(from.edge), Place::Owner(from.take()?))
        }
        Kind::Down => {
            let owner = Place::Owner(from.take()?);
            from.edge = from.take()?;
            (owner, Place::Conn(from.take()?))
        }
        Kind::Between => (Place::Owner(from.take()?), Place::Owner(from.take()?)),
    };
    Ok((Head { version, kind, source, target }, from))
}

fn take(head: &Head, from: &mut Take<'_>) -> Result<Frame, BadFrame> {
    Ok(match (head.kind, head.source, head.target) {
        (Kind::Up, Place::Node(edge), Place::Owner(owner)) => {
            Frame::Up { edge, owner, said: from.take()? }
        }
        (Kind::Down, Place::Owner(owner), Place::Conn(conn)) => {
            Frame::Down { owner, conn, said: from.take()? }
        }
        (Kind::Between, Place::Owner(source), Place::Owner(target)) => {
            Frame::Between(said::take_between(source, target, from)?)
        }
        // `take_head` makes no other pairs.
        _ => return Err(BadFrame::Choice),
    })
}
