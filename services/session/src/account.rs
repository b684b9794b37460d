//! One account in memory: what its owner must know to decide without reading.

use std::collections::BTreeSet;

use kv::{RangeRead, Read, Reads, Rows};
use peer::SessionId;
use smallvec::SmallVec;
use xmpp::jid::Jid;

use crate::keys::Entity;
use crate::limits;
use crate::module::Slots;
use crate::passing::Passing;
use crate::recent::Recent;
use crate::roster::Roster;
use crate::rows::{AccountRow, Cursor, RowError};
use crate::session::Session;
use crate::shard::{BatchNo, Waiting};
use crate::stored::SessionRow;

/// An account. At rest it is this struct and its sessions, nothing else.
pub struct Account {
    /// Its bare JID.
    pub jid: Jid,
    /// What its rows' keys begin with.
    pub entity: Entity,
    pub(crate) state: State,
    pub(crate) row: Option<Box<AccountRow>>,
    /// Its row says that it is being deleted: it does not exist, and none may be made in its place.
    pub(crate) deleting: bool,
    /// Its contacts.
    pub roster: Roster,
    pub(crate) sessions: SmallVec<[Box<Session>; 1]>,
    pub(crate) slots: Slots,
    pub(crate) inbox: Inbox,
    /// Messages that are not archived.
    pub(crate) passing: Passing,
    /// What is known of the log's tail, while something may come again.
    pub(crate) recent: Option<Box<Recent>>,
    /// The batch that holds the last thing written for this account.
    pub(crate) dirty: BatchNo,
    /// Events that wait: for the rows, or behind a decision that waits for rows.
    pub(crate) waiting: Waiting,
    /// The contacts whose row for `day` is written.
    pub(crate) days: Days,
    /// Until when clients may send again what they sent in a session that could not be resumed, in
    /// steady time.
    pub(crate) resends_until: u64,
    /// When it was last used, in microseconds.
    pub(crate) used_us: u64,
}

/// Whether an account can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its rows are being read.
    Loading,
    /// Yes.
    Ready,
    /// A decision waits for rows; what comes later waits behind it.
    Busy,
}

/// What of the log no resource has taken.
#[derive(Default)]
pub(crate) struct Inbox {
    /// All messages up to this id were taken.
    pub(crate) cursor: u64,
    /// Something was taken since the cursor was written.
    moved: bool,
    /// A timer will write it.
    pub(crate) timer: bool,
    /// The batch in which it was written last.
    pub(crate) written_at: BatchNo,
    /// The last message that waits for a resource.
    pub(crate) head: u64,
    /// Messages above the cursor that nobody has taken, as far as they are known.
    pub(crate) open: BTreeSet<u64>,
    /// Above the first id and up to the second there may be messages that are not in `open`.
    pub(crate) unread: Option<(u64, u64)>,
    /// Within that part, above the first id of these and up to the second one `open` says
    /// everything: so did the cursor's row of an owner before.
    settled: Vec<(u64, u64)>,
    /// Messages of that part that were taken, as far as there is room to remember.
    done: BTreeSet<u64>,
    /// Up to here the cursor's row says something.
    told: u64,
}

impl Inbox {
    /// A message that waits for a resource was logged. `released`: a session has it in its queue.
    pub(crate) fn arrived(&mut self, id: u64, released: bool) {
        self.head = id;
        let full = self.open.len() >= limits::OPEN_MAX;
        if !released && full {
            self.unread = Some((self.unread.map_or(id - 1, |(from, _)| from), id));
        } else {
            self.open.insert(id);
        }
    }

    /// A resource has taken a message.
    pub(crate) fn taken(&mut self, id: u64) {
        self.moved |= self.open.remove(&id) | self.in_unread(id);
        if self.in_unread(id) && self.done.len() < limits::OPEN_MAX {
            self.done.insert(id);
        }
        let known = self.open.first().map_or(self.head, |first| first - 1);
        let cursor = known.min(self.unread.map_or(u64::MAX, |(from, _)| from));
        self.moved |= cursor > self.cursor;
        self.cursor = self.cursor.max(cursor);
    }

    /// A resource has taken a message that has no row. The cursor's row need not know.
    pub(crate) fn passed(&mut self, id: u64) {
        self.open.remove(&id);
        let known = self.open.first().map_or(self.head, |first| first - 1);
        self.cursor = self.cursor.max(known.min(self.unread.map_or(u64::MAX, |(from, _)| from)));
    }

    /// Whether the cursor's row, as it was written last, speaks of an id.
    pub(crate) fn has_told(&self, id: u64) -> bool {
        id <= self.told
    }

    /// Whether the cursor has moved since it was written.
    pub(crate) fn moved(&self) -> bool {
        self.moved
    }

    /// Has the cursor written even if nothing was taken.
    pub(crate) fn touch(&mut self) {
        self.moved = true;
    }

