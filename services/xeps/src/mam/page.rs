//! One page of the archive: which rows to read, and what of them is on the page.
//!
//! Nothing is kept between rounds: each time the rows of all rounds are walked through again. A
//! page without a contact is one range of the log. A query by contact first reads the days on which
//! there are messages with it, then the ranges of these days.

use std::collections::VecDeque;

use kv::{RangeRead, Reads, Row, Rows};
use session::keys::{self, Entity};
use session::limits::ROUNDS_MAX;
use session::rows::LogRow;
use xmpp::jid::Jid;

use super::query::Query;
use crate::limits::{DAYS_MAX, PAGE_BYTES, ROUND_BYTES};

/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;

/// The archive of one account.
pub(super) struct Archive<'a> {
    pub(super) owner: &'a Jid,
    pub(super) entity: Entity,
    /// The contact of the query, as it stands in keys.
    pub(super) contact: Option<Entity>,
    /// The highest id given out: no message has a higher one.
    pub(super) last_id: u64,
}

/// How far a query is.
pub(super) enum Step<'a> {
    /// These rows are needed.
    Read(Reads),
    /// The request names a message that is not there.
    NotFound,
    /// The page.
    Page(Found<'a>),
}

/// What is on a page.
#[derive(Default)]
pub(super) struct Found<'a> {
    /// The messages, oldest first.
    pub(super) messages: Vec<(u64, LogRow<'a>)>,
    /// Nothing that matches is left behind the page.
    pub(super) complete: bool,
    /// Where a page with nothing on it ends: the client goes on from there.
    pub(super) reached: Option<u64>,
}

impl<'a> Archive<'a> {
    /// Walks through the rows of the rounds so far.
    pub(super) fn step(&self, query: &Query, rounds: &'a [Rows]) -> Step<'a> {
        let Some((first, later)) = rounds.split_first() else { return self.begin(query) };
        let named = query.named.len();
        let is_there = |at: usize| archived(first.rows(at).first()).is_some();
        if !(0..named).all(is_there) {
            return Step::NotFound;
        }
        let mut page = Collect::new(self, query);
        if let Some(ids) = &query.ids {
            return page.by_id(ids.len(), named, first);
        }
        let (mut walk, rounds) = match self.contact {
            None => (Walk::log(self, query), rounds),
            Some(_) => (Walk::days(self, query, first), later),
        };
        for (round, rows) in rounds.iter().enumerate() {
            let skipped = if self.contact.is_none() && round == 0 { named } else { 0 };
            walk.go_on(round, query, rows, skipped, &mut page);
        }
        let all_read = rounds.len() + usize::from(self.contact.is_some()) >= ROUNDS_MAX;
        if page.full || walk.is_done() || all_read {
            page.found.complete = !page.full && walk.is_done() && !walk.more_days;
            return Step::Page(page.finish());
        }
        let mut reads = Reads::none();
        for range in walk.next(rounds.len(), query) {
            reads.add_range(range);
        }
        Step::Read(reads)
    }

    /// The first round.
    fn begin(&self, query: &Query) -> Step<'a> {
        let mut reads = Reads::none();
        for id in query.named.iter().chain(query.ids.iter().flatten()) {
            reads.add_get(self.entity.log(*id));
        }
        if query.ids.is_none() {
            match &self.contact {
                None => Walk::log(self, query).next(0, query).for_each(|range| {
                    reads.add_range(range);
                }),
                Some(contact) => {
                    if let Some(range) = self.days(query, contact) {
                        reads.add_range(range);
                    }
                }
            }
        }
        match reads.is_empty() {
            true => Step::Page(Found { complete: true, ..Found::default() }),
            false => Step::Read(reads),
        }
    }

    /// The log from the first to the last message that may match.
    fn range(&self, from: u64, below: u64, backwards: bool) -> Option<RangeRead> {
        let below = below.min(self.last_id.saturating_add(1));
        let range = RangeRead::new(self.entity.log(from), self.entity.log(below));
        let range = if backwards { range.reverse() } else { range };
        (from < below).then_some(range)
    }

    /// The days on which there are messages with the contact.
    fn days(&self, query: &Query, contact: &Entity) -> Option<RangeRead> {
        let last = query.below.min(self.last_id.saturating_add(1)).checked_sub(1)?;
        let (first, last) = (keys::day(query.from), keys::day(last));
        let start = self.entity.contact_day(contact, first);
        let end = self.entity.contact_day(contact, last.saturating_add(1));
        let range = RangeRead::new(start, end).rows(DAYS_MAX as u32).key_only();
        let range = if query.backwards { range.reverse() } else { range };
        (first <= last).then_some(range)
    }

    /// Whether a message is with the contact (XEP-0313 §4.1.1): a bare JID stands for all its
    /// resources. With the account itself are only messages from it to itself.
    fn matches(&self, with: &Jid, row: &LogRow<'_>) -> bool {
        let bare = |text: &str| text.split('/').next() == Some(with.bare_str());
        let own = with.same_bare(self.owner);
        let is = |text: &str| if with.is_bare() { bare(text) } else { text == with.as_str() };
        match own {
            true => bare(row.from) && bare(row.to) && (is(row.from) || is(row.to)),
            false => is(if row.outgoing { row.to } else { row.from }),
        }
    }
}

