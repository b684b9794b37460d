//! Becoming the owner of a shard: its fence is raised in the store before anything is served.

use kv::{Batch, CommitError, Expect, ReadError, Reads, Rows};
use peer::{Between, Epoch, NodeId, ShardId};

use super::waiting::Waiting;
use super::{Asker, Output, Slot, Stop, Worker};
use crate::keys;
use crate::limits::{CLAIMS_MAX, STORE_RETRY_US};
use crate::rows::{Clock, Fence};
use crate::shard::{self, Env, Shard};

/// Why a shard is given back before it was served.
pub(super) const TOO_MUCH: &str = "more came before its claim was done than is kept";

/// A shard on its way to being served.
pub(super) struct Claim {
    id: ShardId,
    waiting: Waiting,
    /// What the epoch will be, and the clock of the owner before.
    found: Option<(Epoch, Option<Clock>)>,
    /// What control has granted, in a cluster.
    granted: Option<Grant>,
    /// The epoch of the owner before, once it was read.
    before: Option<Epoch>,
}

/// A grant of control.
struct Grant {
    epoch: Epoch,
    edges: Vec<NodeId>,
}

impl Claim {
    pub(super) fn new(id: ShardId) -> Self {
        Self { id, waiting: Waiting::default(), found: None, granted: None, before: None }
    }

    /// A shard that control has granted under this epoch; these edges may have sessions of it.
    pub(super) fn granted(id: ShardId, epoch: Epoch, edges: Vec<NodeId>) -> Self {
        Self { granted: Some(Grant { epoch, edges }), ..Self::new(id) }
    }

    /// The epoch that control has granted.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.granted.as_ref().map(|grant| grant.epoch)
    }

    /// This has waited for the grant.
    pub(super) fn begin_with(&mut self, waiting: Waiting) {
        self.waiting = waiting;
    }
}

impl Worker {
    /// Begins to claim shards that were granted, so many at a time: a node may be granted thousands
    /// at once.
    pub(super) fn begin_claims(&mut self) {
        let slots = &self.slots;
        let waits = |id: &ShardId| matches!(slots.get(id), Some(Slot::Claiming(_)));
        let Some(cluster) = self.cluster.as_mut().filter(|it| !it.unclaimed.is_empty()) else {
            return;
        };
        cluster.claiming.retain(waits);
        let mut begun = Vec::new();
        while cluster.claiming.len() < CLAIMS_MAX
            && let Some(id) = cluster.unclaimed.pop_front()
        {
            if waits(&id) && cluster.claiming.insert(id) {
                begun.push(id);
            }
        }
        begun.into_iter().for_each(|id| self.read_claim(id));
    }

    /// Keeps an input until the shard is served.
    pub(super) fn wait(&mut self, id: ShardId, input: shard::Input) {
        let Some(Slot::Claiming(claim)) = self.slots.get_mut(&id) else { return };
        if let Some(input) = claim.waiting.push(input) {
            let epoch = claim.epoch().unwrap_or_default();
            self.refuse(id, epoch, input);
        } else if claim.waiting.is_too_much() {
            self.fall_with(id, TOO_MUCH.to_owned());
        }
    }

    /// Reads the fence and clock of a shard. One that fell waits for its time first.
    pub(super) fn read_claim(&mut self, id: ShardId) {
        if let Some(at) = self.opens_at(id) {
            return self.deadlines.set(id, Some(at));
        }
        let mut reads = Reads::get(keys::epoch(id));
        reads.add_get(keys::clock(id));
        self.asked += 1;
        self.askers.insert(self.asked, Asker::Claim(id));
        self.out.push_back(Output::Read(self.asked, reads));
    }

