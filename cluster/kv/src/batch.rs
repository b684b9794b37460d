//! Writes as data: one batch is applied whole or not at all.

use crate::{CommitError, Key, Value, limits, split};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The row has this value from now on.
    Set(Key, Value),
    /// The row is gone.
    Delete(Key),
    /// All rows from the first key (included) to the second (excluded) are gone. What the ranges of
    /// a batch may find together is at most [`limits::DELETE_RANGE_ROWS_MAX`].
    DeleteRange(Key, Key),
}

/// What a check wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No row.
    Absent,
    /// A row with exactly this value.
    Equals(Value),
}

impl Expect {
    /// Whether the row, as it is, is as expected.
    pub fn holds(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Self::Absent, None) => true,
            (Self::Equals(want), Some(have)) => want == have,
            _ => false,
        }
    }
}

/// A condition on one row, as it is before the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The row.
    pub key: Key,
    /// How it must be.
    pub expect: Expect,
}

/// Checks and mutations that are committed together: if every fence and check holds, all mutations
/// are applied in their order, else none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    op_id: u64,
    fences: Vec<Check>,
    checks: Vec<Check>,
    mutations: Vec<Mutation>,
    bytes: usize,
}

/// Two batches that cannot become one; the second is given back unchanged.
#[derive(Debug, PartialEq, Eq)]
pub struct MergeConflict(pub Box<Batch>);

impl Batch {
    /// An empty batch. `op_id` is chosen by the writer, different for every attempt; to be able to
    /// settle [`CommitError::Unknown`] the writer also puts it into a row of the batch.
    pub fn new(op_id: u64) -> Self {
        Self { op_id, ..Self::default() }
    }

    /// The name of this attempt.
    pub fn op_id(&self) -> u64 {
        self.op_id
    }

    /// Gives the batch the name of a new attempt.
    pub fn rename(&mut self, op_id: u64) {
        self.op_id = op_id;
    }

    /// Adds a fence: a check on an epoch key, reported apart from other checks. The same fence
    /// twice counts once.
    pub fn fence(&mut self, key: Key, expect: Expect) -> &mut Self {
        let check = Check { key, expect };
        if !self.fences.contains(&check) {
            self.bytes += check_bytes(&check);
            self.fences.push(check);
        }
        self
    }

    /// Adds a check.
    pub fn check(&mut self, key: Key, expect: Expect) -> &mut Self {
        let check = Check { key, expect };
        self.bytes += check_bytes(&check);
        self.checks.push(check);
        self
    }

    /// Writes a row.
    pub fn set(&mut self, key: Key, value: Value) -> &mut Self {
        self.mutate(Mutation::Set(key, value))
    }

    /// Removes a row.
    pub fn delete(&mut self, key: Key) -> &mut Self {
        self.mutate(Mutation::Delete(key))
    }

    /// Removes the rows of a range, `end` excluded.
    pub fn delete_range(&mut self, start: Key, end: Key) -> &mut Self {
        self.mutate(Mutation::DeleteRange(start, end))
    }

    /// Adds a mutation.
    pub fn mutate(&mut self, mutation: Mutation) -> &mut Self {
        self.bytes += mutation_bytes(&mutation);
        self.mutations.push(mutation);
        self
    }

    /// The fences, in the order in which they were added.
    pub fn fences(&self) -> &[Check] {
        &self.fences
    }

    /// The checks, in the order in which they were added.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The mutations, in the order in which they are applied.
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// The mutations, taken out.
    pub fn into_mutations(self) -> Vec<Mutation> {
        self.mutations
    }

    /// What the batch weighs: keys, values, and a little for each entry. See
    /// [`limits::BATCH_BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It would change nothing. (It may still hold checks.)
    pub fn is_empty(&self) -> bool {
        self.mutations.is_empty()
    }

