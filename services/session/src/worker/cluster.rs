//! A worker of a cluster (design: "Ownership"): it serves the shards that control granted to it,
//! and no others; it knows under which epochs others own theirs; and it delivers and accepts
//! nothing while it cannot prove that it is still the owner.
//!
//! A worker on a node of its own has nothing of this: all shards are its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peer::{Between, Complete, Epoch, NodeId, ShardId};

use super::claim::{Claim, TOO_MUCH};
use super::giving::Pages;
use super::held::Held;
use super::lease::Lease;
use super::waiting::Waiting;
use super::{Slot, Stop, Worker};
use crate::shard::{self, Env};

/// What a worker of a cluster knows.
#[derive(Default)]
pub(super) struct Cluster {
    /// The highest epoch of each shard that this node has heard of from control.
    map: BTreeMap<ShardId, Epoch>,
    /// Shards that are being claimed, and granted ones that wait for their turn.
    pub(super) claiming: BTreeSet<ShardId>,
    pub(super) unclaimed: VecDeque<ShardId>,
    /// Frames for owners that control has not named here yet.
    early: BTreeMap<ShardId, Early>,
    pub(super) lease: Lease,
    /// What owners before hand over of shards that may be granted.
    pub(super) pages: BTreeMap<ShardId, Pages>,
    /// What shards wanted done while there was no lease.
    pub(super) held: Held,
}

/// Frames that came before the grant that they are for.
struct Early {
    epoch: Epoch,
    frames: Waiting,
    /// More came than is kept.
    too_much: bool,
}

/// Whether a frame is for an owner that this worker is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fits {
    Yes,
    /// Control will say so, perhaps.
    NotYet,
    No,
}

impl Cluster {
    /// The highest epoch of a shard that this node has heard of.
    pub(super) fn known(&self, id: ShardId) -> Epoch {
        self.map.get(&id).copied().unwrap_or_default()
    }

    /// Writes into a frame which owner it is for.
    pub(super) fn address(&self, frame: &mut Between) {
        let known = self.map.get(&frame.target()).copied().unwrap_or_default();
        match frame {
            Between::Pass(pass) => pass.target_epoch = known,
            // They answer what came under this epoch, and are for no other.
            Between::Ack(_) | Between::Gap { .. } => {}
        }
    }

    /// Keeps a frame for the owner under an epoch that is not named here yet. Given back if there
    /// is no room for it.
    fn early(&mut self, id: ShardId, epoch: Epoch, input: shard::Input) -> Option<shard::Input> {
        let new = || Early { epoch, frames: Waiting::default(), too_much: false };
        let early = self.early.entry(id).or_insert_with(new);
        if early.epoch < epoch {
            *early = new();
        }
        if early.epoch > epoch || early.too_much {
            return None;
        }
        let refused = early.frames.push(input);
        if early.frames.is_too_much() {
            early.frames.clear();
            early.too_much = true;
        }
        refused
    }
}

impl Worker {
    /// Control gives a shard to this worker. `edges` are those that may have sessions of it.
    pub(super) fn granted(
        &mut self,
        id: ShardId,
        epoch: Epoch,
        edges: Vec<NodeId>,
        env: &mut Env<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.map.get(&id).is_some_and(|known| *known >= epoch) {
            return;
        }
        cluster.map.insert(id, epoch);
        // What came for a later grant goes on waiting for it.
        let early = cluster.early.extract_if(id..=id, |_, early| early.epoch <= epoch);
        let early = early.last().map(|(_, early)| early).filter(|early| early.epoch == epoch);
        self.drop_shard(id);
        let mut claim = Claim::granted(id, epoch, edges);
        let too_much = early.as_ref().is_some_and(|early| early.too_much);
        claim.begin_with(early.map(|early| early.frames).unwrap_or_default());
        if too_much {
            self.fall_with(id, TOO_MUCH.to_owned());
        } else if self.stop == Stop::No {
            self.slots.insert(id, Slot::Claiming(claim));
            if let Some(cluster) = &mut self.cluster {
                // An earlier claim of it is none any more.
                cluster.claiming.remove(&id);
                cluster.unclaimed.push_back(id);
            }
            self.begin_claims();
        }
        self.moved(id, env);
    }

    /// Control has given a shard to another worker: what is here of it goes, and whoever waits for
    /// an answer of it asks again there.
    pub(super) fn lost(&mut self, id: ShardId, epoch: Epoch, env: &mut Env<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.map.get(&id).is_some_and(|known| *known >= epoch) {
            return;
        }
        cluster.map.insert(id, epoch);
        cluster.early.retain(|of, early| *of != id || early.epoch > epoch);
        cluster.pages.retain(|of, pages| *of != id || pages.epoch >= epoch);
        self.drop_shard(id);
        self.moved(id, env);
    }

    /// A shard has a new owner: what it has not confirmed is sent there, before anything new.
    pub(super) fn moved(&mut self, id: ShardId, env: &mut Env<'_>) {
        let concerned = self.shards().filter(|shard| shard.sends_to(id));
        let concerned: Vec<ShardId> = concerned.map(shard::Shard::id).collect();
        for shard in concerned {
            self.give(shard, shard::Input::Moved(id), env);
        }
    }

    /// A frame for the owner of a shard under an epoch.
    pub(super) fn give_to(
        &mut self,
        id: ShardId,
        epoch: Epoch,
        input: shard::Input,
        env: &mut Env<'_>,
    ) {
        match self.fits(id, epoch) {
            Fits::Yes => self.give(id, input, env),
            Fits::NotYet => {
                if let Some(cluster) = &mut self.cluster
                    && let Some(input) = cluster.early(id, epoch, input)
                {
                    self.refuse(id, epoch, input);
                }
            }
            Fits::No => {}
        }
    }

    fn fits(&self, id: ShardId, epoch: Epoch) -> Fits {
        let Some(cluster) = &self.cluster else { return Fits::Yes };
        let own = match self.slots.get(&id) {
            Some(Slot::Owned(shard, _)) => Some(shard.epoch()),
            Some(Slot::Claiming(claim)) => claim.epoch(),
            None => None,
        };
        if own == Some(epoch) {
            return Fits::Yes;
        }
        let known = cluster.map.get(&id).copied().unwrap_or_default();
        if epoch > known { Fits::NotYet } else { Fits::No }
    }

    /// A frame between shards, from this worker or another one.
    pub(super) fn take_between(&mut self, frame: Between, env: &mut Env<'_>) {
        let (id, epoch) = (frame.target(), frame.target_epoch());
        let input = shard::Input::Between(frame);
        if self.cluster.is_none() {
            self.give(id, input, env);
        } else {
            self.give_to(id, epoch, input, env);
        }
    }

    /// An edge has said all that it knows of a shard.
    pub(super) fn complete(&mut self, complete: Complete, env: &mut Env<'_>) {
        let Complete { edge, shard, epoch } = complete;
        self.give_to(shard, epoch, shard::Input::Complete(edge), env);
    }
}