    pub(super) fn claim_read(
        &mut self,
        id: ShardId,
        found: Result<Rows, ReadError>,
        env: &mut Env<'_>,
    ) {
        let Some(Slot::Claiming(claim)) = self.slots.get_mut(&id) else { return };
        let rows = found.ok().and_then(|rows| {
            let fence = rows.value(0).map(|value| Fence::decode(value)).transpose().ok()?;
            let clock = rows.value(1).map(|value| Clock::decode(value)).transpose().ok()?;
            Some((rows, fence, clock))
        });
        let Some((rows, fence, clock)) = rows else {
            return self.deadlines.set(id, Some(env.steady + STORE_RETRY_US));
        };
        let stored = fence.map_or(Epoch(0), |fence| fence.epoch);
        let epoch = claim.epoch().unwrap_or(Epoch(stored.0 + 1));
        if stored >= epoch {
            // Of one grant there is one owner: an attempt of ours was done after all. A higher one
            // is a later grant, of which this node has not heard yet.
            if stored == epoch {
                self.open(id, epoch, clock, env);
            } else {
                self.drop_shard(id);
            }
            return;
        }
        // Above what the owner before used for its last commit, so that no commit of ours is taken
        // for that one.
        self.op_id = self.op_id.max(clock.map_or(0, |clock| clock.op_id)) + 1;
        let mut batch = Batch::new(self.op_id);
        // The clock too: until the fence is raised the old owner may commit, and ids that it gave
        // out after our read would be given out again.
        for (index, key) in [keys::epoch(id), keys::clock(id)].into_iter().enumerate() {
            batch.check(key, rows.value(index).cloned().map_or(Expect::Absent, Expect::Equals));
        }
        batch.set(keys::epoch(id), Fence { epoch }.encode());
        claim.before = Some(stored);
        claim.found = Some((epoch, clock));
        self.claims.insert(self.op_id, id);
        self.out.push_back(Output::Commit(batch));
    }

    /// What became of the commit that raises a fence.
    pub(super) fn claimed(
        &mut self,
        id: ShardId,
        result: Result<(), CommitError>,
        env: &mut Env<'_>,
    ) {
        let Some(Slot::Claiming(claim)) = self.slots.get_mut(&id) else { return };
        let Some((epoch, clock)) = claim.found.take() else { return };
        if result.is_err() {
            // Somebody else was faster, or it is not known: read again. An epoch that was raised in
            // vain harms nobody.
            return self.deadlines.set(id, Some(env.steady + STORE_RETRY_US));
        }
        self.open(id, epoch, clock, env);
    }

    /// The shard is this worker's, and served from here on.
    fn open(&mut self, id: ShardId, epoch: Epoch, clock: Option<Clock>, env: &mut Env<'_>) {
        let Some(Slot::Claiming(claim)) = self.slots.get_mut(&id) else { return };
        let mut waiting = std::mem::take(&mut claim.waiting);
        let edges = claim.granted.take().map(|grant| grant.edges).unwrap_or_default();
        let before = claim.before;
        let shard = Shard::new(claim.id, epoch, clock, self.config.clone(), env);
        self.slots.insert(id, Slot::Owned(Box::new(shard), Waiting::default()));
        let pages = self.cluster.as_mut().and_then(|cluster| cluster.pages.remove(&id));
        // They are good only if nobody has owned the shard since.
        let pages = pages.filter(|pages| pages.whole && Some(pages.epoch) == before);
        self.step(id, |shard| {
            if !pages.is_some_and(|pages| shard.take_over(&pages.bodies, env)) {
                shard.rebuild(edges);
            }
        });
        self.collect(id);
        self.begin_claims();
        while let Some(mut input) = waiting.pop() {
            if let shard::Input::Between(Between::Pass(pass)) = &mut input {
                // It came before the shard was ours. Its source may have sent it again meanwhile,
                // to an owner between the one before and us, who has stored it. What leaves no row
                // is not looked for, and would only be lost.
                pass.retry |= pass.parcel.ingest.is_some();
            }
            self.give(id, input, env);
        }
        if self.stop != Stop::No {
            self.give(id, shard::Input::Stop, env);
        }
    }

    /// The time has come to try again.
    pub(super) fn retry_claim(&mut self, id: ShardId) {
        self.deadlines.set(id, None);
        self.read_claim(id);
    }
}
