//! Notices when the engine has lost commits without saying so.
//!
//! fjall takes a damaged record header in its journal for the torn end of it, and opens without
//! everything that follows (fjall-rs/fjall#311). So each group writes a record of its own among the
//! rows: its number, its checksum, and the checksum of the group before. The records form a ring of
//! [`limits::GUARD_SLOTS`], and a file beside the engine says which group was durable at least
//! ([`super::high_water`]). When the store is opened, the records must be a chain without a hole
//! that reaches at least up to that mark.

use super::engine::{EngineError, Op, Snapshot};
use super::high_water::HighWater;
use super::limits;
use kv::{Key, KeyReader, KeyWriter, ValueReader, ValueWriter};
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// Before all records; in the range that callers cannot reach.
const PREFIX: [u8; 2] = [0xFF, b'g'];
const PREFIX_END: [u8; 2] = [0xFF, b'h'];
const VERSION: u8 = 1;

/// Where the chain of groups ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The number of the last group; the first has 1.
    pub(crate) sequence: u64,
    pub(crate) checksum: u64,
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Groups after `found` are gone, although `expected` was durable.
    End {
        /// The last group that is there.
        found: u64,
        /// A group that must be there.
        expected: u64,
    },
    /// This group is gone, although later ones are there.
    Middle {
        /// The first one that is missing.
        missing: u64,
    },
    /// This group is not the one that was written under its number.
    Different {
        /// The first one that differs.
        sequence: u64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End { found, expected } => write!(
                f,
                "it ends at commit {found}, but commit {expected} was acknowledged: at least {} \
                 are missing",
                expected.saturating_sub(*found)
            ),
            Self::Middle { missing } => write!(f, "commit {missing} is missing among others"),
            Self::Different { sequence } => {
                write!(
                    f,
                    "commit {sequence} is not the one that was written: files are of two times"
                )
            }
        }
    }
}

impl Chain {
    /// The next link, for a group of these rows; its record is added to them.
    pub(crate) fn extend(self, ops: &mut Vec<Op>) -> Self {
        let next = Self { sequence: self.sequence + 1, checksum: checksum(ops) };
        let record = ValueWriter::new(VERSION, 32)
            .rest(&next.sequence.to_be_bytes())
            .rest(&next.checksum.to_be_bytes())
            .rest(&self.checksum.to_be_bytes());
        ops.push(Op::Set(key(next.sequence), record.finish()));
        next
    }
}

/// Reads the records and compares them with the mark.
///
/// # Errors
/// Outside: the engine failed. Inside: what is missing.
pub(crate) fn verify(
    snapshot: &impl Snapshot,
    mark: &HighWater,
) -> Result<Result<Chain, Gap>, EngineError> {
    let mut records = read_records(snapshot)?;
    records.retain(|record| record.sequence >= mark.base);
    Ok(judge(&records, mark))
}

/// What removes all records, to begin a new chain.
pub(crate) fn forget(snapshot: &impl Snapshot) -> Result<Vec<Op>, EngineError> {
    let mut ops = Vec::new();
    snapshot.range(&PREFIX, &PREFIX_END, false, &mut |key, _| {
        ops.push(Op::Delete(Key::copy_from_slice(key)));
        true
    })?;
    Ok(ops)
}

/// The highest number in the records; 0 if there are none.
pub(crate) fn last(snapshot: &impl Snapshot) -> Result<u64, EngineError> {
    Ok(read_records(snapshot)?.last().map_or(0, |record| record.sequence))
}

#[derive(Clone, Copy, Debug)]
struct Record {
    sequence: u64,
    checksum: u64,
    previous: u64,
}

/// Sorted by number. A record that cannot be read, or is in a wrong slot, counts as missing.
fn read_records(snapshot: &impl Snapshot) -> Result<Vec<Record>, EngineError> {
    let mut records = Vec::new();
    snapshot.range(&PREFIX, &PREFIX_END, false, &mut |key, value| {
        records.extend(parse(key, value));
        true
    })?;
    records.sort_unstable_by_key(|record| record.sequence);
    Ok(records)
}

