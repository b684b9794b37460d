//! Sessions begin and end: binding (RFC 6120 §7), stream management (XEP-0198 §3), acknowledgement,
//! loss.

use peer::{BindRefusal, ConnId, Down, NodeId, ResumeRefusal, SessionId};
use xmpp::error::StreamCondition;
use xmpp::jid::Jid;
use xmpp::stanza::{Kind, PresenceType, Stanza};
use xmpp::text::Text;

use super::Turn;
use crate::limits;
use crate::module::{Event, Phase, Sender};
use crate::session::{Managed, Session};
use crate::shard::Timer;

impl Turn<'_, '_> {
    /// Binds a resource. One that is bound already is taken over: its old session is closed with
    /// `conflict` (RFC 6120 §7.7.2.2), because the new client is more likely to be alive.
    ///
    /// `resends`: the client tried to resume a session in vain, and may send again what it sent
    /// there.
    pub(super) fn bind(
        &mut self,
        conn: ConnId,
        generation: u64,
        resource: Option<Text>,
        resends: bool,
    ) {
        let refused = match &self.account.row {
            None => Some(BindRefusal::NotAllowed),
            Some(row) if row.disabled || row.generation != generation => {
                Some(BindRefusal::NotAllowed)
            }
            Some(_) => None,
        };
        if let Some(why) = refused {
            self.core.down(conn, Down::BindRefused(why));
            return;
        }
        let id = SessionId((self.env.random)());
        let jid = match resource {
            Some(resource) => self.account.jid.with_resource(&resource),
            None => self.account.jid.with_resource(&format!("{:016x}", (self.env.random)() as u64)),
        };
        let Ok(jid) = jid else {
            self.core.down(conn, Down::BindRefused(BindRefusal::BadRequest));
            return;
        };
        self.displace(&jid, conn);
        if !self.make_room() {
            self.core.down(conn, Down::BindRefused(BindRefusal::ResourceConstraint));
            return;
        }
        let mut session = Session::new(id, jid.clone(), conn);
        session.born = (self.core.epoch, self.core.next_id());
        if resends || self.core.steady_us < self.account.resends_until {
            session.resends_until = self.core.steady_us + limits::RESENT_US;
        }
        self.account.sessions.push(Box::new(session));
        let epoch = self.core.epoch;
        if let Some(frame) = self.snapshot(id, conn) {
            self.tell(conn, frame);
        }
        self.tell(conn, Down::Bound { session: id, jid, epoch });
    }

    /// Ends the session that holds a full JID, if there is one. It may be of the very connection
    /// that asks, if it has not heard the answer of an owner before.
    fn displace(&mut self, jid: &Jid, conn: ConnId) {
        let holder = self.account.sessions.iter_mut().find(|session| session.jid == *jid);
        if let Some(session) = holder {
            session.leave(conn);
            let id = session.id;
            self.cut(id, StreamCondition::Conflict);
            self.end(id);
        }
    }

    /// Whether one more session has a place. Those that have lost their sockets give theirs up for
    /// it, the longest lost first.
    fn make_room(&mut self) -> bool {
        while self.account.sessions.len() >= self.core.config.resources_max {
            let lost = self.account.sessions().filter(|s| s.conn.is_none() && s.resuming.is_none());
            let Some(id) = lost.min_by_key(|session| session.expires_us).map(|session| session.id)
            else {
                return false;
            };
            self.end(id);
        }
        true
    }

    /// Turns stream management on: both counts begin again (XEP-0198 §4).
    pub(super) fn enable(&mut self, id: SessionId, resume: bool) {
        let resume_s = if resume { self.core.config.resume_s } else { 0 };
        let Some(session) = self.account.session_mut(id) else { return };
        if session.managed != Managed::No {
            return;
        }
        session.managed = if resume_s > 0 { Managed::Resumable } else { Managed::Acked };
        session.attachment = 1;
        // What came before is not covered by any `h`; what it wrote is waited for all the same
        // before it shows.
        session.inbound.restart();
        let conn = session.conn;
        // Numbers are gone, so it is not known any more whether the client gets what was handed
        // over and not taken: a message among it stays one that nobody has taken.
        session.outbound.restart();
        if let Some(conn) = conn {
            if let Some(frame) = self.snapshot(id, conn) {
                self.core.down(conn, frame);
            }
            // Not held: stanzas released after this are numbered from 1, so it stands before them.
            self.core.down(conn, Down::Enabled { session: id, resume_s });
        }
    }

    /// The client has taken stanzas; the log's cursor follows, and a session that reads the log
    /// reads on.
    pub(super) fn taken(&mut self, id: SessionId, number: u64) {
        let Some(session) = self.account.session_mut(id) else { return };
        let logged = session.outbound.take(number);
        self.logged_taken(&logged);
        self.read_on(id);
    }

    /// The socket is lost. A session that can be resumed waits; contacts see nothing of it (design:
    /// "Sessions").
    pub(super) fn lost(&mut self, id: SessionId) {
        if !self.resumable(id) {
            self.end(id);
            return;
        }
        self.write_passing();
        let at = self.core.clock + self.core.config.resume_us();
        if let Some(session) = self.account.session_mut(id) {
            session.ghost = session.conn.take().or(session.ghost);
            session.expires_us = at;
            self.core.timers.set(at, Timer::Resume(self.account.jid.clone(), id));
        }
    }

    /// An edge is gone: so are the sockets of its sessions, and the resumptions asked for there.
    pub(super) fn edge_gone(&mut self, edge: NodeId) {
        let all: Vec<SessionId> = self.account.sessions().map(|session| session.id).collect();
        // What the owner before had of a session and had not confirmed, the edge was about to say.
        let unheard = self.core.unheard.contains(&edge);
        let resends_until = self.core.steady_us + limits::RESENT_US;
        for id in all {
            let Some(session) = self.account.session_mut(id) else { continue };
            if unheard && session.conn.or(session.ghost).is_some_and(|conn| conn.edge == edge) {
                session.resends_until = resends_until;
            }
            let asked = session.resuming.take_if(|resuming| resuming.conn.edge == edge).is_some();
            if asked || session.conn.is_some_and(|conn| conn.edge == edge) {
                self.lost(id);
            }
        }
    }

    /// The time of a lost session is over, unless its client has come back.
    pub(crate) fn expire(&mut self, id: SessionId) {
        let Some(session) = self.account.session(id) else { return };
        let lost = session.conn.is_none() && session.resuming.is_none() && session.expires_us != 0;
        if lost && session.expires_us <= self.core.clock {
            self.end(id);
        }
    }

    /// Ends a session: others see it go (RFC 6121 §4.5.2), and what it had not taken waits for the
    /// next resource.
    pub(crate) fn end(&mut self, id: SessionId) {
        let Some(index) = self.account.sessions.iter().position(|s| s.id == id) else { return };
        self.write_passing();
        self.unavailable(id, None);
        let session = self.account.sessions.remove(index);
        if session.stored {
            let key = self.account.entity.session(id);
            self.delete(key);
        }
        self.forget_ghost(session.ghost);
        if let Some(resuming) = session.resuming {
            self.not_resumed(resuming.conn, ResumeRefusal::ItemNotFound);
        }
        let mut presence = Stanza::new(Kind::Presence(PresenceType::Unavailable));
        presence.from = Some(session.jid.clone());
        let event = Event::new(presence, Sender::Own(id));
        self.run(Phase::Close, event);
        let waits = session.outbound.untaken().any(|r| self.account.inbox.waits(r.log));
        if waits || session.outbound.is_unsure() || session.outbound.feed.is_some() {
            self.feed_others();
        }
    }
}
