//! One session as its owner knows it: what came from the client, what was given to it, and what it
//! means.

use std::collections::VecDeque;

use peer::{ConnId, Epoch, SessionId};
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

use crate::limits;
use crate::module::Marks;
use crate::presence::Directed;
use crate::shard::BatchNo;

/// A bound resource, attached to a connection or waiting to be resumed.
pub struct Session {
    /// Its incarnation.
    pub id: SessionId,
    /// Its full JID.
    pub jid: Jid,
    /// When it was bound: under which epoch, and under which id of its shard. Of two sessions of
    /// one resource, the later one displaces the other.
    pub(crate) born: Born,
    pub(crate) conn: Option<ConnId>,
    pub(crate) attachment: u32,
    pub(crate) managed: Managed,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// The last available presence and its priority; `None` before the first and after an
    /// unavailable one.
    pub(crate) presence: Option<Box<Available>>,
    /// Whom this session sent presence directly (RFC 6121 §4.6), to be told of its end.
    pub(crate) directed: Directed,
    /// Asked for the roster, so gets pushes (RFC 6121 §2.1.6).
    pub(crate) interested: bool,
    /// Until when its client may send again what it sent in a session that could not be resumed, in
    /// steady time; zero if there was none.
    pub(crate) resends_until: u64,
    /// What modules know of it.
    pub marks: Marks,
    /// Its edge is to keep what it means now.
    pub(crate) changed: bool,
    /// Until when it waits to be resumed, by the steady clock; zero while attached.
    pub(crate) expires_us: u64,
    /// The connection that it had when it was lost: in a cluster its edge keeps what later owners
    /// must know, until it is told that the session goes on elsewhere or is over.
    pub(crate) ghost: Option<ConnId>,
    /// A connection that resumes it, once all it had handed over is durable.
    pub(crate) resuming: Option<Resuming>,
    /// An orderly stop has stored it.
    pub(crate) stored: bool,
    /// The batch that deletes its row; until it is durable, nobody is told that it goes on.
    pub(crate) unstored: BatchNo,
}

/// An order of the binds of one shard, over all its owners.
pub(crate) type Born = (Epoch, u64);

/// Whether stream management is on (XEP-0198).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Managed {
    /// No: what is written to the socket counts as taken.
    No,
    /// Yes, but the session ends with its socket.
    Acked,
    /// Yes, and the session waits to be resumed.
    Resumable,
}

/// A resumption that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resuming {
    pub(crate) conn: ConnId,
    pub(crate) h: u32,
    /// The batch that says what its client has taken, once that is written.
    pub(crate) written: Option<BatchNo>,
}

/// An available presence.
pub struct Available {
    /// The presence as it is sent to others.
    pub stanza: Stanza,
    /// Its priority (RFC 6121 §4.7.2.3).
    pub priority: i8,
}

/// What came from the client.
///
/// Inside, stanzas are counted through from the first one; the numbers that the client's stream
/// gives them begin again when stream management is turned on (XEP-0198 §4).
#[derive(Default)]
pub(crate) struct Inbound {
    /// How many stanzas came before the client's stream began to count again.
    base: u64,
    /// The count of the last stanza that was decided.
    seen: u64,
    /// The durable prefix.
    durable: u64,
    pending: VecDeque<Pending>,
    /// The batch for which progress is held already.
    pub(crate) progress_at: BatchNo,
}

/// The place of a stanza among all that came in a session.
pub(crate) type Count = u64;

/// A stanza that was decided and is not durable yet.
struct Pending {
    count: Count,
    batch: BatchNo,
    /// Parcels not yet confirmed by their target; and one for the decision, which may wait for
    /// rows.
    open: u16,
}

impl Inbound {
    /// The number of the last stanza that was decided.
    pub(crate) fn seen(&self) -> u64 {
        self.seen - self.base
    }

