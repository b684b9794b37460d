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

mod cluster;
pub(crate) mod control;
mod said;
mod stanza;
mod store;
pub(crate) mod wire;

use std::fmt;

use bytes::Bytes;

use crate::frame::{Frame, NodeSaid, Owner, Place};
use crate::limits::FRAME_BYTES_MAX;
use crate::{Complete, NodeId, Page};
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
    /// [`Frame::Complete`]
    Complete,
    /// [`Frame::Page`]
    Page,
    /// [`Frame::HandOver`]
    HandOver,
    /// [`NodeSaid::Link`]
    Link,
    /// [`NodeSaid::Map`]
    Map,
    /// [`NodeSaid::Credit`]
    Credit,
    /// [`NodeSaid::Admin`]
    Admin,
    /// [`NodeSaid::Store`]
    Store,
    /// [`NodeSaid::Raft`]
    Raft,
}

impl Kind {
    /// All kinds, in the order of their bytes.
    pub const ALL: [Kind; 12] = [
        Kind::Up,
        Kind::Down,
        Kind::Between,
        Kind::Complete,
        Kind::Page,
        Kind::HandOver,
        Kind::Link,
        Kind::Map,
        Kind::Credit,
        Kind::Admin,
        Kind::Store,
        Kind::Raft,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Up => 1,
            Self::Down => 2,
            Self::Between => 3,
            Self::Complete => 4,
            Self::Page => 5,
            Self::HandOver => 6,
            Self::Link => 7,
            Self::Map => 8,
            Self::Credit => 9,
            Self::Admin => 10,
            Self::Store => 11,
            Self::Raft => 12,
        }
    }

    /// What its frames have at their ends.
    const fn ends(self) -> (End, End) {
        match self {
            Self::Up | Self::Complete | Self::HandOver => (End::Node, End::Owner),
            Self::Down => (End::Owner, End::Conn),
            Self::Between => (End::Owner, End::Owner),
            Self::Page => (End::Owner, End::Node),
            Self::Link | Self::Map | Self::Credit | Self::Admin | Self::Store | Self::Raft => {
                (End::Node, End::Node)
            }
        }
    }

    fn of(code: u8) -> Result<Self, BadFrame> {
        let found = Self::ALL.into_iter().find(|kind| kind.code() == code);
        found.ok_or(BadFrame::Kind(code))
    }
}

impl From<&Frame> for Kind {
    fn from(frame: &Frame) -> Self {
        match frame {
            Frame::Up { .. } => Self::Up,
            Frame::Down { .. } => Self::Down,
            Frame::Between(_) => Self::Between,
            Frame::Complete(_) => Self::Complete,
            Frame::Page { .. } => Self::Page,
            Frame::HandOver { .. } => Self::HandOver,
            Frame::Node { said, .. } => match said {
                NodeSaid::Link(_) => Self::Link,
                NodeSaid::Map(_) => Self::Map,
                NodeSaid::Credit(_) => Self::Credit,
                NodeSaid::Admin(_) => Self::Admin,
                NodeSaid::Store(_) => Self::Store,
                NodeSaid::Raft(_) => Self::Raft,
            },
        }
    }
}

/// What is at an end of a frame's way.
#[derive(Clone, Copy)]
enum End {
    Node,
    Owner,
    Conn,
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
    put_head(frame, out);
    match frame {
        Frame::Up { said, .. } => out.put(said),
        Frame::Down { said, .. } => out.put(said),
        Frame::Between(said) => said::put_between(said, out),
        Frame::Complete(_) => {}
        Frame::Page { page: Page { shard: _, epoch: _, number, last, body }, .. } => {
            out.put(number);
            out.put(last);
            out.put(body);
        }
        Frame::HandOver { said, .. } => out.put(said),
        Frame::Node { said, .. } => match said {
            NodeSaid::Link(said) => out.put(said),
            NodeSaid::Map(said) => out.put(said),
            NodeSaid::Credit(said) => out.put(said),
            NodeSaid::Admin(said) => out.put(said),
            NodeSaid::Store(said) => out.put(said),
            NodeSaid::Raft(said) => out.put(said),
        },
    }
}

fn put_head(frame: &Frame, out: &mut Out<'_>) {
    let kind = Kind::from(frame);
    let (source, target) = (frame.source(), frame.target());
    out.raw(&[out.version, kind.code()]);
    out.edge = edge_of(kind, source, target);
    for end in [source, target] {
        match end {
            Place::Node(node) => out.put(&node),
            Place::Owner(owner) => out.put(&owner),
            Place::Conn(conn) => {
                out.put(&conn.edge);
                out.put(&conn);
            }
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
    let (source, target) = kind.ends();
    let (source, target) = (take_end(source, &mut from)?, take_end(target, &mut from)?);
    from.edge = edge_of(kind, source, target);
    Ok((Head { version, kind, source, target }, from))
}

fn take_end(end: End, from: &mut Take<'_>) -> Result<Place, BadFrame> {
    Ok(match end {
        End::Node => Place::Node(from.take()?),
        End::Owner => Place::Owner(from.take()?),
        End::Conn => {
            from.edge = from.take()?;
            Place::Conn(from.take()?)
        }
    })
}

/// The edge whose connections the frame speaks of.
fn edge_of(kind: Kind, source: Place, target: Place) -> NodeId {
    match (kind, source, target) {
        (Kind::Up, Place::Node(edge), _) => edge,
        (Kind::Down, _, Place::Conn(conn)) => conn.edge,
        (Kind::Credit, _, Place::Node(edge)) => edge,
        _ => NO_EDGE,
    }
}

fn take(head: &Head, from: &mut Take<'_>) -> Result<Frame, BadFrame> {
    Ok(match (head.source, head.target) {
        (Place::Node(edge), Place::Owner(owner)) => match head.kind {
            Kind::Complete => {
                let Owner { shard, epoch } = owner;
                Frame::Complete(Complete { edge, shard, epoch })
            }
            Kind::HandOver => Frame::HandOver { node: edge, owner, said: from.take()? },
            _ => Frame::Up { edge, owner, said: from.take()? },
        },
        (Place::Owner(owner), Place::Conn(conn)) => Frame::Down { owner, conn, said: from.take()? },
        (Place::Owner(source), Place::Owner(target)) => {
            Frame::Between(said::take_between(source, target, from)?)
        }
        (Place::Owner(Owner { shard, epoch }), Place::Node(node)) => {
            let (number, last, body) = (from.take()?, from.take()?, from.take()?);
            Frame::Page { node, page: Page { shard, epoch, number, last, body } }
        }
        (Place::Node(source), Place::Node(target)) => {
            Frame::Node { source, target, said: take_node_said(head.kind, from)? }
        }
        // No kind has such ends.
        _ => return Err(BadFrame::Choice),
    })
}

fn take_node_said(kind: Kind, from: &mut Take<'_>) -> Result<NodeSaid, BadFrame> {
    Ok(match kind {
        Kind::Link => NodeSaid::Link(from.take()?),
        Kind::Map => NodeSaid::Map(from.take()?),
        Kind::Credit => NodeSaid::Credit(from.take()?),
        Kind::Admin => NodeSaid::Admin(from.take()?),
        Kind::Store => NodeSaid::Store(from.take()?),
        Kind::Raft => NodeSaid::Raft(from.take()?),
        // The others are not from node to node.
        _ => return Err(BadFrame::Choice),
    })
}
