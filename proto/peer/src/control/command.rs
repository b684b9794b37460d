//! What the control plane is asked to do, and what it answers.

use std::fmt;

use xmpp::text::Text;

use super::map::Delta;
use super::member::Fingerprint;
use super::refusal::Refusal;
use crate::node::{ClusterId, Features, Roles, Versions};
use crate::shard::HashKey;
use crate::{Epoch, NodeId, ShardId};

/// The hash of a join token. The token itself is shown once, to the operator, and never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "token {a:02x}{b:02x}…")
    }
}

/// A node that has started and wants to be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The cluster that it means.
    pub cluster: ClusterId,
    /// Its name.
    pub name: Text,
    /// What it will do.
    pub roles: Roles,
    /// Where its mesh listens.
    pub address: Text,
    /// What fails together with it; may be empty.
    pub zone: Text,
    /// The versions of frames that it reads and writes.
    pub versions: Versions,
    /// What it can do.
    pub features: Features,
    /// The version of its program.
    pub program: Text,
    /// The hash of its public key.
    pub fingerprint: Fingerprint,
    /// Its clock, in microseconds since the Unix epoch.
    pub clock_us: u64,
    /// The token it showed; a node that is known needs none.
    pub token: Option<TokenHash>,
}

/// A shard and the node that is to have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// Its next owner.
    pub to: NodeId,
}

/// A hand-over that has begun. One that failed and the next of the same shard to the same node are
/// two: what is said of the first says nothing of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    /// The shard.
    pub shard: ShardId,
    /// Its next owner.
    pub to: NodeId,
    /// The entry of the log with which it began.
    pub begun: u64,
}

/// One entry of the control plane's log. Applied in order, each once, by every replica alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first of all: makes the cluster. `epochs_above` is zero, unless the control plane of a
    /// cluster is made anew over a store that has seen epochs.
    Init {
        /// Its id.
        cluster: ClusterId,
        /// The key of its hashes.
        key: HashKey,
        /// Epochs begin above this one.
        epochs_above: Epoch,
    },
    /// Lets one new node join, once, until a time in microseconds since the Unix epoch.
    AddToken {
        /// Its hash.
        token: TokenHash,
        /// What the node may do at most.
        roles: Roles,
        /// When it is worth nothing any more.
        expires_us: u64,
    },
    /// Takes a token back.
    DropToken {
        /// Its hash.
        token: TokenHash,
    },
    /// A node has started. Answered by [`Reply::Joined`].
    Join(Box<Join>),
    /// A node stops in order, now.
    Leave {
        /// Which.
        node: NodeId,
    },
    /// A node is not heard by these any more: two of them, one of which is a control node, or all
    /// there are.
    DeclareDead {
        /// Which.
        node: NodeId,
        /// Who does not hear it.
        by: Vec<NodeId>,
    },
    /// A node is to give away its shards and clients.
    Drain {
        /// Its number.
        number: u32,
    },
    /// It may take its part again.
    Undrain {
        /// Its number.
        number: u32,
    },
    /// A node that is down is no member any more: its name is free, and its key worth nothing.
    Remove {
        /// Its number.
        number: u32,
    },
    /// These routers have a fresh lease, no others: what the leader of the control plane sees, said
    /// when it changes.
    LeaseSeen {
        /// Which.
        fresh: Vec<NodeId>,
    },
    /// Free shards go to the routers whose lease is fresh, however few these are: said by the
    /// leader when it has waited long enough for the others.
    GrantFree,
    /// A router whose lease stays lost gives its shards to those whose lease is fresh, and stays a
    /// member.
    Release {
        /// Which.
        node: NodeId,
    },
    /// The owner of a shard wants it anew, under the next epoch: what it held of it in memory is
    /// gone.
    Regrant {
        /// The shard.
        shard: ShardId,
        /// The epoch under which it owns it.
        epoch: Epoch,
        /// The owner.
        node: NodeId,
    },
    /// Even the shards out, although none has 10% too many or too few.
    Rebalance,
    /// Hand-overs begin. Those that cannot are left out; [`Reply::Moves`] says how many did.
    MoveBegin {
        /// Which.
        moves: Vec<Move>,
    },
    /// The next owner has all that the present one knows: it is granted the shard.
    MoveEnd {
        /// Which.
        moves: Vec<Attempt>,
    },
    /// A hand-over failed: the present owner goes on.
    MoveAbort {
        /// Which.
        moves: Vec<Attempt>,
    },
    /// A domain is served from now on. Its name is normalised.
    AddDomain {
        /// Its name.
        domain: Text,
    },
    /// A domain is served no more.
    RemoveDomain {
        /// Its name.
        domain: Text,
    },
    /// A setting has a value from now on, or none.
    Set {
        /// Its name.
        name: Text,
        /// Its value.
        value: Option<Text>,
    },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is so now.
    Done,
    /// The node is a member, under this number and incarnation.
    Joined(NodeId),
    /// So many of the moves were carried out.
    Moves(u32),
    /// Nothing has changed.
    Refused(Refusal),
}

/// What applying a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// For whoever asked.
    pub reply: Reply,
    /// For all nodes, if the map has changed.
    pub delta: Option<Delta>,
}
