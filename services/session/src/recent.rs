//! The tail of an account's log, as far as it must be known while stanzas come that may be in it
//! (design: "Retries"). The first of them has the tail read; what is logged from then on is added.
//! So whoever sends again, or pretends to, costs one look at the tail now and then, not one for
//! each stanza.

use std::collections::BTreeMap;

use kv::RangeRead;
use peer::shard::{HashKey, siphash_1_3};
use peer::{IngestKey, Parcel, Retried};

use crate::limits;
use crate::rows::{LogRow, bare};

/// What is known of the tail, for a while.
pub(crate) struct Recent {
    /// By the hash of the stanza and the id of the row.
    rows: BTreeMap<(u64, u64), Known>,
    rest: Rest,
    /// In steady time, when it was read.
    since_us: u64,
}

/// What of the tail was not read.
enum Rest {
    /// Nothing.
    Nothing,
    /// This.
    From(RangeRead),
    /// So much that it is not read for what may come again.
    TooMuch,
}

/// A row, as far as a stanza that may come again is compared with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    key: IngestKey,
    outgoing: bool,
    /// A hash of the sender's account.
    from: u64,
}

impl Known {
    /// Of a row; `None` for one that nobody sends again.
    pub(crate) fn of(row: &LogRow<'_>, hash: &HashKey) -> Option<Self> {
        let from = siphash_1_3(hash, bare(row.from).as_bytes());
        Some(Self { key: row.ingest?, outgoing: row.outgoing, from })
    }

    /// Whether it is the row of a message that this account sent in a session before. One that says
    /// the same and was sent in this session is another one.
    pub(crate) fn was_sent(&self, key: IngestKey) -> bool {
        self.outgoing && self.key.hash == key.hash && before(self.key, key)
    }

    /// Whether it is the row of this very stanza, written by an owner before.
    pub(crate) fn was_decided(&self, key: IngestKey) -> bool {
        self.outgoing && self.key == key
    }

    /// Whether it is the row of this parcel's stanza: the very same, or one that its sender sent in
    /// a session before; or, if a shard sends it again (`retry`), in one since, which has made the
    /// row its own. One that says the same and came in this session is another one, and so may be
    /// one without an id.
    pub(crate) fn came_as(&self, parcel: &Parcel, retry: bool, hash: &HashKey) -> bool {
        let (Some(key), Some(from)) = (parcel.ingest, &parcel.stanza.from) else { return false };
        let resent = || {
            (retry || parcel.retried == Retried::Perhaps)
                && parcel.stanza.id.is_some()
                && self.key.hash == key.hash
                && before(self.key, key)
                && self.from == siphash_1_3(hash, from.bare_str().as_bytes())
        };
        !self.outgoing && (self.key == key || resent())
    }
}

/// Whether a stanza came in another session than one that comes now, or on another connection of
/// it.
fn before(known: IngestKey, now: IngestKey) -> bool {
    (known.session, known.attachment) != (now.session, now.attachment)
}

impl Recent {
    /// A tail of which nothing was read yet.
    pub(crate) fn new(since_us: u64) -> Self {
        Self { rows: BTreeMap::new(), rest: Rest::Nothing, since_us }
    }

    /// A page was read; `more`: what comes behind it.
    pub(crate) fn extend(
        &mut self,
        page: impl Iterator<Item = (u64, Known)>,
        more: Option<RangeRead>,
    ) {
        self.rows.extend(page.map(|(id, known)| ((known.key.hash, id), known)));
        self.rest = match more {
            None => Rest::Nothing,
            Some(_) if self.rows.len() >= limits::TAIL_MAX => Rest::TooMuch,
            Some(more) => Rest::From(more),
        };
    }

    /// Whether the tail is to be read anew: it was read long ago, or too much has come since.
    pub(crate) fn is_over(&self, steady_us: u64) -> bool {
        self.since_us + limits::RESENT_US <= steady_us || self.rows.len() >= limits::RECENT_MAX
    }

    /// Where to read on for a row that is not known here; `None` if there is none.
    pub(crate) fn rest(&self) -> Option<&RangeRead> {
        match &self.rest {
            Rest::From(range) => Some(range),
            Rest::Nothing | Rest::TooMuch => None,
        }
    }

    /// Whether a row may be so far back that it was not looked for.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.rest, Rest::TooMuch)
    }

    /// A row was written.
    pub(crate) fn insert(&mut self, id: u64, known: Known) {
        self.rows.insert((known.key.hash, id), known);
    }

    /// Whether a stanza came here in just this way.
    pub(crate) fn has_come(&self, key: IngestKey) -> bool {
        self.find(key.hash, |known| !known.outgoing && known.key == key).is_some()
    }

    /// The id of the row of a stanza with this hash.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(&Known) -> bool) -> Option<u64> {
        let mut same = self.rows.range((hash, 0)..=(hash, u64::MAX));
        same.find(|(_, known)| is_it(known)).map(|((_, id), _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use peer::SessionId;

    use super::*;

    fn known(session: u128, hash: u64) -> Known {
        let key = IngestKey { session: SessionId(session), attachment: 1, number: 1, hash };
        Known { key, outgoing: true, from: 0 }
    }

    #[test]
    fn the_tail_is_known_for_a_while_and_up_to_a_number_of_rows() {
        let mut recent = Recent::new(5);
        assert!(!recent.is_over(5 + limits::RESENT_US - 1));
        assert!(recent.is_over(5 + limits::RESENT_US));
        for id in 1..limits::RECENT_MAX as u64 {
            recent.insert(id, known(1, 9));
        }
        assert!(!recent.is_over(5));
        recent.insert(limits::RECENT_MAX as u64, known(1, 9));
        assert!(recent.is_over(5));
    }

    #[test]
    fn a_tail_is_read_to_its_end_or_to_the_limit() {
        let more = || Some(RangeRead::new(kv::Key::new(), kv::Key::new()));
        let rows = |from: usize, to: usize| (from..to).map(|id| (id as u64, known(1, 9)));
        let mut recent = Recent::new(0);
        recent.extend(rows(0, limits::TAIL_MAX - 1), more());
        assert!(recent.rest().is_some() && !recent.is_cut());
        recent.extend(rows(0, limits::TAIL_MAX - 1), None);
        assert!(recent.rest().is_none() && !recent.is_cut());
        recent.extend(rows(0, limits::TAIL_MAX), more());
        assert!(recent.rest().is_none() && recent.is_cut());
    }

    #[test]
    fn each_row_answers_for_one_stanza() {
        let rows = [(1, known(1, 9)), (2, known(1, 9)), (3, known(1, 8))];
        let mut recent = Recent::new(0);
        recent.extend(rows.into_iter(), None);
        let now = known(2, 9);
        let find = |recent: &Recent| recent.find(9, |known| known.was_sent(now.key));
        assert_eq!(find(&recent), Some(1));
        recent.insert(1, now);
        assert_eq!(find(&recent), Some(2));
        recent.insert(2, now);
        assert_eq!(find(&recent), None, "what this session sent is another one");
    }
}
