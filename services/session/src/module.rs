//! How an extension plugs in: one trait, closed phases, verdicts as values.
//!
//! A module decides on an event and writes what it wants into an [`Outcome`]; the engine carries it
//! out. A decision that needs rows says which ([`Verdict::Again`]) and is made again from the start
//! with them, so it keeps nothing between rounds. A module's memory is one typed slot per account,
//! read through [`Cx`] and replaced by [`Op::Slot`].

use std::any::{Any, TypeId};

use kv::{Key, Reads, Rows, Value};
use peer::{IngestKey, SessionId};
use smallvec::SmallVec;
use xmpp::error::StanzaError;
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

use crate::account::Account;
use crate::config::Config;
use crate::spec::Spec;

/// When a module is asked. Order inside a phase is the order of the list of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A stanza from one of the account's own sessions, before it is routed.
    Outbound,
    /// A message for the account from elsewhere, before it is known who gets it.
    Inbound,
    /// A message for the account, when it is known which sessions get it (`Event::targets`).
    Deliver,
    /// An IQ request that the server answers, for the account or for its domain.
    Iq,
    /// A session is over; `Event::session` names it.
    Close,
}

/// How many phases there are.
pub(crate) const PHASES: usize = 5;

/// Who sent what an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A session of this account.
    Own(SessionId),
    /// Somebody else: the stanza's `from` is stamped and true.
    Other,
}

/// What a module decides on.
#[derive(Clone, Debug)]
pub struct Event {
    /// The stanza. At `Close`, the unavailable presence of the session that is over.
    pub stanza: Stanza,
    /// Who sent it.
    pub sender: Sender,
    /// How it arrived, where it may leave a row.
    pub ingest: Option<IngestKey>,
    /// Its id in this account's log, once a module earlier in the list had it logged.
    pub stored: Option<u64>,
    /// The row is found by archive queries.
    pub archived: bool,
    /// The row waits for a resource that takes it.
    pub offline: bool,
    /// At `Deliver`: the sessions that get it.
    pub targets: SmallVec<[SessionId; 4]>,
    /// An owner before may have decided on it.
    pub(crate) retry: bool,
}

impl Event {
    /// A stanza that has just come.
    pub fn new(stanza: Stanza, sender: Sender) -> Self {
        Self {
            stanza,
            sender,
            ingest: None,
            stored: None,
            archived: false,
            offline: false,
            targets: SmallVec::new(),
            retry: false,
        }
    }

    /// The session that sent the stanza, if it is one of this account's.
    pub fn own_session(&self) -> Option<SessionId> {
        match self.sender {
            Sender::Own(session) => Some(session),
            Sender::Other => None,
        }
    }
}

/// What a module may know when it decides.
pub struct Cx<'a> {
    /// Microseconds since 1970.
    pub now: u64,
    /// The account that the event happens at.
    pub account: &'a Account,
    /// What the operator chose.
    pub config: &'a Config,
    /// The rows of each earlier round, in the order of the `Again`s.
    pub rows: &'a [Rows],
    /// The highest id given out by the account's shard: nothing in any of its logs is above.
    pub last_id: u64,
}

impl Cx<'_> {
    /// Whether somebody may know that the account is there: it is the account itself, or is
    /// subscribed to its presence. To everyone else it looks like one that does not exist.
    pub fn knows(&self, who: Option<&Jid>) -> bool {
        who.is_some_and(|who| {
            who.same_bare(&self.account.jid) || self.account.roster.state(who.bare_str()).from()
        })
    }

    /// The module's memory for this account.
    pub fn slot<T: Any + Send>(&self) -> Option<&T> {
        self.account.slots.get::<T>()
    }
}

/// What a module says to an event.
#[derive(Debug)]
pub enum Verdict {
    /// The next module decides.
    Pass,
    /// Nothing more is to be done with the stanza.
    Done,
    /// The stanza is refused; its sender gets the error (never sent in answer to an error).
    Refuse(StanzaError),
    /// Decide again with these rows; what was written into the outcome is dropped.
    Again(Reads),
}

/// What a module wants done.
#[derive(Default)]
pub struct Outcome {
    pub(crate) ops: Vec<Op>,
}

/// One thing to do.
pub enum Op {
    /// Put the event's stanza into the account's log.
    Log(Draft),
    /// Set a row (its key begins with the account's entity).
    Set(Key, Value),
    /// Delete a row.
    Delete(Key),
    /// Go on with this stanza in the place of the event's.
    Replace(Stanza),
    /// Give a stanza to a session of this account.
    Deliver(SessionId, Stanza),
    /// Answer the event's stanza.
    Reply(Stanza),
    /// Set or clear a mark of a session.
    Mark(SessionId, Mark, bool),
    /// Replace the module's memory.
    Slot(TypeId, Box<dyn Any + Send>),
}