    /// Appends a later batch, so that both are committed or neither. This one's `op_id` stays.
    ///
    /// The later batch was decided on top of this one; its checks are about rows as this one leaves
    /// them. Where this batch writes such a row, the check is settled here: it falls away if it
    /// holds.
    ///
    /// # Errors
    /// If such a check cannot hold, or both fence the same key differently, the two cannot be one.
    pub fn merge(&mut self, other: Self) -> Result<(), MergeConflict> {
        let clash = |fence: &Check| {
            self.fences.iter().any(|own| own.key == fence.key && own.expect != fence.expect)
        };
        if other.fences.iter().any(clash) {
            return Err(MergeConflict(Box::new(other)));
        }
        let mut kept = Vec::with_capacity(other.checks.len());
        for check in &other.checks {
            match written(&self.mutations, &check.key) {
                None => kept.push(check.clone()),
                Some(value) if check.expect.holds(value.map(|v| v.as_ref())) => {}
                Some(_) => return Err(MergeConflict(Box::new(other))),
            }
        }
        for fence in other.fences {
            self.fence(fence.key, fence.expect);
        }
        for check in kept {
            self.check(check.key, check.expect);
        }
        self.bytes += other.mutations.iter().map(mutation_bytes).sum::<usize>();
        self.mutations.extend(other.mutations);
        Ok(())
    }

    /// Whether all fences and checks hold on the rows as `row` tells them.
    ///
    /// # Errors [`CommitError::Fenced`], or else [`CommitError::CheckFailed`]; each key once, in
    /// the order of the batch.
    pub fn judge(&self, mut row: impl FnMut(&Key) -> Option<Value>) -> Result<(), CommitError> {
        let mut failed = |checks: &[Check]| {
            let mut keys: Vec<Key> = Vec::new();
            for check in checks {
                if !check.expect.holds(row(&check.key).as_deref()) {
                    let key = split::head_of(&check.key);
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
            }
            keys
        };
        let fences = failed(&self.fences);
        if !fences.is_empty() {
            return Err(CommitError::Fenced(fences));
        }
        let checks = failed(&self.checks);
        if checks.is_empty() { Ok(()) } else { Err(CommitError::CheckFailed(checks)) }
    }

    /// Whether every backend would take this batch. Backends ask before they do anything else.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`] and [`CommitError::BadKey`].
    pub fn validate(&self) -> Result<(), CommitError> {
        if self.bytes > limits::BATCH_BYTES_MAX {
            return Err(CommitError::TooLarge);
        }
        for check in self.fences.iter().chain(&self.checks) {
            validate_key(&check.key)?;
            if let Expect::Equals(value) = &check.expect {
                validate_value(value)?;
            }
        }
        for mutation in &self.mutations {
            match mutation {
                Mutation::Set(key, value) => {
                    validate_key(key)?;
                    validate_value(value)?;
                    if value.len() > limits::CHUNK_BYTES_MAX && !split::can_split(key) {
                        return Err(CommitError::TooLarge);
                    }
                }
                Mutation::Delete(key) => validate_key(key)?,
                Mutation::DeleteRange(start, end) => validate_range(start, end)?,
            }
        }
        Ok(())
    }
}

/// What the mutations leave in one row: nothing is said, it is gone, or it has a value.
pub(crate) fn written<'a>(mutations: &'a [Mutation], key: &Key) -> Option<Option<&'a Value>> {
    mutations.iter().rev().find_map(|mutation| match mutation {
        Mutation::Set(k, value) if k == key => Some(Some(value)),
        Mutation::Delete(k) if k == key => Some(None),
        Mutation::DeleteRange(start, end) if start <= key && key < end => Some(None),
        _ => None,
    })
}

fn validate_key(key: &Key) -> Result<(), CommitError> {
    if key.len() > limits::KEY_BYTES_MAX {
        return Err(CommitError::TooLarge);
    }
    match key.first() {
        Some(first) if *first < limits::KEY_RESERVED_FROM => Ok(()),
        _ => Err(CommitError::BadKey),
    }
}

fn validate_value(value: &Value) -> Result<(), CommitError> {
    if value.len() > limits::VALUE_BYTES_MAX { Err(CommitError::TooLarge) } else { Ok(()) }
}

fn validate_range(start: &Key, end: &Key) -> Result<(), CommitError> {
    if start.len().max(end.len()) > limits::KEY_BYTES_MAX {
        return Err(CommitError::TooLarge);
    }
    let reserved = |key: &[u8]| key > [limits::KEY_RESERVED_FROM].as_slice();
    if reserved(start) || reserved(end) { Err(CommitError::BadKey) } else { Ok(()) }
}

fn check_bytes(check: &Check) -> usize {
    let value = match &check.expect {
        Expect::Absent => 0,
        Expect::Equals(value) => value.len(),
    };
    check.key.len() + value + limits::ENTRY_BYTES_OVERHEAD
}

