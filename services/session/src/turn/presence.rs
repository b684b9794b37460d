//! Presence (RFC 6121 §4) and subscriptions (§3): carrying out what `presence` and `subscription`
//! list.

use peer::{Parcel, SessionId};
use xmpp::error::Condition;
use xmpp::jid::Jid;
use xmpp::stanza::{PresenceType, Stanza};

use super::Turn;
use super::roster::SERVER_MADE;
use crate::presence::{self, ProbeAnswer, Probed};
use crate::session::{Available, InLog};
use crate::shard::Origin;
use crate::subscription::{Audience, Change, Effect, Verb};

/// What follows from a change of presence, taken out of the roster so that the account can act.
enum Follows {
    Copy(Jid),
    CopyAndProbe(Jid),
    Own,
    Others,
    Probe(Jid),
    Request(Jid, Box<[u8]>),
    Inbox,
}

impl Turn<'_, '_> {
    /// A session says that it is there (RFC 6121 §4.2, §4.4).
    pub(super) fn available(&mut self, id: SessionId, stanza: Stanza) {
        let priority = match presence::priority(&stanza.body) {
            Ok(priority) => priority,
            Err(condition) => return self.bounce(&stanza, condition),
        };
        let Some(session) = self.account.session_mut(id) else { return };
        let before = session.priority();
        session.presence = Some(Box::new(Available { stanza: stanza.clone(), priority }));
        session.changed = true;
        self.presence_changed(id, before, Some(priority), &stanza);
    }

    /// A session is not there any more: it says so, or is over (RFC 6121 §4.5).
    pub(super) fn unavailable(&mut self, id: SessionId, said: Option<Stanza>) {
        let Some(session) = self.account.session_mut(id) else { return };
        let before = session.priority();
        session.presence = None;
        session.changed = true;
        let jid = session.jid.clone();
        let stanza = said.unwrap_or_else(|| presence::unavailable(&jid, &jid, None, None));
        self.presence_changed(id, before, None, &stanza);
        if let Some(session) = self.account.session_mut(id) {
            session.directed.clear();
        }
    }

    fn presence_changed(
        &mut self,
        id: SessionId,
        before: Option<i8>,
        after: Option<i8>,
        stanza: &Stanza,
    ) {
        let Some(session) = self.account.session(id) else { return };
        let full = session.jid.clone();
        let all = presence::effects(before, after, &self.account.roster, &session.directed);
        let follows: Vec<Follows> = all.filter_map(follows).collect();
        for one in follows {
            match one {
                Follows::Copy(to) => self.route(presence::copy(stanza, &full, &to)),
                Follows::CopyAndProbe(to) => {
                    self.route_probing(presence::copy(stanza, &full, &to));
                }
                Follows::Own => self.tell_own(id, stanza, after.is_some()),
                Follows::Others => self.tell_of_others(id, &full),
                Follows::Probe(to) => {
                    let probe = presence::probe(&self.account.jid, &to);
                    self.route(probe);
                }
                Follows::Request(from, kept) => {
                    let request = presence::kept_request(&kept, &from, &self.account.jid);
                    self.deliver(id, request, InLog::No);
                }
                Follows::Inbox => self.feed_waiting(id),
            }
        }
    }

    /// Each available resource of the account gets a presence, the sender's too (§4.2.2, §4.5.2).
    fn tell_own(&mut self, from: SessionId, stanza: &Stanza, there: bool) {
        for (id, jid) in self.ids_and_jids() {
            let sees = self.account.session(id).is_some_and(|s| s.priority().is_some());
            if sees && (there || id != from) {
                let sender = stanza.from.clone().unwrap_or_else(|| jid.clone());
                self.deliver(id, presence::copy(stanza, &sender, &jid), InLog::No);
            }
        }
    }

    fn tell_of_others(&mut self, id: SessionId, full: &Jid) {
        let others: Vec<Stanza> = self
            .account
            .sessions()
            .filter(|other| other.id != id)
            .filter_map(|other| {
                let available = other.available()?;
                Some(presence::copy(&available.stanza, &other.jid, full))
            })
            .collect();
        for stanza in others {
            self.deliver(id, stanza, InLog::No);
        }
    }

