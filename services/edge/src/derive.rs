//! PBKDF2 for PLAIN on threads of its own, so that logins never stand in the way of sockets.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use bytes::Bytes;
use parking_lot::Mutex;
use xmpp::scram::{Hash, Keys, Secret};

use crate::limits::{DERIVATIONS_WAITING_MAX, FRAME_BYTES, INBOX_BYTES_MAX};
use crate::post::{Letter, Post};

/// One password to derive.
pub(crate) struct Job {
    pub(crate) password: Secret,
    pub(crate) salt: Bytes,
    pub(crate) iterations: u32,
    pub(crate) hash: Hash,
    /// Who waits; a connection that is gone is not worked for.
    pub(crate) post: Weak<Post>,
}

/// The threads, which end when this is dropped.
pub(crate) struct Derivers {
    jobs: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
}

impl fmt::Debug for Derivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derivers")
    }
}

impl Derivers {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// Where the system has no more threads.
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(DERIVATIONS_WAITING_MAX);
        let (queue, waiting) = (Arc::new(Mutex::new(queue)), Arc::new(AtomicUsize::new(0)));
        for number in 0..threads.max(1) {
            let (queue, waiting) = (Arc::clone(&queue), Arc::clone(&waiting));
            thread::Builder::new()
                .name(format!("edge-derive-{number}"))
                .spawn(move || work(&queue, &waiting))?;
        }
        Ok(Self { jobs, waiting })
    }

    /// How many jobs no thread has taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a job, or gives it back when too many wait.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        // Before it is there: a thread may take it at once.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }
        })
    }
}

fn work(queue: &Mutex<Receiver<Job>>, waiting: &AtomicUsize) {
    loop {
        // The lock is held while waiting: whoever has it takes the next job.
        let Ok(job) = queue.lock().recv() else { return };
        waiting.fetch_sub(1, Ordering::Relaxed);
        if job.post.strong_count() == 0 {
            continue;
        }
        let keys = job
            .password
            .expose_str()
            .and_then(|password| Keys::derive(job.hash, password, &job.salt, job.iterations));
        if let Some(post) = job.post.upgrade() {
            // Refused where the connection ends: nobody waits any more.
            let _ = post.inbox.push(Letter::Derived(keys), FRAME_BYTES, INBOX_BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use super::*;

    fn post() -> Arc<Post> {
        let edge = peer::NodeId { number: 1, incarnation: 1 };
        Arc::new(Post::new(peer::ConnId { edge, slot: 1 }, false))
    }

    fn job(post: &Arc<Post>, iterations: u32) -> Job {
        Job {
            password: Secret::new(*b"secret"),
            salt: Bytes::from_static(b"salt"),
            iterations,
            hash: Hash::Sha256,
            post: Arc::downgrade(post),
        }
    }

    fn answer(post: &Post) -> Option<Keys> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(mut mail) = post.inbox.poll(&mut cx, true) {
                let Some(Letter::Derived(keys)) = mail.queue.pop_front() else {
                    panic!("{mail:?}")
                };
                return keys;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("no answer");
    }

    #[test]
    fn a_password_is_derived_and_too_many_are_refused() {
        let derivers = Derivers::start(1).expect("a thread");
        let post = post();
        derivers.submit(job(&post, 1000)).ok().expect("room");
        let wanted = Keys::derive(Hash::Sha256, "secret", b"salt", 1000).expect("keys");
        let keys = answer(&post).expect("keys");
        assert_eq!(keys.client_proof(b"message"), wanted.client_proof(b"message"));

        let taken =
            (0..10_000).take_while(|_| derivers.submit(job(&post, 1_000_000)).is_ok()).count();
        assert!((DERIVATIONS_WAITING_MAX..=DERIVATIONS_WAITING_MAX + 1).contains(&taken));
        assert_eq!(derivers.waiting(), DERIVATIONS_WAITING_MAX);
        // Who has left is not worked for: at a second each, this would not end otherwise.
        drop(post);
        let post = self::post();
        let end = Instant::now() + Duration::from_secs(20);
        while derivers.submit(job(&post, 1)).is_err() && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(answer(&post).is_some());
        assert_eq!(derivers.waiting(), 0);
    }
}
