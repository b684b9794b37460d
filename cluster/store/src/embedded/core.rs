//! Engine, queues and threads of an open store, whatever the engine.

use super::committer::{CommitQueue, Committer};
use super::engine::{Engine, EngineError};
use super::group::Fences;
use super::guard::Chain;
use super::high_water::{HighWaterFile, Marker};
use super::latency::CommitLatency;
use super::readers::ReadQueue;
use super::rows;
use crate::oneshot;
use kv::{Batch, CommitError, CommitFuture, ReadError, ReadFuture, Reads, Rows};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// What callers and threads share.
pub(crate) struct Shared<E> {
    /// Gone after the end.
    engine: RwLock<Option<Arc<E>>>,
    poisoned: AtomicBool,
    commits: CommitQueue,
    reads: ReadQueue,
    marker: Marker,
    pub(crate) latency: CommitLatency,
}

/// An open store.
pub(crate) struct Core<E> {
    pub(crate) shared: Arc<Shared<E>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a store begins with.
pub(crate) struct Start<E> {
    pub(crate) engine: E,
    pub(crate) chain: Chain,
    /// First number of the chain.
    pub(crate) base: u64,
    pub(crate) high_water: HighWaterFile,
    pub(crate) reader_threads: usize,
    /// A random number.
    pub(crate) seed: u64,
}

impl<E: Engine> Core<E> {
    pub(crate) fn start(start: Start<E>) -> io::Result<Self> {
        let engine = Arc::new(start.engine);
        let shared = Arc::new(Shared {
            engine: RwLock::new(Some(Arc::clone(&engine))),
            poisoned: AtomicBool::new(false),
            commits: CommitQueue::default(),
            reads: ReadQueue::default(),
            marker: Marker::new(start.chain),
            latency: CommitLatency::default(),
        });
        let core = Self { shared: Arc::clone(&shared), threads: Mutex::default() };
        let (chain, fences) = (start.chain, Fences::new(start.seed));
        core.spawn("store-commit", {
            let (shared, engine) = (Arc::clone(&shared), Arc::clone(&engine));
            move || shared.commit_all(&engine, fences, chain)
        })?;
        let (base, mut file) = (start.base, start.high_water);
        core.spawn("store-mark", {
            let shared = Arc::clone(&shared);
            move || {
                if let Err(error) = shared.marker.run(base, &mut file) {
                    shared.poison(&error);
                }
            }
        })?;
        for _ in 0..start.reader_threads.max(1) {
            let (shared, engine) = (Arc::clone(&shared), Arc::clone(&engine));
            core.spawn("store-read", move || shared.reads.run(&*engine))?;
        }
        Ok(core)
    }

    /// Commits what waits, then stops everything and closes the engine. Later calls are refused.
    pub(crate) fn close(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        self.shared.commits.close();
        self.shared.reads.close();
        let mut threads = threads.into_iter();
        // The first is the committer: the mark must be written after its last commit.
        let committer = threads.next().map(JoinHandle::join);
        self.shared.marker.close();
        let failed = threads.map(JoinHandle::join).filter(Result::is_err).count();
        if failed > 0 || committer.is_some_and(|result| result.is_err()) {
            self.shared.poisoned.store(true, Ordering::Release);
        }
        drop(self.shared.engine.write().take());
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.threads.lock().push(thread);
        Ok(())
    }
}

impl<E> Drop for Core<E> {
    fn drop(&mut self) {
        // A store that is dropped without `close`, or whose start failed half-way.
        self.shared.commits.close();
        self.shared.reads.close();
        let mut threads = std::mem::take(&mut *self.threads.lock()).into_iter();
        let _ended = threads.next().map(JoinHandle::join);
        self.shared.marker.close();
        for thread in threads {
            let _ended = thread.join();
        }
    }
}

impl<E: Engine> Shared<E> {
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn commit(&self, batch: Batch) -> CommitFuture {
        if let Err(error) = batch.validate() {
            return ready(Err(error));
        }
        if self.is_poisoned() {
            return ready(Err(CommitError::Unavailable));
        }
        match self.commits.push(batch) {
            None => ready(Err(CommitError::Unavailable)),
            // Without an answer the committer has died over the group.
            Some(answer) => Box::pin(async { answer.await.unwrap_or(Err(CommitError::Unknown)) }),
        }
    }

    pub(crate) fn read(&self, reads: Reads) -> ReadFuture {
        if reads.len() > kv::limits::READS_MAX {
            return ready(Err(ReadError::TooLarge));
        }
        if self.is_poisoned() {
            return ready(Err(ReadError::Unavailable));
        }
        if rows::is_short(&reads) {
            let engine = self.engine.read();
            return ready(match engine.as_ref() {
                None => Err(ReadError::Unavailable),
                Some(engine) => told(rows::answer(&**engine, &reads)),
            });
        }
        match self.reads.push(reads) {
            None => ready(Err(ReadError::Unavailable)),
            Some(answer) => Box::pin(wait_for_rows(answer)),
        }
    }

    fn commit_all(&self, engine: &E, fences: Fences, chain: Chain) {
        let _bell = Bell(self);
        let mut committer = Committer {
            engine,
            queue: &self.commits,
            latency: &self.latency,
            marker: &self.marker,
            failed: &|error| self.poison(error),
            fences,
            chain,
        };
        committer.run();
    }

    /// After a failed write nobody knows what is on the disk, and a second fsync may lie: stop for
    /// good.
    fn poison(&self, error: &dyn std::fmt::Display) {
        self.poisoned.store(true, Ordering::Release);
        self.commits.close();
        tracing::error!("the store has failed and takes nothing any more: {error}");
    }
}

/// Poisons the store if the committer panics, so that nobody waits for it.
struct Bell<'a, E: Engine>(&'a Shared<E>);

impl<E: Engine> Drop for Bell<'_, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison(&"a bug in the committer");
            self.0.commits.refuse_all();
        }
    }
}

async fn wait_for_rows(
    answer: oneshot::Receiver<Result<Rows, EngineError>>,
) -> Result<Rows, ReadError> {
    answer.await.map_or(Err(ReadError::Unavailable), told)
}

fn told(answer: Result<Rows, EngineError>) -> Result<Rows, ReadError> {
    answer.map_err(|error| {
        tracing::error!("the store cannot read: {error}");
        ReadError::Damaged
    })
}

fn ready<T: Send + 'static>(value: T) -> std::pin::Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(std::future::ready(value))
}
