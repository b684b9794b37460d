//! The control plane as a pure state machine: members, the shard map, domains, settings, gates.
//!
//! Its log holds [`Entry`]s; every replica applies them to its [`State`], in order, each once. The
//! leader looks for what is to be done next ([`Duties`]) and proposes it. All other nodes follow
//! the [`Map`].

pub mod command;
pub mod duties;
pub mod leases;
pub mod map;
pub mod member;
pub mod news;
pub mod owing;
pub(crate) mod plan;
pub mod refusal;
pub mod state;
pub mod suspicions;
mod words;

pub use command::{Applied, Attempt, Command, Join, Move, Reply, TokenHash};
pub use duties::{Duties, Duty};
pub use leases::Leases;
pub use map::{Behind, Change, Delta, Feed, Hold, Map, MapSaid, Seen, Slot};
pub use member::{Fingerprint, Member, Standing};
pub use news::{News, news};
pub use owing::Owing;
pub use plan::voters;
pub use refusal::{Bound, Refusal, TextOf};
pub use state::State;
pub use suspicions::{Suspicions, Verdicts};

use crate::codec::BadFrame;
use crate::codec::control::{decoded, encoded};

/// An entry of the control plane's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The clock of the leader that proposed it, in microseconds since the Unix epoch.
    pub now: u64,
    /// What is to be done.
    pub command: Command,
}

impl Entry {
    /// Bytes for the log, in a version that every member reads ([`State::version`]).
    pub fn encode(&self, version: u8) -> Vec<u8> {
        encoded(self, version)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// Why it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFrame> {
        decoded(bytes)
    }
}

impl Reply {
    /// Bytes for whoever asked, in a version that every member reads ([`State::version`]).
    pub fn encode(&self, version: u8) -> Vec<u8> {
        encoded(self, version)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// Why it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadFrame> {
        decoded(bytes)
    }
}