/// A row of the archive, and the message's id.
pub(super) fn archived(row: Option<&Row>) -> Option<(u64, LogRow<'_>)> {
    let row = row?;
    let message = LogRow::decode(&row.value).ok().filter(|message| message.archived)?;
    Some((keys::log_id(&row.key)?, message))
}

/// The ranges of the log that are still to be read, in the direction of the page.
struct Walk {
    left: VecDeque<RangeRead>,
    /// There are more days than were read.
    more_days: bool,
    by_contact: bool,
}

impl Walk {
    /// The whole log.
    fn log(archive: &Archive<'_>, query: &Query) -> Self {
        let range = archive.range(query.from, query.below, query.backwards);
        Self { left: range.into_iter().collect(), more_days: false, by_contact: false }
    }

    /// The days of the index that the first round has read. Days that follow each other are one
    /// range.
    fn days(archive: &Archive<'_>, query: &Query, index: &Rows) -> Self {
        let at = query.named.len();
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for row in index.rows(at) {
            let Some(day) = row.key.last_chunk::<4>().map(|day| u32::from_be_bytes(*day)) else {
                continue;
            };
            let (start, end) = (u64::from(day) * DAY_US, (u64::from(day) + 1) * DAY_US);
            match spans.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                Some(last) if last.0 == end => last.0 = start,
                _ => spans.push((start, end)),
            }
        }
        let ranges = spans.into_iter().filter_map(|(start, end)| {
            archive.range(start.max(query.from), end.min(query.below), query.backwards)
        });
        Self { left: ranges.collect(), more_days: index.more(at).is_some(), by_contact: true }
    }

    fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// The ranges of a round. The first one goes wide, for contacts with few messages a day; the
    /// later ones go deep, for days full of others' messages.
    fn next(&self, round: usize, query: &Query) -> impl Iterator<Item = RangeRead> {
        let (ranges, rows) = match (self.by_contact, round) {
            (false, 0) => (1, query.max + 1),
            (false, _) => (1, 1000),
            (true, 0) => (DAYS_MAX, kv::limits::RANGE_ROWS_MAX),
            (true, _) => (4, kv::limits::RANGE_ROWS_MAX),
        };
        let count = ranges.min(self.left.len()).max(1);
        let bytes = ROUND_BYTES / count as u32;
        self.left.iter().take(count).map(move |range| range.clone().rows(rows).bytes(bytes))
    }

    /// Takes the rows of a round. What was read behind a range that has more to give is read again.
    fn go_on<'a>(
        &mut self,
        round: usize,
        query: &Query,
        rows: &'a Rows,
        skipped: usize,
        page: &mut Collect<'_, 'a>,
    ) {
        let asked: Vec<RangeRead> = self.next(round, query).collect();
        for (index, range) in asked.into_iter().enumerate() {
            if self.left.is_empty() {
                return;
            }
            for row in rows.rows(skipped + index) {
                page.take(row);
            }
            self.left.pop_front();
            if let Some(more) = rows.more(skipped + index) {
                self.left.push_front(range.after(more.clone()));
                return;
            }
        }
    }
}

/// The page as it fills.
struct Collect<'q, 'a> {
    archive: &'q Archive<'q>,
    query: &'q Query,
    found: Found<'a>,
    bytes: usize,
    /// Another message matches and finds no room.
    full: bool,
}

impl<'q, 'a> Collect<'q, 'a> {
    fn new(archive: &'q Archive<'q>, query: &'q Query) -> Self {
        Self { archive, query, found: Found::default(), bytes: 0, full: false }
    }

    fn take(&mut self, row: &'a Row) {
        let Some((id, message)) = archived(Some(row)) else { return };
        if self.full || id < self.query.from || id >= self.query.below {
            return;
        }
        let matches = |with: &Jid| self.archive.matches(with, &message);
        if !self.query.with.as_ref().is_none_or(matches) {
            self.found.reached = Some(id);
            return;
        }
        let bytes = self.bytes + row.value.len();
        let count = self.found.messages.len();
        if count >= self.query.max as usize || (count > 0 && bytes > PAGE_BYTES) {
            self.full = true;
            return;
        }
        self.bytes = bytes;
        self.found.reached = Some(id);
        self.found.messages.push((id, message));
    }

    /// §4.1.3: the messages that the request names, if all of them are there.
    fn by_id(mut self, count: usize, first: usize, rows: &'a Rows) -> Step<'a> {
        let mut named: Vec<&Row> = Vec::with_capacity(count);
        for at in first..first + count {
            match rows.rows(at).first() {
                Some(row) if archived(Some(row)).is_some() => named.push(row),
                _ => return Step::NotFound,
            }
        }
        named.sort_by(|a, b| a.key.cmp(&b.key));
        named.dedup_by(|a, b| a.key == b.key);
        if self.query.backwards {
            named.reverse();
        }
        named.into_iter().for_each(|row| self.take(row));
        self.found.complete = !self.full;
        Step::Page(self.finish())
    }

    fn finish(mut self) -> Found<'a> {
        if self.query.backwards {
            self.found.messages.reverse();
        }
        self.found
    }
}
