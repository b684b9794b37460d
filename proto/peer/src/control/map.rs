//! The map: what every node knows of the cluster. Members, who owns each shard, domains, settings,
//! open gates.
//!
//! The control plane makes it and numbers its versions; all others keep a copy, and take
//! [`Delta`]s, or the whole map where one is missing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use xmpp::text::Text;

use super::command::Attempt;
use super::member::Member;
use crate::limits::{FEED_CHANGES_MAX, FEED_DELTAS_MAX};
use crate::node::{ClusterId, Features};
use crate::shard::HashKey;
use crate::{Epoch, NodeId, Owner, SHARDS, ShardId};

/// Who has a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Hold {
    /// Nobody: its owner is dead, and no router with a fresh lease was there to take it.
    #[default]
    Free,
    /// This node serves it.
    Serving(NodeId),
    /// The first node serves it, and hands it over to the second, since this entry of the log.
    Moving(NodeId, NodeId, u64),
}

/// A shard in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Slot {
    /// Who has it.
    pub hold: Hold,
    /// The epoch of its last grant; zero before the first.
    pub epoch: Epoch,
}

impl Slot {
    /// The node that owns it.
    pub fn owner(&self) -> Option<NodeId> {
        match self.hold {
            Hold::Free => None,
            Hold::Serving(owner) | Hold::Moving(owner, ..) => Some(owner),
        }
    }

    /// The node that has it when nothing more happens.
    pub fn heir(&self) -> Option<NodeId> {
        match self.hold {
            Hold::Free => None,
            Hold::Serving(heir) | Hold::Moving(_, heir, _) => Some(heir),
        }
    }
}

/// Which map it is: of which control plane, and how often that one has changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Seen {
    /// When the control plane was made, by the clock of its first leader. One that is made anew
    /// has another: versions of the two have nothing to do with each other.
    pub lineage: u64,
    /// Counted up with each change; zero for no map at all.
    pub version: u64,
}

/// What every node knows of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// When the control plane was made that made this map.
    pub lineage: u64,
    /// Counted up with each change.
    pub version: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// The key of its hashes: which shard an account belongs to.
    pub key: HashKey,
    /// Members by number.
    pub members: BTreeMap<u32, Member>,
    pub(crate) slots: Vec<Slot>,
    /// The domains that are served.
    pub domains: BTreeSet<Text>,
    /// Settings by name, for whoever knows the name.
    pub settings: BTreeMap<Text, Text>,
    /// Features that every member has: they may be used, and are never closed again.
    pub gates: Features,
}

/// One change of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A member is new or different.
    Member(Box<Member>),
    /// A member is one no more.
    Removed(u32),
    /// A shard is held otherwise.
    Slot(ShardId, Slot),
    /// A domain is served from now on, or no more.
    Domain(Text, bool),
    /// A setting has this value, or none.
    Setting(Text, Option<Text>),
    /// These gates are open.
    Gates(Features),
}

/// The changes from one version of the map to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Of the map that it changes.
    pub lineage: u64,
    /// The version that it changes.
    pub from: u64,
    /// The version that comes of it.
    pub version: u64,
    /// In order.
    pub changes: Vec<Change>,
}

/// What is said about the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapSaid {
    /// To a control node: tell me what changes after this.
    Ask {
        /// What the asker has.
        have: Seen,
    },
    /// The whole map.
    Whole(Box<Map>),
    /// What changed.
    Delta(Delta),
    /// To a node that sent a frame to an owner that is none: this is what is known here of the
    /// shard.
    Moved {
        /// The map in which it is so.
        seen: Seen,
        /// The shard.
        shard: ShardId,
        /// Who has it.
        slot: Slot,
    },
}

/// A delta for another version: ask for the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

impl Map {
    /// An empty map of version zero.
    pub fn new(cluster: ClusterId, key: HashKey) -> Self {
        Self {
            lineage: 0,
            version: 0,
            cluster,
            key,
            members: BTreeMap::new(),
            slots: vec![Slot::default(); usize::from(SHARDS)],
            domains: BTreeSet::new(),
            settings: BTreeMap::new(),
            gates: Features::default(),
        }
    }

