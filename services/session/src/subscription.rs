//! Presence subscriptions: the state of one contact, and what each subscription stanza does to it
//! (RFC 6121 §3 and Appendix A).
//!
//! Pure tables. The engine looks up the contact's [`Subscription`], calls
//! [`outbound`](Subscription::outbound) for a stanza of its own user or
//! [`inbound`](Subscription::inbound) for one from the contact, stores the new state, and carries
//! out the effects in their order. All routing between contacts is from bare JID to bare JID
//! (§3.1.2, §3.1.5).

use smallvec::SmallVec;
use std::fmt;
use xmpp::stanza::PresenceType;

/// What a subscription stanza asks or says: the four presence types of RFC 6121 §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// The sender wants to see the addressee's presence.
    Subscribe,
    /// The sender lets the addressee see its presence.
    Subscribed,
    /// The sender does not want to see the addressee's presence any more.
    Unsubscribe,
    /// The sender refuses, or takes back, that the addressee sees its presence.
    Unsubscribed,
}

impl Verb {
    /// All four.
    pub const ALL: [Verb; 4] =
        [Verb::Subscribe, Verb::Subscribed, Verb::Unsubscribe, Verb::Unsubscribed];

    /// The verb of a presence type, if it is one of the four.
    pub const fn of(kind: PresenceType) -> Option<Verb> {
        match kind {
            PresenceType::Subscribe => Some(Verb::Subscribe),
            PresenceType::Subscribed => Some(Verb::Subscribed),
            PresenceType::Unsubscribe => Some(Verb::Unsubscribe),
            PresenceType::Unsubscribed => Some(Verb::Unsubscribed),
            _ => None,
        }
    }

    /// The presence type.
    pub const fn presence_type(self) -> PresenceType {
        match self {
            Verb::Subscribe => PresenceType::Subscribe,
            Verb::Subscribed => PresenceType::Subscribed,
            Verb::Unsubscribe => PresenceType::Unsubscribe,
            Verb::Unsubscribed => PresenceType::Unsubscribed,
        }
    }

    /// The value of the `type` attribute.
    pub const fn name(self) -> &'static str {
        self.presence_type().name()
    }
}

/// Which of the user's resources get a stanza (RFC 6121 §2.2, implementation note).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Those that have sent initial presence.
    Available,
    /// Those that have asked for the roster.
    Interested,
}

/// One thing to do; a [`Change`] lists them in the order that the RFC asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send the user's own stanza to the contact, `from` and `to` cut to bare JIDs.
    Route,
    /// Give the contact's stanza to these resources of the user; if there are none, it is dropped.
    Deliver(Audience),
    /// Send a stanza of this type in the user's name to the contact, bare JID to bare JID.
    Send(Verb),
    /// Push the item in its new state to all interested resources; a state that is not
    /// [`listed`](Subscription::listed) is pushed as `remove`.
    Push,
    /// Send the last available presence of each available resource to the contact.
    SendAvailable,
    /// Send unavailable presence from each available resource to the contact.
    SendUnavailable,
    /// Keep the contact's whole stanza: each resource that becomes available gets it until it is
    /// answered (§3.1.3).
    StoreRequest,
    /// The kept stanza is answered or taken back: drop it.
    ForgetRequest,
}

/// What follows from one stanza or one removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The state from here on. [`Subscription::NONE`] means that nothing is left to keep about the
    /// contact.
    pub state: Subscription,
    /// What to do, in this order.
    pub effects: SmallVec<[Effect; 6]>,
}

impl Change {
    fn new(state: Subscription, effects: &[Effect]) -> Self {
        Self { state, effects: SmallVec::from_slice(effects) }
    }

    /// Whether the list has this effect.
    pub fn has(&self, effect: Effect) -> bool {
        self.effects.contains(&effect)
    }
}

/// The state between the user and one contact, seen from the user: RFC 6121 Appendix A.1, with
/// pre-approval (§3.4) and whether there is a roster item at all. One byte, which is also how it is
/// stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Subscription(u8);

const TO: u8 = 1;
const FROM: u8 = 1 << 1;
const PENDING_OUT: u8 = 1 << 2;
const PENDING_IN: u8 = 1 << 3;
const APPROVED: u8 = 1 << 4;
const LISTED: u8 = 1 << 5;
const ALL: u8 = TO | FROM | PENDING_OUT | PENDING_IN | APPROVED | LISTED;

