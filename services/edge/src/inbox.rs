//! The way into a connection's task from outside: frames, and reasons to wake up.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Why a connection is woken, besides frames and its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// A deadline may have passed.
    Timer = 1,
    /// The node is being stopped: close the stream.
    Drain = 2,
    /// The node stops now: let go of the socket.
    Abandon = 4,
    /// Other edges take over: send the client there.
    HandOff = 8,
}

/// What rang since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rung(u8);

impl Rung {
    pub(crate) fn has(self, ring: Ring) -> bool {
        self.0 & ring as u8 != 0
    }
}

/// A queue of one consumer that holds no memory while it is empty.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    queue: VecDeque<T>,
    bytes: usize,
    rung: Rung,
    overrun: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// What is in an inbox when its task looks.
#[derive(Debug)]
pub(crate) struct Mail<T> {
    pub(crate) queue: VecDeque<T>,
    pub(crate) rung: Rung,
    /// More came than may wait, and was refused: the connection must end.
    pub(crate) overrun: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        let state = State {
            queue: VecDeque::new(),
            bytes: 0,
            rung: Rung(0),
            overrun: false,
            closed: false,
            waker: None,
        };
        Self { state: Mutex::new(state) }
    }

    /// Puts one item in, and wakes the task once. Beyond `bytes_max` nothing more is taken: whoever
    /// sends that much has broken the window, and the connection ends rather than grow.
    ///
    /// # Errors
    /// The item, where the task is gone or about to go.
    pub(crate) fn push(&self, item: T, bytes: usize, bytes_max: usize) -> Result<(), T> {
        let (result, waker) = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(item);
            }
            state.bytes += bytes;
            state.overrun |= state.bytes > bytes_max;
            let result = match state.overrun {
                true => Err(item),
                false => {
                    state.queue.push_back(item);
                    Ok(())
                }
            };
            (result, state.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// Takes nothing from here on, and gives what nobody has taken.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut state = self.state.lock();
        state.closed = true;
        state.waker = None;
        std::mem::take(&mut state.queue)
    }

    /// Wakes the task for a reason.
    pub(crate) fn ring(&self, ring: Ring) {
        let waker = {
            let mut state = self.state.lock();
            state.rung.0 |= ring as u8;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all that is there, or, without `items`, only what rang. Where there is nothing, the
    /// task is woken when there is.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, items: bool) -> Poll<Mail<T>> {
        let mut state = self.state.lock();
        if (state.queue.is_empty() || !items) && state.rung.0 == 0 && !state.overrun {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let queue = if items {
            state.bytes = 0;
            std::mem::take(&mut state.queue)
        } else {
            VecDeque::new()
        };
        Poll::Ready(Mail { queue, rung: std::mem::take(&mut state.rung), overrun: state.overrun })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_sleeping_task_is_woken_once_and_finds_all_in_order() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let inbox = Inbox::new();
        assert!(inbox.poll(&mut cx, true).is_pending());
        for n in 0..5 {
            assert_eq!(inbox.push(n, 10, 100), Ok(()));
        }
        inbox.ring(Ring::Timer);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let Poll::Ready(mail) = inbox.poll(&mut cx, true) else { panic!("nothing there") };
        assert_eq!(mail.queue, [0, 1, 2, 3, 4]);
        assert!(mail.rung.has(Ring::Timer) && !mail.rung.has(Ring::Drain) && !mail.overrun);
        assert!(inbox.poll(&mut cx, true).is_pending());
        assert_eq!(inbox.state.lock().queue.capacity(), 0, "memory at rest");
    }

    #[test]
    fn a_task_that_takes_no_items_still_hears_the_bell() {
        let mut cx = Context::from_waker(Waker::noop());
        let inbox = Inbox::new();
        assert_eq!(inbox.push(1, 10, 100), Ok(()));
        assert!(inbox.poll(&mut cx, false).is_pending());
        inbox.ring(Ring::Drain);
        let Poll::Ready(mail) = inbox.poll(&mut cx, false) else { panic!("nothing rang") };
        assert!(mail.rung.has(Ring::Drain) && mail.queue.is_empty());
        assert_eq!(inbox.push(2, 91, 100), Err(2), "what was not taken still counts");
    }

    #[test]
    fn more_than_may_wait_is_refused_for_good() {
        let mut cx = Context::from_waker(Waker::noop());
        let inbox = Inbox::new();
        let taken = (0..1000).filter(|n| inbox.push(*n, 10, 100).is_ok()).count();
        assert_eq!(taken, 10);
        let Poll::Ready(mail) = inbox.poll(&mut cx, true) else { panic!("nothing there") };
        assert!(mail.overrun && mail.queue.len() == 10);
        // Taking the mail makes room again, but never for this connection.
        assert_eq!(inbox.push(1, 10, 100), Err(1));
    }

    #[test]
    fn what_nobody_took_comes_back() {
        let inbox = Inbox::new();
        assert_eq!(inbox.push(1, 10, 100), Ok(()));
        assert_eq!(inbox.close(), [1]);
        assert_eq!(inbox.push(2, 10, 100), Err(2));
    }
}