    /// Which map it is.
    pub fn seen(&self) -> Seen {
        Seen { lineage: self.lineage, version: self.version }
    }

    /// A shard.
    pub fn slot(&self, shard: ShardId) -> Slot {
        self.slots.get(usize::from(shard.0)).copied().unwrap_or_default()
    }

    /// All shards, in order.
    pub fn slots(&self) -> impl Iterator<Item = (ShardId, Slot)> {
        (0..SHARDS).map(ShardId).zip(self.slots.iter().copied())
    }

    /// The hand-over of a shard, if one is under way.
    pub fn attempt(&self, shard: ShardId) -> Option<Attempt> {
        match self.slot(shard).hold {
            Hold::Moving(_, to, begun) => Some(Attempt { shard, to, begun }),
            Hold::Free | Hold::Serving(_) => None,
        }
    }

    /// The owner of a shard, as frames name it, and the node that it is.
    pub fn owner(&self, shard: ShardId) -> (Owner, Option<NodeId>) {
        let slot = self.slot(shard);
        (Owner { shard, epoch: slot.epoch }, slot.owner())
    }

    /// The member of that name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.values().find(|member| member.name == *name)
    }

    /// The member that this node is, if this incarnation of it is alive as far as the map knows.
    pub fn up(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node.number).filter(|member| member.id == node && member.is_up())
    }

    /// Carries a change out, in a map that is being changed by a delta or a command.
    pub(crate) fn carry_out(&mut self, change: Change) {
        match change {
            Change::Member(member) => {
                self.members.insert(member.id.number, *member);
            }
            Change::Removed(number) => {
                self.members.remove(&number);
            }
            Change::Slot(shard, slot) => {
                if let Some(at) = self.slots.get_mut(usize::from(shard.0)) {
                    *at = slot;
                }
            }
            Change::Domain(domain, true) => {
                self.domains.insert(domain);
            }
            Change::Domain(domain, false) => {
                self.domains.remove(&domain);
            }
            Change::Setting(name, Some(value)) => {
                self.settings.insert(name, value);
            }
            Change::Setting(name, None) => {
                self.settings.remove(&name);
            }
            Change::Gates(gates) => self.gates = gates,
        }
    }

    /// Takes a delta. One that the map has already changes nothing.
    ///
    /// # Errors
    /// [`Behind`], and nothing is changed: a delta before this one is missing, or it is of another
    /// lineage.
    pub fn take(&mut self, delta: Delta) -> Result<(), Behind> {
        if delta.lineage != self.lineage {
            return Err(Behind);
        }
        if delta.version <= self.version {
            return Ok(());
        }
        if delta.from != self.version {
            return Err(Behind);
        }
        delta.changes.into_iter().for_each(|change| self.carry_out(change));
        self.version = delta.version;
        Ok(())
    }
}

/// The last deltas of a control node, for those that follow it.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    deltas: VecDeque<Delta>,
    changes: usize,
}

impl Feed {
    /// A new delta. The oldest are forgotten beyond a bound.
    pub fn push(&mut self, delta: Delta) {
        self.changes += delta.changes.len();
        self.deltas.push_back(delta);
        while self.deltas.len() > FEED_DELTAS_MAX || self.changes > FEED_CHANGES_MAX {
            match self.deltas.pop_front() {
                Some(delta) => self.changes -= delta.changes.len(),
                None => break,
            }
        }
    }

    /// What a node with this map is told: nothing, deltas in order, or the map.
    pub fn since(&self, have: Seen, map: &Map) -> Vec<MapSaid> {
        if have == map.seen() {
            return Vec::new();
        }
        let is_next = |delta: &Delta| delta.lineage == have.lineage && delta.from == have.version;
        let first = self.deltas.iter().position(is_next);
        match first {
            Some(first) => self.deltas.range(first..).cloned().map(MapSaid::Delta).collect(),
            None => vec![MapSaid::Whole(Box::new(map.clone()))],
        }
    }
}
