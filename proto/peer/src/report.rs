//! What edges tell the new owner of a shard, which has nothing of its sessions in memory (design:
//! "Sessions", rebuilding).

use bytes::Bytes;
use xmpp::jid::Jid;

use crate::{ConnId, Epoch, NodeId, SessionId, ShardId};

/// One session, as the edge that has its socket knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub conn: ConnId,
    /// The bare JID.
    pub account: Jid,
    pub session: SessionId,
    pub attachment: u32,
    /// What its last owner had the edge keep.
    pub snapshot: Bytes,
    /// The number of the client's last stanza that was confirmed.
    pub handled: u64,
    /// The number up to which the client has taken ours.
    pub taken: u64,
    /// The number up to which the edge has got ours.
    pub received: u64,
    /// The highest id in the account's log of all that the edge has got.
    pub read_to: u64,
    /// Ids in the account's log of what the client has lately taken: the owner may not have written
    /// them down.
    pub recent: Vec<u64>,
    /// The socket is lost: `Up::Lost` follows, behind what is not confirmed.
    pub lost: bool,
}

/// An edge has reported all its sessions of a shard to the owner under this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    pub edge: NodeId,
    pub shard: ShardId,
    pub epoch: Epoch,
}

/// A part of a shard's memory, from the owner that gives it up to the next one (a planned move).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub shard: ShardId,
    /// The epoch of the owner that gives it up.
    pub epoch: Epoch,
    /// From zero; the receiver takes only the next one.
    pub number: u32,
    /// It is the last one: the shard may be granted to the receiver.
    pub last: bool,
    /// What only owners read.
    pub body: Bytes,
}
