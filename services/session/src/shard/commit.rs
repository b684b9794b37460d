//! A shard's batches: one in flight, the next one growing, and the effects that wait for each.

use std::collections::VecDeque;

use kv::{Batch, Expect};
use peer::{Epoch, ShardId};

use crate::keys;
use crate::rows;

/// The number of a batch of one shard, from 1. Zero is "waits for nothing".
pub(crate) type BatchNo = u64;

/// Batches and what waits for them.
pub(crate) struct Commits<E> {
    shard: ShardId,
    epoch: Epoch,
    /// Batches that are full and wait for the one in flight, and the one that grows behind them.
    full: VecDeque<Batch>,
    growing: Batch,
    flight: Option<Batch>,
    committed: BatchNo,
    /// An empty batch is to be committed too: whether it can be tells who the owner is.
    prove: bool,
    /// Batches that are durable, but that a read under way may not see yet.
    recent: VecDeque<(BatchNo, Batch)>,
    /// Effects by the batch they wait for: the first list waits for `committed + 1`.
    held: VecDeque<Vec<E>>,
}

impl<E> Commits<E> {
    pub(crate) fn new(shard: ShardId, epoch: Epoch) -> Self {
        Self {
            shard,
            epoch,
            full: VecDeque::new(),
            growing: Batch::new(0),
            flight: None,
            committed: 0,
            prove: false,
            recent: VecDeque::new(),
            held: VecDeque::new(),
        }
    }

    /// The number of the last batch that is durable.
    pub(crate) fn committed(&self) -> BatchNo {
        self.committed
    }

    /// The number of the batch that grows.
    pub(crate) fn growing_no(&self) -> BatchNo {
        self.committed + 1 + u64::from(self.flight.is_some()) + self.full.len() as u64
    }

    /// The number of the last batch that has something in it.
    pub(crate) fn last_no(&self) -> BatchNo {
        self.growing_no() - u64::from(self.growing.is_empty())
    }

    /// The batch that grows, to write into.
    pub(crate) fn growing(&mut self) -> &mut Batch {
        &mut self.growing
    }

    /// Whether there is something to write and nothing in flight.
    pub(crate) fn ready(&self) -> bool {
        let waits = self.prove || !self.full.is_empty() || !self.growing.is_empty();
        waits && self.flight.is_none()
    }

    /// Has the next batch committed even if it is empty: its fence tells whether this is still the
    /// owner.
    pub(crate) fn prove(&mut self) {
        self.prove = true;
    }

    /// Whether so much has gathered that the shard should take no more.
    pub(crate) fn full(&self) -> bool {
        !self.full.is_empty() || self.growing.bytes() > crate::limits::BATCH_BYTES_MAX
    }

    /// Between two decisions: what is decided next goes into a batch of its own if the growing one
    /// is full. So no batch holds much more than one decision above its limit, however many are
    /// made before the one in flight is done, and none is torn.
    pub(crate) fn roll(&mut self) {
        if self.growing.bytes() > crate::limits::BATCH_BYTES_MAX {
            self.full.push_back(std::mem::take(&mut self.growing));
        }
    }

    /// Whether nothing grows, is in flight or waits.
    pub(crate) fn idle(&self) -> bool {
        let written = self.flight.is_none() && self.full.is_empty() && self.growing.is_empty();
        written && self.held.is_empty()
    }

    /// Seals the growing batch: it carries the shard's fence and clock, and is in flight from now
    /// on.
    ///
    /// The clock row holds the operation's id too, which settles a commit whose result is unknown.
    pub(crate) fn seal(&mut self, clock: rows::Clock) -> Option<Batch> {
        if !self.ready() {
            return None;
        }
        let next = self.full.pop_front();
        let mut batch = next.unwrap_or_else(|| std::mem::take(&mut self.growing));
        batch.rename(clock.op_id);
        self.prove = false;
        let owner = rows::Fence { epoch: self.epoch }.encode();
        batch.fence(keys::epoch(self.shard), Expect::Equals(owner));
        batch.set(keys::clock(self.shard), clock.encode());
        self.flight = Some(batch.clone());
        Some(batch)
    }

    /// The batch in flight under a new id, to be offered again.
    pub(crate) fn again(&mut self, clock: rows::Clock) -> Option<Batch> {
        let batch = self.flight.as_mut()?;
        batch.rename(clock.op_id);
        batch.set(keys::clock(self.shard), clock.encode());
        Some(batch.clone())
    }

