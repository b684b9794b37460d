//! The store in a directory of this machine: one process, rows on its disk, nothing to configure.
//!
//! Engine ([`lsm`]) and what makes it a store are apart: one thread commits whatever waits as one
//! group with one fsync ([`committer`]), after judging each batch ([`group`]); short look-ups are
//! done by the caller's thread, ranges by two reader threads ([`readers`]); [`guard`] and
//! [`high_water`] notice lost commits when the store is opened; [`directory`] says whose files they
//! are. Long values are stored whole: the engine has no need to split them, and a range delete for
//! every row would cost more than the row.

mod committer;
mod core;
mod directory;
mod engine;
mod group;
mod guard;
mod high_water;
mod latency;
pub mod limits;
mod lsm;
mod readers;
mod rows;
#[cfg(test)]
mod tests;

pub use directory::OpenError;
pub use guard::Gap;
pub use latency::{BUCKETS_US, CommitLatency};

use self::core::{Core, Start};
use directory::{Directory, io_error};
use engine::Engine;
use guard::Chain;
use high_water::{HighWater, HighWaterFile};
use kv::{Batch, CommitFuture, ReadFuture, Reads, Store};
use lsm::Lsm;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// How a store uses memory and threads. The default suits a small machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for blocks read from the disk, in bytes.
    pub cache_bytes: u64,
    /// Memory for rows that are not in table files yet, in bytes; up to two of these may exist.
    pub memtable_bytes: u64,
    /// Threads that write and merge table files. With more than one, fjall's first worker spins
    /// while another merges, which costs a fifth of the CPU of a row.
    pub worker_threads: usize,
    /// Threads that read ranges.
    pub reader_threads: usize,
    /// Open the store although acknowledged commits are missing, and forget about them. For an
    /// operator without a backup, once.
    pub accept_loss: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 32 * 1024 * 1024,
            memtable_bytes: 16 * 1024 * 1024,
            worker_threads: 1,
            reader_threads: 2,
            accept_loss: false,
        }
    }
}

/// An open store. Dropping it closes it, too.
pub struct Embedded {
    core: Core<Lsm>,
    // After the engine: the lock on it is the last thing to go.
    directory: Directory,
}

impl Embedded {
    /// Opens the store in this directory, or makes one if there is nothing. Replays the journal, at
    /// most about 80 MB of it, at some 15 ms for each.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, OpenError> {
        let directory = Directory::open(path.as_ref())?;
        let is_new = !directory.engine().exists();
        let mark_path = directory.high_water();
        let (mut file, mark) =
            HighWaterFile::open(&mark_path).map_err(io_error(&mark_path, "open"))?;
        let mark = match mark {
            Some(mark) => mark,
            None if is_new || options.accept_loss => {
                // Before the engine: a creation that is cut short must look like one.
                let mark = HighWater::fresh();
                file.write(&mark).map_err(io_error(&mark_path, "write"))?;
                directory.sync()?;
                mark
            }
            None => return Err(directory.damaged("the file high-water is missing or unreadable")),
        };
        let engine = open_engine(&directory, options)?;
        let (chain, base) = begin_chain(&directory, &engine, mark, options.accept_loss)?;
        let mark = HighWater { base, sequence: chain.sequence, checksum: chain.checksum };
        file.write(&mark).map_err(io_error(&mark_path, "write"))?;
        let mut seed = [0; 8];
        // Without a random seed the map of a group is only easier to slow down.
        let _unseeded = getrandom::fill(&mut seed);
        let start = Start {
            engine,
            chain,
            base,
            high_water: file,
            reader_threads: options.reader_threads,
            seed: u64::from_ne_bytes(seed),
        };
        let core = Core::start(start).map_err(io_error(path.as_ref(), "start threads for"))?;
        Ok(Self { core, directory })
    }

    /// Commits what waits and closes all files; another process may then open the store.
    /// Later calls are refused as unavailable.
    pub fn close(&self) {
        self.core.close();
        self.directory.release();
    }

    /// A write has failed: the store refuses everything, and only a restart can tell what is on the
    /// disk.
    pub fn is_poisoned(&self) -> bool {
        self.core.shared.is_poisoned()
    }

    /// Bytes that the store takes on the disk. Looks at every file: for metrics, not for loops.
    pub fn size_on_disk(&self) -> u64 {
        directory::bytes_on_disk(&self.directory.path)
    }

    /// The name that this store got when it was made: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.directory.id
    }

    /// How long commits took since the store was opened.
    pub fn latency(&self) -> &CommitLatency {
        &self.core.shared.latency
    }
}

impl Store for Embedded {
    fn read(&self, reads: Reads) -> ReadFuture {
        self.core.shared.read(reads)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        self.core.shared.commit(batch)
    }
}

fn open_engine(directory: &Directory, options: &Options) -> Result<Lsm, OpenError> {
    let path = directory.engine();
    if !path.exists() {
        // fjall cannot go on with a creation that was cut short, so it has to happen out of sight.
        let new = directory.new_engine()?;
        drop(try_engine(directory, &new, options)?);
        std::fs::rename(&new, &path).map_err(io_error(&new, "rename"))?;
        directory.sync()?;
    }
    try_engine(directory, &path, options)
}

/// fjall panics over some damaged files, where others are errors.
fn try_engine(directory: &Directory, path: &Path, options: &Options) -> Result<Lsm, OpenError> {
    match catch_unwind(AssertUnwindSafe(|| Lsm::open(path, options))) {
        Ok(Ok(engine)) => Ok(engine),
        Ok(Err(error)) => {
            Err(directory.damaged(format!("the engine cannot read its files ({error})")))
        }
        Err(_) => Err(directory.damaged("the engine stopped over its files")),
    }
}

/// Where the chain of commits goes on: after the last one, if none is missing.
fn begin_chain(
    directory: &Directory,
    engine: &impl Engine,
    mark: HighWater,
    accept_loss: bool,
) -> Result<(Chain, u64), OpenError> {
    let unreadable = |error| directory.damaged(format!("its rows cannot be read ({error})"));
    let gap = match guard::verify(&engine.snapshot(), &mark).map_err(unreadable)? {
        Ok(chain) => return Ok((chain, mark.base)),
        Err(gap) => gap,
    };
    if !accept_loss {
        return Err(OpenError::Gap { path: directory.path.clone(), gap });
    }
    tracing::warn!("the store is opened although it has lost commits: {gap}");
    let (forgotten, found) = {
        let snapshot = engine.snapshot();
        let forgotten = guard::forget(&snapshot).map_err(unreadable)?;
        (forgotten, guard::last(&snapshot).map_err(unreadable)?)
    };
    engine.apply(forgotten).map_err(unreadable)?;
    let sequence = mark.sequence.max(found) + 1;
    Ok((Chain { sequence, checksum: 0 }, sequence + 1))
}