    /// The number up to which stanzas are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.saturating_sub(self.base)
    }

    /// Begins the next stanza.
    pub(crate) fn begin(&mut self) -> Count {
        self.seen += 1;
        self.pending.push_back(Pending { count: self.seen, batch: 0, open: 1 });
        self.seen
    }

    fn find(&mut self, count: Count) -> Option<&mut Pending> {
        let index = self.pending.binary_search_by_key(&count, |p| p.count).ok()?;
        self.pending.get_mut(index)
    }

    /// The stanza was decided, and what it wrote is in this batch or an earlier one.
    pub(crate) fn decided(&mut self, count: Count, batch: BatchNo) {
        self.wait_batch(count, batch);
        self.parcel_done(count);
    }

    /// The stanza waits for a batch.
    pub(crate) fn wait_batch(&mut self, count: Count, batch: BatchNo) {
        if let Some(pending) = self.find(count) {
            pending.batch = pending.batch.max(batch);
        }
    }

    /// The stanza waits for one more confirmation.
    pub(crate) fn wait_parcel(&mut self, count: Count) {
        if let Some(pending) = self.find(count) {
            pending.open += 1;
        }
    }

    /// One confirmation has come.
    pub(crate) fn parcel_done(&mut self, count: Count) {
        if let Some(pending) = self.find(count) {
            pending.open = pending.open.saturating_sub(1);
        }
    }

    /// Moves the durable prefix; `Some` with the client's number of its end if that grew.
    pub(crate) fn advance(&mut self, committed: BatchNo) -> Option<u64> {
        let before = self.durable();
        while let Some(done) = self.pending.pop_front_if(|p| p.open == 0 && p.batch <= committed) {
            self.durable = done.count;
        }
        if self.pending.is_empty() {
            // A session at rest holds no queue.
            self.pending = VecDeque::new();
        }
        (self.durable() > before).then_some(self.durable())
    }

    /// Whether everything that was decided is durable.
    pub(crate) fn settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sets the counters of a session that comes from the store.
    pub(crate) fn restore(&mut self, handled: u64) {
        self.seen = handled;
        self.durable = handled;
    }

    /// The client's numbers begin again (XEP-0198 §4: counting starts with `<enable/>`).
    pub(crate) fn restart(&mut self) {
        self.base = self.seen;
    }
}

/// What was given to the client.
#[derive(Default)]
pub(crate) struct Outbound {
    /// The number of the last stanza released.
    pub(crate) sent: u64,
    /// The number up to which the client has taken them.
    pub(crate) taken: u64,
    queue: VecDeque<Released>,
    pub(crate) bytes: usize,
    /// The batch that the last effect for this session waits for.
    pub(crate) held_after: BatchNo,
    /// Ids in the log of what was given to the client before its numbers began again, and may not
    /// have been written to its socket.
    before: Logged,
    /// The session comes from the edge of a lost connection, which was given up to this number.
    /// Its client may have gone on with it elsewhere, where other things had the numbers above.
    pub(crate) sure: Option<u64>,
    /// Where in the log the session reads on, if it has fallen behind or takes what waited for it.
    pub(crate) feed: Option<Feed>,
}

/// What of the log a stanza is that a session is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InLog {
    /// Nothing.
    No,
    /// The message of this row: a session that has no room reads it there.
    Row(u64),
    /// A copy of the message of this row, which cannot be read there; who takes it has taken the
    /// message.
    Copy(u64),
}

impl InLog {
    /// The row's id, or zero.
    pub(crate) fn id(self) -> u64 {
        match self {
            Self::No => 0,
            Self::Row(id) | Self::Copy(id) => id,
        }
    }
}

/// Ids in the log of stanzas that were taken.
pub(crate) type Logged = smallvec::SmallVec<[u64; 8]>;

/// A stanza that was released and not taken.
pub(crate) struct Released {
    pub(crate) number: u64,
    /// Its id in the log, or zero.
    pub(crate) log: u64,
    pub(crate) stanza: Stanza,
}

