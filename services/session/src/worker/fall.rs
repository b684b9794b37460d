//! A shard that panicked: it falls, and nothing else does (docs/STYLE.md, rule 14).
//!
//! What it has in memory may be half of a decision, so it is dropped whole, with its backlog and
//! with all that it wanted done in that step. To everybody else it is as if its process had been
//! killed: clients are told to come again, other shards send again what it has not confirmed, and
//! it is opened from the store, under a new epoch.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use peer::{Owner, ShardId};

use super::{Asker, Output, Slot, Worker};
use crate::limits::{FALL_FORGOTTEN_US, FALL_WAIT_MAX_US, FALL_WAIT_US};
use crate::shard::Shard;

/// How often a shard fell, and when it may be opened again.
#[derive(Clone, Copy)]
pub(super) struct Fallen {
    times: u32,
    until: u64,
}

/// Lets a shard do something. What it panicked with, if it did: the shard is not to be used then.
///
/// Everything that it may have left half done is in the shard itself, which the caller drops.
pub(super) fn guarded<T>(
    shard: &mut Shard,
    run: impl FnOnce(&mut Shard) -> T,
) -> Result<T, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| run(shard)))
}

impl Worker {
    /// As [`guarded`], for a shard that is served; if it panics, it falls.
    pub(super) fn step<T>(&mut self, id: ShardId, run: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        let Some(Slot::Owned(shard, _)) = self.slots.get_mut(&id) else { return None };
        guarded(shard, run).map_err(|panic| self.fall(id, panic.as_ref())).ok()
    }

    /// Drops a shard that panicked.
    pub(super) fn fall(&mut self, id: ShardId, panic: &(dyn Any + Send)) {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        self.fall_with(id, text.unwrap_or_else(|| "a panic without words".to_owned()));
    }

    pub(super) fn fall_with(&mut self, id: ShardId, why: String) {
        self.drop_shard(id);
        let before = self.fallen.get(&id).filter(|f| self.now < f.until + FALL_FORGOTTEN_US);
        let times = before.map_or(0, |fallen| fallen.times) + 1;
        let wait = FALL_WAIT_US << (times - 1).min(20);
        let until = self.now + wait.min(FALL_WAIT_MAX_US);
        self.fallen.insert(id, Fallen { times, until });
        self.out.push_back(Output::Fallen(id, why));
    }

    /// When a shard that fell may be opened again, if that is still to come.
    pub(super) fn opens_at(&self, id: ShardId) -> Option<u64> {
        let until = self.fallen.get(&id).map_or(0, |fallen| fallen.until);
        let open = self.flight.as_ref().is_some_and(|flight| flight.fallen.contains(&id));
        let until = if open { until.max(self.now + FALL_WAIT_US) } else { until };
        (until > self.now).then_some(until)
    }

    /// Ends the service of a shard: what it has in memory goes, nothing of it is sent, and whoever
    /// waits for it is told. In a cluster nobody is told: edges keep their connections, and ask the
    /// next owner.
    pub(super) fn drop_shard(&mut self, id: ShardId) {
        self.dirty.remove(&id);
        self.giving.remove(&id);
        self.alone.retain(|shard| *shard != id);
        self.deadlines.set(id, None);
        // Rows that it asked for would be taken for an answer to whatever the shard asks under the
        // same number if this worker comes to own it again.
        self.askers.retain(|_, asker| match asker {
            Asker::Shard(of, _) | Asker::Claim(of) => *of != id,
            Asker::Settle | Asker::Lease(_) => true,
        });
        self.claims.retain(|_, of| *of != id);
        if let Some(flight) = &mut self.flight
            && flight.shards.contains(&id)
        {
            // What it wrote may be in the commit under way. Only when that is settled may the shard
            // be opened again (`opens_at`).
            flight.shards.retain(|shard| *shard != id);
            flight.fallen.push(id);
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.held.dropped(id);
            self.slots.remove(&id);
            let answers = self.owed.settle(id).into_iter();
            self.out.extend(answers.filter(|answer| matches!(answer, Output::Admin(..))));
            return;
        }
        let Some(Slot::Owned(shard, _)) = self.slots.remove(&id) else { return };
        let epoch = shard.epoch();
        // A shard that panicked may do so again when it is asked for its connections.
        let closed = catch_unwind(AssertUnwindSafe(|| shard.fenced())).unwrap_or_default();
        for (conn, frame) in closed {
            self.owed.told(conn);
            self.out.push_back(Output::Down(Owner { shard: id, epoch }, conn, frame));
        }
        for output in self.owed.settle(id) {
            self.out.push_back(output);
        }
    }
}
