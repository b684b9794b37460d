//! The threads that read ranges, so that a scan which has to wait for the disk does not stop an
//! async runtime.

use super::engine::{Engine, EngineError};
use super::{limits, rows};
use crate::oneshot;
use kv::{Reads, Rows};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

type Answer = Result<Rows, EngineError>;

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<(Reads, oneshot::Sender<Answer>)>,
    closed: bool,
}

/// The reads that wait; bounded in number.
#[derive(Debug, Default)]
pub(crate) struct ReadQueue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl ReadQueue {
    /// Queues reads; `None` if the queue is full or closed.
    pub(crate) fn push(&self, reads: Reads) -> Option<oneshot::Receiver<Answer>> {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.jobs.len() >= limits::READ_QUEUE_MAX {
            return None;
        }
        let (answer, receiver) = oneshot::channel();
        waiting.jobs.push_back((reads, answer));
        drop(waiting);
        self.arrived.notify_one();
        Some(receiver)
    }

    /// What waits is still answered; then the threads end.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
    }

    /// The work of one thread.
    pub(crate) fn run(&self, engine: &impl Engine) {
        loop {
            let (reads, answer) = {
                let mut waiting = self.waiting.lock();
                loop {
                    if let Some(job) = waiting.jobs.pop_front() {
                        break job;
                    }
                    if waiting.closed {
                        return;
                    }
                    self.arrived.wait(&mut waiting);
                }
            };
            answer.send(rows::answer(engine, &reads));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_calls_wait_and_the_rest_is_refused() {
        let queue = ReadQueue::default();
        let mut waiting = Vec::new();
        for _ in 0..limits::READ_QUEUE_MAX {
            waiting.push(queue.push(Reads::none()).expect("room"));
        }
        assert!(queue.push(Reads::none()).is_none());
        let _ = queue.waiting.lock().jobs.pop_front();
        assert!(queue.push(Reads::none()).is_some());
        assert!(queue.push(Reads::none()).is_none());
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let queue = ReadQueue::default();
        queue.close();
        assert!(queue.push(Reads::none()).is_none());
    }
}
