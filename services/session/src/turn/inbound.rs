//! What comes for an account from another one (or from itself): RFC 6121 §8.5.

use kv::{RangeRead, ReadError, Reads, Row, Rows};
use peer::Retried;
use smallvec::SmallVec;
use xmpp::blocks::ids;
use xmpp::error::Condition;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, PresenceType, Stanza};
use xmpp::xml::Writer;

use super::Turn;
use super::modules::Flow;
use crate::account::State;
use crate::delivery::{self, Action, Addressee, Resource, Targets};
use crate::module::{Event, Phase, Sender};
use crate::presence;
use crate::recent::Known;
use crate::rows::LogRow;
use crate::session::InLog;
use crate::shard::{Arrival, Step, Ticket};

impl Turn<'_, '_> {
    /// A parcel has come.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let again = arrival.retry || arrival.parcel.retried != Retried::No;
        if let Some(key) = arrival.parcel.ingest.filter(|_| again && self.account.exists()) {
            if self.account.recent.as_ref().is_some_and(|recent| recent.has_come(key)) {
                self.write_passing();
                return self.core.decided(arrival.origin, self.account.dirty);
            }
            let (config, parcel) = (self.core.config.clone(), &arrival.parcel);
            let is_it = |known: &Known| known.came_as(parcel, arrival.retry, &config.hash);
            if let Some(at) = self.seek(key.hash, arrival.retry, is_it) {
                // What comes later waits, so that order is kept.
                self.account.state = State::Busy;
                return self.look_up(arrival, at);
            }
        }
        if arrival.retry && lost_rather_than_twice(&arrival.parcel.stanza) {
            self.core.decided(arrival.origin, 0);
            return;
        }
        self.accept(arrival);
    }

    fn look_up(&mut self, arrival: Arrival, range: RangeRead) {
        let account = self.account.jid.clone();
        let ticket = Ticket::Retry(account, Box::new(arrival), range.clone());
        self.core.read(ticket, Reads::range(range));
    }

    /// A page of the log's tail has been read for a parcel that may be in it.
    pub(crate) fn looked_up(
        &mut self,
        arrival: Arrival,
        range: RangeRead,
        found: Result<Rows, ReadError>,
    ) {
        if let Ok(found) = &found {
            self.learn(&range, found);
        }
        if let Ok(found) = &found
            && let Some(more) = found.more(0)
            && self.find_came(found, &arrival).is_none()
        {
            return self.look_up(arrival, range.after(more.clone()));
        }
        self.account.state = State::Ready;
        match found {
            Err(_) => {
                self.bounce(&arrival.parcel.stanza, Condition::InternalServerError);
                self.core.decided(arrival.origin, 0);
            }
            Ok(found) => match self.find_came(&found, &arrival) {
                Some(row) => {
                    self.came_before(row, &arrival);
                    self.core.decided(arrival.origin, self.account.dirty);
                }
                None => self.accept(arrival),
            },
        }
        if self.account.state == State::Ready {
            self.core.ready.push_back(self.account.jid.clone());
        }
    }

    /// The row is from here on that of the stanza as it came now: another one that says the same is
    /// not taken for it.
    fn came_before(&mut self, row: &Row, arrival: &Arrival) {
        let Ok(mut message) = LogRow::decode(&row.value) else { return };
        let resent = arrival.parcel.retried == Retried::Perhaps;
        if resent && message.ingest != arrival.parcel.ingest {
            message.ingest = arrival.parcel.ingest;
            self.rewrite(row, &message);
        }
    }

    /// The row of a parcel's stanza.
    fn find_came<'r>(&self, found: &'r Rows, arrival: &Arrival) -> Option<&'r Row> {
        let (hash, retry) = (&self.core.config.hash, arrival.retry);
        found.rows(0).iter().find(|row| {
            let Ok(row) = LogRow::decode(&row.value) else { return false };
            Known::of(&row, hash).is_some_and(|known| known.came_as(&arrival.parcel, retry, hash))
        })
    }

    fn accept(&mut self, arrival: Arrival) {
        match arrival.parcel.stanza.kind {
            Kind::Message(_) => self.message_came(arrival),
            Kind::Iq(kind) => self.iq_came(arrival, kind),
            Kind::Presence(kind) => self.presence_came(arrival, kind),
        }
    }

    /// What RFC 6121 §8.5 says of a stanza.
    fn delivery(&self, stanza: &Stanza) -> Action {
        let to = stanza.to.as_ref();
        let addressee = Addressee {
            exists: self.account.exists(),
            full: to.is_some_and(|to| !to.is_bare()),
            trusted: self.trusts(stanza.from.as_ref()),
        };
        let resources = self.account.sessions().map(|session| Resource {
            priority: session.priority().unwrap_or(-1),
            available: session.priority().is_some(),
            addressed: to == Some(&session.jid),
        });
        delivery::route(stanza.kind, addressee, resources)
    }

    fn message_came(&mut self, arrival: Arrival) {
        let stanza = &arrival.parcel.stanza;
        let targets = match self.delivery(stanza) {
            Action::Deliver(targets) => targets,
            Action::Store => Targets::default(),
            Action::Refuse => {
                self.bounce(stanza, Condition::ServiceUnavailable);
                return self.core.decided(arrival.origin, 0);
            }
            Action::Drop | Action::Account | Action::Subscription | Action::Probe => {
                return self.core.decided(arrival.origin, 0);
            }
        };
        let mut event = Event::new(stanza.clone(), Sender::Other);
        event.ingest = arrival.parcel.ingest;
        event.targets = self.ids(targets);
        let step = Step::Inbound(Box::new(arrival));
        match self.phase(step.clone(), &mut event, 0, Vec::new()) {
            Flow::Waits => {}
            flow => {
                if let Step::Inbound(arrival) = step {
                    self.came(*arrival, event, matches!(flow, Flow::Pass));
                }
            }
        }
    }

    fn ids(&self, targets: Targets) -> SmallVec<[peer::SessionId; 4]> {
        let sessions = self.account.sessions().enumerate();
        sessions.filter(|(at, _)| targets.contains(*at)).map(|(_, session)| session.id).collect()
    }

    /// The modules are through with a message for this account: it goes to its sessions.
    pub(super) fn came(&mut self, arrival: Arrival, mut event: Event, passed: bool) {
        let stored = event.stored;
        if passed {
            let mut logged = InLog::No;
            if let Some(id) = event.stored {
                if event.archived {
                    add_stanza_id(&mut event.stanza, &self.account.jid, id);
                }
                if event.offline {
                    logged = InLog::Row(id);
                    self.account.inbox.arrived(id, !event.targets.is_empty());
                }
            }
            let event = self.run(Phase::Deliver, event);
            for target in event.targets {
                self.deliver(target, event.stanza.clone(), logged);
            }
        } else if let Some(id) = stored {
            self.account.passing.drop(id);
        }
        self.arrived(arrival.origin, stored);
    }

    fn iq_came(&mut self, arrival: Arrival, kind: IqType) {
        let stanza = arrival.parcel.stanza;
        let request = matches!(kind, IqType::Get | IqType::Set);
        let push = request && stanza.body.payload().is_some_and(|p| p.is_in(ns::ROSTER));
        match self.delivery(&stanza) {
            // RFC 6121 §2.1.6: a client believes a roster push, and only its server makes them.
            Action::Deliver(_) if push => self.bounce(&stanza, Condition::ServiceUnavailable),
            Action::Deliver(targets) => {
                for id in self.ids(targets) {
                    self.deliver(id, stanza.clone(), InLog::No);
                }
            }
            Action::Account if request => self.request(0, Event::new(stanza, Sender::Other)),
            Action::Refuse => self.bounce(&stanza, Condition::ServiceUnavailable),
            _ => {}
        }
        self.core.decided(arrival.origin, 0);
    }

    /// Whether somebody may know that a resource is there (RFC 6121 §8.5.3.1).
    fn trusts(&self, from: Option<&Jid>) -> bool {
        let Some(from) = from else { return false };
        from.same_bare(&self.account.jid)
            || self.sees_presence(from)
            || self.account.sessions().any(|session| session.directed.knows(from))
    }

    /// Somebody is gone, or was never there: who has sent it directed presence owes it no end (RFC
    /// 6121 §4.6.3).
    fn came_unavailable(&mut self, stanza: &Stanza) {
        let (Some(from), Some(to)) = (&stanza.from, &stanza.to) else { return };
        for session in &mut self.account.sessions {
            if to.is_bare() || session.jid == *to {
                session.directed.came_unavailable(from);
            }
        }
    }

    fn presence_came(&mut self, arrival: Arrival, kind: PresenceType) {
        let stanza = arrival.parcel.stanza;
        if matches!(kind, PresenceType::Unavailable | PresenceType::Error) {
            self.came_unavailable(&stanza);
        }
        match self.delivery(&stanza) {
            Action::Deliver(targets) => {
                for id in self.ids(targets) {
                    self.deliver(id, stanza.clone(), InLog::No);
                }
            }
            Action::Subscription => self.subscription_in(kind, &stanza),
            Action::Probe => self.answer_probe(&stanza),
            _ => {}
        }
        if arrival.parcel.probes
            && let Some(from) = &stanza.from
        {
            self.answer_probe(&presence::probe(from, &self.account.jid));
        }
        self.core.decided(arrival.origin, self.account.dirty);
    }
}

/// What does no harm when it is lost with a dead node, and may do some when it comes twice: an IQ,
/// a message that nobody stores. (An IQ's sender has a time-out for it; RFC 6120 §8.2.3.)
fn lost_rather_than_twice(stanza: &Stanza) -> bool {
    matches!(stanza.kind, Kind::Iq(_))
}

/// Adds the id that a message has in this account's archive (XEP-0359 §3).
pub(crate) fn add_stanza_id(stanza: &mut Stanza, by: &Jid, id: u64) {
    let mut out = Writer::new();
    ids::write_stanza_id(&mut out, id, by);
    stanza.add(&out.finish());
}
