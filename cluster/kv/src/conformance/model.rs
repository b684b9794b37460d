//! The store as simply as it can be said; deliberately shares no code with the backends.

use crate::{
    Batch, Check, CommitError, Expect, Found, Key, Mutation, Read, Reads, Row, Rows, Value,
};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) rows: BTreeMap<Key, Value>,
}

impl Model {
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let fences = self.failed(batch.fences());
        if !fences.is_empty() {
            return Err(CommitError::Fenced(fences));
        }
        let checks = self.failed(batch.checks());
        if !checks.is_empty() {
            return Err(CommitError::CheckFailed(checks));
        }
        for mutation in batch.mutations() {
            match mutation.clone() {
                Mutation::Set(key, value) => drop(self.rows.insert(key, value)),
                Mutation::Delete(key) => drop(self.rows.remove(&key)),
                Mutation::DeleteRange(start, end) => {
                    self.rows.retain(|key, _| !(*key >= start && *key < end));
                }
            }
        }
        Ok(())
    }

    pub(super) fn read(&self, reads: &Reads) -> Rows {
        Rows { found: reads.list.iter().map(|read| self.answer(read)).collect() }
    }

    fn failed(&self, checks: &[Check]) -> Vec<Key> {
        let failed =
            checks.iter().filter(|check| match (&check.expect, self.rows.get(&check.key)) {
                (Expect::Absent, have) => have.is_some(),
                (Expect::Equals(want), have) => have != Some(want),
            });
        let mut keys = Vec::new();
        for key in failed.map(|check| check.key.clone()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn answer(&self, read: &Read) -> Found {
        let range = match read {
            Read::Get(key) => {
                let row = self.rows.get(key).map(|v| Row { key: key.clone(), value: v.clone() });
                return Found { rows: row.into_iter().collect(), more: None };
            }
            Read::Range(range) => range,
        };
        let inside = self.rows.iter().filter(|(key, _)| **key >= range.start && **key < range.end);
        let mut all: Vec<Row> = inside
            .map(|(key, value)| Row {
                key: key.clone(),
                value: if range.key_only { Value::new() } else { value.clone() },
            })
            .collect();
        if range.reverse {
            all.reverse();
        }
        let mut bytes = 0;
        let mut taken = 0;
        for row in &all {
            bytes += row.key.len() + row.value.len();
            let over = bytes > range.limit_bytes as usize || taken >= range.limit_rows as usize;
            if over && taken > 0 {
                break;
            }
            taken += 1;
        }
        let rest = all.split_off(taken);
        let more = rest.first().map(|next| match all.last() {
            Some(last) if range.reverse => last.key.clone(),
            _ => next.key.clone(),
        });
        Found { rows: all, more }
    }
}