    /// The batch in flight is durable. Returns the effects that waited for it, in their order.
    ///
    /// `reading`: how far commits were when the oldest read under way was asked for, if there is
    /// one. Its snapshot may be from before this commit.
    pub(crate) fn done(&mut self, reading: Option<BatchNo>) -> Vec<E> {
        let Some(batch) = self.flight.take() else {
            unreachable!("a batch that was not in flight is durable")
        };
        self.committed += 1;
        match reading {
            Some(oldest) => {
                self.recent.push_back((self.committed, batch));
                while self.recent.pop_front_if(|(no, _)| *no <= oldest).is_some() {}
            }
            None => self.recent.clear(),
        }
        self.held.pop_front().unwrap_or_default()
    }

    /// Holds an effect until a batch is durable.
    pub(crate) fn hold(&mut self, after: BatchNo, effect: E) {
        debug_assert!(after > self.committed && after <= self.growing_no());
        let index = (after - self.committed - 1) as usize;
        while self.held.len() <= index {
            self.held.push_back(Vec::new());
        }
        self.held[index].push(effect);
    }

    /// The batches that the rows of a read are to be overlaid with, oldest first: all that were
    /// not durable when it was asked for, when `committed` batches were. A batch that the read did
    /// see does no harm, for all later ones follow it here.
    pub(crate) fn since(&self, committed: BatchNo) -> impl Iterator<Item = &Batch> {
        let recent = self.recent.iter().filter(move |(no, _)| *no > committed);
        recent
            .map(|(_, batch)| batch)
            .chain(&self.flight)
            .chain(&self.full)
            .chain((!self.growing.is_empty()).then_some(&self.growing))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn clock(op_id: u64) -> rows::Clock {
        rows::Clock { last: 10, op_id, since: 0 }
    }

    fn write<E>(commits: &mut Commits<E>, key: &'static str) {
        commits.growing().set(Bytes::from_static(key.as_bytes()), Bytes::new());
    }

    #[test]
    fn an_effect_waits_for_its_batch_and_for_no_other() {
        let mut commits = Commits::new(ShardId(1), Epoch(1));
        write(&mut commits, "a");
        assert_eq!(commits.growing_no(), 1);
        commits.hold(1, "after a");
        assert!(commits.seal(clock(1)).is_some());
        assert!(commits.seal(clock(2)).is_none(), "one batch is in flight");
        assert_eq!(commits.growing_no(), 2);
        write(&mut commits, "b");
        commits.hold(2, "after b");
        commits.hold(1, "after a too");
        assert_eq!(commits.since(0).count(), 2);
        assert_eq!(commits.done(Some(0)), ["after a", "after a too"]);
        assert_eq!(commits.since(0).count(), 2, "a read from before may not have seen the first");
        assert_eq!(commits.since(1).count(), 1);
        assert_eq!((commits.committed(), commits.growing_no()), (1, 2));
        assert!(commits.seal(clock(3)).is_some());
        assert_eq!(commits.done(None), ["after b"]);
        assert_eq!(commits.since(0).count(), 0);
        assert!(commits.idle());
    }

    #[test]
    fn a_full_batch_is_closed_between_decisions_and_order_is_kept() {
        let mut commits = Commits::<&str>::new(ShardId(1), Epoch(1));
        let large = Bytes::from(vec![0; crate::limits::BATCH_BYTES_MAX]);
        let limit = crate::limits::BATCH_BYTES_MAX;
        let key = Bytes::from_static(b"a");
        let most = large.slice(..limit - key.len() - kv::limits::ENTRY_BYTES_OVERHEAD);
        commits.growing().set(key.clone(), most);
        commits.roll();
        assert_eq!((commits.growing_no(), commits.full()), (1, false), "exactly the limit");
        commits.growing().delete(key.clone());
        assert!(commits.full());
        commits.hold(1, "first");
        commits.roll();
        assert_eq!((commits.growing_no(), commits.last_no()), (2, 1));
        commits.growing().set(key, large);
        commits.hold(2, "second");
        commits.roll();
        write(&mut commits, "c");
        commits.hold(3, "third");
        assert_eq!(commits.since(0).count(), 3);
        for (op_id, effect) in [(1, "first"), (2, "second"), (3, "third")] {
            assert!(!commits.idle());
            let batch = commits.seal(clock(op_id)).expect("a batch");
            assert!(batch.bytes() < 2 * limit);
            assert_eq!(commits.done(None), [effect]);
        }
        assert!(commits.idle() && !commits.full() && !commits.ready());
    }

    #[test]
    fn a_batch_carries_fence_and_clock() {
        let mut commits = Commits::<()>::new(ShardId(1), Epoch(7));
        write(&mut commits, "a");
        let batch = commits.seal(clock(5)).expect("a batch");
        assert_eq!(batch.fences().len(), 1);
        assert_eq!(batch.op_id(), 5);
        assert_eq!(batch.mutations().len(), 2);
    }
}
