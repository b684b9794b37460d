//! What the store would answer if batches that it does not have yet were applied.
//!
//! The owner of a shard decides on the store's rows overlaid with its own uncommitted batches, in
//! their order.

use crate::{Batch, Found, Key, Mutation, Page, RangeRead, Read, Reads, Row, Rows, Value};
use std::collections::BTreeMap;

/// The rows of `reads` as they will be once `batches` are applied in this order. For several calls
/// over the same batches an [`Overlay`] is cheaper.
pub fn overlay<'a>(
    reads: &Reads,
    rows: Rows,
    batches: impl IntoIterator<Item = &'a Batch>,
) -> Rows {
    let mut overlay = Overlay::default();
    for batch in batches {
        overlay.add(batch.mutations());
    }
    overlay.apply(reads, rows)
}

/// The sum of mutations that are not in the store yet.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Rows that were set (`Some`) or deleted (`None`) after the last range delete over them.
    rows: BTreeMap<Key, Option<Value>>,
    /// Ranges in which no row of the store is left.
    cleared: Vec<(Key, Key)>,
}

impl Overlay {
    /// Adds mutations that come after all that were added before.
    pub fn add(&mut self, mutations: &[Mutation]) {
        for mutation in mutations {
            match mutation {
                Mutation::Set(key, value) => {
                    self.rows.insert(key.clone(), Some(value.clone()));
                }
                Mutation::Delete(key) => {
                    self.rows.insert(key.clone(), None);
                }
                Mutation::DeleteRange(start, end) => self.clear(start, end),
            }
        }
    }

    /// Nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.cleared.is_empty()
    }

    /// The store's answer to `reads`, with everything that was added applied to it.
    ///
    /// A page that the store ended early stays that page: rows beyond its `more` wait for the next
    /// read, so that none is missed or seen twice.
    pub fn apply(&self, reads: &Reads, mut rows: Rows) -> Rows {
        if self.is_empty() {
            return rows;
        }
        rows.found.resize_with(reads.list.len(), Found::default);
        for (read, found) in reads.list.iter().zip(&mut rows.found) {
            match read {
                Read::Get(key) => self.apply_get(key, found),
                Read::Range(range) => *found = self.apply_range(range, std::mem::take(found)),
            }
        }
        rows
    }

    /// What was added says about this row: nothing, that it is gone, or its value.
    pub fn row(&self, key: &Key) -> Option<Option<&Value>> {
        match self.rows.get(key) {
            Some(value) => Some(value.as_ref()),
            None if self.is_cleared(key) => Some(None),
            None => None,
        }
    }

    fn clear(&mut self, start: &Key, end: &Key) {
        if start >= end {
            return;
        }
        let gone: Vec<Key> =
            self.rows.range(start.clone()..end.clone()).map(|(k, _)| k.clone()).collect();
        for key in gone {
            self.rows.remove(&key);
        }
        self.cleared.push((start.clone(), end.clone()));
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        self.cleared.iter().any(|(start, end)| start <= key && key < end)
    }

    fn apply_get(&self, key: &Key, found: &mut Found) {
        match self.row(key) {
            None => {}
            Some(None) => found.rows.clear(),
            Some(Some(value)) => found.rows = vec![Row { key: key.clone(), value: value.clone() }],
        }
    }

    fn apply_range(&self, range: &RangeRead, found: Found) -> Found {
        // What the store has told us about: the whole range, or the part of it up to where its page
        // ended.
        let (start, end) = match (&found.more, range.reverse) {
            (None, _) => (range.start.clone(), range.end_clamped()),
            (Some(more), false) => (range.start.clone(), more.clone()),
            (Some(more), true) => (more.clone(), range.end_clamped()),
        };
        let mut page = Page::new(range);
        if start < end {
            let stored = found.rows.into_iter().filter(|row| self.row(&row.key).is_none());
            let added = self.rows.range(start..end).filter_map(|(key, value)| {
                let value = if range.key_only {
                    value.as_ref().map(|_| Value::new())
                } else {
                    value.clone()
                };
                value.map(|value| Row { key: key.clone(), value })
            });
            if range.reverse {
                merge(stored, added.rev(), |a, b| a > b, &mut page);
            } else {
                merge(stored, added, |a, b| a < b, &mut page);
            }
        }
        let mut merged = page.finish();
        if merged.more.is_none() {
            merged.more = found.more;
        }
        merged
    }
}

/// Offers the rows of both to the page, in order. No key is in both.
fn merge(
    stored: impl Iterator<Item = Row>,
    added: impl Iterator<Item = Row>,
    first: impl Fn(&Key, &Key) -> bool,
    page: &mut Page,
) {
    let (mut stored, mut added) = (stored.peekable(), added.peekable());
    loop {
        let next = match (stored.peek(), added.peek()) {
            (Some(a), Some(b)) if first(&a.key, &b.key) => stored.next(),
            (Some(_), None) => stored.next(),
            _ => added.next(),
        };
        if !next.is_some_and(|row| page.offer(row)) {
            return;
        }
    }
}
