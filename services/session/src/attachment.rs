//! The edge's half of a session: which account, session and attachment a connection speaks for, and
//! how much of what it has sent is still in flight.
//!
//! Every method that says something gives the shard that it is for and the frame. The owner
//! decides; this only remembers what the owner said.

mod keep;

use std::collections::VecDeque;

use bytes::Bytes;
use peer::shard::HashKey;
use peer::{ConnId, Down, Epoch, SessionId, ShardId, Up, shard_of};
use xmpp::jid::Jid;
use xmpp::scram::Hash;
use xmpp::stanza::Stanza;
use xmpp::text::Text;

use self::keep::Keep;
use crate::limits;
use crate::session::weight;

/// A frame and the shard that it is for.
pub type Addressed = (ShardId, Up);

/// One connection's half of a session.
pub struct Attachment {
    conn: ConnId,
    shard: ShardId,
    account: Option<Jid>,
    generation: u64,
    session: Option<SessionId>,
    attachment: u32,
    /// Stream management was asked for and is not on yet: what comes until then has numbers that
    /// count no more.
    enabling: bool,
    epoch: Epoch,
    /// A session was not resumed here.
    not_resumed: bool,
    /// Stanzas that the owner has not confirmed: number and bytes.
    flight: VecDeque<(u64, u32)>,
    flight_bytes: usize,
    /// The owner that the connection speaks to has this epoch, at an edge of a cluster.
    owner: Epoch,
    /// The socket is gone, and its session waits to be resumed.
    lost: bool,
    /// What a later owner is told, at an edge of a cluster.
    keep: Option<Box<Keep>>,
}

impl Attachment {
    /// The half of a connection on which nobody has logged in yet.
    pub fn new(conn: ConnId) -> Self {
        Self {
            conn,
            shard: ShardId(0),
            account: None,
            generation: 0,
            session: None,
            attachment: 0,
            enabling: false,
            epoch: Epoch(0),
            not_resumed: false,
            flight: VecDeque::new(),
            flight_bytes: 0,
            owner: Epoch(0),
            lost: false,
            keep: None,
        }
    }

    /// The half of a connection at an edge of a cluster: it keeps what a later owner must know.
    pub fn keeping(conn: ConnId) -> Self {
        Self { keep: Some(Box::default()), ..Self::new(conn) }
    }

    /// The shard of the account that is logging in or logged in.
    pub fn shard(&self) -> Option<ShardId> {
        self.account.as_ref().map(|_| self.shard)
    }

    /// A login is about to begin, at the owner under this epoch.
    pub fn speaks_to(&mut self, epoch: Epoch) {
        self.owner = epoch;
        self.epoch = self.epoch.max(epoch);
    }

    /// The shard has an owner under this epoch: what is to be said to it, before anything else. It
    /// is nothing if the connection has spoken to that owner before.
    pub fn moved(&mut self, epoch: Epoch) -> Vec<Addressed> {
        let Some(keep) = self.keep.as_ref().filter(|_| epoch > self.owner) else {
            return Vec::new();
        };
        self.owner = epoch;
        self.epoch = self.epoch.max(epoch);
        let frames = match (&self.account, self.session) {
            (Some(account), Some(session)) => {
                keep.reports(self.conn, account, session, self.attachment, self.lost)
            }
            // Who asked is gone.
            _ if self.lost => Vec::new(),
            _ => keep.asks_again().into_iter().collect(),
        };
        frames.into_iter().map(|frame| (self.shard, frame)).collect()
    }

    /// The epoch of the owner that the connection speaks to.
    pub fn owner(&self) -> Epoch {
        self.owner
    }

    /// The session, if there is one that goes on here or may go on elsewhere.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Bytes of what is kept for a later owner.
    pub fn kept_bytes(&self) -> usize {
        self.keep.as_ref().map_or(0, |keep| keep.bytes())
    }

    /// The owner under this epoch has said something. `false`: it is not the owner any more, as far
    /// as this edge knows, and is not heard.
    pub fn hear_from(&mut self, epoch: Epoch, frame: &Down) -> bool {
        if epoch < self.epoch {
            return false;
        }
        self.epoch = epoch;
        self.hear(frame)
    }

    fn asking(&mut self, frame: Up) -> Addressed {
        if let Some(keep) = &mut self.keep {
            keep.ask(&frame);
        }
        (self.shard, frame)
    }

    /// The connection.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// The account that is logging in or logged in.
    pub fn account(&self) -> Option<&Jid> {
        self.account.as_ref()
    }

    /// A login begins: from here on the connection speaks to the owner of `account` (a bare JID).
    pub fn challenge(&mut self, key: &HashKey, account: Jid, hash: Hash) -> Addressed {
        self.shard = shard_of(key, &account);
        self.account = Some(account.clone());
        self.asking(Up::Challenge { conn: self.conn, account, hash })
    }

