//! An orderly stop: sessions that can be resumed are stored, and are there again after the next
//! start.

use peer::SessionId;
use xmpp::jid::Jid;
use xmpp::stanza::PresenceType;

use super::Turn;
use crate::account::Account;
use crate::limits;
use crate::presence;
use crate::session::{Available, Feed, Managed, Reading, Session};
use crate::shard::{Core, Note, Output, Timer};
use crate::stored::{QueuedRow, SessionRow};

impl Turn<'_, '_> {
    /// Prepares the account to be stored: the sessions that can be resumed. Everything that they
    /// sent is durable at this point.
    pub(crate) fn begin_store(&mut self) -> Vec<SessionId> {
        self.write_passing();
        // From here on nothing may reach a client: its number would be unknown after the start.
        // What still comes for it is in the log, above what the row says was read, or in the queue
        // if its row is yet to be written. Sockets are closed by who stops the node.
        for session in &mut self.account.sessions {
            session.conn = None;
        }
        let resumable = |session: &&Session| session.managed == Managed::Resumable;
        let ids: Vec<SessionId> = match self.core.config.resume_s {
            0 => Vec::new(),
            _ => self.account.sessions().filter(resumable).map(|session| session.id).collect(),
        };
        if !ids.is_empty() {
            // What they will take after the start is told from what others took before.
            self.account.inbox.touch();
        }
        ids
    }

    /// Writes the row of one session, unless it is too large.
    pub(crate) fn store_session(&mut self, id: SessionId) {
        let Some(session) = self.account.session(id) else { return };
        let (key, jid) = (self.account.entity.session(id), session.jid.clone());
        let queue = session
            .outbound
            .untaken()
            .map(|released| QueuedRow { log: released.log, stanza: released.stanza.clone() })
            .collect();
        let value = Some(self.row(session, queue).encode());
        match value.filter(|value| value.len() <= limits::SESSION_ROW_BYTES_MAX) {
            Some(value) => self.set(key, value),
            None => {
                // One that was stored before would be taken for its state. What is in the log is
                // there for the next session, as after a kill.
                self.delete(key);
                self.core.out.push_back(Output::Note(Note::SessionNotStored(jid)));
            }
        }
    }

    pub(super) fn row(&self, session: &Session, queue: Vec<QueuedRow>) -> SessionRow {
        session_row(self.core, self.account, session, queue)
    }

    /// Takes back a session that an orderly stop stored. It waits to be resumed as if its socket
    /// had just been lost then.
    pub(crate) fn restore(&mut self, row: SessionRow) {
        let Ok(jid) = self.account.jid.with_resource(&row.resource) else { return };
        let mut session = Session::stored(row.id, jid);
        session.attachment = row.attachment;
        session.inbound.restore(row.handled);
        session.outbound.restore(row.taken);
        for queued in row.queue {
            session.outbound.release(queued.stanza, queued.log);
            if self.account.inbox.waits(queued.log) {
                self.account.inbox.open.insert(queued.log);
            }
        }
        if self.account.inbox.head > row.read_to {
            let (after, until) = (row.read_to, self.account.inbox.head);
            let (reading, delayed_until) = (Reading::No, row.delayed_until);
            session.outbound.feed =
                Some(Feed { start: after, after, until, reading, delayed_until });
        }
        session.presence = row.presence.map(|stanza| {
            let priority = presence::priority(&stanza.body).unwrap_or(0);
            Box::new(Available { stanza, priority })
        });
        session.marks = row.marks;
        session.interested = row.interested;
        if row.resends {
            session.resends_until = self.core.steady_us + limits::RESENT_US;
        }
        for to in &row.directed {
            // The list came from one within its limit.
            let _ = session.directed.sent(PresenceType::Available, to, false);
        }
        let gone = self.core.now.saturating_sub(row.lost_us);
        let at = self.core.clock + self.core.config.resume_us().saturating_sub(gone);
        session.expires_us = at.max(1);
        self.core.timers.set(at, Timer::Resume(self.account.jid.clone(), row.id));
        self.account.sessions.push(Box::new(session));
    }
}

/// A session as another owner, or this one after a stop, takes it up again.
pub(crate) fn session_row(
    core: &Core,
    account: &Account,
    session: &Session,
    queue: Vec<QueuedRow>,
) -> SessionRow {
    let left = match session.expires_us {
        0 => core.config.resume_us(),
        at => at.saturating_sub(core.clock),
    };
    // Another process reads it, whose steady clock is another one.
    let lost_us = core.now - core.config.resume_us().saturating_sub(left);
    SessionRow {
        id: session.id,
        resource: session.jid.resource().unwrap_or_default().into(),
        attachment: session.attachment,
        handled: session.inbound.durable(),
        taken: session.outbound.taken,
        queue,
        read_to: session.outbound.feed.map_or(account.inbox.head, |feed| feed.after),
        delayed_until: session.outbound.feed.map_or(0, |feed| feed.delayed_until),
        presence: session.presence.as_ref().map(|presence| presence.stanza.clone()),
        marks: session.marks,
        interested: session.interested,
        resends: session.resends_until != 0,
        directed: session.directed.iter().map(Jid::clone).collect(),
        lost_us,
    }
}
