//! When each shard wants to be woken. A worker asks for the next deadline at each of its rounds, so
//! they are kept in order.

use std::collections::{BTreeMap, BTreeSet};

use peer::ShardId;

/// Deadlines of shards, by the steady clock.
#[derive(Default)]
pub(super) struct Deadlines {
    of: BTreeMap<ShardId, u64>,
    order: BTreeSet<(u64, ShardId)>,
}

impl Deadlines {
    /// A shard wants to be woken at this time, and at no other.
    pub(super) fn set(&mut self, id: ShardId, at: Option<u64>) {
        let before = self.of.get(&id).copied();
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, id));
        }
        match at {
            Some(at) => {
                self.of.insert(id, at);
                self.order.insert((at, id));
            }
            None => {
                self.of.remove(&id);
            }
        }
    }

    /// The next deadline of all.
    pub(super) fn next(&self) -> Option<u64> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The shards whose time has come. It is for them to set another one.
    pub(super) fn due(&self, now: u64) -> Vec<ShardId> {
        self.order.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }
}