/// A session reading the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    /// Where it began: above this id.
    pub(crate) start: u64,
    /// Read above this id.
    pub(crate) after: u64,
    /// Read up to this id.
    pub(crate) until: u64,
    /// Whether it waits for rows.
    pub(crate) reading: Reading,
    /// Entries up to this id waited before the session was there and get a delay stamp (XEP-0160
    /// §3).
    pub(crate) delayed_until: u64,
}

/// What a session that reads the log waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing.
    No,
    /// What it is to read is not durable yet.
    Held,
    /// The rows of a ticket, which goes up to this id.
    Asked(u64, u64),
}

impl Outbound {
    /// Numbers a stanza and keeps it until it is taken.
    pub(crate) fn release(&mut self, stanza: Stanza, log: u64) -> u64 {
        self.sent += 1;
        self.bytes += weight(&stanza);
        self.queue.push_back(Released { number: self.sent, log, stanza });
        self.sent
    }

    /// The client has taken everything up to `number`. Returns the log ids among it.
    pub(crate) fn take(&mut self, number: u64) -> Logged {
        // Whatever is said of numbers after they began again says that what came before is written.
        let mut logged = std::mem::take(&mut self.before);
        while let Some(done) = self.queue.pop_front_if(|released| released.number <= number) {
            self.bytes -= weight(&done.stanza);
            self.taken = done.number;
            if done.log != 0 {
                logged.push(done.log);
            }
        }
        self.taken = self.taken.max(number.min(self.sent));
        if self.queue.is_empty() {
            // An idle session holds no queue.
            self.queue = VecDeque::new();
        }
        logged
    }

    /// What was released and not taken, oldest first.
    pub(crate) fn untaken(&self) -> impl Iterator<Item = &Released> {
        self.queue.iter()
    }

    /// Whether a stored message may be released rather than left in the log.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < limits::SESSION_WINDOW_BYTES
    }

    /// Whether a client that has this much of the session (XEP-0198 §4: modulo 2^32) got it from an
    /// owner and an edge of which nothing is left.
    pub(crate) fn is_older_than(&self, h: u32) -> bool {
        let number = self.taken + u64::from(h.wrapping_sub(self.taken as u32));
        self.sure.is_some_and(|sure| number > sure)
    }

    /// Whether so much is queued that the session must end.
    pub(crate) fn overflows(&self) -> bool {
        self.bytes > limits::SESSION_QUEUE_BYTES_MAX
    }

    /// Whether something was given before the numbers began again, and is not known to be written.
    pub(crate) fn is_unsure(&self) -> bool {
        !self.before.is_empty()
    }

    /// Whether this log entry is in the queue.
    pub(crate) fn holds(&self, log: u64) -> bool {
        self.before.contains(&log) || self.queue.iter().any(|released| released.log == log)
    }

    /// Numbers begin again with `<enabled/>` (XEP-0198 §4). What was sent before is not sent again
    /// in this session, and is taken when its edge says that it was written.
    pub(crate) fn restart(&mut self) {
        self.before = self.queue.iter().map(|r| r.log).filter(|log| *log != 0).collect();
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.sent = 0;
        self.taken = 0;
    }

    /// Sets the counters of a session that comes from the store.
    pub(crate) fn restore(&mut self, taken: u64) {
        self.sent = taken;
        self.taken = taken;
    }
}

/// Bytes that a stanza counts for in queues, windows and credit: all that it takes on the wire,
/// what its sender chose in its head too, and a fixed part.
pub(crate) fn weight(stanza: &Stanza) -> usize {
    stanza.size_hint() + limits::STANZA_BYTES_OVERHEAD
}

impl Session {
    /// A session that was just bound.
    pub(crate) fn new(id: SessionId, jid: Jid, conn: ConnId) -> Self {
        Self { conn: Some(conn), managed: Managed::No, stored: false, ..Self::stored(id, jid) }
    }

