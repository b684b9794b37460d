//! Where a stanza for a local account goes: RFC 6121 §8.5 as one function without side effects.
//!
//! Where the RFC leaves a choice, this server chooses: a message that somebody may miss is
//! delivered to every resource that wants messages, or stored, never silently dropped (design:
//! "Overload"); what is only of the moment is dropped.

use xmpp::stanza::{IqType, Kind, MessageType, PresenceType};

/// One connected resource of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The priority of its last available presence.
    pub priority: i8,
    /// Whether it has sent initial presence and not taken it back.
    pub available: bool,
    /// Whether the stanza is addressed to exactly this resource.
    pub addressed: bool,
}

/// The account that a stanza is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addressee {
    /// Whether there is such an account.
    pub exists: bool,
    /// Whether the stanza names a resource.
    pub full: bool,
    /// Whether the sender may know that the addressed resource is there: it is subscribed to the
    /// account's presence (`from` or `both`), has directed presence of that resource, or is the
    /// account itself. Only requests ask for it.
    pub trusted: bool,
}

/// Which resources get a stanza: positions in the list that was given to [`route`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Targets(u32);

impl Targets {
    /// How many resources can be told apart; those beyond get nothing. Far above
    /// `limits::RESOURCES_MAX`.
    pub const CAPACITY: usize = u32::BITS as usize;

    /// Adds a position.
    pub fn insert(&mut self, position: usize) {
        debug_assert!(position < Self::CAPACITY);
        if position < Self::CAPACITY {
            self.0 |= 1 << position;
        }
    }

    /// Whether the position is among them.
    pub fn contains(self, position: usize) -> bool {
        position < Self::CAPACITY && self.0 & (1 << position) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The positions, in rising order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..Self::CAPACITY).filter(move |&position| self.contains(position))
    }
}

impl FromIterator<usize> for Targets {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut targets = Targets::default();
        positions.into_iter().for_each(|position| targets.insert(position));
        targets
    }
}

/// What to do with the stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Give it to these resources; its `to` stays as it is (§8.5.2.1.1). Never empty.
    Deliver(Targets),
    /// Nobody is there who wants messages: keep it if it is worth keeping (XEP-0160 §3, XEP-0334),
    /// otherwise drop it.
    Store,
    /// Answer with the stanza error `service-unavailable`.
    Refuse,
    /// Drop it without a word.
    Drop,
    /// The server answers the IQ for the account, or takes the response to an IQ that it sent for
    /// the account.
    Account,
    /// The rules of subscriptions (`subscription`, §3); a resource in `to` is left out.
    Subscription,
    /// The rules of probes (`presence::answer_probe`, §4.3.2), also if there is no such account.
    Probe,
}

/// Decides what becomes of a stanza for a local account, whose connected resources are `resources`,
/// in any order.
pub fn route(
    kind: Kind,
    to: Addressee,
    resources: impl Iterator<Item = Resource> + Clone,
) -> Action {
    if !to.exists {
        return unknown_account(kind, to.full);
    }
    let matched = if to.full { resources.clone().position(|one| one.addressed) } else { None };
    match (kind, matched) {
        (Kind::Message(_), Some(position)) => one(position),
        (Kind::Message(message), None) => unmatched_message(message, to.full, resources),
        (Kind::Presence(presence), _) => route_presence(presence, to.full, matched, resources),
        (Kind::Iq(_), _) if !to.full => Action::Account,
        // §8.5.3.1: to let it through would tell a stranger that the resource is there.
        (Kind::Iq(IqType::Get | IqType::Set), Some(_)) if !to.trusted => Action::Refuse,
        (Kind::Iq(_), Some(position)) => one(position),
        (Kind::Iq(IqType::Get | IqType::Set), None) => Action::Refuse,
        // An answer is never answered (RFC 6120 §8.2.3).
        (Kind::Iq(IqType::Result | IqType::Error), None) => Action::Drop,
    }
}

/// §8.5.1. A message is refused, not ignored: its sender should learn of a wrong address.
fn unknown_account(kind: Kind, full: bool) -> Action {
    match kind {
        Kind::Message(MessageType::Normal | MessageType::Chat) => Action::Refuse,
        Kind::Message(MessageType::Groupchat) if !full => Action::Refuse,
        Kind::Message(_) => Action::Drop,
        Kind::Presence(PresenceType::Probe) => Action::Probe,
        Kind::Presence(_) => Action::Drop,
        Kind::Iq(IqType::Get | IqType::Set) => Action::Refuse,
        Kind::Iq(IqType::Result | IqType::Error) => Action::Drop,
    }
}

/// §8.5.2.1.1, §8.5.2.2.1 and §8.5.3.2.1: a message for the bare JID, or for a resource that is not
/// there.
fn unmatched_message(
    message: MessageType,
    full: bool,
    resources: impl Iterator<Item = Resource>,
) -> Action {
    match message {
        // "Most available" guesses where the person is; all resources with a non-negative priority,
        // with carbons (XEP-0280) for the rest, do not have to. A `normal` message whose resource
        // has just gone is treated like a chat message, though §8.5.3.2.1 would bounce or drop it:
        // clients write to the full JID that they know, and it is the person who is meant.
        MessageType::Normal | MessageType::Chat => match wanting_messages(resources) {
            targets if targets.is_empty() => Action::Store,
            targets => Action::Deliver(targets),
        },
        MessageType::Groupchat => Action::Refuse,
        MessageType::Headline if full => Action::Drop,
        MessageType::Headline => match wanting_messages(resources) {
            targets if targets.is_empty() => Action::Drop,
            targets => Action::Deliver(targets),
        },
        MessageType::Error => Action::Drop,
    }
}

/// §8.5.2.1.2, §8.5.2.2.2, §8.5.3.1 and §8.5.3.2.2.
fn route_presence(
    presence: PresenceType,
    full: bool,
    matched: Option<usize>,
    resources: impl Iterator<Item = Resource>,
) -> Action {
    use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    match (presence, matched) {
        (PresenceType::Probe, _) => Action::Probe,
        (Subscribe, _) => Action::Subscription,
        // Only a request is treated as if it were to the bare JID (§3.1.3).
        (Subscribed | Unsubscribe | Unsubscribed, None) if full => Action::Drop,
        (Subscribed | Unsubscribe | Unsubscribed, _) => Action::Subscription,
        (_, Some(position)) => one(position),
        (_, None) if full => Action::Drop,
        (_, None) => match positions(resources, |one| one.available) {
            none if none.is_empty() => Action::Drop,
            available => Action::Deliver(available),
        },
    }
}

/// The resources that want messages to the bare JID: available, with a priority that is not
/// negative.
fn wanting_messages(resources: impl Iterator<Item = Resource>) -> Targets {
    positions(resources, |one| one.available && one.priority >= 0)
}

fn positions(
    resources: impl Iterator<Item = Resource>,
    wanted: impl Fn(&Resource) -> bool,
) -> Targets {
    let chosen = resources.enumerate().filter(|(_, one)| wanted(one));
    chosen.map(|(position, _)| position).collect()
}

fn one(position: usize) -> Action {
    Action::Deliver(Targets::from_iter([position]))
}

#[cfg(test)]
mod tests;
