//! The suite that every backend passes: directed cases, then random histories against a model.
//!
//! A backend's own test opens an empty store and calls [`run`]. A failure names the case, or the
//! seed that shows it.

mod directed;
mod model;
mod random;
mod rng;

pub use rng::Rng;

use crate::{Batch, CommitError, Key, ReadError, Reads, Rows, Store};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Runs everything on `store`, with `seeds` random histories. Keys begin with `conformance/`.
///
/// # Panics
/// If the store does not behave as the trait promises.
pub fn run(store: &dyn Store, seeds: std::ops::Range<u64>) {
    directed::run(store);
    for seed in seeds {
        random::run(store, seed);
    }
}

/// Runs only the random history of one seed, of so many steps.
///
/// # Panics
/// If the store does not behave as the trait promises.
pub fn history(store: &dyn Store, seed: u64) {
    random::run(store, seed);
}

/// Waits for a future on this thread: enough for futures that need no runtime, as those of stores.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn read(store: &dyn Store, reads: &Reads) -> Result<Rows, ReadError> {
    block_on(store.read(reads.clone()))
}

fn commit(store: &dyn Store, batch: &Batch) -> Result<(), CommitError> {
    block_on(store.commit(batch.clone()))
}

fn key(text: impl AsRef<[u8]>) -> Key {
    Key::from([b"conformance/", text.as_ref()].concat())
}
