//! The lease of a worker of a cluster (design: "Ownership"): once a second it asks the store
//! whether what it has is its own. Without an answer for three seconds it delivers and accepts
//! nothing, but keeps everything.
//!
//! It is asked for from the start, also while there is nothing to own: control gives shards only to
//! routers of which it hears that the store answers them.

use std::collections::BTreeMap;

use kv::{RangeRead, ReadError, Reads, Rows};
use peer::{Epoch, ShardId};

use super::{Asker, Output, Slot, Worker};
use crate::keys;
use crate::limits::{LEASE_REFRESH_US, LEASE_US, STORE_RETRY_US};
use crate::rows::Fence;
use crate::shard::Env;

/// Until when this worker may take itself for the owner of what it owns.
#[derive(Default)]
pub(super) struct Lease {
    /// When what the store has confirmed was asked for.
    confirmed: Option<Asked>,
    /// When to ask the store again.
    pub(super) next: u64,
}

/// A moment, by both clocks. Steady clocks stand still while a machine is suspended; the time of
/// day does not.
#[derive(Clone, Copy)]
struct Asked {
    now: u64,
    steady: u64,
}

/// What the store was asked to confirm.
pub(super) struct Proof {
    at: Asked,
    /// Everything that there was, and the epoch if it was served.
    shards: Vec<(ShardId, Option<Epoch>)>,
}

impl Lease {
    /// Whether nothing may be delivered or accepted at this time. A time of day that has jumped
    /// costs no more than the time until the store has answered.
    pub(super) fn is_over(&self, now: u64, steady: u64) -> bool {
        self.confirmed.is_none_or(|at| {
            steady >= at.steady + LEASE_US || now >= at.now.saturating_add(LEASE_US)
        })
    }
}

impl Proof {
    /// The fences of these shards. They are read one by one, as long as one call takes so many;
    /// more lie so close together that all between the first and the last are read. Who has nothing
    /// asks only whether the store is there.
    fn reads(&self) -> Reads {
        let mut keys: Vec<kv::Key> = self.shards.iter().map(|(id, _)| keys::epoch(*id)).collect();
        keys.sort();
        match (keys.first(), keys.last()) {
            (Some(first), Some(last)) if keys.len() > kv::limits::READS_MAX => {
                // The key that follows at once.
                let end = [last, &b"\0"[..]].concat().into();
                Reads::range(RangeRead::new(first.clone(), end))
            }
            (None, _) => Reads::get(keys::cluster()),
            _ => Reads { list: keys.into_iter().map(kv::Read::Get).collect() },
        }
    }
}

impl Worker {
    /// The steady time at which the store was last asked and has confirmed what this worker owns;
    /// `None` before the first time, and on a node of its own.
    pub fn confirmed(&self) -> Option<u64> {
        self.cluster.as_ref()?.lease.confirmed.map(|at| at.steady)
    }

    /// Stops to deliver and accept when the lease is over, and asks for another one at once.
    pub(super) fn look_at_lease(&mut self, env: &Env<'_>) {
        if let Some(cluster) = &mut self.cluster
            && !self.lapsed
            && cluster.lease.is_over(env.now, env.steady)
        {
            self.lapsed = true;
            cluster.lease.next = cluster.lease.next.min(env.steady);
        }
    }

    /// Asks the store whose the shards are, if it is time.
    pub(super) fn refresh(&mut self, env: &Env<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.lease.next > env.steady {
            return;
        }
        cluster.lease.next = env.steady + LEASE_REFRESH_US;
        let epoch = |slot: &Slot| match slot {
            Slot::Owned(shard, _) => Some(shard.epoch()),
            Slot::Claiming(_) => None,
        };
        let shards = self.slots.iter().map(|(id, slot)| (*id, epoch(slot))).collect();
        let proof = Proof { at: Asked { now: env.now, steady: env.steady }, shards };
        self.asked += 1;
        self.out.push_back(Output::Read(self.asked, proof.reads()));
        self.askers.insert(self.asked, Asker::Lease(proof));
    }

    /// The store has said whose the shards are: those of others go. For the rest this worker was
    /// the owner when it asked, or has become it since.
    pub(super) fn refreshed(
        &mut self,
        proof: &Proof,
        found: Result<Rows, ReadError>,
        env: &mut Env<'_>,
    ) {
        let Some(fences) = found.ok().and_then(fences) else {
            if let Some(cluster) = &mut self.cluster {
                cluster.lease.next = env.steady + STORE_RETRY_US;
            }
            return;
        };
        for (id, served) in &proof.shards {
            self.proved(*id, *served, fences.get(id).copied());
        }
        let Some(cluster) = &mut self.cluster else { return };
        let older = |at: &Asked| at.steady < proof.at.steady;
        if cluster.lease.confirmed.as_ref().is_none_or(older) {
            cluster.lease.confirmed = Some(proof.at);
        }
        if self.lapsed && !cluster.lease.is_over(env.now, env.steady) {
            self.lapsed = false;
            for mut output in cluster.held.take() {
                // Its target may have got another owner meanwhile.
                if let Output::Between(frame) = &mut output {
                    cluster.address(frame);
                }
                self.out.push_back(output);
            }
            for id in self.owned() {
                self.go_on(id, env);
            }
        }
    }

    /// The store names this epoch for a shard; `None`: there is no fence, or it cannot be read.
    /// `served`: under which epoch the shard was served when the store was asked.
    fn proved(&mut self, id: ShardId, served: Option<Epoch>, stored: Option<Epoch>) {
        let own = match self.slots.get(&id) {
            Some(Slot::Owned(shard, _)) => Some(shard.epoch()),
            Some(Slot::Claiming(claim)) => claim.epoch(),
            None => return,
        };
        if stored > own {
            self.drop_shard(id);
        } else if served == own && stored != own {
            // Nobody else has it, as far as one can see; but who cannot show that he owns it does
            // not serve it.
            self.fall_with(id, "the store does not name its owner".to_owned());
        }
        // Else the store speaks of a time before the claim, which proves itself.
    }
}

/// The epochs that can be read; `None` if that is not all that was asked for.
fn fences(found: Rows) -> Option<BTreeMap<ShardId, Epoch>> {
    if found.found.iter().any(|found| found.more.is_some()) {
        return None;
    }
    let rows = found.found.into_iter().flat_map(|found| found.rows);
    let fence = |row: kv::Row| Some((keys::epoch_of(&row.key)?, Fence::decode(&row.value).ok()?));
    Some(rows.filter_map(fence).map(|(id, fence)| (id, fence.epoch)).collect())
}