fn parse(key: &[u8], value: &[u8]) -> Option<Record> {
    let slot = KeyReader::new(key, &PREFIX).ok()?.u32().ok()?;
    let value = kv::Value::copy_from_slice(value);
    let mut reader = ValueReader::of_version(&value, VERSION).ok()?;
    let mut number = || {
        let field = reader.take(8).ok()?;
        field.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
    };
    let record = Record { sequence: number()?, checksum: number()?, previous: number()? };
    (u64::from(slot) == record.sequence % limits::GUARD_SLOTS).then_some(record)
}

fn judge(records: &[Record], mark: &HighWater) -> Result<Chain, Gap> {
    let start = Chain { sequence: mark.base.saturating_sub(1), checksum: 0 };
    let end =
        records.last().map_or(start, |r| Chain { sequence: r.sequence, checksum: r.checksum });
    if end.sequence < mark.sequence {
        return Err(Gap::End { found: end.sequence, expected: mark.sequence });
    }
    let oldest = (end.sequence + 1).saturating_sub(limits::GUARD_SLOTS).max(mark.base);
    let mut previous: Option<Record> = None;
    for (expected, record) in (oldest..=end.sequence).zip(records) {
        if record.sequence != expected {
            return Err(Gap::Middle { missing: expected });
        }
        let broken = previous.is_some_and(|previous| previous.checksum != record.previous);
        let other = expected == mark.sequence && record.checksum != mark.checksum;
        if broken || other {
            return Err(Gap::Different { sequence: expected });
        }
        previous = Some(*record);
    }
    Ok(end)
}

fn key(sequence: u64) -> Key {
    let slot = (sequence % limits::GUARD_SLOTS) as u32;
    KeyWriter::new(&PREFIX).u32(slot).finish()
}

fn checksum(ops: &[Op]) -> u64 {
    let mut hash = Xxh3::new();
    for op in ops {
        hash.update(&(op.key().len() as u32).to_le_bytes());
        hash.update(op.key());
        let len = op.value().map_or(u32::MAX, |value| value.len() as u32);
        hash.update(&len.to_le_bytes());
        hash.update(op.value().map_or(&[], |value| value));
    }
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(sequences: std::ops::RangeInclusive<u64>) -> Vec<Record> {
        let record =
            |sequence| Record { sequence, checksum: sequence * 7, previous: (sequence - 1) * 7 };
        sequences.map(record).collect()
    }

    fn mark(base: u64, sequence: u64) -> HighWater {
        HighWater { base, sequence, checksum: sequence * 7 }
    }

    #[test]
    fn a_whole_chain_is_accepted() {
        let end = |sequence| Ok(Chain { sequence, checksum: sequence * 7 });
        assert_eq!(judge(&chain(1..=9), &mark(1, 4)), end(9));
        assert_eq!(judge(&chain(1..=9), &mark(1, 9)), end(9));
        assert_eq!(judge(&[], &mark(1, 0)), Ok(Chain { sequence: 0, checksum: 0 }));
        assert_eq!(judge(&[], &mark(5, 4)), Ok(Chain { sequence: 4, checksum: 0 }));
        let slots = limits::GUARD_SLOTS;
        assert_eq!(judge(&chain(101..=100 + slots), &mark(1, 50)), end(100 + slots));
    }

    #[test]
    fn every_hole_is_found() {
        assert_eq!(judge(&chain(1..=9), &mark(1, 10)), Err(Gap::End { found: 9, expected: 10 }));
        assert_eq!(judge(&[], &mark(1, 1)), Err(Gap::End { found: 0, expected: 1 }));
        assert_eq!(judge(&chain(2..=9), &mark(1, 9)), Err(Gap::Middle { missing: 1 }));
        let mut holed = chain(1..=9);
        holed.remove(4);
        assert_eq!(judge(&holed, &mark(1, 9)), Err(Gap::Middle { missing: 5 }));
        let slots = limits::GUARD_SLOTS;
        let short = chain(102..=100 + slots);
        assert_eq!(judge(&short, &mark(1, 50)), Err(Gap::Middle { missing: 101 }));
    }

    #[test]
    fn a_chain_of_another_time_is_found() {
        let mut other = chain(1..=9);
        other[5].checksum = 1;
        assert_eq!(judge(&other, &mark(1, 9)), Err(Gap::Different { sequence: 7 }));
        let stale = HighWater { base: 1, sequence: 9, checksum: 1 };
        assert_eq!(judge(&chain(1..=9), &stale), Err(Gap::Different { sequence: 9 }));
    }
}
