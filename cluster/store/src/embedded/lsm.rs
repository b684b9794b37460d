//! fjall as the engine: the only file that names it.
//!
//! Left unused on purpose: its transactions (checks and groups are ours), key-value separation,
//! FIFO compaction and `clear`, all of which had bugs that lost data.

use super::engine::{Engine, EngineError, Op, Snapshot};
use super::{Options, limits};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use kv::Value;
use std::path::Path;

/// Room for the journals of memtables that are being flushed. The smallest that fjall takes.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Open table files; each is a file descriptor that sockets cannot have.
const OPEN_FILES_MAX: usize = 128;

pub(crate) struct Lsm {
    db: Database,
    rows: Keyspace,
}

impl Lsm {
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Self, EngineError> {
        let db = Database::builder(path)
            .cache_size(options.cache_bytes.max(limits::CACHE_BYTES_MIN))
            .worker_threads(options.worker_threads.max(1))
            .max_cached_files(Some(OPEN_FILES_MAX))
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .manual_journal_persist(true)
            .open()?;
        let memtable_bytes = options.memtable_bytes;
        let rows = db.keyspace("rows", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .manual_journal_persist(true)
        })?;
        Ok(Self { db, rows })
    }
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        Self(error.to_string())
    }
}

impl Engine for Lsm {
    type Snapshot<'a> = LsmSnapshot<'a>;

    fn snapshot(&self) -> LsmSnapshot<'_> {
        LsmSnapshot { snapshot: self.db.snapshot(), rows: &self.rows }
    }

    fn apply(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        let batch = fjall::OwnedWriteBatch::with_capacity(self.db.clone(), ops.len());
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        for op in ops {
            // Keys and values are copied: what a caller hands over may be a slice of a much larger
            // buffer, which would then live as long as the memtable.
            match op {
                Op::Set(key, value) => batch.insert(&self.rows, &key[..], &value[..]),
                Op::Delete(key) => batch.remove(&self.rows, &key[..]),
            }
        }
        Ok(batch.commit()?)
    }
}

pub(crate) struct LsmSnapshot<'a> {
    snapshot: fjall::Snapshot,
    rows: &'a Keyspace,
}

impl Snapshot for LsmSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, EngineError> {
        let value = self.snapshot.get(self.rows, key)?;
        Ok(value.map(|value| Value::copy_from_slice(&value)))
    }

    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let mut rows = self.snapshot.range(self.rows, start..end);
        while let Some(row) = if reverse { rows.next_back() } else { rows.next() } {
            let (key, value) = row.into_inner()?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}
