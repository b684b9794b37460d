//! The thread that commits: everything that waits becomes one group, one engine batch, one fsync.

use super::engine::{Engine, EngineError, Op};
use super::group::{Fences, Group};
use super::guard::Chain;
use super::high_water::Marker;
use super::latency::CommitLatency;
use super::limits;
use crate::oneshot;
use kv::{Batch, CommitError};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Instant;

pub(crate) type Verdict = Result<(), CommitError>;

/// A batch that waits.
#[derive(Debug)]
struct Job {
    batch: Batch,
    answer: oneshot::Sender<Verdict>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

/// The batches that wait, in the order of their arrival; bounded in bytes.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl CommitQueue {
    /// Queues a batch; `None` if the queue is full or closed.
    pub(crate) fn push(&self, batch: Batch) -> Option<oneshot::Receiver<Verdict>> {
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes + batch.bytes();
        if waiting.closed || bytes > limits::QUEUE_BYTES_MAX {
            return None;
        }
        let (answer, receiver) = oneshot::channel();
        waiting.bytes = bytes;
        waiting.jobs.push_back(Job { batch, answer, since: Instant::now() });
        drop(waiting);
        self.arrived.notify_one();
        Some(receiver)
    }

    /// Nothing more is taken; what waits is still committed.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for batches and takes as many as one group may hold; nothing after the last one.
    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            self.arrived.wait(&mut waiting);
        }
        let mut bytes = 0;
        let mut jobs = Vec::new();
        while let Some(job) = waiting.jobs.front() {
            bytes += job.batch.bytes();
            if bytes > limits::GROUP_BYTES_MAX && !jobs.is_empty() {
                break;
            }
            waiting.bytes -= job.batch.bytes();
            jobs.extend(waiting.jobs.pop_front());
        }
        jobs
    }

    /// Refuses all that waits, and all that will come.
    pub(crate) fn refuse_all(&self) {
        let jobs = {
            let mut waiting = self.waiting.lock();
            waiting.closed = true;
            waiting.bytes = 0;
            std::mem::take(&mut waiting.jobs)
        };
        for job in jobs {
            job.answer.send(Err(CommitError::Unavailable));
        }
    }
}

/// What the thread works with.
pub(crate) struct Committer<'a, E> {
    pub(crate) engine: &'a E,
    pub(crate) queue: &'a CommitQueue,
    pub(crate) latency: &'a CommitLatency,
    pub(crate) marker: &'a Marker,
    /// Told of a failure before anybody else.
    pub(crate) failed: &'a (dyn Fn(&EngineError) + Sync),
    pub(crate) fences: Fences,
    pub(crate) chain: Chain,
}

impl<E: Engine> Committer<'_, E> {
    /// Commits until the queue is closed and empty, or the engine fails. Then everything that
    /// waited has been answered.
    pub(crate) fn run(&mut self) {
        loop {
            let jobs = self.queue.take();
            if jobs.is_empty() {
                return;
            }
            if self.commit(jobs).is_err() {
                self.queue.refuse_all();
                return;
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), EngineError> {
        let mut answers = Vec::with_capacity(jobs.len());
        let result = self.apply(jobs, &mut answers).inspect_err(|error| (self.failed)(error));
        for (answer, verdict, since) in answers {
            let verdict = match (&result, verdict) {
                (Ok(()), verdict) => verdict,
                // It is in the journal perhaps, and a later start may find it there.
                (Err(_), Ok(())) => Err(CommitError::Unknown),
                (Err(_), Err(_)) => Err(CommitError::Unavailable),
            };
            self.latency.record(since.elapsed());
            answer.send(verdict);
        }
        result
    }

    fn apply(&mut self, jobs: Vec<Job>, answers: &mut Vec<Answer>) -> Result<(), EngineError> {
        let rows = jobs.iter().map(|job| job.batch.mutations().len()).sum();
        let snapshot = self.engine.snapshot();
        let mut group = Group::new(&snapshot, &mut self.fences, rows);
        let mut bytes = 0;
        let mut failed = None;
        for job in jobs {
            bytes += job.batch.bytes();
            let verdict = match &failed {
                Some(_) => Err(CommitError::Unavailable),
                None => group.add(job.batch).unwrap_or_else(|error| {
                    failed = Some(error);
                    Err(CommitError::Unavailable)
                }),
            };
            answers.push((job.answer, verdict, job.since));
        }
        let mut ops: Vec<Op> = group.finish();
        drop(snapshot);
        if let Some(error) = failed {
            return Err(error);
        }
        if ops.is_empty() {
            return Ok(());
        }
        let next = self.chain.extend(&mut ops);
        self.engine.apply(ops)?;
        self.chain = next;
        self.marker.advance(next, bytes);
        Ok(())
    }
}

type Answer = (oneshot::Sender<Verdict>, Verdict, Instant);
