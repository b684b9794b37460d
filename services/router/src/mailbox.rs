//! A worker's mailbox: many put into it, one empties it whole.

use parking_lot::Mutex;
use session::worker::Input;
use tokio::sync::Notify;

/// What waits for one worker. It is bounded by what may be in flight: an edge's credit for its
/// sessions, a shard's windows, and one commit and the reads that were asked for.
#[derive(Default)]
pub(crate) struct Mailbox {
    waiting: Mutex<Vec<Input>>,
    wake: Notify,
}

impl Mailbox {
    /// Puts something in. Never waits.
    pub(crate) fn put(&self, input: Input) {
        let first = {
            let mut waiting = self.waiting.lock();
            waiting.push(input);
            waiting.len() == 1
        };
        if first {
            self.wake.notify_one();
        }
    }

    /// Wakes who waits, though nothing is there.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Takes everything, in order; `spare` is left in its place so that its memory is used again.
    pub(crate) fn take(&self, spare: &mut Vec<Input>) {
        debug_assert!(spare.is_empty());
        std::mem::swap(&mut *self.waiting.lock(), spare);
    }

    /// Whether nothing is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    /// Waits until something is there.
    pub(crate) async fn wait(&self) {
        self.wake.notified().await;
    }
}