    /// The client's proof.
    pub fn verify(&mut self, hash: Hash, auth_message: Bytes, proof: Bytes) -> Option<Addressed> {
        let account = self.account.clone()?;
        Some(self.asking(Up::Verify { conn: self.conn, account, hash, auth_message, proof }))
    }

    /// A resource is to be bound.
    pub fn bind(&mut self, resource: Option<Text>) -> Option<Addressed> {
        let account = self.account.clone()?;
        let generation = self.generation;
        let (conn, resends) = (self.conn, self.not_resumed);
        Some(self.asking(Up::Bind { conn, account, generation, resource, resends }))
    }

    /// A session is to be resumed. An id that we cannot have made is sent as one that nobody has,
    /// so that the answer takes the same way.
    pub fn resume(&mut self, sm_id: &str, h: u32) -> Option<Addressed> {
        let account = self.account.clone()?;
        let session = SessionId::from_sm_id(sm_id).unwrap_or(SessionId(0));
        let generation = self.generation;
        Some(self.asking(Up::Resume { conn: self.conn, account, generation, session, h }))
    }

    /// Stream management is to be turned on. Numbers begin again with the next stanza, which may
    /// be sent before the owner has answered.
    pub fn enable(&mut self, resume: bool) -> Option<Addressed> {
        let (account, session) = self.bound()?;
        self.attachment = 1;
        self.enabling = true;
        self.flight = VecDeque::new();
        self.flight_bytes = 0;
        let frame = Up::Enable { account, session, resume };
        if let Some(keep) = &mut self.keep {
            keep.enable(&frame);
        }
        Some((self.shard, frame))
    }

    /// The client has sent a stanza.
    pub fn stanza(&mut self, number: u64, stanza: Stanza) -> Option<Addressed> {
        let (account, session) = self.bound()?;
        self.fly(number, weight(&stanza));
        let attachment = self.attachment;
        let frame = Up::Stanza { account, session, attachment, number, retry: false, stanza };
        Some(self.sending(number, frame))
    }

    /// The edge has judged a stanza itself; `reply` is what the client is to get for it.
    pub fn judged(&mut self, number: u64, reply: Option<Stanza>) -> Option<Addressed> {
        let (account, session) = self.bound()?;
        self.fly(number, reply.as_ref().map_or(limits::STANZA_BYTES_OVERHEAD, weight));
        let attachment = self.attachment;
        Some(self.sending(number, Up::Judged { account, session, attachment, number, reply }))
    }

    fn sending(&mut self, number: u64, frame: Up) -> Addressed {
        if let Some(keep) = &mut self.keep {
            keep.send(number, &frame);
        }
        (self.shard, frame)
    }

    /// Something is on its way to the owner, who will confirm it.
    fn fly(&mut self, number: u64, bytes: usize) {
        self.flight.push_back((number, u32::try_from(bytes).unwrap_or(u32::MAX)));
        self.flight_bytes += bytes;
    }

    /// The client has taken stanzas.
    pub fn taken(&mut self, number: u64) -> Option<Addressed> {
        let (account, session) = self.bound().filter(|_| !self.enabling)?;
        if let Some(keep) = &mut self.keep {
            keep.take(number);
        }
        let attachment = self.attachment;
        Some((self.shard, Up::Taken { account, session, attachment, number }))
    }

    /// The socket is lost.
    pub fn lost(&mut self) -> Option<Addressed> {
        let bound = self.bound();
        // At an edge of a cluster a later owner may have to know of it, as long as the session can
        // be resumed.
        self.lost = true;
        let (account, session) = bound?;
        if self.keep.is_none() {
            self.session = None;
        }
        let attachment = self.attachment;
        Some((self.shard, Up::Lost { account, session, attachment }))
    }

    /// The client closed its stream.
    pub fn ended(&mut self) -> Option<Addressed> {
        let (account, session) = self.bound()?;
        self.session = None;
        let attachment = self.attachment;
        Some((self.shard, Up::Ended { account, session, attachment }))
    }

    fn bound(&self) -> Option<(Jid, SessionId)> {
        Some((self.account.clone()?, self.session.filter(|_| !self.lost)?))
    }

    /// The owner has said something. `false`: it comes from an owner that is not one any more, and
    /// is dropped.
    pub fn hear(&mut self, frame: &Down) -> bool {
        match frame {
            Down::Verified { generation, .. } => self.generation = *generation,
            Down::Bound { session, epoch, .. } => {
                if *epoch < self.epoch {
                    return false;
                }
                self.epoch = *epoch;
                self.session = Some(*session);
            }
            Down::Enabled { .. } => self.enabling = false,
            Down::Resumed { session, attachment, epoch, .. } => {
                if *epoch < self.epoch {
                    return false;
                }
                self.epoch = *epoch;
                self.session = Some(*session);
                self.attachment = *attachment;
            }
            Down::Handled { number } => self.confirmed(*number),
            Down::ResumeFailed { .. } => self.not_resumed = true,
            // Nobody asks this edge for it any more.
            Down::Close { .. } if self.keep.is_some() => self.session = None,
            _ => {}
        }
        if let Some(keep) = &mut self.keep {
            keep.hear(frame);
        }
        true
    }

