//! What a store may answer instead of a result.

use crate::Key;
use std::fmt;

/// Why a batch was not, or perhaps not, applied. Except for [`CommitError::Unknown`] nothing of it
/// was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// These fences do not hold: somebody else owns what the batch writes. Only the owner's keys
    /// are listed, in the order of the batch.
    Fenced(Vec<Key>),
    /// The fences hold, but these checks do not.
    CheckFailed(Vec<Key>),
    /// The batch may or may not have been applied, and will not be applied later than now. Read a
    /// row that it would have written (the engine keeps the batch's `op_id` in one) before trying
    /// again.
    Unknown,
    /// The batch, a key or a value in it is above [`limits`](crate::limits), or its range deletes
    /// find too many rows.
    TooLarge,
    /// A key is empty or lies in the range that belongs to the backends.
    BadKey,
    /// The store does not answer, is overloaded, or has stopped after a disk error.
    Unavailable,
}

/// Why a read has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// More reads in one call than [`limits::READS_MAX`](crate::limits::READS_MAX).
    TooLarge,
    /// What is stored cannot be understood: a chunk of a long value is missing or damaged.
    Damaged,
    /// The store does not answer, is overloaded, or has stopped after a disk error.
    Unavailable,
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced(keys) => {
                write!(f, "not committed: another owner has taken over ({} fences)", keys.len())
            }
            Self::CheckFailed(keys) => {
                write!(f, "not committed: {} rows are not as the writer expected", keys.len())
            }
            Self::Unknown => f.write_str("it is not known whether the batch was committed"),
            Self::TooLarge => f.write_str("not committed: the batch is above the store's limits"),
            Self::BadKey => f.write_str("not committed: a key is empty or reserved"),
            Self::Unavailable => f.write_str("not committed: the store is not available"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "too many reads in one call",
            Self::Damaged => "a stored value is damaged",
            Self::Unavailable => "the store is not available",
        })
    }
}

impl std::error::Error for CommitError {}
impl std::error::Error for ReadError {}
