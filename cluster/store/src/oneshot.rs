//! One answer from a thread of the store to whoever waits for it, on any runtime or none.

use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
enum Slot<T> {
    Empty(Option<Waker>),
    Full(T),
    /// The sender is gone, or the answer has been taken.
    Gone,
}

/// The side that answers. Dropped without an answer, the other side sees `None`.
#[derive(Debug)]
pub(crate) struct Sender<T>(Arc<Mutex<Slot<T>>>);

/// The side that waits.
#[derive(Debug)]
pub(crate) struct Receiver<T>(Arc<Mutex<Slot<T>>>);

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Mutex::new(Slot::Empty(None)));
    (Sender(Arc::clone(&slot)), Receiver(slot))
}

impl<T> Sender<T> {
    pub(crate) fn send(self, answer: T) {
        fill(&self.0, Slot::Full(answer));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        fill(&self.0, Slot::Gone);
    }
}

/// Fills the slot if it is still empty, and wakes the waiter outside the lock.
fn fill<T>(shared: &Mutex<Slot<T>>, with: Slot<T>) {
    let mut slot = shared.lock();
    if !matches!(*slot, Slot::Empty(_)) {
        return;
    }
    if let Slot::Empty(Some(waker)) = std::mem::replace(&mut *slot, with) {
        drop(slot);
        waker.wake();
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock();
        match std::mem::replace(&mut *slot, Slot::Gone) {
            Slot::Full(answer) => Poll::Ready(Some(answer)),
            Slot::Gone => Poll::Ready(None),
            Slot::Empty(_) => {
                *slot = Slot::Empty(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv::conformance::block_on;

    #[test]
    fn an_answer_arrives_before_and_after_the_wait() {
        let (sender, receiver) = channel();
        sender.send(1);
        assert_eq!(block_on(receiver), Some(1));
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || block_on(receiver));
        std::thread::sleep(std::time::Duration::from_millis(20));
        sender.send(2);
        assert_eq!(thread.join().unwrap(), Some(2));
    }

    #[test]
    fn a_sender_that_is_gone_is_seen() {
        let (sender, receiver) = channel::<u8>();
        let thread = std::thread::spawn(move || block_on(receiver));
        std::thread::sleep(std::time::Duration::from_millis(20));
        drop(sender);
        assert_eq!(thread.join().unwrap(), None);
    }
}
