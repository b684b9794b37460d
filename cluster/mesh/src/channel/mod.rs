//! Channels: frames to the process of another node that no lost link loses.
//!
//! A link breaks and comes back while both processes live, and nobody above may notice: what was
//! sent is kept until the other process has taken it, and each frame arrives once, in the order of
//! its lane. Only a process that was declared dead or has left is gone, with all that was kept for
//! it. A channel belongs to a *process*, number and incarnation: what was meant for one never
//! reaches its successor.
//!
//! On the wire a kept frame is work with its body untouched. A lane is a queue, so a count for each
//! lane says what was taken; it goes with the channel's few own words over the control lane. On a
//! new link each side says who it is, then what it has taken from the other, and then the rest is
//! sent. Whoever uses channels sends no frames of its own on their links: they would be counted.

mod driver;
#[cfg(test)]
mod simulation;
mod state;
#[cfg(test)]
mod tests;
mod word;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peer::NodeId;

use crate::limits;
use crate::link::{Answer, Link, LinkError, Peer, Service};

pub use driver::Channels;

/// What a node does with what its channels bring. No method may wait or block, and none may
/// panic: a lane stands still meanwhile, and a frame that was handed on is not sent again.
pub trait Receiver: Send + Sync + 'static {
    /// A frame of another node's process: in the order in which it was sent on its lane, each once.
    fn frame(&self, from: NodeId, peer: &Arc<Peer>, shard: u16, body: Bytes);
    /// What was sent by [`Channels::send_now`].
    fn news(&self, from: NodeId, peer: &Arc<Peer>, body: Bytes);
    /// A link came up. Who is at its other end is known only from what comes over it.
    fn up(&self, link: &Link);
    /// The link is gone; told once. What is kept stays.
    fn down(&self, link: &Link, why: LinkError);
    /// A call arrived (see [`crate::Handler::call`]).
    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer;
    /// Whether the peer may call itself so: whoever follows the map looks there. One who may not
    /// is asked about ten times a second, as the map may be late, and until then nothing is taken
    /// from it and nothing sent. Must not call the channels.
    fn knows(&self, node: NodeId, peer: &Peer) -> bool {
        let _ = (node, peer);
        true
    }
}

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for one process, with a little for each frame.
    pub channel_bytes: usize,
    /// Bytes of one frame's body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { channel_bytes: limits::CHANNEL_BYTES_MAX, body_bytes: limits::BODY_BYTES_MAX }
    }
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// The frame is longer than a frame may be. A process that reads only shorter ones than this
    /// one sends has a channel that is broken, and every later send says this.
    TooLong,
    /// More is kept for the process than may be. The channel is broken for good, for its order has
    /// a gap: every later send says so, until the process is forgotten.
    Full,
    /// The process was forgotten, or is this one.
    Gone,
    /// There are channels to more processes than a cluster has.
    TooMany,
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelError::TooLong => "the frame is too long",
            ChannelError::Full => "the other process has not taken what is kept for it",
            ChannelError::Gone => "the process is gone",
            ChannelError::TooMany => "there are too many other processes",
        })
    }
}

impl std::error::Error for ChannelError {}

/// One channel, for who looks at the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The other process.
    pub node: NodeId,
    /// Frames that are kept for it, and their bytes.
    pub kept: (usize, usize),
    /// For how long nothing has come over the link to it; none if it has no link.
    pub quiet_for: Option<Duration>,
    /// Why nothing is taken for it any more.
    pub broken: Option<ChannelError>,
}
