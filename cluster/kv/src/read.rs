//! Reads as data: what to look up, and what was found.

use crate::{Key, Value, limits};

/// One question to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// One row by its key.
    Get(Key),
    /// The rows of a range, in order.
    Range(RangeRead),
}

/// The rows from `start` (included) to `end` (excluded), in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// First key that may be found.
    pub start: Key,
    /// First key after the range.
    pub end: Key,
    /// Most rows to return; at least 1 and at most [`limits::RANGE_ROWS_MAX`] are.
    pub limit_rows: u32,
    /// Most bytes (keys and values) to return, at most [`limits::RANGE_BYTES_MAX`]. The first row
    /// is returned even if it is larger alone.
    pub limit_bytes: u32,
    /// From the last row backwards.
    pub reverse: bool,
    /// Leave the values out.
    pub key_only: bool,
}

impl RangeRead {
    /// The whole range, forwards, up to the limits of the store.
    pub fn new(start: Key, end: Key) -> Self {
        Self {
            start,
            end,
            limit_rows: limits::RANGE_ROWS_MAX,
            limit_bytes: limits::RANGE_BYTES_MAX,
            reverse: false,
            key_only: false,
        }
    }

    /// All rows whose key begins with `prefix`. An empty prefix means every row.
    pub fn prefix(prefix: Key) -> Self {
        let end = crate::key::strinc(&prefix).unwrap_or_else(end_of_keys);
        Self::new(prefix, end)
    }

    /// At most this many rows.
    pub fn rows(mut self, limit_rows: u32) -> Self {
        self.limit_rows = limit_rows;
        self
    }

    /// At most this many bytes.
    pub fn bytes(mut self, limit_bytes: u32) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// From the end backwards.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Keys without values.
    pub fn key_only(mut self) -> Self {
        self.key_only = true;
        self
    }

    /// The read that goes on where a page with this [`Found::more`] ended.
    pub fn after(&self, more: Key) -> Self {
        let mut next = self.clone();
        if next.reverse {
            next.end = more;
        } else {
            next.start = more;
        }
        next
    }

    /// The end of the range without what belongs to the backends.
    pub fn end_clamped(&self) -> Key {
        if self.end.first().is_some_and(|first| *first >= limits::KEY_RESERVED_FROM) {
            end_of_keys()
        } else {
            self.end.clone()
        }
    }

    /// Nothing can be found, whatever is stored.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end_clamped()
    }

    /// Whether the range holds this key.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && key < self.end_clamped()
    }
}

/// The first key that belongs to the backends.
fn end_of_keys() -> Key {
    Key::from_static(&[limits::KEY_RESERVED_FROM])
}

/// The questions of one call. All are answered from one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// In the order in which [`Rows::found`] answers them.
    pub list: Vec<Read>,
}

impl Reads {
    /// Nothing to read.
    pub fn none() -> Self {
        Self::default()
    }

    /// One row.
    pub fn get(key: Key) -> Self {
        Self { list: vec![Read::Get(key)] }
    }

    /// One range.
    pub fn range(range: RangeRead) -> Self {
        Self { list: vec![Read::Range(range)] }
    }

    /// And one more row; the number under which [`Rows`] has the answer.
    pub fn add_get(&mut self, key: Key) -> usize {
        self.list.push(Read::Get(key));
        self.list.len() - 1
    }

    /// And one more range; the number under which [`Rows`] has the answer.
    pub fn add_range(&mut self, range: RangeRead) -> usize {
        self.list.push(Read::Range(range));
        self.list.len() - 1
    }

    /// And all of these, after the present ones; the number of the first of them.
    pub fn extend(&mut self, other: Self) -> usize {
        let first = self.list.len();
        self.list.extend(other.list);
        first
    }

    /// Nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many questions.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

/// A row that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// Its value; empty for a read with `key_only`.
    pub value: Value,
}

impl Row {
    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// The answer to one [`Read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of the read: backwards for `reverse`.
    pub rows: Vec<Row>,
    /// `None`: nothing is left in the range. `Some`: a limit was met; [`RangeRead::after`] makes
    /// the next read of it. From a store there is then certainly another row; after an overlay
    /// there may be none.
    pub more: Option<Key>,
}

/// The answers to a [`Reads`], in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// One for each read.
    pub found: Vec<Found>,
}

impl Rows {
    /// The value of the row that read number `index` found first: the answer to a `Get`.
    pub fn value(&self, index: usize) -> Option<&Value> {
        self.found.get(index)?.rows.first().map(|row| &row.value)
    }

    /// The rows that read number `index` found; none if there was no such read.
    pub fn rows(&self, index: usize) -> &[Row] {
        self.found.get(index).map_or(&[], |found| &found.rows)
    }

    /// Where read number `index` goes on, if a limit ended it.
    pub fn more(&self, index: usize) -> Option<&Key> {
        self.found.get(index)?.more.as_ref()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.found.iter().flat_map(|found| &found.rows).map(Row::bytes).sum()
    }
}

/// Collects the rows of one range read until a limit is met. Every backend and the overlay use it,
/// so that all cut pages at the same place.
#[derive(Debug)]
pub struct Page {
    rows: Vec<Row>,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    reverse: bool,
    more: Option<Key>,
}

impl Page {
    /// An empty page with the limits of `range`, none above those of the store.
    pub fn new(range: &RangeRead) -> Self {
        Self::sized(range, range.limit_bytes.min(limits::RANGE_BYTES_MAX))
    }

    /// As [`Page::new`], but with as many bytes as `range` says: for a backend that reads rows
    /// which are a little longer than what the caller gets to see.
    pub fn unclamped(range: &RangeRead) -> Self {
        Self::sized(range, range.limit_bytes)
    }

    fn sized(range: &RangeRead, bytes_max: u32) -> Self {
        let rows_max = range.limit_rows.clamp(1, limits::RANGE_ROWS_MAX) as usize;
        Self {
            rows: Vec::new(),
            bytes: 0,
            rows_max,
            bytes_max: bytes_max as usize,
            reverse: range.reverse,
            more: None,
        }
    }

    /// Whether a row of this key and so many bytes has room. If not, the page is at its end and
    /// knows where the next one begins: stop.
    pub fn admits(&mut self, key: &[u8], value_bytes: usize) -> bool {
        if self.more.is_some() {
            return false;
        }
        let bytes = self.bytes + key.len() + value_bytes;
        let fits = self.rows.len() < self.rows_max && bytes <= self.bytes_max;
        if !fits && let Some(last) = self.rows.last() {
            let next = if self.reverse { last.key.clone() } else { Key::copy_from_slice(key) };
            self.more = Some(next);
            return false;
        }
        true
    }

    /// Takes a row that [`Page::admits`] let in, and counts its value as so many bytes.
    pub fn push(&mut self, row: Row, value_bytes: usize) {
        self.bytes += row.key.len() + value_bytes;
        self.rows.push(row);
    }

    /// Takes the row if it has room; `false` means stop.
    pub fn offer(&mut self, row: Row) -> bool {
        let value_bytes = row.value.len();
        let admitted = self.admits(&row.key, value_bytes);
        if admitted {
            self.push(row, value_bytes);
        }
        admitted
    }

    /// The page as an answer.
    pub fn finish(self) -> Found {
        Found { rows: self.rows, more: self.more }
    }
}
