//! What a client has taken, and its owner knows it, is not given to the account again as something
//! that has waited. (An owner that is killed may forget the last second of it: the cursor is
//! written once a second.)

use std::collections::{BTreeMap, BTreeSet};

use peer::{SessionId, ShardId};

use super::{Checked, hold};

/// What owners know to have been taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// What each session was handed, by its number.
    handed: BTreeMap<(SessionId, u64), usize>,
    known: BTreeMap<ShardId, BTreeSet<usize>>,
    /// Shards whose next owner begins with what the one before stored.
    stored: BTreeSet<ShardId>,
}

impl Taken {
    /// An owner handed a message to a session under a number; `late`: as one that has waited.
    ///
    /// # Errors
    /// If it knew the message to have been taken.
    pub fn handed(
        &mut self,
        shard: ShardId,
        session: SessionId,
        number: u64,
        message: usize,
        late: bool,
    ) -> Checked {
        if self.handed.insert((session, number), message).is_some() || !late {
            return Ok(());
        }
        let known = self.known.get(&shard).is_some_and(|known| known.contains(&message));
        hold(!known, "repeats", || format!("m{message} was handed out again after it was taken"))
    }

    /// A session's numbers begin again.
    pub fn restarted(&mut self, session: SessionId) {
        self.handed.retain(|(of, _), _| *of != session);
    }

    /// The owner of a shard was told that a session has taken everything up to a number.
    pub fn told(&mut self, shard: ShardId, session: SessionId, up_to: u64) {
        let range = (session, 0)..=(session, up_to);
        let known = self.known.entry(shard).or_default();
        known.extend(self.handed.range(range).map(|(_, message)| *message));
    }

    /// The worker of a place stored what it knew and stopped. `owned` says of which shards it knew,
    /// `whole` of which messages: those of accounts for which nothing came after that.
    pub fn stored(&mut self, owned: impl Fn(ShardId) -> bool, whole: impl Fn(usize) -> bool) {
        self.known.values_mut().for_each(|known| known.retain(|message| whole(*message)));
        let all = self.known.keys().filter(|shard| owned(**shard));
        self.stored.extend(all);
    }

    /// A shard's memory is lost.
    pub fn fell(&mut self, shard: ShardId) {
        self.known.remove(&shard);
        self.stored.remove(&shard);
    }

    /// A shard has a new owner, who knows what the store does.
    pub fn claimed(&mut self, shard: ShardId) {
        if !self.stored.remove(&shard) {
            self.known.remove(&shard);
        }
    }
}
