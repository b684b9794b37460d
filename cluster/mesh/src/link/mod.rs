//! Links: one QUIC connection between two nodes, with lanes of frames and with calls.
//!
//! A lane is a unidirectional stream: one for each worker of the receiving node, and the control
//! lane. The shard of a frame picks its lane, so what is for one shard stays in order. Sending
//! never waits: a frame is queued or refused. Work takes room at the other end until it is
//! digested there; confirmations and results have room of their own, so two nodes that are full
//! of each other's work still finish it.

mod call;
mod driver;
mod frame;
mod hello;
mod lanes;
mod outbox;
mod refusal;
mod settle;
pub(crate) mod tls;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub use call::{CallError, CallRefusal, Service};
pub use driver::{Joins, Mesh, exchange_join};
pub use frame::{Class, Frame};
pub use refusal::{LinkError, Refusal};

use crate::identity::Identity;
use crate::limits;
use frame::{HEAD, Item};
use outbox::{Digested, Intake, Outbox, Refused, Room};

/// The shard number of frames that are for no shard: they go over the control lane.
pub const CONTROL: u16 = u16::MAX;

/// What a handler gives back from a call.
pub type Answer = Pin<Box<dyn Future<Output = Result<Bytes, CallRefusal>> + Send>>;

/// What a node does with what its links bring. No method may wait or block: a link's reader calls
/// them, and its lane stands still meanwhile.
pub trait Handler: Send + Sync + 'static {
    /// A link came up. Frames of it come after this, and none after [`Handler::down`].
    fn up(&self, link: &Link);
    /// A frame arrived. Work stands in the way of more until `digest` is dropped; confirmations and
    /// results have none.
    fn frame(&self, link: &Link, frame: Frame, digest: Option<Digest>);
    /// A lane that refused work takes some again.
    fn room(&self, link: &Link);
    /// The link is gone; told once, with its generation in `link`.
    fn down(&self, link: &Link, why: LinkError);
    /// A call arrived. Whoever it is from has been judged by certificate; what it may ask is for
    /// the handler to judge, by the roles in `peer`.
    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer;
}

/// Which nodes a node links with, beyond what certificates say: those that the map knows. Must not
/// wait, and must not call the mesh.
pub trait Judge: Send + Sync + 'static {
    /// Whether there may be a link to this node. Asked before a link comes up, and again by
    /// [`Mesh::judge_again`].
    fn may_link(&self, peer: &Peer) -> bool;
}

impl<F: Fn(&Peer) -> bool + Send + Sync + 'static> Judge for F {
    fn may_link(&self, peer: &Peer) -> bool {
        self(peer)
    }
}

/// The node at the other end of a link.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who it is, by its certificate.
    pub identity: Identity,
    /// SHA-256 of its public key, which stays when the certificate is renewed.
    pub key: [u8; 32],
    /// Where its packets come from.
    pub address: SocketAddr,
    /// Random bits of its process.
    pub boot: u64,
}

/// What can be set about the links of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Workers of this node: each has a lane of its own on every link to this node.
    pub workers: u8,
    /// Bytes of one frame.
    pub frame_bytes: usize,
    /// Work that one lane may have on its way.
    pub work_bytes: usize,
    /// Frames of it.
    pub work_frames: usize,
    /// Confirmations and results that one lane may have queued.
    pub reserved_bytes: usize,
    /// Frames of them.
    pub reserved_frames: usize,
    /// How often an idle link says so.
    pub keep_alive: Duration,
    /// After how much silence a link is lost.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            workers: 2,
            frame_bytes: limits::FRAME_BYTES_MAX,
            work_bytes: limits::WORK_BYTES_MAX,
            work_frames: limits::WORK_FRAMES_MAX,
            reserved_bytes: limits::RESERVED_BYTES_MAX,
            reserved_frames: limits::RESERVED_FRAMES_MAX,
            keep_alive: limits::KEEP_ALIVE,
            silence: limits::LINK_SILENCE,
        }
    }
}

impl Settings {
    fn room(&self) -> Room {
        Room {
            work_bytes: self.work_bytes,
            work_frames: self.work_frames,
            reserved_bytes: self.reserved_bytes,
            reserved_frames: self.reserved_frames,
        }
    }

    /// Lanes that this node reads.
    fn lanes(&self) -> u8 {
        self.workers
            .saturating_add(1)
            .min(u8::try_from(limits::LANES_MAX).unwrap_or(u8::MAX))
            .max(1)
    }
}

/// Why a link did not take a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The lane has no room for more work. [`Handler::room`] is told when it has some.
    Full,
    /// The frame is longer than a frame may be.
    TooLong,
    /// The link is gone, or this is the handle of an earlier one.
    Gone,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Full => "the lane has no room for more work",
            SendError::TooLong => "the frame is too long",
            SendError::Gone => "the link is gone",
        })
    }
}

impl std::error::Error for SendError {}

/// One link, from when it came up to its end. A link that is made anew is another `Link`, with a
/// higher generation; this one then refuses everything.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {})", self.inner.peer.identity.node, self.inner.generation)
    }
}

/// What the tasks of a link share.
struct Inner {
    peer: Arc<Peer>,
    generation: u64,
    connection: quinn::Connection,
    handler: Arc<dyn Handler>,
    /// Held for reading while something is handed to the handler; false when the link is gone.
    up: RwLock<bool>,
    room: Room,
    frame_bytes: usize,
    outgoing: Vec<Outgoing>,
    incoming: Vec<Mutex<Intake>>,
    calls: call::Rooms,
    /// When something last arrived, in microseconds since `since`.
    heard: AtomicU64,
    since: Instant,
}

