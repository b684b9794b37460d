//! What an account decides on, one after the other.

use peer::{Parcel, SessionId, ShardId, Up};
use xmpp::jid::Jid;

use crate::admin;

/// One thing for an account to decide.
#[derive(Debug)]
pub(crate) enum Work {
    /// A frame from an edge.
    Up(Up),
    /// A parcel from another account.
    Parcel(Arrival),
    /// An operator's request.
    Admin(u64, admin::Request),
}

/// A parcel at the shard of its addressee.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) parcel: Parcel,
    /// It may have its effects already.
    pub(crate) retry: bool,
    /// Who waits for it to be durable.
    pub(crate) origin: Arrived,
}

/// How a parcel came.
#[derive(Clone, Debug)]
pub(crate) enum Arrived {
    /// From an account of the same shard.
    Here(Origin),
    /// In a window.
    There(ShardId, u64),
}

/// Whose progress a parcel's confirmation is.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// Nobody's: it may be lost with its sender.
    None,
    /// A stanza of a session.
    Stanza(Jid, SessionId, u64),
    /// A recovery that drives on what a lost session had sent.
    Recovery(u64),
}