    fn ids_and_jids(&self) -> Vec<(SessionId, Jid)> {
        self.account.sessions().map(|session| (session.id, session.jid.clone())).collect()
    }

    /// Presence that a session sends to one entity (§4.6).
    pub(super) fn directed(&mut self, id: SessionId, kind: PresenceType, to: &Jid, stanza: Stanza) {
        let subscribed = self.account.roster.state(to.bare_str()).from();
        let Some(session) = self.account.session_mut(id) else { return };
        let subscribed = subscribed && session.priority().is_some();
        session.changed = true;
        match session.directed.sent(kind, to, subscribed) {
            Ok(()) => self.route(stanza),
            Err(condition) => self.bounce(&stanza, condition),
        }
    }

    /// A session asks for, grants or ends a subscription (§3).
    pub(super) fn subscription_out(
        &mut self,
        id: SessionId,
        number: u64,
        kind: PresenceType,
        to: &Jid,
        stanza: &Stanza,
        retry: bool,
    ) {
        let contact = to.to_bare();
        let Some(verb) = Verb::of(kind) else { return };
        if contact == self.account.jid {
            return self.bounce(stanza, Condition::NotAllowed);
        }
        if !self.core.config.serves(&contact) {
            return self.bounce(stanza, Condition::RemoteServerNotFound);
        }
        let state = self.account.roster.state(contact.as_str());
        let again = retry || self.resends(id);
        let change = if again { state.outbound_again(verb) } else { state.outbound(verb) };
        if let Err(condition) = self.account.roster.admit(contact.as_str(), &change) {
            return self.bounce(stanza, condition);
        }
        let routed = presence::routed_subscription(stanza, &self.account.jid, &contact);
        let origin = Origin::Stanza(self.account.jid.clone(), id, number);
        self.change(&contact, &change, &[], &routed, &origin);
    }

    /// A contact asks for, grants or ends a subscription (§3).
    pub(super) fn subscription_in(&mut self, kind: PresenceType, stanza: &Stanza) {
        let (Some(verb), Some(from)) = (Verb::of(kind), stanza.from.as_ref()) else { return };
        let contact = from.to_bare();
        let change = self.account.roster.state(contact.as_str()).inbound(verb);
        if let Err(condition) = self.account.roster.admit(contact.as_str(), &change) {
            return self.bounce(stanza, condition);
        }
        let kept = presence::keep_request(stanza);
        self.change(&contact, &change, &kept, stanza, &Origin::None);
    }

    /// Carries out a change of subscription: first the row, then what others see.
    pub(super) fn change(
        &mut self,
        contact: &Jid,
        change: &Change,
        request: &[u8],
        stanza: &Stanza,
        origin: &Origin,
    ) {
        let version = self.core.next_id();
        let write = self.account.roster.apply(contact.as_str(), change, version, request);
        if let Some(write) = write {
            self.write_contact(contact, write);
        }
        for effect in &change.effects {
            match effect {
                Effect::Route => self.send_subscription(contact, stanza.clone(), origin.clone()),
                Effect::Send(verb) => {
                    let own = &self.account.jid;
                    let made = presence::subscription(*verb, own, contact, None);
                    self.send_subscription(contact, made, origin.clone());
                }
                Effect::Deliver(audience) => self.deliver_subscription(*audience, stanza),
                Effect::Push => self.push(contact),
                Effect::SendAvailable => self.send_presence(contact, true),
                Effect::SendUnavailable => self.send_presence(contact, false),
                // The roster's row holds the request; `Roster::apply` has seen to it.
                Effect::StoreRequest | Effect::ForgetRequest => {}
            }
        }
    }

    /// The account goes, and its roster: whoever has a subscription or a request is told, as if
    /// each contact had been removed (§2.5.2).
    pub(super) fn leave_contacts(&mut self) {
        let roster = std::mem::take(&mut self.account.roster);
        let own = self.account.jid.clone();
        for (contact, state) in roster.states() {
            let (Ok(contact), Some(change)) = (Jid::parse(contact), state.with_item().removed())
            else {
                continue;
            };
            for effect in change.effects {
                if let Effect::Send(verb) = effect {
                    let made = presence::subscription(verb, &own, &contact, None);
                    self.send_subscription(&contact, made, Origin::None);
                }
            }
        }
    }

