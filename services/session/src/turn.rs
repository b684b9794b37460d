//! One account deciding on one thing. Everything that an account does goes through a [`Turn`]: it
//! has the account, the shard's common parts and the time, and nothing else.

mod admin;
mod bind;
mod feed;
mod inbound;
mod modules;
mod outbound;
mod passing;
mod presence;
mod rebuild;
mod resent;
mod resume;
mod roster;
mod stop;

pub(crate) use self::stop::session_row;

use peer::{ConnId, Down, Parcel, SessionId, Up};
use xmpp::error::{Condition, StanzaError};
use xmpp::jid::Jid;
use xmpp::stanza::{Kind, PresenceType, Stanza};

use crate::account::{Account, State};
use crate::limits;
use crate::session::{Feed, InLog, Managed, Reading, Released};
use crate::shard::{BatchNo, Core, Effect, Env, Origin, Timer, Work};

/// One account, deciding.
pub(crate) struct Turn<'a, 'e> {
    pub(crate) core: &'a mut Core,
    pub(crate) account: &'a mut Account,
    pub(crate) env: &'a mut Env<'e>,
}

impl Turn<'_, '_> {
    /// Decides on one thing.
    pub(crate) fn work(&mut self, work: Work) {
        match work {
            Work::Up(frame) => self.up(frame),
            Work::Parcel(arrival) => self.arrive(arrival),
            Work::Gone(edge) => self.edge_gone(edge),
            Work::Admin(ticket, request) => self.admin(ticket, request),
            Work::HandedOver(snapshot) => self.handed_over(*snapshot),
            Work::Rebuilt => self.rebuilt_all(),
        }
    }

    fn up(&mut self, frame: Up) {
        match frame {
            Up::Bind { conn, generation, resource, resends, .. } => {
                self.bind(conn, generation, resource, resends);
            }
            Up::Resume { conn, generation, session, h, .. } => {
                self.resume(conn, generation, session, h);
            }
            Up::Enable { session, resume, .. } => self.enable(session, resume),
            Up::Stanza { session, attachment, number, retry, stanza, .. } => {
                if self.attached(session, attachment) {
                    self.client_sent(session, number, retry, stanza);
                }
            }
            Up::Judged { session, attachment, number, reply, .. } => {
                if self.attached(session, attachment) {
                    self.client_judged(session, number, reply);
                }
            }
            Up::Taken { session, attachment, number, .. } => {
                if self.attached(session, attachment) {
                    self.taken(session, number);
                }
            }
            Up::Lost { session, attachment, .. } => {
                if self.attached(session, attachment) {
                    self.lost(session);
                }
            }
            Up::Ended { session, attachment, .. } => {
                if self.attached(session, attachment) {
                    self.end(session);
                }
            }
            Up::Kept { session, attachment, number, log, stanza, .. } => {
                self.core.reported((session, attachment), Released { number, log, stanza });
            }
            Up::Report(report) => self.report(*report),
            Up::Challenge { .. } | Up::Verify { .. } => {
                unreachable!("logins are not an account's work: shard::drive answers them")
            }
        }
    }

    /// Whether a frame is of the session's present attachment. Frames of an older one are refused
    /// from the moment in which the session was cut or resumed (design: "Sessions").
    fn attached(&mut self, session: SessionId, attachment: u32) -> bool {
        let Some(session) = self.account.session_mut(session) else { return false };
        let attached = session.conn.is_some() && session.attachment == attachment;
        if attached && session.ghost.is_some() {
            // Its edge knows of this attachment, so that of the one before may forget it.
            let ghost = session.ghost.take();
            self.forget_ghost(ghost);
        }
        attached
    }

    /// The batch that everything which shows this account's state must wait for.
    fn after(&self) -> BatchNo {
        self.account.dirty
    }

    /// Notes that the account writes into the growing batch.
    fn touch(&mut self) -> BatchNo {
        self.account.dirty = self.core.commits.growing_no();
        self.account.dirty
    }

