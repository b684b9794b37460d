//! Turns the batches that wait into one engine batch: judges each against the rows as the ones
//! before it leave them.

use super::engine::{EngineError, Op, Snapshot};
use super::limits;
use kv::{Batch, CommitError, Key, Mutation, Value};
use std::collections::{BTreeMap, HashMap, VecDeque};
use xxhash_rust::xxh3::Xxh3Builder;

type Map<V> = HashMap<Key, V, Xxh3Builder>;

/// What a fence row holds, as of the last group. The committer is the only writer, so it need not
/// ask again.
pub(crate) struct Fences {
    known: Map<Option<Value>>,
    hasher: Xxh3Builder,
}

impl Fences {
    /// `seed` should not be known to those who choose keys.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = Xxh3Builder::new().with_seed(seed);
        Self { known: HashMap::with_hasher(hasher), hasher }
    }

    fn remember(&mut self, key: &Key, value: Option<&Value>) {
        if value.is_some_and(|value| value.len() > limits::FENCE_BYTES_MAX) {
            return;
        }
        // Copies, so that no larger buffer is kept alive.
        self.known.insert(Key::copy_from_slice(key), value.map(|v| Value::copy_from_slice(v)));
    }
}

/// The rows that a group writes, each once.
pub(crate) struct Group<'a, S> {
    snapshot: &'a S,
    fences: &'a mut Fences,
    ops: Vec<Op>,
    /// Where in `ops` a row is.
    written: Map<usize>,
    /// The same sorted, from the first range delete on.
    sorted: Option<BTreeMap<Key, usize>>,
}

impl<'a, S: Snapshot> Group<'a, S> {
    /// An empty group over the rows of `snapshot`, the newest there is, with room for about so many
    /// rows.
    pub(crate) fn new(snapshot: &'a S, fences: &'a mut Fences, rows: usize) -> Self {
        if fences.known.len() >= limits::FENCES_REMEMBERED_MAX {
            fences.known.clear();
        }
        let written = HashMap::with_capacity_and_hasher(rows, fences.hasher);
        Self { snapshot, fences, ops: Vec::with_capacity(rows + 1), written, sorted: None }
    }

    /// Adds the batch if its fences and checks hold.
    ///
    /// # Errors
    /// Outside: the engine failed. Inside: why this batch is not part of the group.
    pub(crate) fn add(&mut self, batch: Batch) -> Result<Result<(), CommitError>, EngineError> {
        let verdict = self.judge(&batch)?;
        if verdict.is_err() {
            return Ok(verdict);
        }
        let Some(mut ranges) = self.in_ranges(&batch)? else {
            return Ok(Err(CommitError::TooLarge));
        };
        for mutation in batch.into_mutations() {
            match mutation {
                Mutation::Set(key, value) => self.write(Op::Set(key, value)),
                Mutation::Delete(key) => self.write(Op::Delete(key)),
                Mutation::DeleteRange(start, end) if start < end => {
                    let stored = ranges.pop_front().unwrap_or_default();
                    self.delete_range(stored, &start, &end);
                }
                Mutation::DeleteRange(..) => {}
            }
        }
        Ok(Ok(()))
    }

    /// The rows to write. What the group did to fence rows is remembered, so the group must now be
    /// applied.
    pub(crate) fn finish(self) -> Vec<Op> {
        if self.fences.known.len() < self.ops.len() {
            for (key, value) in &mut self.fences.known {
                if let Some(op) = self.written.get(key).and_then(|index| self.ops.get(*index)) {
                    *value = op.value().map(|value| Value::copy_from_slice(value));
                }
            }
        } else {
            for op in &self.ops {
                if let Some(value) = self.fences.known.get_mut(op.key()) {
                    *value = op.value().map(|value| Value::copy_from_slice(value));
                }
            }
        }
        self.ops
    }

    fn judge(&mut self, batch: &Batch) -> Result<Result<(), CommitError>, EngineError> {
        // Rows that are neither written here nor remembered are looked up before the verdict, which
        // cannot fail.
        let mut looked_up: Map<Option<Value>> = HashMap::with_hasher(self.fences.hasher);
        let fences = batch.fences().iter().map(|check| (check, true));
        let checks = batch.checks().iter().map(|check| (check, false));
        for (check, is_fence) in fences.chain(checks) {
            let key = &check.key;
            let is_known = self.written.contains_key(key)
                || self.fences.known.contains_key(key)
                || looked_up.contains_key(key);
            if is_known {
                continue;
            }
            let value = self.snapshot.get(key)?;
            if is_fence {
                self.fences.remember(key, value.as_ref());
            }
            looked_up.insert(key.clone(), value);
        }
        Ok(batch.judge(|key| {
            if let Some(op) = self.written.get(key).and_then(|index| self.ops.get(*index)) {
                return op.value().cloned();
            }
            looked_up.get(key).or_else(|| self.fences.known.get(key)).cloned().flatten()
        }))
    }

    /// The stored rows of each range delete of the batch that the group has not written; `None` if
    /// they are too many, together with those that it has.
    fn in_ranges(&mut self, batch: &Batch) -> Result<Option<VecDeque<Vec<Key>>>, EngineError> {
        let mut ranges = VecDeque::new();
        let mut left = kv::limits::DELETE_RANGE_ROWS_MAX;
        for mutation in batch.mutations() {
            let Mutation::DeleteRange(start, end) = mutation else { continue };
            if start >= end {
                continue;
            }
            let written = self.written_in(start, end);
            let alive = |index: &&usize| matches!(self.ops.get(**index), Some(Op::Set(..)));
            let alive = written.iter().filter(alive).count();
            let Some(rest) = left.checked_sub(alive) else { return Ok(None) };
            left = rest;
            let mut keys = Vec::new();
            let mut full = false;
            self.snapshot.range(start, end, false, &mut |key, _| {
                if self.written.contains_key(key) {
                    return true;
                }
                full = left == 0;
                left = left.saturating_sub(1);
                keys.push(Key::copy_from_slice(key));
                !full
            })?;
            if full {
                return Ok(None);
            }
            ranges.push_back(keys);
        }
        Ok(Some(ranges))
    }

    /// Where in `ops` the rows of a range are.
    fn written_in(&mut self, start: &Key, end: &Key) -> Vec<usize> {
        let written = &self.written;
        let sorted = self.sorted.get_or_insert_with(|| {
            written.iter().map(|(key, index)| (key.clone(), *index)).collect()
        });
        sorted.range(start.clone()..end.clone()).map(|(_, index)| *index).collect()
    }

    fn delete_range(&mut self, stored: Vec<Key>, start: &Key, end: &Key) {
        for index in self.written_in(start, end) {
            if let Some(op) = self.ops.get_mut(index) {
                *op = Op::Delete(op.key().clone());
            }
        }
        for key in stored {
            self.write(Op::Delete(key));
        }
    }

    fn write(&mut self, op: Op) {
        let next = self.ops.len();
        let index = *self.written.entry(op.key().clone()).or_insert(next);
        if let Some(earlier) = self.ops.get_mut(index) {
            *earlier = op;
            return;
        }
        if let Some(sorted) = &mut self.sorted {
            sorted.insert(op.key().clone(), next);
        }
        self.ops.push(op);
    }
}