    fn confirmed(&mut self, number: u64) {
        while let Some((_, bytes)) = self.flight.pop_front_if(|(sent, _)| *sent <= number) {
            self.flight_bytes -= bytes as usize;
        }
        if self.flight.is_empty() {
            // A connection at rest holds no queue.
            self.flight = VecDeque::new();
        }
    }

    /// Whether the socket may be read: what is in flight is within the session's credit.
    pub fn may_read(&self) -> bool {
        self.flight_bytes < limits::SESSION_WINDOW_BYTES
    }

    /// Bytes of stanzas that the owner has not confirmed.
    pub fn flight_bytes(&self) -> usize {
        self.flight_bytes
    }
}

/// What an edge answers for a connection that is gone when the owner's word arrives: a session that
/// was bound or resumed there has lost its socket. Without this the owner would hold it for ever.
pub fn orphaned(key: &HashKey, frame: &Down) -> Option<Addressed> {
    let (session, jid, attachment) = match frame {
        Down::Bound { session, jid, .. } => (*session, jid, 0),
        Down::Resumed { session, jid, attachment, .. } => (*session, jid, *attachment),
        _ => return None,
    };
    let account = jid.to_bare();
    Some((shard_of(key, &account), Up::Lost { account, session, attachment }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peer::NodeId;
    use xmpp::stanza::{Kind, MessageType};
    use xmpp::xml::Body;

    fn conn() -> ConnId {
        ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot: 7 }
    }

    #[test]
    fn nothing_is_said_for_a_session_that_is_not_bound() {
        let mut half = Attachment::new(conn());
        assert!(half.bind(None).is_none());
        assert!(half.taken(1).is_none());
        assert!(half.lost().is_none());
    }

    #[test]
    fn numbers_from_before_stream_management_are_not_confirmed_after_it() {
        let mut half = Attachment::new(conn());
        let jid = Jid::parse("juliet@capulet.example/balcony").expect("a JID");
        let _ = half.challenge(&HashKey(1, 2), jid.to_bare(), Hash::Sha256);
        half.hear(&Down::Bound { session: SessionId(9), jid, epoch: Epoch(1) });
        assert!(half.taken(1).is_some());
        assert!(half.enable(true).is_some());
        assert!(half.taken(2).is_none());
        half.hear(&Down::Enabled { session: SessionId(9), resume_s: 300 });
        assert!(half.taken(1).is_some());
    }

    #[test]
    fn credit_counts_all_that_a_stanza_takes_and_ends_at_the_window() {
        let message = |id: usize, body: usize| {
            let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
            stanza.id = Some(Text::from("i".repeat(id)));
            stanza.body =
                Body::parse(format!("<a>{}</a>", "b".repeat(body)).as_bytes()).expect("XML");
            stanza
        };
        let bound = || {
            let mut half = Attachment::new(conn());
            let jid = Jid::parse("juliet@capulet.example/balcony").expect("a JID");
            let _ = half.challenge(&HashKey(1, 2), jid.to_bare(), Hash::Sha256);
            half.hear(&Down::Bound { session: SessionId(9), jid, epoch: Epoch(1) });
            half
        };
        let empty = weight(&message(0, 0));
        for in_id in [true, false] {
            for (rest, may_read) in [(1, true), (0, false)] {
                let fill = limits::SESSION_WINDOW_BYTES - empty - rest;
                let stanza = if in_id { message(fill, 0) } else { message(0, fill) };
                let mut half = bound();
                assert!(half.may_read());
                assert!(half.stanza(1, stanza.clone()).is_some());
                assert_eq!(half.may_read(), may_read, "{in_id} {rest}");
                half.hear(&Down::Handled { number: 1 });
                assert_eq!(half.flight_bytes(), 0);
                assert!(half.judged(2, Some(stanza)).is_some());
                assert_eq!(half.may_read(), may_read, "an answer counts the same");
            }
        }
        let mut half = bound();
        let most = limits::SESSION_WINDOW_BYTES / limits::STANZA_BYTES_OVERHEAD;
        for number in 1..=most as u64 + 1 {
            assert!(half.may_read(), "{number}");
            let _ = half.judged(number, None);
        }
        assert!(!half.may_read(), "what the edge judged itself counts too");
    }

    #[test]
    fn a_connection_that_is_gone_loses_the_session_that_it_gets() {
        let key = HashKey(1, 2);
        let jid = Jid::parse("juliet@capulet.example/balcony").expect("a JID");
        let frame = Down::Bound { session: SessionId(9), jid: jid.clone(), epoch: Epoch(1) };
        let (shard, up) = orphaned(&key, &frame).expect("a frame");
        assert_eq!(shard, shard_of(&key, &jid));
        assert!(matches!(up, Up::Lost { session: SessionId(9), attachment: 0, .. }));
        assert!(orphaned(&key, &Down::Handled { number: 1 }).is_none());
    }
}