    /// Sets a row of this account.
    pub(crate) fn set(&mut self, key: kv::Key, value: kv::Value) {
        if self.account.deleting {
            // A decision that waited for rows while the account was deleted leaves none behind.
            return;
        }
        self.touch();
        self.core.commits.growing().set(key, value);
    }

    /// Deletes a row of this account.
    pub(crate) fn delete(&mut self, key: kv::Key) {
        self.touch();
        self.core.commits.growing().delete(key);
    }

    /// Hands a frame to a connection, when what it shows is durable.
    fn tell(&mut self, conn: ConnId, frame: Down) {
        let after = self.after();
        if self.core.passes(after) {
            self.core.down(conn, frame);
        } else {
            self.core.commits.hold(after, Effect::Down(conn, frame));
        }
    }

    /// Gives a stanza to a session, when what it shows is durable.
    pub(crate) fn deliver(&mut self, id: SessionId, stanza: Stanza, logged: InLog) {
        let after = self.after();
        let Some(session) = self.account.session_mut(id) else { return };
        let after = after.max(session.outbound.held_after);
        if self.core.passes(after) {
            self.release(id, stanza, logged);
        } else {
            session.outbound.held_after = after;
            let jid = self.account.jid.clone();
            self.core.commits.hold(after, Effect::Deliver(jid, id, stanza, logged));
        }
    }

    /// Numbers a stanza for a session and hands it over. A stored message that finds no room stays
    /// in the log, and the session reads on from there.
    pub(crate) fn release(&mut self, id: SessionId, stanza: Stanza, logged: InLog) {
        let Some(session) = self.account.session(id) else {
            // It ended while the stanza was held. A message that nobody else has is for the others.
            if self.account.inbox.waits(logged.id()) {
                self.feed_others();
            }
            return;
        };
        let behind = session.outbound.feed.is_some() || !session.outbound.has_room();
        if behind && matches!(logged, InLog::Row(_)) {
            self.write_passing();
        }
        let Some(session) = self.account.session_mut(id) else { return };
        let out = &mut session.outbound;
        if let InLog::Row(log) = logged {
            if let Some(feed) = &mut out.feed {
                feed.until = feed.until.max(log);
                return self.read_on(id);
            }
            if !out.has_room() {
                let reading = Reading::No;
                let (start, after) = (log - 1, log - 1);
                out.feed = Some(Feed { start, after, until: log, reading, delayed_until: 0 });
                return;
            }
        }
        let number = out.release(stanza.clone(), logged.id());
        let overflows = out.overflows();
        if let Some(conn) = session.conn {
            let log = logged.id();
            self.core.down(conn, Down::Stanza { number, log, stanza });
        }
        if overflows {
            self.cut(id, xmpp::error::StreamCondition::ResourceConstraint);
            self.end(id);
        }
    }

    /// Sends a stanza to another entity (or this one). `early`: the addressee's shard commits it
    /// before anyone sees it, so it need not wait for this shard's commit. `from` is stamped
    /// already.
    pub(crate) fn pass(&mut self, mut parcel: Parcel, origin: Origin, early: bool, retry: bool) {
        if let Origin::Stanza(_, id, number) = &origin
            && let Some(session) = self.account.session_mut(*id)
        {
            session.inbound.wait_parcel(*number);
        }
        if !parcel.to.is_bare() {
            parcel.to = parcel.to.to_bare();
        }
        let after = if early { 0 } else { self.after() };
        self.core.send(parcel, origin, after, retry);
    }

    /// Sends a stanza that the server made or passes on, without anybody's progress depending on
    /// it.
    pub(crate) fn route(&mut self, stanza: Stanza) {
        self.route_as(stanza, false);
    }

    /// Sends a first presence that also asks for that of its recipient.
    pub(crate) fn route_probing(&mut self, stanza: Stanza) {
        self.route_as(stanza, true);
    }

    fn route_as(&mut self, stanza: Stanza, probes: bool) {
        let Some(to) = stanza.to.clone() else { return };
        if !self.core.config.serves(&to) {
            self.bounce(&stanza, Condition::RemoteServerNotFound);
            return;
        }
        if to.local().is_none() {
            return;
        }
        if may_be_shed(&stanza) && self.core.window_full(&to) {
            // Nobody is told of lost presence or answers; who asks for something is.
            return self.bounce(&stanza, Condition::ResourceConstraint);
        }
        let parcel = Parcel { probes, ..Parcel::new(to, stanza) };
        self.pass(parcel, Origin::None, false, false);
    }

