//! What edges keep of this account's sessions, and what a new owner makes of it (design:
//! "Sessions", "Owner dies").

use peer::{ConnId, Down, Report, SessionId};
use xmpp::error::StreamCondition;

use super::Turn;
use crate::limits;
use crate::session::{Managed, Released, Session};
use crate::shard::{NOWHERE, Timer};
use crate::snapshot::Snapshot;
use crate::stored::QueuedRow;

impl Turn<'_, '_> {
    /// The frame by which the edge of a session keeps what it means now. On a node of its own there
    /// is nobody to keep it for.
    pub(super) fn snapshot(&mut self, id: SessionId, conn: ConnId) -> Option<Down> {
        let key = self.core.config.cluster.as_ref()?.snapshot_key;
        let generation = self.account.generation()?;
        let row = self.row(self.account.session(id)?, Vec::new());
        let session = self.account.session(id)?;
        let (born, managed) = (session.born, session.managed);
        let account = self.account.jid.clone();
        let snapshot = Snapshot { conn, account, generation, born, managed, row };
        Some(Down::Snapshot { snapshot: snapshot.seal(&key) })
    }

    /// Has the edge of a session keep what it means, if that has changed. It stands before whatever
    /// tells the client that the change is done: it would not ask for it again.
    pub(super) fn keep(&mut self, id: SessionId) {
        let Some(session) = self.account.session_mut(id) else { return };
        session.changed = false;
        if let Some(conn) = session.conn
            && let Some(frame) = self.snapshot(id, conn)
        {
            self.core.down(conn, frame);
        }
    }

    /// An edge has a session of this account.
    pub(super) fn report(&mut self, report: Report) {
        let kept = self.core.kept.remove(&(report.session, report.attachment));
        let kept = kept.map(|kept| kept.given).unwrap_or_default();
        if self.core.gone.contains(&report.conn.edge) {
            return;
        }
        match self.account.session(report.session).map(|session| session.attachment) {
            Some(known) if self.goes_on(known, &report) && self.is_as_far(&report) => {
                self.attach(&report);
            }
            // An edge that has not heard yet that the session goes on elsewhere.
            Some(known) if known > report.attachment => {
                self.turn_off(&report, StreamCondition::Reset);
            }
            _ => {
                if self.is_displaced(&report) {
                    self.turn_off(&report, StreamCondition::Conflict);
                } else if self.rebuilt(&report, kept).is_none() {
                    self.turn_off(&report, StreamCondition::Reset);
                }
            }
        }
    }

    fn turn_off(&mut self, report: &Report, condition: StreamCondition) {
        self.core.down(report.conn, Down::Close { condition });
    }

    /// Whether the resource of a session was bound again, of which its edge has not heard.
    fn is_displaced(&self, report: &Report) -> bool {
        let key = self.core.config.cluster.as_ref().map(|cluster| &cluster.snapshot_key);
        let snapshot = key.and_then(|key| Snapshot::open(key, &report.snapshot));
        snapshot.is_some_and(|Snapshot { born, row, .. }| {
            let holder = self.account.resource(&row.resource);
            holder.is_some_and(|holder| holder.id != report.session && holder.born > born)
        })
    }

    /// Whether a report is of the attachment that is known. Of a stream whose management was turned
    /// on, its edge may not have heard.
    fn goes_on(&self, known: u32, report: &Report) -> bool {
        known == report.attachment || known == 1 && report.attachment == 0
    }

    /// Whether a session is known as far as its edge knows it. If not, it was handed over too
    /// early, and its edge knows it better.
    fn is_as_far(&self, report: &Report) -> bool {
        self.account.session(report.session).is_some_and(|session| {
            session.attachment != report.attachment
                || report.received <= session.outbound.sent
                    && report.handled <= session.inbound.durable()
        })
    }

    /// A session comes to be here as its edge has it.
    fn rebuilt(&mut self, report: &Report, kept: Vec<Released>) -> Option<()> {
        let key = &self.core.config.cluster.as_ref()?.snapshot_key;
        let Snapshot { conn, account, generation, born, mut managed, mut row } =
            Snapshot::open(key, &report.snapshot)?;
        if report.attachment == 0 && row.attachment == 1 {
            // The client was not told that stream management is on: it is asked for again.
            row.attachment = 0;
            managed = Managed::No;
        }
        let same = conn == report.conn && account == self.account.jid;
        let same = same && row.id == report.session && row.attachment == report.attachment;
        let stored = self.account.row.as_deref()?;
        let valid = same && stored.generation == generation && !stored.disabled;
        let whole = report.taken.checked_add(kept.len() as u64) == Some(report.received);
        let counts = [report.handled, report.received, report.read_to];
        let valid = valid && counts.iter().all(|count| *count <= limits::COUNT_MAX);
        let jid = self.account.jid.with_resource(&row.resource).ok()?;
        if !valid || !whole {
            return None;
        }
        if report.lost && managed != Managed::Resumable {
            return None;
        }
        // What an edge has of an attachment before this one is over.
        let over = |s: &Session| s.id == report.session || s.jid == jid;
        let gone = self.account.sessions().filter(|s| over(s)).map(|s| s.conn.or(s.ghost));
        let gone: Vec<Option<ConnId>> = gone.filter(|conn| *conn != Some(report.conn)).collect();
        let stored = self.account.sessions().filter(|s| over(s) && s.stored).map(|s| s.id);
        let stored: Vec<SessionId> = stored.collect();
        self.account.sessions.retain(|session| !over(session));
        for id in &stored {
            self.delete(self.account.entity.session(*id));
        }
        gone.into_iter().for_each(|conn| self.forget_ghost(conn));
        self.logged_taken(&report.recent);
        row.handled = report.handled;
        row.taken = report.taken;
        row.read_to = row.read_to.max(report.read_to);
        row.lost_us = self.core.now;
        let queued = kept.into_iter().map(|r| QueuedRow { log: r.log, stanza: r.stanza });
        row.queue = queued.collect();
        let id = row.id;
        self.restore(row);
        let resends_until = self.core.steady_us + limits::RESENT_US;
        let unstored = if stored.is_empty() { 0 } else { self.account.dirty };
        let session = self.account.session_mut(id)?;
        session.born = born;
        session.stored = false;
        session.unstored = unstored;
        session.managed = managed;
        if report.lost {
            session.outbound.sure = Some(report.received);
            // Its client may have gone on with it on an edge that is dead.
            session.resends_until = resends_until;
        }
        if session.priority().is_none_or(|priority| priority < 0) {
            session.outbound.feed = None;
        }
        session.conn = Some(report.conn);
        if !report.lost {
            // Else its end stands behind what it has sent.
            session.expires_us = 0;
        }
        self.read_on(id);
        Some(())
    }

