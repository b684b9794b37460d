//! What a client sends: from its session to wherever it is for.

use peer::{IngestKey, Parcel, Retried, SessionId};
use xmpp::error::Condition;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, PresenceType, Stanza};

use super::Turn;
use crate::hash::stanza_hash;
use crate::module::{Event, Sender, is_self};
use crate::session::{Count, InLog};
use crate::shard::{Effect, Origin, Step};

impl Turn<'_, '_> {
    /// A stanza from a client. Numbers are contiguous: a lower one was decided before, a higher one
    /// would skip some.
    pub(super) fn client_sent(
        &mut self,
        id: SessionId,
        number: u64,
        retry: bool,
        mut stanza: Stanza,
    ) {
        let Some(session) = self.account.session_mut(id) else { return };
        if number <= session.inbound.seen() {
            debug_assert!(retry, "an edge sent a number twice without saying so");
            return;
        }
        if number != session.inbound.seen() + 1 {
            self.cut(id, xmpp::error::StreamCondition::InternalServerError);
            self.lost(id);
            return;
        }
        let count = session.inbound.begin();
        let attachment = session.attachment;
        stanza.from = Some(session.jid.clone());
        match stanza.kind {
            Kind::Message(_) => {
                let hash = stanza_hash(&self.core.config.hash, &stanza);
                let ingest = IngestKey { session: id, attachment, number, hash };
                let mut event = Event::new(stanza, Sender::Own(id));
                event.ingest = Some(ingest);
                event.retry = retry;
                if event.stanza.to.is_none() {
                    // RFC 6120 §10.3.1: it is for the account itself.
                    event.stanza.to = Some(self.account.jid.clone());
                }
                self.message_sent(id, count, event);
            }
            Kind::Presence(kind) => {
                self.client_presence(id, count, kind, stanza, retry);
                self.decided(id, count);
            }
            Kind::Iq(kind) => self.client_iq(id, count, kind, stanza),
        }
    }

    /// A stanza that the edge has judged itself (RFC 6120 §8.3.3: `jid-malformed`,
    /// `bad-request`): it is handled, and what the client gets for it is numbered here.
    pub(super) fn client_judged(&mut self, id: SessionId, number: u64, reply: Option<Stanza>) {
        let Some(session) = self.account.session_mut(id) else { return };
        if number == session.inbound.seen() + 1 {
            let count = session.inbound.begin();
            if let Some(reply) = reply {
                self.deliver(id, reply, InLog::No);
            }
            self.decided(id, count);
        }
    }

    /// A stanza was decided: it counts as handled when what this account wrote is durable.
    pub(super) fn decided(&mut self, id: SessionId, count: Count) {
        let after = self.account.dirty;
        let passes = self.core.passes(after);
        let jid = self.account.jid.clone();
        let Some(session) = self.account.session_mut(id) else { return };
        session.inbound.decided(count, after);
        if passes {
            self.core.progress.push((jid, id));
        } else if session.inbound.progress_at < after {
            session.inbound.progress_at = after;
            self.core.commits.hold(after, Effect::Progress(jid, id));
        }
    }

    /// The modules are through with a message: it goes to its addressee.
    pub(super) fn sent(&mut self, count: Count, event: &Event, passed: bool) {
        let Sender::Own(id) = event.sender else { return };
        if passed {
            self.send_message(id, count, event);
        }
        self.decided(id, count);
    }

    /// Why a message cannot be sent. To be asked before anything is done with it: what is refused
    /// is in no archive, and no device gets a copy.
    pub(super) fn refuses(&self, to: &Jid) -> Option<Condition> {
        if !self.core.config.serves(to) {
            Some(Condition::RemoteServerNotFound)
        } else if to.local().is_none() {
            Some(Condition::ServiceUnavailable)
        } else {
            self.core.window_full(to).then_some(Condition::ResourceConstraint)
        }
    }

    fn send_message(&mut self, id: SessionId, count: Count, event: &Event) {
        let stanza = event.stanza.clone();
        let Some(to) = stanza.to.clone() else { return };
        let known = self.resends(id) && stanza.id.is_some();
        let retried = if known { Retried::Perhaps } else { Retried::No };
        let early = event.stored.is_some();
        let parcel = Parcel { to, stanza, ingest: event.ingest, retried, probes: false };
        let origin = Origin::Stanza(self.account.jid.clone(), id, count);
        self.pass(parcel, origin, early, event.retry);
    }

    /// An IQ from a client (RFC 6120 §10.3.3, RFC 6121 §8.5): for the account or the domain the
    /// server answers.
    fn client_iq(&mut self, id: SessionId, count: Count, kind: IqType, stanza: Stanza) {
        let to = stanza.to.as_ref();
        let own = is_self(to, &self.account.jid);
        let domain = to.is_some_and(|to| to.local().is_none() && self.core.config.serves(to));
        let request = matches!(kind, IqType::Get | IqType::Set);
        if own || domain {
            if request {
                self.request(count, Event::new(stanza, Sender::Own(id)));
            } else {
                self.decided(id, count);
            }
            return;
        }
        self.route(stanza);
        self.decided(id, count);
    }

    /// A request that the server answers, for this account or for its domain.
    pub(super) fn request(&mut self, count: Count, mut event: Event) {
        let Some(payload) = event.stanza.body.payload() else {
            self.bounce(&event.stanza, Condition::BadRequest);
            self.asked(count, &event);
            return;
        };
        if payload.ns() == ns::ROSTER && event.own_session().is_some() {
            self.roster_request(count, &event);
            self.asked(count, &event);
            return;
        }
        let Some(index) = self.core.config.modules.iq(payload.ns()) else {
            self.bounce(&event.stanza, Condition::ServiceUnavailable);
            self.asked(count, &event);
            return;
        };
        let flow = self.phase(Step::Iq(count), &mut event, index, Vec::new());
        self.finish(Step::Iq(count), &event, flow);
    }

    /// A request was answered.
    pub(super) fn asked(&mut self, count: Count, event: &Event) {
        if let Sender::Own(id) = event.sender {
            self.decided(id, count);
        }
    }

    /// Presence from a client.
    fn client_presence(
        &mut self,
        id: SessionId,
        count: Count,
        kind: PresenceType,
        stanza: Stanza,
        retry: bool,
    ) {
        let to = stanza.to.clone();
        match (kind, to) {
            (PresenceType::Available, None) => self.available(id, stanza),
            (PresenceType::Unavailable, None) => self.unavailable(id, Some(stanza)),
            (PresenceType::Available | PresenceType::Unavailable, Some(to)) => {
                self.directed(id, kind, &to, stanza);
            }
            (PresenceType::Probe | PresenceType::Error, None) => {}
            // RFC 6121 §4.3: a client's probe is not the server's.
            (PresenceType::Probe, Some(_)) => {}
            (PresenceType::Error, Some(_)) => self.route(stanza),
            (_, None) => self.bounce(&stanza, Condition::BadRequest),
            (kind, Some(to)) => self.subscription_out(id, count, kind, &to, &stanza, retry),
        }
    }
}
