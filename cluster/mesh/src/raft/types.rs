//! The types that the Raft library is run with, and their bytes.
//!
//! What the library defines (votes, entries, requests) is written in postcard, by position: small,
//! and stable as long as the library keeps its types. The library's version is pinned, and golden
//! bytes in the tests say when an update changes them (docs/decisions/0015).

use std::fmt;

use openraft::type_config::alias;
use openraft::{EntryPayload, RaftTypeConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A command of the control plane, as bytes: what it says is the state machine's business.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Command(pub(super) Vec<u8>);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the state machine answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Applied(pub(super) Vec<u8>);

/// A replica: its node's name, by which links know it, and where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The node's name.
    pub node: String,
    /// Where it listens for links.
    pub address: String,
}

openraft::declare_raft_types!(
    /// What the Raft library is run with. One leader in each term, as in the paper.
    pub(super) Types:
        D = Command,
        R = Applied,
        NodeId = u64,
        Node = Seat,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(super) type Entry = alias::EntryOf<Types>;
pub(super) type LogId = alias::LogIdOf<Types>;
pub(super) type Vote = alias::VoteOf<Types>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(super) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(super) type Snapshot = alias::SnapshotOf<Types, Vec<u8>>;

/// Bytes of a value of the library's.
pub(super) fn encode<T: Serialize>(value: &T) -> std::io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(std::io::Error::other)
}

/// Reads what [`encode`] wrote, to the last byte.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// About how long an entry is on the wire.
pub(super) fn entry_bytes(entry: &<Types as RaftTypeConfig>::Entry) -> usize {
    match &entry.payload {
        EntryPayload::Blank => 32,
        EntryPayload::Normal(command) => 32 + command.0.len(),
        EntryPayload::Membership(members) => 64 + 512 * members.nodes().count(),
    }
}