fn mutation_bytes(mutation: &Mutation) -> usize {
    limits::ENTRY_BYTES_OVERHEAD
        + match mutation {
            Mutation::Set(key, value) => key.len() + value.len(),
            Mutation::Delete(key) => key.len(),
            Mutation::DeleteRange(start, end) => start.len() + end.len(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn k(text: &'static str) -> Key {
        Key::from_static(text.as_bytes())
    }

    #[test]
    fn the_account_of_bytes_follows_every_entry() {
        let mut batch = Batch::new(1);
        batch.fence(k("e"), Expect::Equals(k("12"))).fence(k("e"), Expect::Equals(k("12")));
        assert_eq!(batch.bytes(), 16 + 3);
        batch.check(k("c"), Expect::Absent).set(k("ab"), k("cd")).delete(k("x"));
        batch.delete_range(k("a"), k("b"));
        assert_eq!(batch.bytes(), 16 * 5 + 3 + 1 + 4 + 1 + 2);
        let mut other = Batch::new(2);
        other.fence(k("e"), Expect::Equals(k("12"))).set(k("q"), k("r"));
        assert!(batch.merge(other).is_ok());
        assert_eq!((batch.op_id(), batch.bytes()), (1, 16 * 6 + 3 + 1 + 4 + 1 + 2 + 2));
    }

    #[test]
    fn a_merge_settles_checks_on_rows_that_the_first_batch_writes() {
        let table: [(Mutation, Expect, bool); 6] = [
            (Mutation::Set(k("a"), k("1")), Expect::Equals(k("1")), true),
            (Mutation::Set(k("a"), k("1")), Expect::Absent, false),
            (Mutation::Set(k("a"), k("1")), Expect::Equals(k("2")), false),
            (Mutation::Delete(k("a")), Expect::Absent, true),
            (Mutation::DeleteRange(k("a"), k("b")), Expect::Absent, true),
            (Mutation::DeleteRange(k("a"), k("b")), Expect::Equals(k("1")), false),
        ];
        for (mutation, expect, merges) in table {
            let mut first = Batch::new(1);
            first.mutate(mutation.clone());
            let mut second = Batch::new(2);
            second.check(k("a"), expect.clone()).check(k("z"), Expect::Absent);
            let result = first.merge(second.clone());
            assert_eq!(result.is_ok(), merges, "{mutation:?} {expect:?}");
            match result {
                Ok(()) => assert_eq!(first.checks().len(), 1, "only the check on z is left"),
                Err(MergeConflict(back)) => assert_eq!(*back, second),
            }
        }
    }

    #[test]
    fn two_fences_on_one_key_that_differ_do_not_merge() {
        let mut first = Batch::new(1);
        first.fence(k("e"), Expect::Equals(k("1")));
        let mut second = Batch::new(2);
        second.fence(k("e"), Expect::Equals(k("2")));
        assert!(first.merge(second).is_err());
    }

    #[test]
    fn what_no_backend_takes_is_refused() {
        let refuse = |mutation: Mutation| Batch::new(1).mutate(mutation).validate();
        let long = |n: usize| Key::from(vec![b'a'; n]);
        assert_eq!(refuse(Mutation::Set(k("a"), long(limits::VALUE_BYTES_MAX))), Ok(()));
        assert_eq!(refuse(Mutation::Set(long(limits::KEY_BYTES_MAX), k(""))), Ok(()));
        assert_eq!(
            refuse(Mutation::Set(k("a"), long(limits::VALUE_BYTES_MAX + 1))),
            Err(CommitError::TooLarge)
        );
        assert_eq!(
            refuse(Mutation::Delete(long(limits::KEY_BYTES_MAX + 1))),
            Err(CommitError::TooLarge)
        );
        assert_eq!(refuse(Mutation::Delete(k(""))), Err(CommitError::BadKey));
        let reserved = Key::from_static(&[0xFE]);
        assert_eq!(refuse(Mutation::Delete(reserved.clone())), Err(CommitError::BadKey));
        assert_eq!(refuse(Mutation::DeleteRange(k(""), reserved)), Ok(()));
        assert_eq!(
            refuse(Mutation::DeleteRange(k(""), Key::from_static(&[0xFE, 0]))),
            Err(CommitError::BadKey)
        );
    }
}
