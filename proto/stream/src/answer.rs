//! What the owner of an account says to a stream.

use bytes::Bytes;
use xmpp::error::StreamCondition;
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

/// An answer to an [`crate::Ask`], or something that the owner sends by itself.
#[derive(Debug)]
pub enum Answer {
    /// Salt and iterations: the same in form for accounts that do not exist (security case 49).
    Challenge {
        /// The salt.
        salt: Bytes,
        /// The rounds of PBKDF2.
        iterations: u32,
    },
    /// Authentication failed.
    Refused(AuthRefusal),
    /// The proof was right.
    Verified {
        /// `ServerSignature` of RFC 5802 §3.
        signature: Bytes,
        /// The account's session generation, for `Ask::Bind` and `Ask::Resume`.
        generation: u64,
    },
    /// The resource is bound.
    Bound {
        /// The full JID.
        jid: Jid,
    },
    /// It is not.
    BindRefused(BindRefusal),
    /// Stream management is on.
    Enabled {
        /// The SM-ID. Only who knows it can resume.
        id: String,
        /// How long a lost session is kept, in seconds; 0: it cannot be resumed.
        resume_s: u32,
    },
    /// The session goes on here.
    Resumed {
        /// The SM-ID, as the client named it.
        id: String,
        /// The full JID.
        jid: Jid,
        /// The number of the client's last durable stanza.
        handled: u64,
        /// The number up to which the client has ours; stanzas from `taken + 1` on follow.
        taken: u64,
    },
    /// It does not.
    ResumeFailed {
        /// Why.
        why: ResumeRefusal,
        /// The number of the client's last durable stanza, where it is known.
        handled: Option<u64>,
    },
    /// A stanza for the client.
    Stanza {
        /// One more than that of the stanza before.
        number: u64,
        /// The stanza.
        stanza: Stanza,
    },
    /// All stanzas of the client up to this number are durable or, where nothing is to be stored,
    /// handed over.
    Handled {
        /// A number of `Ask::Stanza` or `Ask::Judged`.
        number: u64,
    },
    /// Close the stream with this error.
    Close {
        /// The error.
        condition: StreamCondition,
    },
}

/// Why a login was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRefusal {
    /// Wrong password or no such account: never told apart.
    NotAuthorized,
    /// The account is disabled (RFC 6120 §6.5.2), told only to who knows the password.
    AccountDisabled,
    /// The store did not answer (RFC 6120 §6.5.11).
    TemporaryAuthFailure,
}

/// Why a resource was not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindRefusal {
    /// The resource is none (RFC 6120 §7.7.2.1).
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
    /// No such session of this account: the same for a session of somebody else (security case 50).
    ItemNotFound,
    /// The session is being resumed elsewhere, or cannot be resumed just now.
    UnexpectedRequest,
    /// `h` covers stanzas that were never sent (XEP-0198 §5).
    HandledCountTooHigh {
        /// The number of the last stanza sent.
        sent: u64,
    },
    /// The store did not answer.
    InternalServerError,
}
