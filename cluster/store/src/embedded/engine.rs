//! What the embedded store needs of a storage engine: little, so that the engine can be another one
//! day.

use kv::{Key, Value};
use std::fmt;

/// One row of an engine batch. No key comes twice in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Set(Key, Value),
    Delete(Key),
}

impl Op {
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Set(key, _) | Self::Delete(key) => key,
        }
    }

    /// The row as the operation leaves it.
    pub(crate) fn value(&self) -> Option<&Value> {
        match self {
            Self::Set(_, value) => Some(value),
            Self::Delete(_) => None,
        }
    }
}

/// The engine failed; the text is for the operator.
#[derive(Debug)]
pub(crate) struct EngineError(pub(crate) String);

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An ordered map on a disk. Dropping it closes it.
pub(crate) trait Engine: Send + Sync + 'static {
    /// The rows as they are; later batches do not show in it.
    type Snapshot<'a>: Snapshot
    where
        Self: 'a;

    /// Sees every applied batch, and never one that is not durable.
    fn snapshot(&self) -> Self::Snapshot<'_>;

    /// Applies all or nothing, and returns when it is on the disk. After an error the engine must
    /// not be used.
    fn apply(&self, ops: Vec<Op>) -> Result<(), EngineError>;
}

/// Rows at one moment.
pub(crate) trait Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, EngineError>;

    /// Visits the rows from `start` to `end` (excluded) until `visit` says `false`.
    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError>;
}
