//! What goes on when rows arrive.

use std::collections::BTreeSet;

use bytes::Bytes;
use kv::{RangeRead, Rows};
use peer::{ConnId, IngestKey, Pass, SessionId};
use xmpp::jid::Jid;
use xmpp::scram::Hash;
use xmpp::stanza::Stanza;

use super::work::Arrival;
use crate::module::{Event, Phase};
use crate::session::Count;

/// A decision that waits for rows.
pub(crate) enum Ticket {
    /// An account is loaded; what of it was read before, if it is more than one page.
    Load(Jid, Option<Box<Rows>>),
    /// Salt and iterations of an account.
    Challenge { conn: ConnId, account: Jid, hash: Hash },
    /// The verifier that a proof is checked against.
    Verify { conn: ConnId, account: Jid, hash: Hash, auth_message: Bytes, proof: Bytes },
    /// A module asked for rows.
    Again(Box<Again>),
    /// A stanza that a client may have sent before looks for its row, in this part of the log.
    Resent(Jid, Count, Box<Event>, RangeRead),
    /// A retried parcel looks for its row, in this part of the log.
    Retry(Jid, Box<Arrival>, RangeRead),
    /// The epoch of a shard whose parcel came again, and which was not heard before.
    Source(Box<Pass>),
    /// A session reads its log.
    Feed(Jid, SessionId),
    /// A session that is not in memory is looked for in the log.
    Trace(Box<Trace>),
    /// A page of the account that is being deleted.
    Delete,
    /// The directory is listed.
    List(u64),
}

impl Ticket {
    /// Whether a store that does not answer is asked again. What nobody waits for with patience is
    /// answered with an error instead; what is on its way between accounts never is, since its
    /// sender was, or will be, told that it is stored.
    pub(crate) fn waits(&self) -> bool {
        match self {
            Self::Load(..)
            | Self::Retry(..)
            | Self::Resent(..)
            | Self::Feed(..)
            | Self::Delete
            | Self::Trace(_) => true,
            Self::Again(again) => again.blocks,
            // Its window is sent again anyway.
            Self::Source(_) => false,
            Self::Challenge { .. } | Self::Verify { .. } | Self::List(_) => false,
        }
    }
}

/// A module's decision that is to be made again.
pub(crate) struct Again {
    pub(crate) account: Jid,
    pub(crate) step: Step,
    pub(crate) event: Event,
    /// The module that asked, in its phase's list.
    pub(crate) index: usize,
    pub(crate) rows: Vec<Rows>,
    /// The account's queue waits for it.
    pub(crate) blocks: bool,
}

/// Where in its way a stanza was when a module asked.
#[derive(Clone)]
pub(crate) enum Step {
    /// On its way out; the number is that of the session's stanza.
    Outbound(u64),
    /// On its way in.
    Inbound(Box<Arrival>),
    /// Being answered; the number is that of the session's stanza, zero for other senders.
    Iq(u64),
}

impl Step {
    /// The phase that this is.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Outbound(_) => Phase::Outbound,
            Self::Inbound(_) => Phase::Inbound,
            Self::Iq(_) => Phase::Iq,
        }
    }
}

/// The search for what a lost session had sent (XEP-0198 §5, `h` of `<failed/>`).
pub(crate) struct Trace {
    pub(crate) conn: ConnId,
    /// The bare JID whose session it was.
    pub(crate) account: Jid,
    pub(crate) session: SessionId,
    /// The highest confirmed prefix that a row tells, if there is a row of the session.
    pub(crate) confirmed: Option<u64>,
    /// The numbers above it that have a row.
    pub(crate) numbers: BTreeSet<u64>,
    /// Stanzas above the confirmed prefix, newest first.
    pub(crate) open: Vec<(IngestKey, Stanza)>,
    /// Where the search reads on.
    pub(crate) range: RangeRead,
}
