//! The side that asks: a [`Store`] whose rows are another node's.

use super::numbers::Numbers;
use super::{limits, wire};
use crate::oneshot;
use bytes::Bytes;
use kv::{Batch, CommitError, CommitFuture, ReadError, ReadFuture, Reads, Rows, Store};
use mesh::link::{CallError, CallRefusal, Service};
use mesh::{Link, Mesh, NodeName};
use parking_lot::Mutex;
use peer::call::StoreAsk;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// The store of another node. Without a link to it everything is refused as unavailable; whoever
/// has the mesh keeps the link.
pub struct Client {
    way: Arc<Way>,
    commits: mpsc::Sender<Waiting>,
    /// Room for commits, and for their bytes, until they are answered.
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Room for reads until they are answered.
    reads: Arc<Semaphore>,
    runtime: Handle,
    within: Duration,
}

/// A commit that has no number yet.
struct Waiting {
    batch: Batch,
    until: Instant,
    answer: oneshot::Sender<Result<(), CommitError>>,
    _room: [OwnedSemaphorePermit; 2],
}

/// The way to the other node.
struct Way {
    mesh: Mesh,
    home: NodeName,
    numbers: Mutex<Numbers>,
    /// Held by the one who settles; the others find it done.
    settling: tokio::sync::Mutex<()>,
    reading: Semaphore,
    reads_begun: AtomicU64,
}

impl Client {
    /// Asks the node of this name from now on. Its tasks run on the runtime that this is called
    /// in; its futures need none. Every call is answered `within` that time.
    ///
    /// # Errors
    /// The system has no random bits.
    pub fn start(mesh: Mesh, home: NodeName, within: Duration) -> std::io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|why| std::io::Error::other(why.to_string()))?;
        let way = Arc::new(Way {
            mesh,
            home,
            numbers: Mutex::new(Numbers::new(u64::from_ne_bytes(random))),
            settling: tokio::sync::Mutex::new(()),
            reading: Semaphore::new(limits::READS_UNDER_WAY_MAX),
            reads_begun: AtomicU64::new(0),
        });
        let (commits, waiting) = mpsc::channel(limits::COMMITS_MAX);
        let runtime = Handle::current();
        runtime.spawn(send_commits(Arc::clone(&way), waiting));
        Ok(Self {
            way,
            commits,
            places: Arc::new(Semaphore::new(limits::COMMITS_MAX)),
            bytes: Arc::new(Semaphore::new(limits::COMMIT_BYTES_MAX)),
            reads: Arc::new(Semaphore::new(limits::READS_MAX)),
            runtime,
            within,
        })
    }

    /// Room for this batch; `None` if too much waits already.
    fn room(&self, batch: &Batch) -> Option<[OwnedSemaphorePermit; 2]> {
        let bytes = u32::try_from(batch.bytes()).ok()?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some([place, bytes])
    }
}

impl Store for Client {
    fn read(&self, reads: Reads) -> ReadFuture {
        if reads.len() > kv::limits::READS_MAX {
            return now(Err(ReadError::TooLarge));
        }
        let Ok(place) = Arc::clone(&self.reads).try_acquire_owned() else {
            return now(Err(ReadError::Unavailable));
        };
        let (way, until) = (Arc::clone(&self.way), Instant::now() + self.within);
        let reading = self.runtime.spawn(async move {
            let read = timeout_at(until, way.read(reads, until)).await;
            drop(place);
            read.unwrap_or(Err(ReadError::Unavailable))
        });
        Box::pin(async move { reading.await.unwrap_or(Err(ReadError::Unavailable)) })
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        if let Err(error) = batch.validate() {
            return now(Err(error));
        }
        let Some(room) = self.room(&batch) else {
            return now(Err(CommitError::Unavailable));
        };
        let (answer, result) = oneshot::channel();
        let until = Instant::now() + self.within;
        match self.commits.try_send(Waiting { batch, until, answer, _room: room }) {
            // Without an answer the runtime has ended over it.
            Ok(()) => Box::pin(async { result.await.unwrap_or(Err(CommitError::Unknown)) }),
            Err(_) => now(Err(CommitError::Unavailable)),
        }
    }
}