    /// The edge of a connection that is lost has nothing to keep of it any more.
    pub(super) fn forget_ghost(&mut self, conn: Option<ConnId>) {
        if let Some(conn) = conn
            && self.core.config.cluster.is_some()
        {
            self.core.down(conn, Down::Close { condition: StreamCondition::Conflict });
        }
    }

    /// The owner before has handed the session over, or its edge says again what it has: it goes on
    /// from where the edge is.
    fn attach(&mut self, report: &Report) {
        let id = report.session;
        let Some(session) = self.account.session_mut(id) else { return };
        if session.resuming.is_some() {
            return;
        }
        session.conn = Some(report.conn);
        session.ghost = None;
        session.expires_us = 0;
        session.outbound.sure = report.lost.then_some(report.received);
        let (known, handled) = (session.attachment, session.inbound.durable());
        let stored = std::mem::take(&mut session.stored);
        if stored {
            session.born = (self.core.epoch, self.core.next_id());
            // What is told here stands in its row. What comes later waits until that is gone: it
            // would be taken for the session's state if this owner dies.
            self.delete(self.account.entity.session(id));
            let after = self.account.dirty;
            if let Some(session) = self.account.session_mut(id) {
                session.unstored = after;
            }
        }
        let unheard = known != report.attachment;
        if let Some(frame) = self.snapshot(id, report.conn) {
            self.core.down(report.conn, frame);
        }
        let (mut received, mut told) = (report.received, report.handled);
        if unheard {
            let resume_s = self.core.config.resume_s;
            self.core.down(report.conn, Down::Enabled { session: id, resume_s });
            (received, told) = (0, 0);
        }
        if told < handled {
            self.core.down(report.conn, Down::Handled { number: handled });
        }
        if !unheard {
            let Some(session) = self.account.session_mut(id) else { return };
            let logged = session.outbound.take(report.taken);
            self.logged_taken(&logged);
        }
        let Some(session) = self.account.session(id) else { return };
        for released in session.outbound.untaken().filter(|r| r.number > received) {
            let (number, log) = (released.number, released.log);
            let frame = Down::Stanza { number, log, stanza: released.stanza.clone() };
            self.core.down(report.conn, frame);
        }
        self.read_on(id);
    }

    /// The owner before has handed a session over. It waits for its edge to say where it is, as one
    /// that has lost its socket.
    pub(super) fn handed_over(&mut self, snapshot: Snapshot) {
        let Snapshot { conn, generation, born, managed, mut row, .. } = snapshot;
        // The time of day of the owner before may be another one.
        row.lost_us = self.core.now;
        let id = row.id;
        let stored = self.account.row.as_deref();
        let valid = stored.is_some_and(|row| row.generation == generation && !row.disabled);
        if !valid || self.account.session(id).is_some() {
            return;
        }
        self.restore(row);
        let Some(session) = self.account.session_mut(id) else { return };
        session.born = born;
        session.stored = false;
        session.managed = managed;
        session.ghost = Some(conn).filter(|conn| *conn != NOWHERE);
        if session.priority().is_none_or(|priority| priority < 0) {
            session.outbound.feed = None;
        }
    }

    /// The shard knows its sessions: those that wait for their edge have as long as ones that lost
    /// their sockets, and what nobody has is for those that are there.
    pub(crate) fn rebuilt_all(&mut self) {
        self.feed_others();
        let waits: Vec<SessionId> = self
            .account
            .sessions()
            .filter(|session| session.conn.is_none() && session.expires_us == 0)
            .map(|session| session.id)
            .collect();
        let at = self.core.clock + self.core.config.resume_us();
        for id in waits {
            if let Some(session) = self.account.session_mut(id) {
                session.expires_us = at;
                self.core.timers.set(at, Timer::Resume(self.account.jid.clone(), id));
            }
        }
    }
}