    /// Answers a stanza with an error, unless it is one or an answer (RFC 6120 §8.2.3, §8.3.1).
    pub(crate) fn bounce(&mut self, stanza: &Stanza, error: impl Into<StanzaError>) {
        if let Some(answer) = stanza.reply_error(error) {
            self.answer(answer);
        }
    }

    /// Gives an answer to whom it is addressed: a session of this account, or somebody else.
    pub(crate) fn answer(&mut self, stanza: Stanza) {
        let own = stanza.to.as_ref().filter(|to| to.same_bare(&self.account.jid));
        match own.and_then(Jid::resource) {
            Some(resource) => {
                if let Some(id) = self.account.resource(resource).map(|session| session.id) {
                    self.deliver(id, stanza, InLog::No);
                }
            }
            None => self.route(stanza),
        }
    }

    /// A session's durable prefix may have grown.
    pub(crate) fn progress(&mut self, id: SessionId) {
        let committed = self.core.commits.committed();
        let Some(session) = self.account.session_mut(id) else { return };
        if session.unstored > committed && session.conn.is_some() {
            // Its row, which knows less, is not gone yet.
            let (after, jid) = (session.unstored, self.account.jid.clone());
            return self.core.commits.hold(after, Effect::Progress(jid, id));
        }
        let grown = session.inbound.advance(committed);
        let settled = session.inbound.settled();
        let (conn, changed) = (session.conn, session.changed);
        if let (Some(number), Some(conn)) = (grown, conn) {
            if changed {
                self.keep(id);
            }
            self.core.down(conn, Down::Handled { number });
        }
        if settled && self.account.session(id).is_some_and(|s| s.resuming.is_some()) {
            self.finish_resume(id);
        }
    }

    /// Messages of the log were taken.
    pub(crate) fn logged_taken(&mut self, logged: &[u64]) {
        for log in logged {
            if let Some(origin) = self.account.passing.drop(*log) {
                self.account.inbox.passed(*log);
                if let Some(origin) = origin {
                    self.core.decided(origin, 0);
                }
            } else {
                self.account.inbox.taken(*log);
                self.account.passing.taken(*log);
            }
        }
        self.cursor_moved();
    }

    /// Writes the cursor soon, if it has moved.
    pub(crate) fn cursor_moved(&mut self) {
        if self.core.giving {
            // The next owner reads it, and soon is too late.
            return self.write_cursor();
        }
        if self.account.inbox.moved() && !self.account.inbox.timer {
            self.account.inbox.timer = true;
            let at = self.core.clock + limits::CURSOR_US;
            self.core.timers.set(at, Timer::Cursor(self.account.jid.clone()));
        }
    }

    /// Closes a session's connection with an error; the session stays.
    pub(crate) fn cut(&mut self, id: SessionId, condition: xmpp::error::StreamCondition) {
        if let Some(session) = self.account.session_mut(id)
            && let Some(conn) = session.conn.take()
        {
            self.core.down(conn, Down::Close { condition });
        }
    }

    /// Lets what waits behind a decision go on.
    fn unblock(&mut self) {
        if self.account.state == State::Busy {
            self.account.state = State::Ready;
            self.core.ready.push_back(self.account.jid.clone());
        }
    }

    /// Whether a session waits to be resumed when its socket is lost.
    fn resumable(&self, id: SessionId) -> bool {
        self.core.config.resume_s > 0
            && self.account.session(id).is_some_and(|s| s.managed == Managed::Resumable)
    }
}

/// What a full window does not take: all but what changes somebody's roster (design: "Overload").
fn may_be_shed(stanza: &Stanza) -> bool {
    use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    let Kind::Presence(kind) = stanza.kind else { return true };
    !matches!(kind, Subscribe | Subscribed | Unsubscribe | Unsubscribed)
}