struct Outgoing {
    outbox: Mutex<Outbox<Digest>>,
    wake: Notify,
}

/// Keeps the room that a frame of work takes until it is dropped: when the work is done, or is
/// counted elsewhere.
pub struct Digest {
    inner: Arc<Inner>,
    lane: usize,
    bytes: usize,
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} bytes)", self.bytes)
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        let Some(intake) = self.inner.incoming.get(self.lane) else { return };
        if intake.lock().handle_digested(self.bytes, &self.inner.room) {
            // The control lane's writer looks at all counts before it writes.
            self.inner.wake(0);
        }
    }
}

impl Link {
    /// The node at the other end.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.inner.peer
    }

    /// The number of this link among all of this process: it only grows.
    pub fn generation(&self) -> u64 {
        self.inner.generation
    }

    /// Whether the link still stands.
    pub fn is_up(&self) -> bool {
        *self.inner.up.read_recursive()
    }

    /// Queues a frame, at once or not at all. Frames of one shard arrive in this order.
    ///
    /// # Errors
    /// The lane is full, the frame too long, or the link is gone. A link whose reserved room is
    /// used up is given up: its other end does not read what it is owed.
    pub fn try_send(&self, frame: Frame) -> Result<(), SendError> {
        self.queue(frame, None)
    }

    /// Queues the confirmation or result of a frame of work. The work keeps its room until this has
    /// left the node, so no more answers are ever queued than there was room for work.
    ///
    /// # Errors
    /// As [`Link::try_send`].
    pub fn try_answer(&self, frame: Frame, digest: Option<Digest>) -> Result<(), SendError> {
        self.queue(frame, digest)
    }

    fn queue(&self, frame: Frame, digest: Option<Digest>) -> Result<(), SendError> {
        if frame.body.len() + HEAD > self.inner.frame_bytes {
            return Err(SendError::TooLong);
        }
        let lane = self.inner.lane(frame.shard);
        // A handler is called under this lock and sends from there.
        let up = self.inner.up.read_recursive();
        let Some(outgoing) = self.inner.outgoing.get(lane).filter(|_| *up) else {
            return Err(SendError::Gone);
        };
        let taken = outgoing.outbox.lock().handle_item(Item::Frame(frame), digest);
        drop(up);
        match taken {
            Ok(()) => {
                outgoing.wake.notify_one();
                Ok(())
            }
            Err(Refused::Full) => Err(SendError::Full),
            Err(Refused::Overrun) => {
                self.inner.connection.close(LinkError::Overrun.code().into(), b"");
                Err(SendError::Gone)
            }
        }
    }

    /// For how long nothing has arrived, to a quarter of a second.
    pub fn quiet_for(&self) -> Duration {
        let heard = Duration::from_micros(self.inner.heard.load(Ordering::Relaxed));
        self.inner.since.elapsed().saturating_sub(heard)
    }

    /// Whether the other node has been silent for so long that it is suspected.
    pub fn is_suspected(&self) -> bool {
        self.quiet_for() >= limits::SUSPICION
    }

    /// The time of a round trip, as QUIC measures it.
    pub fn round_trip(&self) -> Duration {
        self.inner.connection.rtt()
    }

    /// Frames and bytes of work that are on their way over all lanes.
    pub fn under_way(&self) -> (u64, u64) {
        let each = self.inner.outgoing.iter().map(|lane| lane.outbox.lock().under_way());
        each.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }

    /// Queues a confirmation or result only while most of the reserved room is free. A refusal
    /// harms nothing, and [`Handler::room`] is not told of it: whoever sends so tries again, or
    /// does without.
    ///
    /// # Errors
    /// As [`Link::try_send`], but a link is never given up for this.
    pub fn try_spare(&self, shard: u16, body: Bytes) -> Result<(), SendError> {
        let lane = self.inner.lane(shard);
        let outgoing = self.inner.outgoing.get(lane).ok_or(SendError::Gone)?;
        if !outgoing.outbox.lock().has_spare_room(body.len() + HEAD) {
            return Err(SendError::Full);
        }
        self.queue(Frame { class: Class::Reserved, shard, body }, None)
    }

    /// Lanes on which this node sends.
    pub fn lanes_out(&self) -> usize {
        self.inner.outgoing.len()
    }

    /// Lanes on which it receives.
    pub fn lanes_in(&self) -> usize {
        self.inner.incoming.len()
    }

    /// The other side does not follow the protocol that is spoken over this link.
    pub(crate) fn give_up(&self) {
        self.inner.connection.close(LinkError::Broken.code().into(), b"");
    }

    /// Ends the link.
    pub fn close(&self) {
        self.inner.connection.close(LinkError::Closed.code().into(), b"");
    }
}

/// The lane of a shard, where the receiving node reads so many. The same on both sides.
pub(crate) fn lane_of(shard: u16, lanes: usize) -> usize {
    let workers = lanes.saturating_sub(1);
    if shard == CONTROL || workers == 0 { 0 } else { 1 + usize::from(shard) % workers }
}

impl Inner {
    /// The lane of a shard.
    fn lane(&self, shard: u16) -> usize {
        lane_of(shard, self.outgoing.len())
    }

    fn wake(&self, lane: usize) {
        if let Some(outgoing) = self.outgoing.get(lane) {
            outgoing.wake.notify_one();
        }
    }

    /// What has been digested since it was told, on each lane.
    fn poll_credit(&self) -> Vec<(u8, Digested)> {
        let lanes = self.incoming.iter().enumerate();
        lanes
            .filter_map(|(lane, intake)| {
                let digested = intake.lock().poll_credit()?;
                Some((u8::try_from(lane).ok()?, digested))
            })
            .collect()
    }
}
