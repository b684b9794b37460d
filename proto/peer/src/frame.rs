//! A frame: what is said, who says it and to whom, each with its epoch.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::call::{AdminAnswer, AdminAsk, Call, StoreAnswer, StoreAsk};
use crate::control::MapSaid;
use crate::credit::Grant;
use crate::moving::HandOver;
use crate::node::LinkSaid;
use crate::{Between, Complete, ConnId, Down, Epoch, NodeId, Page, SHARDS, ShardId, Up};

/// The owner of a shard, as one epoch made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The shard.
    pub shard: ShardId,
    /// Under which it is owned.
    pub epoch: Epoch,
}

/// One end of a frame's way. The epoch of a node, and of a connection, is the incarnation of the
/// node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A node as a whole.
    Node(NodeId),
    /// The owner of a shard.
    Owner(Owner),
    /// A client's connection.
    Conn(ConnId),
}

/// What goes over a link between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// An edge speaks for one of its connections. Those that `said` names are the edge's own.
    Up {
        /// The edge.
        edge: NodeId,
        /// The owner of the account's shard.
        owner: Owner,
        /// What.
        said: Up,
    },
    /// The owner of an account speaks to a connection.
    Down {
        /// The owner of the account's shard.
        owner: Owner,
        /// The connection.
        conn: ConnId,
        /// What.
        said: Down,
    },
    /// The owner of a shard speaks to that of another.
    Between(Between),
    /// An edge has reported its sessions to the new owner of a shard.
    Complete(Complete),
    /// The owner of a shard that moves hands a part of it to the next one.
    Page {
        /// The next owner.
        node: NodeId,
        /// The part.
        page: Page,
    },
    /// The next owner answers.
    HandOver {
        /// The next owner.
        node: NodeId,
        /// The present one.
        owner: Owner,
        /// What.
        said: HandOver,
    },
    /// A node speaks to a node.
    Node {
        /// Who.
        source: NodeId,
        /// To whom.
        target: NodeId,
        /// What.
        said: NodeSaid,
    },
}

/// What a node says to a node.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeSaid {
    /// About the link and its ends.
    Link(LinkSaid),
    /// About the map.
    Map(MapSaid),
    /// To an edge: how much it may send.
    Credit(Vec<Grant>),
    /// For an operator.
    Admin(Call<AdminAsk, AdminAnswer>),
    /// To a store that serves other nodes.
    Store(Call<StoreAsk, StoreAnswer>),
    /// Between replicas of the control plane: what their Raft writes and reads.
    Raft(Call<Bytes, Bytes>),
}

impl Frame {
    /// Who says it.
    pub fn source(&self) -> Place {
        match self {
            Self::Up { edge, .. } => Place::Node(*edge),
            Self::Down { owner, .. } => Place::Owner(*owner),
            Self::Between(said) => Place::Owner(said.source()),
            Self::Complete(said) => Place::Node(said.edge),
            Self::Page { page: Page { shard, epoch, .. }, .. } => {
                Place::Owner(Owner { shard: *shard, epoch: *epoch })
            }
            Self::HandOver { node: source, .. } | Self::Node { source, .. } => Place::Node(*source),
        }
    }

    /// To whom.
    pub fn target(&self) -> Place {
        match self {
            Self::Up { owner, .. } => Place::Owner(*owner),
            Self::Down { conn, .. } => Place::Conn(*conn),
            Self::Between(said) => {
                Place::Owner(Owner { shard: said.target(), epoch: said.target_epoch() })
            }
            Self::Complete(Complete { shard, epoch, .. }) => {
                Place::Owner(Owner { shard: *shard, epoch: *epoch })
            }
            Self::HandOver { owner, .. } => Place::Owner(*owner),
            Self::Page { node: target, .. } | Self::Node { target, .. } => Place::Node(*target),
        }
    }
}

/// The highest epoch seen of each shard and node. Whoever receives frames keeps one, and refuses
/// what comes from or is meant for an earlier epoch (design: "Between shards there is a window").
#[derive(Clone, Debug)]
pub struct Epochs {
    shards: Vec<Epoch>,
    nodes: BTreeMap<u32, u32>,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { shards: vec![Epoch(0); usize::from(SHARDS)], nodes: BTreeMap::new() }
    }
}

impl Epochs {
    /// Whether no later epoch of this place was seen. Its own is seen from now on. Epoch zero is
    /// that of nobody: a source that does not know the owner of its target's shard says it, and
    /// leaves the judgement to whoever owns it.
    pub fn admit(&mut self, place: Place) -> bool {
        match place {
            Place::Owner(owner) if owner.epoch == Epoch(0) => owner.shard.0 < SHARDS,
            Place::Owner(owner) => match self.shards.get_mut(usize::from(owner.shard.0)) {
                Some(seen) => {
                    *seen = owner.epoch.max(*seen);
                    *seen == owner.epoch
                }
                None => false,
            },
            Place::Node(node) | Place::Conn(ConnId { edge: node, .. }) => {
                let seen = self.nodes.entry(node.number).or_default();
                *seen = node.incarnation.max(*seen);
                *seen == node.incarnation
            }
        }
    }

    /// The highest epoch seen of a shard.
    pub fn of(&self, shard: ShardId) -> Epoch {
        self.shards.get(usize::from(shard.0)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_below_the_highest_seen_is_refused() {
        let mut seen = Epochs::default();
        let owner = |epoch| Place::Owner(Owner { shard: ShardId(7), epoch: Epoch(epoch) });
        let node = |incarnation| Place::Node(NodeId { number: 3, incarnation });
        let conn =
            |incarnation| Place::Conn(ConnId { edge: NodeId { number: 3, incarnation }, slot: 1 });
        for (place, is_admitted) in [
            (owner(5), true),
            (owner(5), true),
            (owner(4), false),
            (owner(9), true),
            (owner(8), false),
            (owner(0), true),
            (node(2), true),
            (conn(2), true),
            (conn(3), true),
            (node(2), false),
            (node(3), true),
        ] {
            assert_eq!(seen.admit(place), is_admitted, "{place:?}");
        }
        assert_eq!(seen.of(ShardId(7)), Epoch(9));
        assert_eq!(seen.of(ShardId(8)), Epoch(0));
        let strange = Place::Owner(Owner { shard: ShardId(SHARDS), epoch: Epoch(1) });
        assert!(!seen.admit(strange));
    }
}