/// How a stanza goes into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft {
    /// An archive query finds it (XEP-0313).
    pub archived: bool,
    /// It waits for a resource that takes it (XEP-0160).
    pub offline: bool,
}

impl Outcome {
    /// Puts the event's stanza into the log.
    pub fn log(&mut self, draft: Draft) {
        self.ops.push(Op::Log(draft));
    }

    /// Goes on with another stanza.
    pub fn replace(&mut self, stanza: Stanza) {
        self.ops.push(Op::Replace(stanza));
    }

    /// Gives a stanza to a session of this account.
    pub fn deliver(&mut self, to: SessionId, stanza: Stanza) {
        self.ops.push(Op::Deliver(to, stanza));
    }

    /// Answers the event's stanza.
    pub fn reply(&mut self, stanza: Stanza) {
        self.ops.push(Op::Reply(stanza));
    }

    /// Sets a row.
    pub fn set(&mut self, key: Key, value: Value) {
        self.ops.push(Op::Set(key, value));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: Key) {
        self.ops.push(Op::Delete(key));
    }

    /// Sets or clears a mark of a session.
    pub fn mark(&mut self, session: SessionId, mark: Mark, set: bool) {
        self.ops.push(Op::Mark(session, mark, set));
    }

    /// Replaces the module's memory for this account.
    pub fn slot<T: Any + Send>(&mut self, value: T) {
        self.ops.push(Op::Slot(TypeId::of::<T>(), Box::new(value)));
    }
}

/// Something that a module knows of a session and that outlives a resumption: one bit. The list of
/// modules hands them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u8);

/// The marks of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Marks(pub(crate) u32);

impl Marks {
    /// Whether a mark is set.
    pub fn has(self, mark: Mark) -> bool {
        self.0 & (1 << mark.0) != 0
    }

    pub(crate) fn set(&mut self, mark: Mark, set: bool) {
        let bit = 1 << mark.0;
        self.0 = if set { self.0 | bit } else { self.0 & !bit };
    }
}

/// The memories of all modules for one account; most accounts have none.
#[derive(Default)]
pub struct Slots(Vec<(TypeId, Box<dyn Any + Send>)>);

impl Slots {
    /// The memory of this type.
    pub fn get<T: Any + Send>(&self) -> Option<&T> {
        let id = TypeId::of::<T>();
        self.0.iter().find(|(of, _)| *of == id).and_then(|(_, value)| value.downcast_ref())
    }

    pub(crate) fn set(&mut self, id: TypeId, value: Box<dyn Any + Send>) {
        match self.0.iter_mut().find(|(of, _)| *of == id) {
            Some((_, old)) => *old = value,
            None => self.0.push((id, value)),
        }
    }
}

/// An extension.
pub trait Module: Sync {
    /// What it is.
    fn spec(&self) -> Spec;

    /// When it is asked.
    fn phases(&self) -> &'static [Phase] {
        &[]
    }

    /// Whether the operator wants it. One that is not active is not announced.
    fn is_active(&self, _config: &Config) -> bool {
        true
    }

    /// Decides. Pure: the same event and context give the same outcome.
    fn decide(&self, _at: Phase, _event: &Event, _cx: &Cx<'_>, _out: &mut Outcome) -> Verdict {
        Verdict::Pass
    }
}

/// The modules in their order, indexed for use.
pub struct Modules {
    all: &'static [&'static dyn Module],
    by_phase: [Vec<&'static dyn Module>; PHASES],
}

impl Modules {
    /// Takes the one ordered list (`xeps::list`).
    pub fn new(all: &'static [&'static dyn Module]) -> Self {
        let mut by_phase: [Vec<&'static dyn Module>; PHASES] = Default::default();
        for module in all {
            for phase in module.phases() {
                by_phase[*phase as usize].push(*module);
            }
        }
        Self { all, by_phase }
    }

    /// All modules, in their order.
    pub fn all(&self) -> &'static [&'static dyn Module] {
        self.all
    }

    pub(crate) fn at(&self, phase: Phase, index: usize) -> Option<&'static dyn Module> {
        self.by_phase[phase as usize].get(index).copied()
    }

    /// Where in the `Iq` phase the module stands that answers this namespace.
    pub(crate) fn iq(&self, ns: &str) -> Option<usize> {
        self.by_phase[Phase::Iq as usize].iter().position(|module| module.spec().iqs.contains(&ns))
    }
}

/// Whether a JID is the account itself (bare or none).
pub fn is_self(to: Option<&Jid>, account: &Jid) -> bool {
    to.is_none_or(|to| to.is_bare() && to == account)
}