    /// A session that an orderly stop stored: managed, and without a connection.
    pub(crate) fn stored(id: SessionId, jid: Jid) -> Self {
        Self {
            id,
            jid,
            born: Born::default(),
            conn: None,
            attachment: 0,
            managed: Managed::Resumable,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            presence: None,
            directed: Directed::default(),
            interested: false,
            resends_until: 0,
            marks: Marks::default(),
            changed: false,
            expires_us: 0,
            ghost: None,
            resuming: None,
            stored: true,
            unstored: 0,
        }
    }

    /// A connection asks for this session, or for its resource: nobody closes it on the session's
    /// account.
    pub(crate) fn leave(&mut self, conn: ConnId) {
        self.conn.take_if(|own| *own == conn);
        self.ghost.take_if(|own| *own == conn);
    }

    /// Its last available presence.
    pub fn available(&self) -> Option<&Available> {
        self.presence.as_deref()
    }

    /// Its priority, if it is available.
    pub fn priority(&self) -> Option<i8> {
        self.presence.as_ref().map(|presence| presence.priority)
    }

    /// Bytes of stanzas that its client was given and has not taken.
    pub fn queued_bytes(&self) -> usize {
        self.outbound.bytes
    }

    /// Whether it asked for the roster.
    pub fn is_interested(&self) -> bool {
        self.interested
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_durable_prefix_never_skips_a_stanza_in_flight() {
        let mut inbound = Inbound::default();
        for _ in 1..=3 {
            inbound.begin();
        }
        inbound.decided(1, 5);
        inbound.wait_parcel(2);
        inbound.decided(2, 0);
        assert_eq!(inbound.advance(4), None);
        assert_eq!(inbound.advance(5), Some(1));
        assert_eq!(inbound.advance(9), None, "the second waits for its recipient");
        inbound.parcel_done(2);
        assert_eq!(inbound.advance(9), Some(2));
        assert_eq!(inbound.advance(9), None, "the third waits for rows");
        inbound.decided(3, 0);
        assert_eq!(inbound.advance(9), Some(3));
        assert!(inbound.settled());
    }

    #[test]
    fn a_queue_has_room_below_the_window_and_overflows_above_its_end() {
        let stanza = |bytes: usize| {
            let mut stanza =
                Stanza::new(xmpp::stanza::Kind::Presence(xmpp::stanza::PresenceType::Available));
            stanza.added = vec![b'x'; bytes - weight(&stanza)].into();
            assert_eq!(weight(&stanza), bytes);
            stanza
        };
        let mut outbound = Outbound::default();
        outbound.release(stanza(limits::SESSION_WINDOW_BYTES - 1), 0);
        assert!(outbound.has_room());
        outbound.take(1);
        outbound.release(stanza(limits::SESSION_WINDOW_BYTES), 0);
        assert!(!outbound.has_room() && !outbound.overflows());
        outbound.release(stanza(limits::SESSION_QUEUE_BYTES_MAX - limits::SESSION_WINDOW_BYTES), 0);
        assert!(!outbound.overflows());
        let smallest = weight(&Stanza::new(xmpp::stanza::Kind::Presence(
            xmpp::stanza::PresenceType::Available,
        )));
        outbound.release(stanza(smallest), 0);
        assert!(outbound.overflows());
        outbound.take(4);
        assert_eq!(outbound.bytes, 0);
    }

    #[test]
    fn what_came_before_the_numbers_began_again_is_not_taken_for_what_came_after() {
        let mut inbound = Inbound::default();
        let before = inbound.begin();
        inbound.wait_parcel(before);
        inbound.decided(before, 0);
        inbound.restart();
        let after = inbound.begin();
        inbound.wait_parcel(after);
        inbound.decided(after, 0);
        assert_eq!(inbound.seen(), 1);
        inbound.parcel_done(before);
        assert_eq!(inbound.advance(0), None);
        inbound.parcel_done(after);
        assert_eq!(inbound.advance(0), Some(1));
    }
}