    /// What the cursor's row is to say now. Of what has no row it says nothing: that is written
    /// together with a new cursor, or never.
    pub(crate) fn write(&mut self, passing: &Passing) -> Cursor {
        self.moved = false;
        let mut ids = self.open.iter().copied().filter(|id| !passing.is_unwritten(*id));
        let open: Vec<u64> = ids.by_ref().take(limits::OPEN_MAX).collect();
        // Of what is above a list that is cut nothing is said.
        let cut = ids.next().and_then(|_| open.last().copied());
        let head = cut.unwrap_or(self.head).max(self.cursor);
        self.told = head;
        let unread = self.unread.map(|(from, to)| (from.max(self.cursor), to.min(head)));
        let unread = unread.filter(|(from, to)| from < to);
        let parts = self.settled.iter().filter(|_| unread.is_some());
        let parts = parts.map(|(end, known)| (*end.max(&self.cursor), *known.min(&head)));
        let settled = parts.filter(|(end, known)| end < known).collect();
        let done = self.done.range(self.cursor + 1..=head.max(self.cursor + 1)).copied().collect();
        Cursor { taken: self.cursor, head, unread, settled, done, open, spent: passing.spent() }
    }

    /// A session has read everything that waits, above one id and up to another: what of it nobody
    /// has taken is in `open`.
    pub(crate) fn read(&mut self, above: u64, up_to: u64) {
        let Some((from, to)) = self.unread.filter(|(from, _)| above <= *from && *from < up_to)
        else {
            return;
        };
        self.unread = (up_to < to).then_some((from.max(up_to), to));
        self.settled.retain(|(_, known)| *known > up_to);
        self.done = self.done.split_off(&(up_to + 1));
        let known = self.open.first().map_or(self.head, |first| first - 1);
        let cursor = known.min(self.unread.map_or(u64::MAX, |(from, _)| from));
        self.cursor = self.cursor.max(cursor);
        self.moved = true;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.unread.is_none()
    }

    /// Whether a log entry still waits to be taken.
    pub(crate) fn waits(&self, id: u64) -> bool {
        let unread = self.in_unread(id) && !self.done.contains(&id);
        id > self.cursor && (self.open.contains(&id) || unread)
    }

    fn in_unread(&self, id: u64) -> bool {
        self.unread.is_some_and(|(from, to)| from < id && id <= to)
            && !self.settled.iter().any(|(end, known)| *end < id && id <= *known)
    }
}

/// Contacts whose day row is written, so that each is written once a day and owner.
#[derive(Default)]
pub(crate) struct Days {
    day: u32,
    contacts: BTreeSet<Entity>,
}

impl Days {
    /// Whether the row of this contact and day is to be written now.
    pub(crate) fn first(&mut self, day: u32, contact: Entity) -> bool {
        if self.day != day || self.contacts.len() >= limits::OPEN_MAX {
            self.day = day;
            self.contacts.clear();
        }
        self.contacts.insert(contact)
    }
}

impl Account {
    /// An account whose rows are still to be read.
    pub(crate) fn loading(jid: Jid, entity: Entity, now: u64) -> Self {
        Self {
            jid,
            entity,
            state: State::Loading,
            row: None,
            deleting: false,
            roster: Roster::default(),
            sessions: SmallVec::new(),
            slots: Slots::default(),
            inbox: Inbox::default(),
            passing: Passing::default(),
            recent: None,
            dirty: 0,
            waiting: Waiting::default(),
            days: Days::default(),
            resends_until: 0,
            used_us: now,
        }
    }

    /// The reads that load it: account row, cursor, roster.
    pub(crate) fn reads(entity: &Entity) -> kv::Reads {
        let mut reads = kv::Reads::get(entity.key(crate::keys::tag::ACCOUNT, &[]));
        reads.add_get(entity.key(crate::keys::tag::CURSOR, &[]));
        let (start, end) = entity.span(crate::keys::tag::ROSTER);
        reads.add_range(kv::RangeRead::new(start, end));
        let (start, end) = entity.span(crate::keys::tag::LOG);
        reads.add_range(kv::RangeRead::new(start, end).reverse().rows(1).key_only());
        let (start, end) = entity.span(crate::keys::tag::SESSION);
        reads.add_range(kv::RangeRead::new(start, end));
        reads
    }

    /// What is still to be read, if a page of [`Account::reads`] was not all. Of the log only the
    /// head is wanted.
    pub(crate) fn reads_on(reads: &Reads, found: &Rows) -> Option<Reads> {
        let (mut all, mut on) = (true, Reads::none());
        for (index, read) in reads.list.iter().enumerate() {
            match (read, found.more(index)) {
                (Read::Range(range), Some(more)) if !range.reverse => {
                    on.add_range(range.after(more.clone()));
                    all = false;
                }
                // So that the others stay at their places.
                _ => {
                    on.add_range(RangeRead::new(kv::Key::new(), kv::Key::new()));
                }
            }
        }
        (!all).then_some(on)
    }

