//! Messages that are delivered before it is known whether they need a row.

use kv::Value;

use super::Turn;
use crate::limits;
use crate::module::{Draft, Event};
use crate::passing::Due;
use crate::shard::{Arrived, Timer};

impl Turn<'_, '_> {
    /// Whether a message may be delivered without a row: nobody wants it kept, and a client that is
    /// there gets it at once.
    pub(super) fn may_pass(&self, draft: Draft, event: &Event) -> bool {
        let takes = |id: &peer::SessionId| {
            self.account.session(*id).is_some_and(|session| {
                let out = &session.outbound;
                session.conn.is_some() && out.feed.is_none() && out.has_room()
            })
        };
        let passes = draft.offline && !draft.archived && !self.core.giving;
        passes && event.targets.iter().any(takes)
    }

    /// A message is going to be delivered without a row.
    pub(super) fn pass_by(&mut self, id: u64, row: Value) {
        if self.account.passing.begin(id, row, self.core.clock) {
            let at = self.core.clock + limits::UNWRITTEN_US;
            self.core.timers.set(at, Timer::Unwritten(self.account.jid.clone()));
        }
    }

    /// A parcel was decided: it is confirmed when what it led to is durable or, if it has no row,
    /// when it was taken.
    pub(super) fn arrived(&mut self, origin: Arrived, id: Option<u64>) {
        let origin = match id {
            Some(id) => self.account.passing.wait(id, origin),
            None => Some(origin),
        };
        if let Some(origin) = origin {
            self.core.decided(origin, self.account.dirty);
        }
    }

    /// What was delivered and not taken is written after all: its session is lost, or the log is to
    /// be read.
    pub(crate) fn write_passing(&mut self) {
        let due = self.account.passing.due();
        self.write_due(due);
    }

    /// Nobody has taken a message in time.
    pub(crate) fn passing_timeout(&mut self) {
        let (due, next) = self.account.passing.timeout(self.core.clock);
        self.write_due(due);
        if let Some(at) = next {
            self.core.timers.set(at, Timer::Unwritten(self.account.jid.clone()));
        }
    }

    /// Has the rows deleted soon that were taken long ago, and the account not used since.
    pub(crate) fn purge_spent(&mut self) {
        let horizon = self.core.horizon();
        if self.account.passing.spent().iter().any(|id| *id < horizon) {
            self.account.inbox.touch();
            self.cursor_moved();
        }
    }

    fn write_due(&mut self, due: Vec<Due>) {
        let Some(first) = due.first().map(|due| due.id) else { return };
        let mut origins = Vec::new();
        for Due { id, row, origin } in due {
            self.set(self.account.entity.log(id), row);
            self.account.passing.written(id);
            origins.extend(origin);
        }
        if self.account.inbox.has_told(first) {
            // The cursor's row passes over it: a new owner would take it for taken.
            self.account.inbox.touch();
            self.write_cursor();
        }
        for origin in origins {
            self.core.decided(origin, self.account.dirty);
        }
    }
}
