//! Frames from the owner of an account to one client connection.

use bytes::Bytes;
use xmpp::error::StreamCondition;
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

use crate::{Epoch, SessionId};

/// What an owner says to one connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Down {
    /// The salt and iteration count of the account for the hash that was asked for (RFC 5802 §5).
    /// The same in form for accounts that do not exist.
    Challenge { salt: Bytes, iterations: u32 },
    /// The proof was right. `generation` is the account's session generation: kick, disabling and
    /// password change raise it, and a bind that carries an older one is refused.
    Verified { signature: Bytes, generation: u64 },
    /// Authentication failed.
    Refused(AuthRefusal),
    /// The resource is bound.
    Bound { session: SessionId, jid: Jid, epoch: Epoch },
    /// It is not.
    BindRefused(BindRefusal),
    /// Stream management is on; `resume_s` is how long a lost session is kept, zero if it is not
    /// (XEP-0198 §3).
    Enabled { session: SessionId, resume_s: u32 },
    /// The session goes on here. `handled` is the number of the client's last durable stanza,
    /// `taken` the number up to which the client has ours; the stanzas after it follow.
    Resumed {
        session: SessionId,
        jid: Jid,
        attachment: u32,
        handled: u64,
        taken: u64,
        epoch: Epoch,
    },
    /// It does not. `handled` is the durable prefix where it is known (XEP-0198 §5).
    ResumeFailed { why: ResumeRefusal, handled: Option<u64> },
    /// A stanza for the client, numbered in its session. `log`: its id in the account's log, or
    /// zero.
    Stanza { number: u64, log: u64, stanza: Stanza },
    /// What the session means, for its edge to keep as it is and to report to a later owner. Only
    /// owners can read or make one. It stands before the answers that depend on it.
    Snapshot { snapshot: Bytes },
    /// All stanzas of the client up to this number are durable, or, where nothing is to be stored,
    /// handed over.
    Handled { number: u64 },
    /// Close the stream with this error.
    Close { condition: StreamCondition },
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRefusal {
    /// Wrong password or no such account: the two are never told apart.
    NotAuthorized,
    /// The account is disabled (RFC 6120 §6.5.1), told only to who knows the password.
    AccountDisabled,
    /// The store did not answer (RFC 6120 §6.5.10). Never `not-authorized`.
    TemporaryAuthFailure,
}

/// Why a resource was not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindRefusal {
    /// The resource is not a resourcepart (RFC 6120 §7.7.2.1).
    BadRequest,
    /// The account has as many resources as it may have (RFC 6120 §7.6.2.1).
    ResourceConstraint,
    /// The login is older than the account's session generation.
    NotAllowed,
    /// The store did not answer.
    InternalServerError,
}

/// Why a session was not resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeRefusal {
    /// No such session of this account (XEP-0198 §5). The same for a session of somebody else.
    ItemNotFound,
    /// The session is being resumed elsewhere, or cannot be resumed just now.
    UnexpectedRequest,
    /// `h` covers stanzas that were never sent (XEP-0198 §4).
    HandledCountTooHigh { sent: u64 },
    /// The store did not answer.
    InternalServerError,
}
