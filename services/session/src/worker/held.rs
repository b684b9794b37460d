//! What shards want done while there is no lease: it is kept, in its order, until there is one
//! again.

use std::collections::{BTreeSet, VecDeque};

use peer::{Between, ShardId};

use super::Output;

/// What is kept.
#[derive(Default)]
pub(super) struct Held {
    queue: VecDeque<(ShardId, Output)>,
    /// The parcels in it, by both shards and number.
    parcels: BTreeSet<(ShardId, ShardId, u64)>,
}

impl Held {
    /// Keeps something that a shard wants done. A window is sent again as long as nobody confirms
    /// it, which nobody can: of each parcel there is one copy.
    pub(super) fn push(&mut self, of: ShardId, output: Output) {
        if let Output::Between(Between::Pass(pass)) = &output
            && !self.parcels.insert((pass.source, pass.target, pass.number))
        {
            return;
        }
        self.queue.push_back((of, output));
    }

    /// A shard is not served here any more.
    pub(super) fn dropped(&mut self, id: ShardId) {
        self.queue.retain(|(of, _)| *of != id);
        self.parcels.retain(|(source, ..)| *source != id);
    }

    /// Everything, in order; nothing is kept from here on.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Output> + use<> {
        std::mem::take(self).queue.into_iter().map(|(_, output)| output)
    }

    /// How much is kept, for tests.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}
