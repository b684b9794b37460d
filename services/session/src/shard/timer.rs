//! Deadlines of a shard. Each has a named reason.

use std::collections::BTreeMap;

use peer::{SessionId, ShardId};
use xmpp::jid::Jid;

/// Why a shard wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A lost session was not resumed in time.
    Resume(Jid, SessionId),
    /// An account's cursor is to be written.
    Cursor(Jid),
    /// What was delivered without a row is to be written.
    Unwritten(Jid),
    /// A window's first parcel has this number; if it still has, send all again.
    Window(ShardId, u64),
    /// A read that the store could not make is made again.
    Read(u64),
    /// Look for accounts and windows at rest.
    Sweep,
    /// Edges that have not reported are not waited for any longer.
    Rebuild,
}

/// Deadlines in order.
#[derive(Default)]
pub(crate) struct Timers {
    due: BTreeMap<(u64, u64), Timer>,
    count: u64,
}

impl Timers {
    /// Wakes at `at` (by the steady clock) or soon after.
    pub(crate) fn set(&mut self, at: u64, timer: Timer) {
        self.count += 1;
        self.due.insert((at, self.count), timer);
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self, now: u64) -> Option<Timer> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