    pub(super) fn send_subscription(&mut self, contact: &Jid, stanza: Stanza, origin: Origin) {
        if self.core.config.serves(contact) && contact.local().is_some() {
            let to = contact.clone();
            let parcel = Parcel::new(to, stanza);
            self.pass(parcel, origin, false, SERVER_MADE);
        }
    }

    fn deliver_subscription(&mut self, audience: Audience, stanza: &Stanza) {
        let wanted: Vec<SessionId> = self
            .account
            .sessions()
            .filter(|session| match audience {
                Audience::Available => session.priority().is_some(),
                Audience::Interested => session.is_interested(),
            })
            .map(|session| session.id)
            .collect();
        for id in wanted {
            self.deliver(id, stanza.clone(), InLog::No);
        }
    }

    /// Sends a contact what it may see from now on, or that it may not.
    fn send_presence(&mut self, contact: &Jid, visible: bool) {
        let copies: Vec<Stanza> = self
            .account
            .sessions()
            .filter_map(|session| {
                let available = session.available()?;
                Some(if visible {
                    presence::copy(&available.stanza, &session.jid, contact)
                } else {
                    presence::unavailable(&session.jid, contact, None, None)
                })
            })
            .collect();
        for stanza in copies {
            self.route(stanza);
        }
    }

    /// Whether somebody is subscribed to this account's presence.
    pub(super) fn sees_presence(&self, who: &Jid) -> bool {
        self.account.roster.state(who.bare_str()).from()
    }

    /// Answers a probe (§4.3.2).
    pub(super) fn answer_probe(&mut self, probe: &Stanza) {
        let (Some(from), Some(to)) = (probe.from.clone(), probe.to.clone()) else { return };
        let own = from.same_bare(&self.account.jid);
        let state = self.account.roster.state(from.bare_str());
        let probed = self.account.sessions().map(|session| Probed {
            available: session.priority().is_some(),
            addressed: session.jid == to,
            told: session.directed.knows(&from),
        });
        let exists = self.account.exists();
        let mut answers = Vec::new();
        match presence::answer_probe(exists, state, own, !to.is_bare(), probed) {
            ProbeAnswer::Unsubscribed => {
                let id = probe.id.clone();
                answers.push(presence::subscription(Verb::Unsubscribed, &to, &from, id));
            }
            ProbeAnswer::Unavailable => {
                answers.push(presence::unavailable(&to, &from, probe.id.clone(), None));
            }
            ProbeAnswer::Whole(targets) => {
                for (_, session) in
                    self.account.sessions().enumerate().filter(|(at, _)| targets.contains(*at))
                {
                    if let Some(available) = session.available() {
                        answers.push(presence::copy(&available.stanza, &session.jid, &from));
                    }
                }
            }
            ProbeAnswer::Mere(targets) => {
                for (_, session) in
                    self.account.sessions().enumerate().filter(|(at, _)| targets.contains(*at))
                {
                    answers.push(presence::available(&session.jid, &from));
                }
            }
        }
        for answer in answers {
            self.answer(answer);
        }
    }
}

fn follows(effect: presence::Effect<'_>) -> Option<Follows> {
    // The roster has it as it was normalised.
    let jid = |text: &str| Jid::trusted(text).ok();
    Some(match effect {
        presence::Effect::Contact(to) => Follows::Copy(jid(to)?),
        presence::Effect::ContactAndProbe(to) => Follows::CopyAndProbe(jid(to)?),
        presence::Effect::Directed(to) => Follows::Copy(to.clone()),
        presence::Effect::Own => Follows::Own,
        presence::Effect::Others => Follows::Others,
        presence::Effect::Probe(to) => Follows::Probe(jid(to)?),
        // A local request is not lost, and there is no federation yet.
        presence::Effect::Ask(_) => return None,
        presence::Effect::Request(from, kept) => Follows::Request(jid(from)?, kept.into()),
        presence::Effect::Inbox => Follows::Inbox,
    })
}
