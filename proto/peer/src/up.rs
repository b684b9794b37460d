//! Frames from an edge to the owner of an account's shard.

use bytes::Bytes;
use xmpp::jid::Jid;
use xmpp::scram::Hash;
use xmpp::stanza::Stanza;
use xmpp::text::Text;

use crate::{ConnId, Report, SessionId};

/// What an edge says for one of its connections. `account` is always a bare JID and decides the
/// shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Up {
    /// The client wants to log in: which salt and iteration count? Answered by `Down::Challenge` or
    /// `Down::Refused`.
    Challenge { conn: ConnId, account: Jid, hash: Hash },
    /// The client's proof. Answered by `Down::Verified` or `Down::Refused`.
    Verify { conn: ConnId, account: Jid, hash: Hash, auth_message: Bytes, proof: Bytes },
    /// Bind a resource (RFC 6120 §7); `generation` is the one of `Down::Verified`. Answered by
    /// `Down::Bound` or `Down::BindRefused`. `resends`: on this connection a session was not
    /// resumed, and its client may send again what it sent there (the edge knows; an owner may have
    /// changed since).
    Bind { conn: ConnId, account: Jid, generation: u64, resource: Option<Text>, resends: bool },
    /// Resume a session (XEP-0198 §5); `h` as the client sent it. Answered by `Down::Resumed` and
    /// the queue, or by `Down::ResumeFailed`.
    Resume { conn: ConnId, account: Jid, generation: u64, session: SessionId, h: u32 },
    /// Turn stream management on (XEP-0198 §3). Numbers of both directions begin again at 1.
    /// Answered by `Down::Enabled`.
    Enable { account: Jid, session: SessionId, resume: bool },
    /// A stanza from the client. `retry`: an owner may have seen it before.
    Stanza {
        account: Jid,
        session: SessionId,
        attachment: u32,
        number: u64,
        retry: bool,
        stanza: Stanza,
    },
    /// A stanza that the edge has judged itself (a malformed address). It counts as handled, and
    /// `reply`, if it may be answered, is released to the session like any other stanza, so that
    /// the owner alone numbers what a client gets.
    Judged {
        account: Jid,
        session: SessionId,
        attachment: u32,
        number: u64,
        /// What the client gets for it.
        reply: Option<Stanza>,
    },
    /// The client has taken all stanzas up to this number: acknowledged, or without stream
    /// management written to its socket.
    Taken { account: Jid, session: SessionId, attachment: u32, number: u64 },
    /// The socket is lost; the session may be resumed.
    Lost { account: Jid, session: SessionId, attachment: u32 },
    /// A shard has a new owner: a stanza that this session's client was given and has not taken.
    /// All of them, oldest first, stand before the session's [`Up::Report`].
    Kept {
        account: Jid,
        session: SessionId,
        /// That of the report.
        attachment: u32,
        number: u64,
        log: u64,
        stanza: Stanza,
    },
    /// A shard has a new owner, and this session of it is here. What it has not confirmed follows,
    /// marked as retries.
    Report(Box<Report>),
    /// The client closed its stream in order; the session is over (XEP-0198 §5: a closed stream is
    /// not resumed).
    Ended { account: Jid, session: SessionId, attachment: u32 },
}

impl Up {
    /// The bare JID whose owner takes this frame.
    pub fn account(&self) -> &Jid {
        match self {
            Self::Challenge { account, .. }
            | Self::Verify { account, .. }
            | Self::Bind { account, .. }
            | Self::Resume { account, .. }
            | Self::Enable { account, .. }
            | Self::Stanza { account, .. }
            | Self::Judged { account, .. }
            | Self::Taken { account, .. }
            | Self::Lost { account, .. }
            | Self::Kept { account, .. }
            | Self::Ended { account, .. } => account,
            Self::Report(report) => &report.account,
        }
    }
}
