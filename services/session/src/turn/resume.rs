//! Resumption (XEP-0198 §5): of a session in memory, or of one that is gone and whose client wants
//! to know how far it came.

use peer::{ConnId, Down, ResumeRefusal, SessionId};
use xmpp::error::StreamCondition;

use super::Turn;
use crate::limits;
use crate::recover;
use crate::session::{Managed, Outbound, Resuming};
use crate::shard::Effect;

impl Turn<'_, '_> {
    /// A client wants to go on with a session.
    pub(super) fn resume(&mut self, conn: ConnId, generation: u64, id: SessionId, h: u32) {
        let valid = |row: &crate::rows::AccountRow| !row.disabled && row.generation == generation;
        if !self.account.row.as_deref().is_some_and(valid) {
            return self.not_resumed(conn, ResumeRefusal::ItemNotFound);
        }
        if self.account.session(id).is_some_and(|session| session.outbound.is_older_than(h)) {
            self.end(id);
        }
        let Some(session) = self.account.session_mut(id) else {
            // It is over, or its owner was killed: what it had sent and is stored is found in the
            // log. Its client may send again what it sent there on any connection, also on one that
            // does not try to resume.
            self.account.resends_until = self.core.steady_us + limits::RESENT_US;
            recover::trace(self.core, self.account, conn, id);
            return;
        };
        if session.managed != Managed::Resumable {
            return self.not_resumed(conn, ResumeRefusal::ItemNotFound);
        }
        // A count that cannot be ends nobody's connection: of two that resume at once, the first
        // may have taken what the second does not know of.
        if let Err(why) = taken_by(&session.outbound, h) {
            return self.not_resumed(conn, why);
        }
        // From here on, frames of the old attachment are refused: all that it had handed over
        // becomes durable or was never seen, so nothing that the client sends from `<resumed h/>`
        // on can be a retry.
        session.attachment += 1;
        session.leave(conn);
        let older = session.resuming.replace(Resuming { conn, h, written: None });
        self.cut(id, StreamCondition::Conflict);
        if let Some(older) = older {
            self.not_resumed(older.conn, ResumeRefusal::UnexpectedRequest);
        }
        self.finish_resume(id);
    }

    pub(super) fn not_resumed(&mut self, conn: ConnId, why: ResumeRefusal) {
        self.core.down(conn, Down::ResumeFailed { why, handled: None });
    }

    /// Answers a resumption, if everything that the old attachment handed over is durable.
    pub(crate) fn finish_resume(&mut self, id: SessionId) {
        let entity = self.account.entity;
        let resends_until = self.core.steady_us + limits::RESENT_US;
        let Some(session) = self.account.session_mut(id) else { return };
        let Some(Resuming { conn, h, .. }) = session.resuming else { return };
        if !session.inbound.settled() {
            return;
        }
        if std::mem::take(&mut session.stored) {
            // Its row would be taken for the session's state after a crash. It goes before the
            // session goes on.
            self.delete(entity.session(id));
            let after = self.account.dirty;
            self.core.commits.hold(after, Effect::Resume(self.account.jid.clone(), id));
            if let Some(session) = self.account.session_mut(id) {
                session.unstored = after;
            }
            return;
        }
        if session.unstored > self.core.commits.committed() {
            return;
        }
        let number = match taken_by(&session.outbound, h) {
            Ok(number) => number,
            Err(why) => {
                session.resuming = None;
                self.not_resumed(conn, why);
                self.lost(id);
                return;
            }
        };
        if self.core.config.cluster.is_some() && self.settle_taken(id, number) {
            return;
        }
        let Some(session) = self.account.session_mut(id) else { return };
        session.resuming = None;
        session.conn = Some(conn);
        session.expires_us = 0;
        session.outbound.sure = None;
        // Who had its resource before is displaced, whatever edges still say.
        session.born = (self.core.epoch, self.core.next_id());
        if session.resends_until != 0 {
            // Its client goes on with what it had begun to send again.
            session.resends_until = resends_until;
        }
        let logged = session.outbound.take(number);
        self.logged_taken(&logged);
        self.resumed(conn, id);
        self.read_on(id);
    }

    /// Has written down what the client has taken, before it goes on: the edge that it comes from
    /// knows that, and no later owner will hear of it from there. `true`: that is waited for.
    fn settle_taken(&mut self, id: SessionId, number: u64) -> bool {
        let Some(session) = self.account.session_mut(id) else { return false };
        let after = match session.resuming.and_then(|resuming| resuming.written) {
            // What others take meanwhile moves the cursor on, and is not waited for.
            Some(after) => after,
            None => {
                let logged = session.outbound.take(number);
                self.logged_taken(&logged);
                self.write_cursor();
                self.account.inbox.written_at
            }
        };
        if let Some(session) = self.account.session_mut(id)
            && let Some(resuming) = &mut session.resuming
        {
            resuming.written = Some(after);
        }
        if self.core.passes(after) {
            return false;
        }
        self.core.commits.hold(after, Effect::Resume(self.account.jid.clone(), id));
        if let Some(session) = self.account.session_mut(id) {
            session.unstored = after;
        }
        true
    }

    /// Tells the client, and sends again what it has not taken.
    fn resumed(&mut self, conn: ConnId, id: SessionId) {
        let epoch = self.core.epoch;
        if let Some(frame) = self.snapshot(id, conn) {
            self.core.down(conn, frame);
        }
        let Some(session) = self.account.session(id) else { return };
        self.core.down(
            conn,
            Down::Resumed {
                session: id,
                jid: session.jid.clone(),
                attachment: session.attachment,
                handled: session.inbound.durable(),
                taken: session.outbound.taken,
                epoch,
            },
        );
        for released in session.outbound.untaken() {
            let (number, log) = (released.number, released.log);
            let frame = Down::Stanza { number, log, stanza: released.stanza.clone() };
            self.core.down(conn, frame);
        }
    }
}

/// The number that a client's `h` stands for, which counts modulo 2^32 (XEP-0198 §4): not less than
/// what it was known to have, and not more than was sent.
fn taken_by(out: &Outbound, h: u32) -> Result<u64, ResumeRefusal> {
    let number = out.taken + u64::from(h.wrapping_sub(out.taken as u32));
    if number > out.sent {
        return Err(ResumeRefusal::HandledCountTooHigh { sent: out.sent });
    }
    Ok(number)
}