    /// Takes the rows of [`Account::reads`]. Returns its stored sessions.
    pub(crate) fn load(&mut self, found: &Rows) -> Result<Vec<SessionRow>, RowError> {
        self.row = match found.value(0) {
            Some(value) => Some(Box::new(AccountRow::decode(value)?)),
            None => None,
        };
        if self.row.as_ref().is_some_and(|row| row.jid != self.jid) {
            // Two JIDs with one 128-bit hash. The second one does not exist here.
            self.row = None;
        }
        if self.row.take_if(|row| row.deleted).is_some() {
            self.deleting = true;
            self.state = State::Ready;
            return Ok(Vec::new());
        }
        let cursor = found.value(1).map(|value| Cursor::decode(value)).transpose()?;
        let Cursor { taken, head: known, unread, settled, done, open, spent } =
            cursor.unwrap_or_default();
        self.inbox.settled = settled;
        let head = found.rows(3).first().and_then(|row| crate::keys::log_id(&row.key)).unwrap_or(0);
        self.inbox.cursor = taken;
        self.inbox.head = head.max(known);
        self.inbox.told = self.inbox.head;
        self.passing.load(spent);
        self.inbox.open = open.into_iter().collect();
        self.inbox.done = done.into_iter().collect();
        self.inbox.unread = if head > known {
            let latest = unread.map(|(_, to)| (to, known)).filter(|(to, _)| *to < known);
            self.inbox.settled.extend(latest);
            let many = self.inbox.settled.len().saturating_sub(limits::SETTLED_MAX);
            self.inbox.settled.drain(..many);
            Some((unread.map_or(known, |(from, _)| from), head))
        } else {
            unread
        };
        self.roster = Roster::load(found.rows(2).iter().map(|row| &row.value[..]))?;
        self.state = State::Ready;
        found.rows(4).iter().map(|row| SessionRow::decode(&row.value)).collect()
    }

    /// Whether the account exists.
    pub fn exists(&self) -> bool {
        self.row.is_some()
    }

    /// Its session generation, if it exists: raised by kick, disabling and password change.
    pub fn generation(&self) -> Option<u64> {
        self.row.as_ref().map(|row| row.generation)
    }

    /// Its sessions, in the order in which they were bound.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> + Clone {
        self.sessions.iter().map(|session| &**session)
    }

    /// One of its sessions.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions().find(|session| session.id == id)
    }

    pub(crate) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().map(|session| &mut **session).find(|session| session.id == id)
    }

    /// The session of a resource.
    pub fn resource(&self, resource: &str) -> Option<&Session> {
        self.sessions().find(|session| session.jid.resource() == Some(resource))
    }

    /// Whether it can decide at once: nothing waits, neither for rows nor behind what does.
    pub(crate) fn is_free(&self) -> bool {
        self.state == State::Ready && self.waiting.is_empty()
    }

    /// Whether it may be dropped from memory.
    pub(crate) fn at_rest(&self, committed: BatchNo) -> bool {
        self.sessions.is_empty()
            && self.is_free()
            && self.dirty <= committed
            && !self.inbox.timer
            && self.passing.at_rest()
            && !self.deleting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = limits::OPEN_MAX as u64;

    #[test]
    fn so_many_messages_are_known_one_by_one_and_the_rest_as_a_span() {
        let mut inbox = Inbox::default();
        for id in 1..=MAX {
            inbox.arrived(id, false);
        }
        assert_eq!((inbox.open.len(), inbox.unread), (limits::OPEN_MAX, None));
        inbox.arrived(MAX + 1, false);
        inbox.arrived(MAX + 2, false);
        assert_eq!((inbox.open.len(), inbox.unread), (limits::OPEN_MAX, Some((MAX, MAX + 2))));
        // What a session has in its queue is known in any case: the queue is bounded.
        inbox.arrived(MAX + 3, true);
        assert_eq!(inbox.open.len(), limits::OPEN_MAX + 1);
        assert!((1..=MAX + 3).all(|id| inbox.waits(id)));
        inbox.taken(MAX + 1);
        assert!(!inbox.waits(MAX + 1) && inbox.waits(MAX + 2));
        let cursor = inbox.write(&Passing::default());
        assert_eq!((cursor.open.len(), cursor.taken), (limits::OPEN_MAX, 0));
        assert_eq!(cursor.head, MAX, "of what is above a list that is cut nothing is said");
    }

    #[test]
    fn so_many_taken_messages_of_the_span_are_remembered() {
        let mut inbox = Inbox::default();
        for id in 1..=3 * MAX {
            inbox.arrived(id, false);
        }
        for id in MAX + 1..=2 * MAX + 1 {
            inbox.taken(id);
        }
        assert_eq!(inbox.done.len(), limits::OPEN_MAX);
        assert!(!inbox.waits(2 * MAX));
        assert!(inbox.waits(2 * MAX + 1), "rather twice than never");
    }
}
