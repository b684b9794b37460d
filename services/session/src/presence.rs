//! Presence (RFC 6121 §4): what a resource's presence means, who gets it, who is asked, and how
//! probes are answered.
//!
//! Data in, data out: the engine keeps the sessions and carries out what these functions list.
//! Copies share the bytes of the presence that they copy.

mod request;

pub use request::{keep_request, kept_request};

use crate::delivery::Targets;
use crate::roster::Roster;
use crate::subscription::{Subscription, Verb};
use xmpp::blocks::delay;
use xmpp::error::Condition;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::stanza::{Kind, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::{Body, Writer};

/// The priority of an available presence (§4.7.2.3): zero if it says none.
///
/// # Errors
/// `bad-request` for more than one `<priority/>`, and for one that is no integer from -128 to 127.
pub fn priority(presence: &Body) -> Result<i8, Condition> {
    let mut found = presence.children().filter(|child| child.is("priority", ns::CLIENT));
    let Some(first) = found.next() else { return Ok(0) };
    if found.next().is_some() {
        return Err(Condition::BadRequest);
    }
    let tree = first.tree().map_err(|_| Condition::BadRequest)?;
    if tree.root().children().next().is_some() {
        return Err(Condition::BadRequest);
    }
    // The schema's type is xs:byte, which allows white space around it and a plus sign.
    let text = tree.root().text();
    text.trim_matches([' ', '\t', '\r', '\n']).parse().map_err(|_| Condition::BadRequest)
}

/// One thing that follows from a change of a resource's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The presence goes to this contact: [`copy`] from the full JID to the contact's bare JID.
    Contact(&'a str),
    /// The same, and the contact is asked for its presence, in one parcel.
    ContactAndProbe(&'a str),
    /// The presence goes to each available resource of the account, to this one too (§4.2.2,
    /// §4.4.2, §4.5.2).
    Own,
    /// The last presence of each other available resource of the account goes to this one.
    Others,
    /// This contact is asked for its presence: [`probe`] (§4.3.1).
    Probe(&'a str),
    /// This contact still owes an answer: it is asked again (§3.1.2, last paragraph). Only of use
    /// if it is remote: a local request is not lost.
    Ask(&'a str),
    /// This contact waits for an answer: the resource gets the [`kept_request`] of these bytes
    /// (§3.1.3).
    Request(&'a str, &'a [u8]),
    /// The resource wants messages from here on: what waits is delivered (XEP-0160 §3).
    Inbox,
    /// This entity was sent directed presence and learns of its end: [`copy`] of the unavailable
    /// presence (§4.6.3).
    Directed(&'a Jid),
}

/// What follows when the presence of a resource changes: `before` and `after` are its priorities,
/// `None` while it is not available (§4.2, §4.4, §4.5). In the order in which it is to be done.
///
/// A resource that is lost is one that becomes unavailable; so is one that never was available, but
/// may have sent directed presence.
pub fn effects<'a>(
    before: Option<i8>,
    after: Option<i8>,
    roster: &'a Roster,
    directed: &'a Directed,
) -> impl Iterator<Item = Effect<'a>> {
    let initial = before.is_none() && after.is_some();
    let broadcast = before.is_some() || after.is_some();
    let gone = after.is_none();
    let willing = |priority: Option<i8>| priority.is_some_and(|priority| priority >= 0);
    let wakes = willing(after) && !willing(before);

    let states = move |wanted: bool| roster.states().filter(move |_| wanted);
    let contacts = states(broadcast).filter(|(_, state)| state.from());
    let asked = states(initial).filter(|(_, state)| state.to() && !state.from());
    let pending = states(initial).filter(|(_, state)| state.pending_out());
    let requests = roster.requests().filter(move |_| initial);
    // Who gets the broadcast needs no second copy; but without a broadcast there is no first.
    let told = directed
        .iter()
        .filter(move |to| gone && !(broadcast && roster.state(to.bare_str()).from()));

    contacts
        .map(move |(contact, state)| match initial && state.to() {
            true => Effect::ContactAndProbe(contact),
            false => Effect::Contact(contact),
        })
        .chain(told.map(Effect::Directed))
        .chain(broadcast.then_some(Effect::Own))
        .chain(initial.then_some(Effect::Others))
        .chain(asked.map(|(contact, _)| Effect::Probe(contact)))
        .chain(pending.map(|(contact, _)| Effect::Ask(contact)))
        .chain(requests.map(|(contact, stanza)| Effect::Request(contact, stanza)))
        .chain(wakes.then_some(Effect::Inbox))
}

/// Directed presences that one resource may have outstanding: the rooms that a person is in,
/// several times over.
pub const DIRECTED_MAX: usize = 256;

/// Whom one resource has sent directed presence that it has not taken back (§4.6.1).
#[derive(Debug, Clone, Default)]
pub struct Directed {
    to: Vec<Jid>,
}

impl Directed {
    /// The resource sends directed presence, available or unavailable. `subscribed`: the resource
    /// is available and the addressee is subscribed to it, so that it learns of the end anyway
    /// (§4.6.3, rule 1).
    ///
    /// # Errors
    /// `resource-constraint` if it would be one too many; the presence must not be sent then.
    pub fn sent(
        &mut self,
        kind: PresenceType,
        to: &Jid,
        subscribed: bool,
    ) -> Result<(), Condition> {
        match kind {
            PresenceType::Unavailable => self.to.retain(|one| one != to),
            PresenceType::Available if subscribed || self.to.contains(to) => {}
            PresenceType::Available if self.to.len() >= DIRECTED_MAX => {
                return Err(Condition::ResourceConstraint);
            }
            PresenceType::Available => {
                self.to.reserve_exact(1);
                self.to.push(to.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Unavailable presence comes from somebody: it is gone, or wants no more (§4.6.1). From a bare
    /// JID it speaks for all of its resources (§4.5.4).
    pub fn came_unavailable(&mut self, from: &Jid) {
        self.to.retain(|one| one != from && !(from.is_bare() && one.same_bare(from)));
    }

    /// Whether `who` may know that the resource is there: it or another resource of it, or another
    /// occupant of the same room, was sent presence.
    pub fn knows(&self, who: &Jid) -> bool {
        self.to.iter().any(|one| one.same_bare(who))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Jid> {
        self.to.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.to.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.to.is_empty()
    }

    /// The resource is unavailable, and they know it.
    pub fn clear(&mut self) {
        self.to = Vec::new();
    }
}

/// One resource of the account that a probe is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// Whether it is available.
    pub available: bool,
    /// Whether the probe names exactly this resource.
    pub addressed: bool,
    /// Whether it has sent the prober directed presence ([`Directed::knows`]).
    pub told: bool,
}

/// How a probe is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// `unsubscribed` from the account's bare JID, with the id of the probe. No state changes, not
    /// even an approval in advance (§4.3.2, rule 1).
    Unsubscribed,
    /// `unavailable` with the id of the probe, from the address that the probe was sent to:
    /// [`unavailable`] (rule 3).
    Unavailable,
    /// The last presence of each of these resources, as it was sent, with its own id: [`copy`]
    /// (rule 4).
    Whole(Targets),
    /// Only that these resources are available: [`available`] (§4.3.2 for full JIDs, §4.6.6).
    Mere(Targets),
}

/// Answers a probe for an account (§4.3.2, §4.6.6). `state` is that of the prober in its roster,
/// `own` that the account probes itself, `full` that the probe names a resource.
pub fn answer_probe(
    exists: bool,
    state: Subscription,
    own: bool,
    full: bool,
    resources: impl Iterator<Item = Probed> + Clone,
) -> ProbeAnswer {
    let chosen = |wanted: fn(&Probed) -> bool| -> Targets {
        let of_those = resources.clone().enumerate();
        let of_those = of_those.filter(|(_, one)| wanted(one) && (one.addressed || !full));
        of_those.map(|(position, _)| position).collect()
    };
    if !exists {
        return ProbeAnswer::Unsubscribed;
    }
    if !state.from() && !own {
        // A connected resource that has told the prober of itself counts, though it broadcasts
        // nothing.
        let told = chosen(|one| one.told);
        return if told.is_empty() { ProbeAnswer::Unsubscribed } else { ProbeAnswer::Mere(told) };
    }
    match chosen(|one| one.available) {
        none if none.is_empty() => ProbeAnswer::Unavailable,
        one if full => ProbeAnswer::Mere(one),
        all => ProbeAnswer::Whole(all),
    }
}

/// The same presence from and to these addresses.
pub fn copy(presence: &Stanza, from: &Jid, to: &Jid) -> Stanza {
    Stanza { from: Some(from.clone()), to: Some(to.clone()), ..presence.clone() }
}

/// A subscription stanza of the server's making, between bare JIDs. `id` is that of the stanza or
/// probe it answers.
pub fn subscription(verb: Verb, from: &Jid, to: &Jid, id: Option<Text>) -> Stanza {
    Stanza { id, ..made(verb.presence_type(), from.to_bare(), to.to_bare()) }
}

/// A client's subscription stanza as it is routed: `from` and `to` cut to bare JIDs (§3.1.2,
/// §3.1.5, §3.2.2, §3.3.2).
pub fn routed_subscription(stanza: &Stanza, user: &Jid, contact: &Jid) -> Stanza {
    copy(stanza, &user.to_bare(), &contact.to_bare())
}

/// A probe for a contact: between bare JIDs (§4.3.1).
pub fn probe(user: &Jid, contact: &Jid) -> Stanza {
    made(PresenceType::Probe, user.to_bare(), contact.to_bare())
}

/// Mere availability, without what the presence says.
pub fn available(from: &Jid, to: &Jid) -> Stanza {
    made(PresenceType::Available, from.clone(), to.clone())
}

/// Unavailable presence of the server's making: for a resource that was lost, for a contact that
/// may not see it any more, or in answer to a probe, with its id and since when (`since_us`,
/// microseconds since 1970; XEP-0203), if that is known.
pub fn unavailable(from: &Jid, to: &Jid, id: Option<Text>, since_us: Option<u64>) -> Stanza {
    let mut stanza = Stanza { id, ..made(PresenceType::Unavailable, from.clone(), to.clone()) };
    if let Some(since_us) = since_us {
        let mut added = Writer::new();
        delay::write(&mut added, since_us, None);
        stanza.added = added.finish();
    }
    stanza
}

fn made(kind: PresenceType, from: Jid, to: Jid) -> Stanza {
    Stanza { from: Some(from), to: Some(to), ..Stanza::new(Kind::Presence(kind)) }
}

#[cfg(test)]
mod tests;
