//! How a role hands frames to other roles. The mesh implements both traits; inside one process they
//! are plain calls.

use crate::{Complete, ConnId, Down, Epoch, Owner, ShardId, Up};

/// The way from an edge to the owners of shards. No method waits: back-pressure is credit, never a
/// blocked sender.
pub trait Uplink: Send + Sync {
    /// The epoch under which a shard is owned, as this node knows it; zero on a node of its own,
    /// where there is one owner for ever.
    fn epoch(&self, shard: ShardId) -> Epoch {
        let _ = shard;
        Epoch(0)
    }
    /// Hands a frame to the owner of a shard, under the epoch that the connection speaks to.
    fn up(&self, owner: Owner, frame: Up);
    /// Says that all sessions of a shard were reported to its new owner. On a node of its own there
    /// is none.
    fn complete(&self, complete: Complete) {
        let _ = complete;
    }
    /// The core of this process on which the owner of `shard` runs; `None` where it runs elsewhere
    /// or that is not known. A connection of the shard's accounts is cheapest there.
    fn core(&self, shard: ShardId) -> Option<u16> {
        let _ = shard;
        None
    }
}

/// The way to client connections.
pub trait Downlink: Send + Sync {
    /// Hands a frame from the owner of a shard to one connection. A connection that is gone takes
    /// nothing; its edge has told the owner.
    fn down(&self, owner: Owner, to: ConnId, frame: Down);
}
