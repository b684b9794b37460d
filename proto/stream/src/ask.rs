//! What a stream wants done: questions and reports to the owner of the account, and work for the
//! shell.

use bytes::Bytes;
use xmpp::jid::Jid;
use xmpp::scram::{Hash, Secret};
use xmpp::stanza::Stanza;
use xmpp::text::Text;

/// What [`crate::c2s::C2s::poll`] gives out, in the order in which it is to be carried out.
#[derive(Debug)]
pub enum Output {
    /// Flush `out`, then do a TLS handshake on the socket and call `handle_tls`. No byte that was
    /// read before the handshake may be handed to the stream.
    StartTls,
    /// Tell or ask the owner of the account.
    Ask(Ask),
    /// Run `xmpp::scram::Keys::derive` on a CPU pool and hand what it gives to `handle_derived`. If
    /// the pool has no room, call `handle_answer` with
    /// `Answer::Refused(AuthRefusal::TemporaryAuthFailure)`.
    Derive {
        /// The password as the client sent it. Debug does not show it.
        password: Secret,
        /// The account's salt.
        salt: Bytes,
        /// How many rounds.
        iterations: u32,
        /// Which hash.
        hash: Hash,
    },
    /// Flush `out`, then close the connection. Nothing comes after it.
    Close,
}

/// What the stream says to the owner of the account. At most one question is open at a time; those
/// marked "answered by" are questions.
#[derive(Debug)]
pub enum Ask {
    /// Salt and iterations of the account. Answered by `Answer::Challenge` or `Answer::Refused`.
    Challenge {
        /// Bare JID; it need not exist.
        account: Jid,
        /// Which of the account's verifiers.
        hash: Hash,
    },
    /// Is the proof right? Answered by `Answer::Verified` or `Answer::Refused`.
    Verify {
        /// Bare JID; it need not exist.
        account: Jid,
        /// Which of the account's verifiers.
        hash: Hash,
        /// RFC 5802 §3.
        auth_message: Bytes,
        /// `ClientProof` of RFC 5802 §3. Whoever also has the stored key can log in with it, so
        /// Debug hides it.
        proof: Secret,
    },
    /// Bind a resource. Answered by `Answer::Bound` or `Answer::BindRefused`.
    Bind {
        /// Bare JID of the authenticated account.
        account: Jid,
        /// The generation of `Answer::Verified`.
        generation: u64,
        /// What the client asks for, prepared; `None`: the server makes one.
        resource: Option<Text>,
    },
    /// Resume a session. Answered by `Answer::Resumed` or `Answer::ResumeFailed`.
    Resume {
        /// Bare JID of the authenticated account.
        account: Jid,
        /// The generation of `Answer::Verified`.
        generation: u64,
        /// The SM-ID as the client sent it; it need not be one. Debug hides it.
        session: Secret,
        /// The client's count of what it has.
        h: u32,
    },
    /// Turn stream management on. Numbers of both directions begin again at 1. Answered by
    /// `Answer::Enabled`.
    Enable {
        /// Whether the client wants to be able to resume.
        resume: bool,
    },
    /// A stanza of the client.
    Stanza {
        /// From 1, without gaps.
        number: u64,
        /// Without `from`: what the client wrote there was its own address, and the owner knows it.
        stanza: Stanza,
    },
    /// A stanza of the client that the stream itself has judged (a malformed address, a legacy
    /// session request). The owner counts it as handled, and releases `reply` to this session,
    /// numbered like any other stanza: the count of what a client has must be the owner's, or a
    /// resumption elsewhere would lose or double stanzas.
    Judged {
        /// From 1, without gaps; shared with `Ask::Stanza`.
        number: u64,
        /// What the client gets; `None` where errors must not be answered.
        reply: Option<Stanza>,
    },
    /// The client has all stanzas up to this number: it said so, or without stream management they
    /// were written. With stream management, 0 means that what was sent before `Answer::Enabled`
    /// was written.
    Taken {
        /// A number of `Answer::Stanza`.
        number: u64,
    },
    /// The client closed its stream in order: the session is over (XEP-0198 §6). `Output::Close`
    /// follows.
    Ended,
}
