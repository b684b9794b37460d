//! The backend that keeps its rows in memory: for tests, the simulation, and trials.

use crate::split;
use crate::{
    Batch, CommitError, CommitFuture, Found, Key, Mutation, Page, RangeRead, Read, ReadError,
    ReadFuture, Reads, Row, Rows, Store, Value, limits,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Rows in memory, without a lock: what the simulation drives step by step.
#[derive(Clone, Debug, Default)]
pub struct MemTable {
    rows: BTreeMap<Key, Value>,
    split: bool,
    faults: VecDeque<Fault>,
    commits: u64,
}

/// What happens to a commit instead of the usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is applied as usual. (To let some commits pass before a fault.)
    None,
    /// It is applied, if its checks hold, and answers [`CommitError::Unknown`].
    UnknownApplied,
    /// It is not applied and answers [`CommitError::Unknown`].
    UnknownLost,
    /// It is not applied and answers [`CommitError::Unavailable`].
    Unavailable,
    /// It is not applied and answers [`CommitError::TooLarge`].
    TooLarge,
}

impl MemTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table that splits long values as FoundationDB's backend has to.
    pub fn splitting() -> Self {
        Self { split: true, ..Self::default() }
    }

    /// Commits to come meet these faults, one each, before all is well again.
    pub fn inject(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// Answers the reads.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_now(&self, reads: &Reads) -> Result<Rows, ReadError> {
        if reads.len() > limits::READS_MAX {
            return Err(ReadError::TooLarge);
        }
        if !self.split {
            return Ok(self.read_rows(reads));
        }
        match split::join(reads, self.read_rows(&split::heads(reads)))? {
            split::Joined::All(rows) => Ok(rows),
            split::Joined::Chunks(pending) => {
                let chunks = self.read_rows(pending.reads());
                pending.finish(chunks)
            }
        }
    }

    /// Applies the batch, or not.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_now(&mut self, batch: &Batch) -> Result<(), CommitError> {
        batch.validate()?;
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => self.apply(batch),
            Fault::UnknownApplied => self.apply(batch).and(Err(CommitError::Unknown)),
            Fault::UnknownLost => Err(CommitError::Unknown),
            Fault::Unavailable => Err(CommitError::Unavailable),
            Fault::TooLarge => Err(CommitError::TooLarge),
        }
    }

    /// Batches applied so far.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Every stored row, chunks of long values included: for tests that look underneath.
    pub fn stored(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.rows.iter()
    }

    fn read_rows(&self, reads: &Reads) -> Rows {
        let found = reads.list.iter().map(|read| match read {
            Read::Get(key) => self.get(key),
            Read::Range(range) => self.range(range),
        });
        Rows { found: found.collect() }
    }

    fn get(&self, key: &Key) -> Found {
        let row =
            self.rows.get_key_value(key).map(|(k, v)| Row { key: k.clone(), value: v.clone() });
        Found { rows: row.into_iter().collect(), more: None }
    }

    fn range(&self, range: &RangeRead) -> Found {
        // What a splitting table is asked for here was derived by `split` from what the caller
        // asked for.
        let (mut page, end) = if self.split {
            (Page::unclamped(range), range.end.clone())
        } else {
            (Page::new(range), range.end_clamped())
        };
        if range.start < end {
            let mut rows = self.rows.range(range.start.clone()..end);
            let next = || if range.reverse { rows.next_back() } else { rows.next() };
            for (key, value) in std::iter::from_fn(next) {
                let value = if range.key_only { Value::new() } else { value.clone() };
                if !page.offer(Row { key: key.clone(), value }) {
                    break;
                }
            }
        }
        page.finish()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let physical = if self.split { Some(split::encode(batch)) } else { None };
        let stored = physical.as_ref().unwrap_or(batch);
        stored.judge(|key| self.rows.get(key).cloned())?;
        if self.in_ranges(batch) > limits::DELETE_RANGE_ROWS_MAX {
            return Err(CommitError::TooLarge);
        }
        for mutation in stored.mutations() {
            self.mutate(mutation);
        }
        self.commits += 1;
        Ok(())
    }

    /// The caller's rows that the batch's range deletes find, or one more than there may be.
    fn in_ranges(&self, batch: &Batch) -> usize {
        let ranges = batch.mutations().iter().filter_map(|mutation| match mutation {
            Mutation::DeleteRange(start, end) if start < end => Some(start.clone()..end.clone()),
            _ => None,
        });
        let most = limits::DELETE_RANGE_ROWS_MAX + 1;
        ranges.flat_map(|range| self.rows.range(range)).take(most).count()
    }

    fn mutate(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Set(key, value) => {
                self.rows.insert(key.clone(), value.clone());
            }
            Mutation::Delete(key) => {
                self.rows.remove(key);
            }
            Mutation::DeleteRange(start, end) if start < end => {
                let range = start.clone()..end.clone();
                let gone: Vec<Key> = self.rows.range(range).map(|(key, _)| key.clone()).collect();
                for key in gone {
                    self.rows.remove(&key);
                }
            }
            Mutation::DeleteRange(..) => {}
        }
    }
}

#[expect(clippy::disallowed_types, reason = "the pure part is MemTable; the trait shares a store")]
type Shared = Arc<std::sync::Mutex<MemTable>>;

/// A [`MemTable`] that can be shared, as a [`Store`]. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemStore {
    table: Shared,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with this table in it.
    pub fn of(table: MemTable) -> Self {
        let store = Self::new();
        store.with(|inside| *inside = table);
        store
    }

    /// Does something with the table.
    pub fn with<T>(&self, act: impl FnOnce(&mut MemTable) -> T) -> T {
        // A panic of another test thread leaves a table that is still whole: no step of ours panics
        // half-way.
        let mut table = self.table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut table)
    }

    /// As [`MemTable::read_now`].
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_now(&self, reads: &Reads) -> Result<Rows, ReadError> {
        self.with(|table| table.read_now(reads))
    }

    /// As [`MemTable::commit_now`].
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_now(&self, batch: &Batch) -> Result<(), CommitError> {
        self.with(|table| table.commit_now(batch))
    }

    /// As [`MemTable::inject`].
    pub fn inject(&self, faults: impl IntoIterator<Item = Fault>) {
        self.with(|table| table.inject(faults));
    }
}

impl Store for MemStore {
    fn read(&self, reads: Reads) -> ReadFuture {
        Box::pin(std::future::ready(self.read_now(&reads)))
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        Box::pin(std::future::ready(self.commit_now(&batch)))
    }
}
