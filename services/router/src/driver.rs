//! Driving workers: mailbox in, outputs out.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kv::Store;
use parking_lot::Mutex;
use peer::moving::HandOver;
use peer::{Between, Down, Downlink, Owner, Page, ShardId, Up, Uplink};
use session::admin::{Reply, Request};
use session::config::Config;
use session::shard::{Env, Note};
use session::worker::{Input, Output, Worker};
use tokio::sync::oneshot;

use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::random::Random;

/// How often a worker's gauges are brought up to date.
const GAUGES: Duration = Duration::from_secs(2);

/// What workers say to the owners of other shards, wherever they are.
pub trait Outside: Send + Sync {
    /// Hands a frame to the owner of another shard.
    fn between(&self, frame: Between);
    /// Hands memory of a shard to its next owner.
    fn page(&self, page: Page);
    /// Answers the owner of a shard about its pages.
    fn hand_over(&self, owner: Owner, said: HandOver);
    /// A shard panicked, and waits to be granted anew.
    fn fallen(&self, shard: ShardId);
}

/// The way to this node's workers.
pub struct Router {
    config: Arc<Config>,
    mailboxes: Vec<Mailbox>,
    gauges: Vec<Mutex<Gauges>>,
    metrics: Arc<Metrics>,
    asked: AtomicU64,
    admin: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    /// Workers that have not stored everything yet, after a stop.
    unstored: AtomicUsize,
    /// The beginning of the workers' steady time.
    begun: Instant,
    /// When the store last confirmed what each worker owns, by the steady time; zero: never.
    confirmed: Vec<AtomicU64>,
}

#[derive(Clone, Copy, Default)]
struct Gauges {
    sessions: usize,
    accounts: usize,
    queue_bytes: usize,
}

impl Router {
    /// A router with this many workers.
    pub fn new(config: Arc<Config>, workers: u16) -> Arc<Self> {
        let workers = usize::from(workers.max(1));
        Arc::new(Self {
            config,
            mailboxes: (0..workers).map(|_| Mailbox::default()).collect(),
            gauges: (0..workers).map(|_| Mutex::default()).collect(),
            metrics: Arc::new(Metrics::default()),
            asked: AtomicU64::new(0),
            admin: Mutex::new(HashMap::new()),
            unstored: AtomicUsize::new(workers),
            begun: Instant::now(),
            confirmed: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// What the workers count.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// In a cluster: how long ago the store confirmed what all workers own, in milliseconds. `None`
    /// where it has not done so for each.
    pub fn lease_ms(&self) -> Option<u32> {
        let oldest = self.confirmed.iter().map(|at| at.load(Ordering::Relaxed)).min()?;
        let age = steady_us(self.begun).saturating_sub(oldest) / 1000;
        (oldest > 0).then(|| u32::try_from(age).unwrap_or(u32::MAX))
    }

    /// The driver of one worker. Each is run once.
    pub fn driver(
        self: &Arc<Self>,
        index: u16,
        store: Arc<dyn Store>,
        down: Arc<dyn Downlink>,
        outside: Arc<dyn Outside>,
    ) -> WorkerDriver {
        WorkerDriver { router: self.clone(), index, store, down, outside }
    }

    /// Asks for something about an account. The answer comes when it is durable.
    pub async fn admin(&self, request: Request) -> Option<Reply> {
        let shard = match request.account() {
            Some(account) => peer::shard_of(&self.config.hash, account),
            None => ShardId(0),
        };
        let ticket = self.asked.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.admin.lock().insert(ticket, tell);
        self.mailbox(shard).put(Input::Admin(shard, ticket, request));
        told.await.ok()
    }

    /// Has all workers store what can be resumed, and stop.
    pub fn stop(&self) {
        for mailbox in &self.mailboxes {
            mailbox.put(Input::Stop);
        }
    }

    /// A worker has stored everything. When all have, they end.
    fn stopped(&self) {
        if self.unstored.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.mailboxes.iter().for_each(Mailbox::wake);
            // Nobody answers any more.
            self.admin.lock().clear();
        }
    }

    /// Gives the worker of a shard an input.
    pub fn put(&self, shard: ShardId, input: Input) {
        self.mailbox(shard).put(input);
    }

    /// Gives each worker an input, which is made for the worker of that number.
    pub fn put_each(&self, mut input: impl FnMut(usize) -> Option<Input>) {
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            if let Some(input) = input(index) {
                mailbox.put(input);
            }
        }
    }

    /// The number of the worker that a shard is at.
    pub fn worker(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.mailboxes.len()
    }

    fn mailbox(&self, shard: ShardId) -> &Mailbox {
        &self.mailboxes[self.worker(shard)]
    }

    fn set_gauges(&self, index: usize, gauges: Gauges) {
        *self.gauges[index].lock() = gauges;
        let mut sum = Gauges::default();
        for gauges in &self.gauges {
            let one = *gauges.lock();
            sum.sessions += one.sessions;
            sum.accounts += one.accounts;
            sum.queue_bytes += one.queue_bytes;
        }
        self.metrics.sessions.store(sum.sessions as u64, Ordering::Relaxed);
        self.metrics.accounts.store(sum.accounts as u64, Ordering::Relaxed);
        self.metrics.queue_bytes.store(sum.queue_bytes as u64, Ordering::Relaxed);
    }
}

impl Uplink for Router {
    fn up(&self, owner: Owner, frame: Up) {
        if let Up::Stanza { stanza, .. } = &frame {
            count(&self.metrics.stanzas, stanza.kind.name());
        }
        let Owner { shard, epoch } = owner;
        self.put(
            shard,
            match self.config.cluster {
                Some(_) => Input::Remote(shard, epoch, frame),
                None => Input::Up(shard, frame),
            },
        );
    }

