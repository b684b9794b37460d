//! Detection: who is not heard any more, and when that is enough to declare a node dead.
//!
//! Each node keeps [`Suspicions`] of its peers and tells control nodes when they change. The leader
//! of the control plane collects them as [`Verdicts`], and proposes a death that two observers
//! agree on, one of them a control node.
//!
//! All times are microseconds of a clock that only goes forward, and mean nothing to other nodes.

use std::collections::BTreeMap;

use super::map::Map;
use super::member::Member;
use super::state::enough;
use crate::NodeId;
use crate::limits::{HEARTBEAT_US, SUSPICION_US, VERDICT_US};
use crate::node::Silence;

/// What one node knows of its peers.
#[derive(Clone, Debug, Default)]
pub struct Suspicions {
    /// When each peer was last heard.
    heard: BTreeMap<NodeId, u64>,
    looked: Option<u64>,
    /// When control nodes were last told, and whether there was anything to tell.
    told: Option<(u64, Vec<NodeId>)>,
}

impl Suspicions {
    /// Those that this node should hear. A new one has from now on.
    pub fn handle_peers(&mut self, peers: &[NodeId], now: u64) {
        self.heard.retain(|node, _| peers.contains(node));
        for peer in peers {
            self.heard.entry(*peer).or_insert(now);
        }
    }

    /// A peer has said something, whatever it was.
    pub fn handle_heard(&mut self, node: NodeId, now: u64) {
        if let Some(heard) = self.heard.get_mut(&node) {
            *heard = now.max(*heard);
        }
    }

    /// Looks at the clock: each [`HEARTBEAT_US`]. A node that looks too late was itself asleep or
    /// overloaded, and must not accuse others of what it did not hear: that time does not count.
    pub fn handle_time(&mut self, now: u64) {
        let asleep = self.looked.map_or(0, |looked| now.saturating_sub(looked + 2 * HEARTBEAT_US));
        self.looked = Some(now);
        if asleep > 0 {
            for heard in self.heard.values_mut() {
                *heard = (*heard + asleep).min(now);
            }
        }
    }

    /// What control nodes are to be told, if it is time: when it changes, and while it is not empty
    /// with each heartbeat, because what is not said again is forgotten.
    pub fn poll_silent(&mut self, now: u64) -> Option<Vec<Silence>> {
        if self.looked.is_some_and(|looked| now > looked + 2 * HEARTBEAT_US) {
            // It has slept, and does not know for how long until it looks at the clock.
            return None;
        }
        let silent = |(node, heard): (&NodeId, &u64)| {
            let silent = now.saturating_sub(*heard);
            let silent_ms = u32::try_from(silent / 1000).unwrap_or(u32::MAX);
            (silent >= SUSPICION_US).then_some(Silence { node: *node, silent_ms })
        };
        let list: Vec<Silence> = self.heard.iter().filter_map(silent).collect();
        let nodes: Vec<NodeId> = list.iter().map(|silence| silence.node).collect();
        let is_due = match &self.told {
            None => !nodes.is_empty(),
            Some((at, told)) => *told != nodes || (!nodes.is_empty() && now >= at + HEARTBEAT_US),
        };
        is_due.then(|| {
            self.told = Some((now, nodes));
            list
        })
    }

    /// When to look again.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.looked.map(|looked| looked + HEARTBEAT_US)
    }
}

/// What all nodes say of each other, at the leader of the control plane.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// By the node that is not heard: who says so, and when that was last said.
    silent: BTreeMap<NodeId, BTreeMap<NodeId, u64>>,
    /// Deaths that were proposed, and when.
    proposed: BTreeMap<NodeId, u64>,
}

impl Verdicts {
    /// What a node says of others, the leader's own [`Suspicions`] too: all of them, so that one
    /// who is no longer in the list is heard again.
    pub fn handle_silent(&mut self, observer: NodeId, list: &[Silence], now: u64) {
        for said in self.silent.values_mut() {
            said.remove(&observer);
        }
        for Silence { node, .. } in list {
            self.silent.entry(*node).or_default().insert(observer, now);
        }
        self.silent.retain(|_, said| !said.is_empty());
    }

    /// Nodes that are suspected, and by whom: for people.
    pub fn suspected(&self) -> impl Iterator<Item = (NodeId, Vec<NodeId>)> {
        self.silent.iter().map(|(node, said)| (*node, said.keys().copied().collect()))
    }

    /// A node to declare dead, and by whom it is not heard. The same one is given again only if
    /// nothing came of it.
    pub fn poll_dead(&mut self, map: &Map, now: u64) -> Option<(NodeId, Vec<NodeId>)> {
        self.silent.retain(|node, said| {
            said.retain(|observer, at| now < *at + VERDICT_US && map.up(*observer).is_some());
            !said.is_empty() && map.up(*node).is_some()
        });
        self.proposed.retain(|_, at| now < *at + VERDICT_US);
        let agreed = |(node, said): (&NodeId, &BTreeMap<NodeId, u64>)| {
            let members: Vec<&Member> = said.keys().filter_map(|id| map.up(*id)).collect();
            let is_new = !self.proposed.contains_key(node);
            (is_new && enough(map, *node, &members))
                .then(|| (*node, said.keys().copied().collect()))
        };
        let dead: (NodeId, Vec<NodeId>) = self.silent.iter().find_map(agreed)?;
        self.proposed.insert(dead.0, now);
        Some(dead)
    }
}