fn now<T: Send + 'static>(answer: T) -> Pin<Box<dyn Future<Output = T> + Send>> {
    Box::pin(std::future::ready(answer))
}

/// Gives commits their numbers, in the order in which they came, and sends each in a task of its
/// own. Ends with its client.
async fn send_commits(way: Arc<Way>, mut commits: mpsc::Receiver<Waiting>) {
    let calls = Arc::new(Semaphore::new(limits::COMMITS_UNDER_WAY_MAX));
    while let Some(waiting) = commits.recv().await {
        let Waiting { batch, until, answer, _room: room } = waiting;
        let prepared = async {
            let call = Arc::clone(&calls).acquire_owned().await.ok()?;
            Some((call, way.settled(until).await?))
        };
        let Ok(Some((call, link))) = timeout_at(until, prepared).await else {
            drop(room);
            answer.send(Err(CommitError::Unavailable));
            continue;
        };
        let number = way.numbers.lock().take();
        let way = Arc::clone(&way);
        tokio::spawn(async move {
            let result = way.commit(&link, number, batch, until).await;
            drop((call, room));
            answer.send(result);
        });
    }
}

impl Way {
    async fn read(&self, reads: Reads, until: Instant) -> Result<Rows, ReadError> {
        let unavailable = |_| ReadError::Unavailable;
        let _place = self.reading.acquire().await.map_err(unavailable)?;
        let (number, asked) = (self.reads_begun.fetch_add(1, Ordering::Relaxed), reads.len());
        let body = wire::ask(number, StoreAsk::Read(reads)).map_err(|_| ReadError::TooLarge)?;
        let link = self.settled(until).await.ok_or(ReadError::Unavailable)?;
        let answer = self.call(&link, body, until).await.map_err(|_| ReadError::Unavailable)?;
        wire::rows_of(answer, number, asked).unwrap_or_else(|| {
            tracing::warn!(home = %self.home, "an answer to a read cannot be read");
            Err(ReadError::Unavailable)
        })
    }

    async fn commit(
        &self,
        link: &Link,
        number: u64,
        batch: Batch,
        until: Instant,
    ) -> Result<(), CommitError> {
        let error = match wire::ask(number, StoreAsk::Commit(batch)) {
            // Every batch that is valid fits.
            Err(_) => CommitError::TooLarge,
            Ok(body) => match self.call(link, body, until).await {
                Ok(answer) => match wire::result_of(answer, number) {
                    Some(result) => return result,
                    None => CommitError::Unknown,
                },
                // It may have begun.
                Err(CallError::Lost | CallError::Malformed)
                | Err(CallError::Refused(CallRefusal::Failed)) => CommitError::Unknown,
                // It was not sent, or was refused before it began.
                Err(CallError::NoLink | CallError::TooLong | CallError::Refused(_)) => {
                    CommitError::Unavailable
                }
            },
        };
        // Before anybody hears of it: what they ask then is to find it settled.
        self.numbers.lock().handle_lost();
        Err(error)
    }

    /// The link, when nothing that was sent before can be begun any more.
    async fn settled(&self, until: Instant) -> Option<Link> {
        let link = self.mesh.link(&self.home)?;
        if self.numbers.lock().are_settled(link.generation()) {
            return Some(link);
        }
        let _one = self.settling.lock().await;
        let link = self.mesh.link(&self.home)?;
        let settling = self.numbers.lock().begin_settling(link.generation());
        let Some(settling) = settling else { return Some(link) };
        let body = wire::ask(settling.first, StoreAsk::Settle).ok()?;
        let answer = self.call(&link, body, until).await.ok()?;
        match wire::result_of(answer, settling.first) {
            Some(Ok(())) => {
                self.numbers.lock().handle_settled(settling);
                Some(link)
            }
            _ => None,
        }
    }

    async fn call(&self, link: &Link, body: Bytes, until: Instant) -> Result<Bytes, CallError> {
        let within = until.saturating_duration_since(Instant::now());
        let answer = link.call(Service::Store, body, within).await;
        if let Err(why) = &answer {
            tracing::debug!(home = %self.home, %why, "the store of another node did not answer");
        }
        answer
    }
}
