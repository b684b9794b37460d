//! Frames from the owner of one shard to the owner of another: a window of numbered parcels.
//!
//! Each shard numbers its parcels from its own clock, so numbers grow over changes of owner. A
//! parcel names the one sent before it to the same shard (`prev`); the receiver takes it only if it
//! has taken exactly that one, or, where `prev` is zero, anything lower. So a late copy from an old
//! link is refused, a gap is refused, and neither side keeps state for a pair of shards at rest.

use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

use crate::{Epoch, IngestKey, Owner, ShardId};

/// What one shard says to another.
#[expect(clippy::large_enum_variant, reason = "parcels are the rule; a box would cost each one")]
#[derive(Clone, Debug, PartialEq)]
pub enum Between {
    /// A parcel.
    Pass(Pass),
    /// Parcels that were taken, and whose effects are durable.
    Ack(Ack),
    /// A parcel before the one that came is missing at `source`: `target` sends all that is not
    /// confirmed again.
    Gap { source: ShardId, source_epoch: Epoch, target: ShardId, target_epoch: Epoch },
}

impl Between {
    /// The owner that speaks.
    pub fn source(&self) -> Owner {
        let (shard, epoch) = match self {
            Self::Pass(pass) => (pass.source, pass.source_epoch),
            Self::Ack(ack) => (ack.source, ack.source_epoch),
            Self::Gap { source, source_epoch, .. } => (*source, *source_epoch),
        };
        Owner { shard, epoch }
    }

    /// The epoch of the owner that this frame is for; zero where its source does not know.
    pub fn target_epoch(&self) -> Epoch {
        match self {
            Self::Pass(pass) => pass.target_epoch,
            Self::Ack(ack) => ack.target_epoch,
            Self::Gap { target_epoch, .. } => *target_epoch,
        }
    }

    /// The shard that takes this frame.
    pub fn target(&self) -> ShardId {
        match self {
            Self::Pass(pass) => pass.target,
            Self::Ack(ack) => ack.target,
            Self::Gap { target, .. } => *target,
        }
    }
}

/// One parcel in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    pub source: ShardId,
    pub source_epoch: Epoch,
    pub target: ShardId,
    /// The epoch of the owner that it is for, zero where the source does not know: a frame for an
    /// owner before is refused.
    pub target_epoch: Epoch,
    /// The number, from the source's clock.
    pub number: u64,
    /// The number of the parcel sent before this one to the same target and not yet confirmed, or
    /// zero.
    pub prev: u64,
    /// Sent before, so the target may have its effects already.
    pub retry: bool,
    pub parcel: Parcel,
}

/// A stanza on its way between two accounts.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// The bare JID of the receiving entity; the stanza's `to` may be a full JID.
    pub to: Jid,
    /// The stanza, its `from` stamped by the sender's owner.
    pub stanza: Stanza,
    /// How the stanza came in, for stanzas that leave a row; `None` for what the server itself
    /// made.
    pub ingest: Option<IngestKey>,
    /// Whether this may be a stanza that its client sent before (XEP-0198 §5, after a failed
    /// resumption).
    pub retried: Retried,
    /// The stanza is a resource's first presence, and stands for the probe too that would follow it
    /// to this recipient (RFC 6121 §4.2.2 and §4.3.1).
    pub probes: bool,
}

impl Parcel {
    /// A stanza that the server made, or passes on without a row.
    pub fn new(to: Jid, stanza: Stanza) -> Self {
        Self { to, stanza, ingest: None, retried: Retried::No, probes: false }
    }
}

/// Whether the client itself may have sent this stanza before, in a session that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// No.
    No,
    /// Perhaps: look for a row of the same sender with the same hash.
    Perhaps,
}

/// All parcels from `target` up to `number` were taken by `source`, and what they led to is
/// durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub source: ShardId,
    pub source_epoch: Epoch,
    pub target: ShardId,
    /// The epoch under which the parcels were sent: a later owner of `target` may have given the
    /// same numbers to others.
    pub target_epoch: Epoch,
    pub number: u64,
}
