//! Rows are written by the owner of their shard alone, and an epoch has one owner.

use std::collections::BTreeMap;

use kv::{Batch, Expect, Key, Mutation};
use peer::ShardId;
use session::keys;
use session::rows;

use super::{Checked, hold};
use crate::ledger::Account;
use crate::sim::queue::Proc;

/// Who owned which shard, by what the store was told.
#[derive(Debug, Default)]
pub struct Fence {
    owners: BTreeMap<ShardId, (u64, Proc)>,
    /// The time, in that of the run.
    pub now: u64,
    /// Since when somebody is not the owner any more who was.
    replaced: BTreeMap<(ShardId, Proc), u64>,
}

impl Fence {
    /// Whether a worker owns a shard, as far as the store knows.
    pub fn owns(&self, worker: Proc, shard: ShardId) -> bool {
        self.owners.get(&shard).is_some_and(|(_, owner)| *owner == worker)
    }

    /// Since when a worker is not the owner of a shard any more that it was the owner of.
    pub fn replaced(&self, worker: Proc, shard: ShardId) -> Option<u64> {
        self.replaced.get(&(shard, worker)).copied()
    }

    /// The store has applied a batch of a worker.
    ///
    /// # Errors
    /// If it writes what the worker does not own, or without a fence, or gives an epoch twice.
    pub fn applied(&mut self, by: Proc, batch: &Batch, accounts: &[Account]) -> Checked {
        for mutation in batch.mutations() {
            let (key, value) = match mutation {
                Mutation::Set(key, value) => (key, Some(value)),
                Mutation::Delete(key) | Mutation::DeleteRange(key, _) => (key, None),
            };
            if key.first() == Some(&b'f') {
                let epoch = value.and_then(|value| rows::Fence::decode(value).ok());
                self.raised(by, key, epoch.map_or(0, |fence| fence.epoch.0))?;
            } else if let Some(shard) = shard_of_key(key, accounts) {
                self.written(by, shard, batch)?;
            }
        }
        Ok(())
    }

    fn raised(&mut self, by: Proc, key: &Key, epoch: u64) -> Checked {
        let Some(shard) = shard_at(key) else { return Ok(()) };
        let before = self.owners.insert(shard, (epoch, by));
        if let Some((_, before)) = before {
            self.replaced.insert((shard, before), self.now);
        }
        self.replaced.remove(&(shard, by));
        hold(before.is_none_or(|(last, _)| last < epoch), "fence", || {
            format!("{by:?} set the epoch of {shard:?} to {epoch} after {before:?}")
        })
    }

    fn written(&self, by: Proc, shard: ShardId, batch: &Batch) -> Checked {
        let owner = self.owners.get(&shard);
        let key = keys::epoch(shard);
        let fence = batch.fences().iter().find(|fence| fence.key == key);
        let epoch = fence.and_then(|fence| match &fence.expect {
            Expect::Equals(value) => rows::Fence::decode(value).ok().map(|fence| fence.epoch.0),
            Expect::Absent => None,
        });
        let right = owner.is_some_and(|(current, holder)| epoch == Some(*current) && *holder == by);
        hold(right, "fence", || {
            format!("{by:?} wrote to {shard:?} under epoch {epoch:?}; its owner is {owner:?}")
        })
    }
}

/// The shard whose epoch this key holds.
pub fn epoch_of(key: &Key) -> Option<ShardId> {
    (key.first() == Some(&b'f')).then(|| shard_at(key))?
}

/// The shard of a clock or epoch row.
fn shard_at(key: &Key) -> Option<ShardId> {
    match key.as_ref() {
        [b'c' | b'f', low, high] => Some(ShardId(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

fn shard_of_key(key: &Key, accounts: &[Account]) -> Option<ShardId> {
    match key.first()? {
        b'c' => shard_at(key),
        b'e' => {
            let of = accounts.iter().find(|a| key.get(1..17) == Some(a.entity.bytes()))?;
            Some(of.shard)
        }
        _ => None,
    }
}
