//! How a role hands frames to other roles. The mesh implements both traits; inside one process they
//! are plain calls.

use crate::{Between, ConnId, Down, ShardId, Up};

/// The way to the owners of shards. Neither method waits: back-pressure is credit, never a blocked
/// sender.
pub trait Uplink: Send + Sync {
    /// Hands a frame from an edge to the owner of `shard`.
    fn up(&self, shard: ShardId, frame: Up);
    /// Hands a frame from one shard's owner to another's.
    fn between(&self, frame: Between);
    /// The core of this process on which the owner of `shard` runs; `None` where it runs elsewhere
    /// or that is not known. A connection of the shard's accounts is cheapest there.
    fn core(&self, shard: ShardId) -> Option<u16> {
        let _ = shard;
        None
    }
}

/// The way to client connections.
pub trait Downlink: Send + Sync {
    /// Hands a frame to one connection. A connection that is gone takes nothing; its edge has told
    /// the owner.
    fn down(&self, to: ConnId, frame: Down);
}
