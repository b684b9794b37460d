//! Credit: how much an edge may send to owners before it stops reading sockets. It is the one place
//! where back-pressure acts (design: "Cluster").
//!
//! A grant is a total since the beginning (of the link, of the owner's epoch, of the attachment),
//! not a difference, so that one that is lost or comes twice harms nobody: the largest counts.

use crate::{ConnId, Owner};

/// What an edge may send, in bytes of stanzas as windows count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// To the whole node, since the link was made.
    Node {
        /// In all.
        bytes: u64,
    },
    /// To one shard, since its epoch began.
    Shard {
        /// The shard.
        owner: Owner,
        /// In all.
        bytes: u64,
    },
    /// For one session, since it was attached to this connection.
    Session {
        /// The shard of its account.
        owner: Owner,
        /// The connection.
        conn: ConnId,
        /// In all.
        bytes: u64,
    },
}
