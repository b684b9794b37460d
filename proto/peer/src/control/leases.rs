//! Whose lease is fresh, at the leader of the control plane.
//!
//! An owner's lease is the store's word, not older than three seconds, that it still owns what it
//! serves. Routers say its age with each heartbeat. The leader tells the control plane when the
//! set of fresh ones changes, never how old they are: that would be an entry for each second and
//! router.

use std::collections::BTreeMap;

use super::map::Map;
use super::state::State;
use crate::NodeId;
use crate::limits::{HEARTBEAT_US, LEASE_US};
use crate::node::{Heartbeat, Roles};

/// When the store last confirmed each router, by the leader's clock, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    confirmed: BTreeMap<NodeId, u64>,
    /// What was last proposed, and when.
    proposed: Option<(u64, Vec<NodeId>)>,
}

impl Leases {
    /// A node has said how old its lease is. One that has none is no longer fresh.
    pub fn handle_heartbeat(&mut self, node: NodeId, heartbeat: &Heartbeat, now: u64) {
        match heartbeat.lease_ms {
            Some(age) => {
                let confirmed = now.saturating_sub(u64::from(age) * 1000);
                self.confirmed.insert(node, confirmed);
            }
            None => {
                self.confirmed.remove(&node);
            }
        }
    }

    /// Those that were fresh when this node began to lead: they have until then to be heard.
    pub fn handle_known(&mut self, fresh: impl Iterator<Item = NodeId>, began: u64) {
        for node in fresh {
            self.confirmed.entry(node).or_insert(began);
        }
    }

    /// Forgets leases that have run out, and those of nodes that are no routers or not up.
    pub fn forget(&mut self, map: &Map, now: u64) {
        let router = |node: NodeId| map.up(node).is_some_and(|it| it.roles.has(Roles::ROUTER));
        self.confirmed.retain(|node, at| router(*node) && now < *at + LEASE_US);
    }

    /// The fresh ones, as far as time has been looked at.
    pub fn fresh(&self) -> impl Iterator<Item = NodeId> {
        self.confirmed.keys().copied()
    }

    /// Whether it is one of them.
    pub fn is_fresh(&self, node: NodeId) -> bool {
        self.confirmed.contains_key(&node)
    }

    /// The fresh ones, if that is not what the control plane knows: to be said as
    /// [`Command::LeaseSeen`](super::Command::LeaseSeen). The same list is given again only if
    /// nothing came of it.
    pub fn poll_seen(&mut self, state: &State, now: u64) -> Option<Vec<NodeId>> {
        self.forget(state.map(), now);
        let fresh: Vec<NodeId> = self.fresh().collect();
        if state.fresh().eq(fresh.iter().copied()) {
            return None;
        }
        let is_new = self
            .proposed
            .as_ref()
            .is_none_or(|(at, proposed)| *proposed != fresh || now >= *at + HEARTBEAT_US);
        is_new.then(|| {
            self.proposed = Some((now, fresh.clone()));
            fresh
        })
    }

    /// When the next lease runs out.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.confirmed.values().min().map(|at| at + LEASE_US)
    }
}