impl Subscription {
    /// Nothing is known about the contact.
    pub const NONE: Subscription = Subscription(0);
    /// A roster item without any subscription: what a roster set makes.
    pub const LISTED: Subscription = Subscription(LISTED);

    /// The byte to store.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The state of a stored byte, or `None` if no stanza can lead to it.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        let state = Subscription(bits);
        if bits & !ALL == 0 && state.is_possible() { Some(state) } else { None }
    }

    /// What the appendix excludes: to be subscribed and to be asking at once, in either direction;
    /// and what this server excludes: an approval in advance that would already have been used, and
    /// states without an item that only an item can show.
    const fn is_possible(self) -> bool {
        let shown = self.0 & (TO | FROM | PENDING_OUT | APPROVED) != 0;
        !self.has(TO | PENDING_OUT)
            && !self.has(FROM | PENDING_IN)
            && !self.has(APPROVED | FROM)
            && !self.has(APPROVED | PENDING_IN)
            && (!shown || self.listed())
    }

    /// Whether all these bits are set.
    const fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }

    /// The user is subscribed to the contact's presence.
    pub const fn to(self) -> bool {
        self.has(TO)
    }

    /// The contact is subscribed to the user's presence.
    pub const fn from(self) -> bool {
        self.has(FROM)
    }

    /// The user has asked and has no answer; shown as `ask='subscribe'`.
    pub const fn pending_out(self) -> bool {
        self.has(PENDING_OUT)
    }

    /// The contact has asked and the user has not answered. Never shown in the roster.
    pub const fn pending_in(self) -> bool {
        self.has(PENDING_IN)
    }

    /// The user has said yes before being asked (§3.4); shown as `approved='true'`. The approval is
    /// used up by the request that it answers, so it says yes only once.
    pub const fn approved(self) -> bool {
        self.has(APPROVED)
    }

    /// The contact is an item of the roster, not only somebody who asked.
    pub const fn listed(self) -> bool {
        self.has(LISTED)
    }

    /// Nothing is left to keep.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The value of the item's `subscription` attribute (§2.1.2.5).
    pub const fn attribute(self) -> &'static str {
        match (self.to(), self.from()) {
            (false, false) => "none",
            (true, false) => "to",
            (false, true) => "from",
            (true, true) => "both",
        }
    }

    /// The same state, as an item of the roster.
    pub const fn with_item(self) -> Self {
        Subscription(self.0 | LISTED)
    }

    /// What a client can see of the state: only a change of this is a "roster modification"
    /// (§2.6.3).
    const fn visible(self) -> u8 {
        if self.listed() { self.0 & !PENDING_IN } else { 0 }
    }

    /// Whether the change from `self` to `next` is one that clients must be told of (§2.6.3).
    pub const fn shows(self, next: Self) -> bool {
        self.visible() != next.visible()
    }

    const fn with(self, set: u8, clear: u8) -> Self {
        Subscription((self.0 & !clear) | set)
    }

    /// The user sends a subscription stanza to the contact (Appendix A.2).
    pub fn outbound(self, verb: Verb) -> Change {
        use Effect::{ForgetRequest, Push, Route, SendAvailable, SendUnavailable};
        match verb {
            Verb::Subscribe if self.to() || self.pending_out() => Change::new(self, &[Route]),
            Verb::Subscribe => Change::new(self.with(PENDING_OUT | LISTED, 0), &[Route, Push]),

            Verb::Unsubscribe if self.to() || self.pending_out() => {
                Change::new(self.with(0, TO | PENDING_OUT), &[Route, Push])
            }
            Verb::Unsubscribe => Change::new(self, &[Route]),

            Verb::Subscribed if self.pending_in() => Change::new(
                self.with(FROM | LISTED, PENDING_IN),
                &[ForgetRequest, Route, Push, SendAvailable],
            ),
            Verb::Subscribed if self.from() || self.approved() => Change::new(self, &[]),
            Verb::Subscribed => Change::new(self.with(APPROVED | LISTED, 0), &[Push]),

            Verb::Unsubscribed if self.from() => {
                Change::new(self.with(0, FROM), &[SendUnavailable, Route, Push])
            }
            // No unavailable presence here, against the letter of §3.2.2: whoever is refused was
            // never allowed to know which resources there are.
            Verb::Unsubscribed if self.pending_in() => {
                Change::new(self.with(0, PENDING_IN), &[ForgetRequest, Route])
            }
            Verb::Unsubscribed if self.approved() => Change::new(self.with(0, APPROVED), &[Push]),
            Verb::Unsubscribed => Change::new(self, &[]),
        }
    }

    /// The user sends a subscription stanza that it may have sent before. That this was decided
    /// says nothing of whether the contact was told, so what would lead to nothing is routed.
    pub fn outbound_again(self, verb: Verb) -> Change {
        let mut change = self.outbound(verb);
        let decided = match verb {
            Verb::Subscribed => self.from(),
            Verb::Unsubscribed => !self.from(),
            Verb::Subscribe | Verb::Unsubscribe => false,
        };
        if decided && change.effects.is_empty() {
            change.effects.push(Effect::Route);
        }
        change
    }

    /// A subscription stanza of the contact arrives (Appendix A.3).
    pub fn inbound(self, verb: Verb) -> Change {
        use Effect::{
            Deliver, ForgetRequest, Push, Send, SendAvailable, SendUnavailable, StoreRequest,
        };
        match verb {
            // The RFC asks for the answer only. Presence follows it because a contact that asks
            // again has lost its state, and nothing else would tell it who is here.
            Verb::Subscribe if self.from() => {
                Change::new(self, &[Send(Verb::Subscribed), SendAvailable])
            }
            Verb::Subscribe if self.approved() => Change::new(
                self.with(FROM, APPROVED),
                &[Push, Send(Verb::Subscribed), SendAvailable],
            ),
            Verb::Subscribe if self.pending_in() => Change::new(self, &[]),
            Verb::Subscribe => {
                Change::new(self.with(PENDING_IN, 0), &[StoreRequest, Deliver(Audience::Available)])
            }

            Verb::Unsubscribe if self.from() => Change::new(
                self.with(0, FROM),
                &[Deliver(Audience::Interested), Push, SendUnavailable, Send(Verb::Unsubscribed)],
            ),
            // §3.3.3 would forget a request without a word if there is no item; table 7 delivers.
            // The table is better: a client that shows the request learns that it is void.
            Verb::Unsubscribe if self.pending_in() => Change::new(
                self.with(0, PENDING_IN),
                &[ForgetRequest, Deliver(Audience::Available), Send(Verb::Unsubscribed)],
            ),
            Verb::Unsubscribe => Change::new(self, &[]),

            Verb::Subscribed if self.pending_out() => {
                Change::new(self.with(TO, PENDING_OUT), &[Deliver(Audience::Interested), Push])
            }
            Verb::Subscribed => Change::new(self, &[]),

            Verb::Unsubscribed if self.to() || self.pending_out() => {
                Change::new(self.with(0, TO | PENDING_OUT), &[Deliver(Audience::Interested), Push])
            }
            Verb::Unsubscribed => Change::new(self, &[]),
        }
    }

    /// The user removes the contact's item (§2.5.2), or `None` if there is no item (answer
    /// `item-not-found`, §2.5.3).
    ///
    /// The RFC names subscriptions; requests end the same way, or a contact that the user has just
    /// thrown out would ask again at each login, and a late approval would find nobody who
    /// remembers asking.
    pub fn removed(self) -> Option<Change> {
        if !self.listed() {
            return None;
        }
        let mut change = Change::new(Subscription::NONE, &[Effect::Push]);
        if self.pending_in() {
            change.effects.push(Effect::ForgetRequest);
        }
        if self.to() || self.pending_out() {
            change.effects.push(Effect::Send(Verb::Unsubscribe));
        }
        if self.from() {
            change.effects.push(Effect::SendUnavailable);
        }
        if self.from() || self.pending_in() {
            change.effects.push(Effect::Send(Verb::Unsubscribed));
        }
        Some(change)
    }
}

/// The state in the words of Appendix A.1, for logs and tests.
impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.to(), self.from()) {
            (false, false) => "None",
            (true, false) => "To",
            (false, true) => "From",
            (true, true) => "Both",
        })?;
        f.write_str(match (self.pending_out(), self.pending_in()) {
            (false, false) => "",
            (true, false) => " + Pending Out",
            (false, true) => " + Pending In",
            (true, true) => " + Pending Out+In",
        })
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let approved = if self.approved() { ", approved" } else { "" };
        let listed = if self.listed() { "" } else { ", not listed" };
        write!(f, "{self}{approved}{listed}")
    }
}

#[cfg(test)]
mod tests;