    fn core(&self, shard: ShardId) -> Option<u16> {
        u16::try_from(self.worker(shard)).ok()
    }
}

/// A node of its own owns all shards, and gives none up.
impl Outside for Router {
    fn between(&self, frame: Between) {
        self.put(frame.target(), Input::Between(frame));
    }

    fn page(&self, _: Page) {}

    fn hand_over(&self, _: Owner, _: HandOver) {}

    fn fallen(&self, _: ShardId) {}
}

/// Drives one worker.
pub struct WorkerDriver {
    router: Arc<Router>,
    index: u16,
    store: Arc<dyn Store>,
    down: Arc<dyn Downlink>,
    outside: Arc<dyn Outside>,
}

impl WorkerDriver {
    /// Runs until all workers have stopped. Must be called inside a `LocalSet`: reads that take
    /// time are waited for there.
    pub async fn run(self) {
        let count = u16::try_from(self.router.mailboxes.len()).unwrap_or(u16::MAX);
        let mut worker = Worker::new(self.router.config.clone(), self.index, count, now_us());
        let mut random = Random::new();
        let mut inputs = Vec::new();
        let begun = self.router.begun;
        let mut gauges_at = Instant::now();
        loop {
            self.wait(&worker, begun, gauges_at).await;
            let mailbox = &self.router.mailboxes[usize::from(self.index)];
            mailbox.take(&mut inputs);
            let mut draw = || random.next();
            let mut env = Env { now: now_us(), steady: steady_us(begun), random: &mut draw };
            if worker.deadline().is_some_and(|at| at <= env.steady) {
                worker.handle(Input::Timeout, &mut env);
            }
            for input in inputs.drain(..) {
                worker.handle(input, &mut env);
            }
            while let Some(output) = worker.poll() {
                self.carry_out(output, &mut worker, &mut env);
            }
            if let Some(at) = worker.confirmed() {
                self.router.confirmed[usize::from(self.index)].store(at, Ordering::Relaxed);
            }
            if self.router.unstored.load(Ordering::Acquire) == 0 {
                return;
            }
            if gauges_at.elapsed() > GAUGES {
                gauges_at = Instant::now();
                self.gauge(&worker);
            }
            if !mailbox.is_empty() {
                // The sockets of this core have their turn, however much there is to do here.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for the mailbox, the worker's deadline, or the time to bring the gauges up to date.
    async fn wait(&self, worker: &Worker, begun: Instant, gauges_at: Instant) {
        let mailbox = &self.router.mailboxes[usize::from(self.index)];
        let idle = GAUGES.saturating_sub(gauges_at.elapsed()) + Duration::from_millis(1);
        let until = worker.deadline().map_or(idle, |at| {
            idle.min(Duration::from_micros(at.saturating_sub(steady_us(begun))))
        });
        tokio::select! {
            biased;
            () = mailbox.wait() => {}
            () = tokio::time::sleep(until) => {}
        }
    }

    fn gauge(&self, worker: &Worker) {
        let mut gauges = Gauges::default();
        for shard in worker.shards() {
            gauges.sessions += shard.sessions();
            gauges.accounts += shard.accounts();
            gauges.queue_bytes += shard.queue_bytes();
        }
        self.router.set_gauges(usize::from(self.index), gauges);
    }

    /// Carries out one output.
    fn carry_out(&self, output: Output, worker: &mut Worker, env: &mut Env<'_>) {
        match output {
            Output::Read(number, reads) => {
                let read = self.store.read(reads);
                if let Some(rows) = self.later(read, move |rows| Input::Rows(number, rows)) {
                    worker.handle(rows, env);
                }
            }
            Output::Commit(batch) => {
                let (op_id, begun) = (batch.op_id(), Instant::now());
                let metrics = self.router.metrics.clone();
                metrics.commit_bytes.fetch_add(batch.bytes() as u64, Ordering::Relaxed);
                let commit = self.store.commit(batch);
                let done = move |result: Result<(), kv::CommitError>| {
                    match &result {
                        Ok(()) => metrics.committed(begun.elapsed()),
                        Err(error) => {
                            metrics.commit_retries.fetch_add(1, Ordering::Relaxed);
                            tracing::warn!(%error, op_id, "a commit did not succeed");
                        }
                    }
                    Input::Committed(op_id, result)
                };
                if let Some(result) = self.later(commit, done) {
                    worker.handle(result, env);
                }
            }
            Output::Down(owner, conn, frame) => {
                self.count_login(&frame);
                if let Down::Stanza { stanza, .. } = &frame {
                    count(&self.router.metrics.stanzas_out, stanza.kind.name());
                }
                self.down.down(owner, conn, frame);
            }
            Output::Between(frame) => self.outside.between(frame),
            Output::Page(page) => self.outside.page(page),
            Output::HandOver(shard, epoch, said) => {
                self.outside.hand_over(Owner { shard, epoch }, said);
            }
            Output::Admin(ticket, reply) => {
                if let Some(tell) = self.router.admin.lock().remove(&ticket) {
                    // Who asked may be gone.
                    let _ = tell.send(reply);
                }
            }
            Output::Note(note) => log(&note),
            Output::Fallen(shard, panic) => {
                self.router.metrics.shards_fallen.fetch_add(1, Ordering::Relaxed);
                tracing::error!(shard = shard.0, panic, "a shard panicked; it is opened again");
                self.outside.fallen(shard);
            }
            Output::Stopped => self.router.stopped(),
        }
    }

    fn count_login(&self, frame: &Down) {
        let index = match frame {
            Down::Verified { .. } => 0,
            Down::Refused(peer::AuthRefusal::TemporaryAuthFailure) => 2,
            Down::Refused(_) => 1,
            _ => return,
        };
        self.router.metrics.logins[index].fetch_add(1, Ordering::Relaxed);
    }

    /// What a store's answer means to the worker: at once if it is there, else into the mailbox
    /// when it comes.
    fn later<T: 'static>(
        &self,
        mut answer: Pin<Box<dyn Future<Output = T> + Send>>,
        input: impl FnOnce(T) -> Input + 'static,
    ) -> Option<Input> {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut cx) {
            return Some(input(answer));
        }
        let (router, index) = (self.router.clone(), usize::from(self.index));
        tokio::task::spawn_local(async move {
            let input = input(answer.await);
            router.mailboxes[index].put(input);
        });
        None
    }
}

/// Tells the operator what the engine wants known.
fn log(note: &Note) {
    match note {
        Note::SessionNotStored(jid) => {
            tracing::warn!(%jid, "a session holds too much to be stored; its client binds anew");
        }
    }
}

/// Counts a stanza by its kind.
fn count(counters: &[AtomicU64; 3], kind: &str) {
    let index = match kind {
        "message" => 0,
        "presence" => 1,
        _ => 2,
    };
    counters[index].fetch_add(1, Ordering::Relaxed);
}

/// The time in microseconds since 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since a worker began, which go on evenly whatever becomes of the time of day.
fn steady_us(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}
