//! The commit that a worker's shards share, and what its result means.

use std::ops::Bound;

use kv::{Batch, CommitError, ReadError, Reads, Rows};
use peer::ShardId;

use super::{Asker, Output, Slot, Worker};
use crate::keys;
use crate::limits::{GROUP_BYTES_MAX, STORE_RETRY_US};
use crate::rows::{Clock, Fence};
use crate::shard::Env;

/// A commit under way.
pub(super) struct Flight {
    op_id: u64,
    pub(super) shards: Vec<ShardId>,
    /// Shards that fell while it was under way: what they wrote may be in it.
    pub(super) fallen: Vec<ShardId>,
    /// When to go on after the store was away; `None` while it is working.
    retry: Option<(u64, Next)>,
}

#[derive(Clone, Copy)]
enum Next {
    Resubmit,
    Settle,
}

impl Flight {
    pub(super) fn retry_at(&self) -> Option<u64> {
        self.retry.map(|(at, _)| at)
    }
}

impl Worker {
    /// Seals the batches of the shards that have one, and commits them as one.
    pub(super) fn commit(&mut self) {
        if self.flight.is_some() {
            return;
        }
        if let Some(id) = self.alone.pop_front() {
            let (shards, fallen) = (vec![id], Vec::new());
            self.flight = Some(Flight { op_id: 0, shards, fallen, retry: None });
            return self.resubmit();
        }
        if self.dirty.is_empty() {
            return;
        }
        self.op_id += 1;
        let op_id = self.op_id;
        let (mut group, mut shards) = (Batch::new(op_id), Vec::new());
        while group.bytes() < GROUP_BYTES_MAX
            && let Some(id) = self.next_dirty()
        {
            self.dirty.remove(&id);
            self.turn = id;
            if let Some(Some(batch)) = self.step(id, |shard| shard.seal(op_id)) {
                merge(&mut group, batch);
                shards.push(id);
            }
        }
        if !shards.is_empty() {
            self.flight = Some(Flight { op_id, shards, fallen: Vec::new(), retry: None });
            self.out.push_back(Output::Commit(group));
        }
    }

    /// The next shard with a batch, behind the last one whose turn it was: none waits for those
    /// before it to have nothing more.
    fn next_dirty(&self) -> Option<ShardId> {
        let behind = self.dirty.range((Bound::Excluded(self.turn), Bound::Unbounded)).next();
        behind.or(self.dirty.first()).copied()
    }

    /// What became of a commit.
    pub(super) fn committed(
        &mut self,
        op_id: u64,
        result: Result<(), CommitError>,
        env: &mut Env<'_>,
    ) {
        if let Some(shard) = self.claims.remove(&op_id) {
            return self.claimed(shard, result, env);
        }
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.op_id == op_id) else {
            return;
        };
        match result {
            Ok(()) => self.landed(env),
            Err(CommitError::Fenced(fences)) => {
                let of = flight.shards.iter().chain(&flight.fallen).copied();
                let lost: Vec<ShardId> =
                    of.filter(|id| fences.contains(&keys::epoch(*id))).collect();
                assert!(!lost.is_empty(), "a commit was fenced by a key that it did not carry");
                self.lose(&lost);
                self.resubmit();
            }
            Err(CommitError::Unknown) => self.settle_flight(),
            Err(CommitError::Unavailable) => {
                flight.retry = Some((env.steady + STORE_RETRY_US, Next::Resubmit));
            }
            Err(error) => self.refused(&error),
        }
    }

    /// The store does not take the group, and never will: it is too large, or there is a bug.
    /// Offered alone, each shard's batch tells whose it is. That shard falls, for to go on would be
    /// to acknowledge what is not stored.
    fn refused(&mut self, error: &CommitError) {
        let Some(flight) = self.flight.take() else { return };
        match flight.shards[..] {
            [id] => self.fall_with(id, format!("a commit was refused: {error}")),
            _ => self.alone.extend(flight.shards),
        }
    }

    /// The group is durable.
    fn landed(&mut self, env: &mut Env<'_>) {
        let Some(flight) = self.flight.take() else { return };
        for id in flight.shards {
            self.step(id, |shard| shard.committed(env));
            self.go_on(id, env);
        }
    }

    /// Other owners have these shards: what they hold in memory goes, and nothing of it is sent.
    fn lose(&mut self, lost: &[ShardId]) {
        for id in lost {
            // One that fell is not served any more, and perhaps on its way to be served again.
            if matches!(self.slots.get(id), Some(Slot::Owned(..))) {
                self.drop_shard(*id);
            }
        }
    }

    /// Offers the group again: it is known not to be in the store.
    fn resubmit(&mut self) {
        let Some(flight) = &mut self.flight else { return };
        self.op_id += 1;
        let (op_id, shards) = (self.op_id, flight.shards.clone());
        let mut group = Batch::new(op_id);
        for id in shards {
            if let Some(Some(batch)) = self.step(id, |shard| shard.seal_again(op_id)) {
                merge(&mut group, batch);
            }
        }
        let Some(flight) = &mut self.flight else { return };
        flight.op_id = op_id;
        flight.retry = None;
        // What fell has nothing in it.
        flight.fallen.clear();
        if flight.shards.is_empty() {
            self.flight = None;
        } else {
            self.out.push_back(Output::Commit(group));
        }
    }

    /// It is not known whether the group is in the store: the clock row of one of its shards tells,
    /// for a group is there whole or not at all. If the shard has another owner by now, its clock
    /// may be that one's; offering the group again then tells which shards are lost.
    fn settle_flight(&mut self) {
        let Some(flight) = &mut self.flight else { return };
        flight.retry = None;
        let Some(first) = flight.shards.first() else {
            // All of them fell, and nobody waits to know.
            self.flight = None;
            return;
        };
        let mut reads = Reads::get(keys::clock(*first));
        reads.add_get(keys::epoch(*first));
        self.asked += 1;
        self.askers.insert(self.asked, Asker::Settle);
        self.out.push_back(Output::Read(self.asked, reads));
    }

    pub(super) fn settled(&mut self, found: Result<Rows, ReadError>, env: &mut Env<'_>) {
        let Some(flight) = &mut self.flight else { return };
        let Some(first) = flight.shards.first() else { return self.settle_flight() };
        let ours = match self.slots.get(first) {
            Some(Slot::Owned(shard, _)) => Some(Fence { epoch: shard.epoch() }.encode()),
            _ => None,
        };
        let clock = found.map(|rows| {
            let clock = rows.value(0).map(|value| Clock::decode(value)).transpose();
            clock.map(|clock| clock.filter(|_| rows.value(1) == ours.as_ref()))
        });
        match clock {
            Ok(Ok(Some(clock))) if clock.op_id == flight.op_id => self.landed(env),
            Ok(Ok(_)) => self.resubmit(),
            Ok(Err(_)) | Err(_) => {
                flight.retry = Some((env.steady + STORE_RETRY_US, Next::Settle));
            }
        }
    }

    pub(super) fn retry_flight(&mut self, now: u64) {
        match self.flight.as_ref().and_then(|flight| flight.retry) {
            Some((at, Next::Resubmit)) if at <= now => self.resubmit(),
            Some((at, Next::Settle)) if at <= now => self.settle_flight(),
            _ => {}
        }
    }
}

fn merge(group: &mut Batch, batch: Batch) {
    // Keys begin with a shard or an entity of it, so no two shards write the same one.
    if group.merge(batch).is_err() {
        unreachable!("two shards share a fence");
    }
}
