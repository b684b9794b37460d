//! One core of an edge: its listeners, its timers, and the connections that live on its thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};

use crate::berth::Dock;
use crate::buffers::Buffers;
use crate::driver;
use crate::edge::{Drain, Shared};
use crate::inbox::Ring;
use crate::limits::{CERTIFICATE_POLL_S, LOST_SWEEP_US, TICK_US, WHEEL_LISTS};
use crate::listen::{Listeners, prepare};
use crate::tls::Entry;
use crate::wheel::Wheel;

/// What the connections of one core share.
pub(crate) struct Core {
    /// Which core of the edge.
    pub(crate) index: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) buffers: RefCell<Buffers>,
    wheel: RefCell<Wheel>,
    now_us: Cell<u64>,
    swept_us: Cell<u64>,
    live: Cell<usize>,
}

impl Core {
    pub(crate) fn new(index: u16, shared: Arc<Shared>) -> Self {
        let now_us = shared.now_us();
        Self {
            index,
            shared,
            buffers: RefCell::new(Buffers::new()),
            wheel: RefCell::new(Wheel::new(WHEEL_LISTS, TICK_US, now_us)),
            now_us: Cell::new(now_us),
            swept_us: Cell::new(now_us),
            live: Cell::new(0),
        }
    }

    /// Where connections of other cores arrive.
    pub(crate) fn dock(&self) -> Option<&Dock> {
        self.shared.docks.get(usize::from(self.index))
    }

    /// Microseconds since the edge started, as of this core's last tick.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    /// Wakes a connection at a time; returns when that will be, if that is earlier.
    pub(crate) fn arm(&self, slot: u64, at_us: u64) -> u64 {
        self.wheel.borrow_mut().arm(slot, at_us)
    }

    pub(crate) fn opened(&self) {
        self.live.set(self.live.get() + 1);
    }

    pub(crate) fn closed(&self) {
        self.live.set(self.live.get().saturating_sub(1));
    }

    fn tick(&self) {
        let now_us = self.shared.now_us();
        self.now_us.set(now_us);
        let hub = &self.shared.hub;
        self.wheel.borrow_mut().turn(now_us, |slot| hub.ring(slot, Ring::Timer));
        if now_us >= self.swept_us.get() + LOST_SWEEP_US {
            self.swept_us.set(now_us);
            hub.sweep(now_us);
        }
    }
}

/// Serves until the edge is drained and the last connection of this core is gone.
pub(crate) async fn run(shared: Arc<Shared>, listeners: Listeners) -> io::Result<()> {
    let core = Rc::new(Core::new(listeners.core(), shared));
    // Until the core ends: who is on its way when the drain begins is told so here.
    let welcoming = spawn_local(driver::welcome(Rc::clone(&core)));
    let mut accepting = Vec::new();
    for (listener, entry) in listeners.into_sockets() {
        let listener = TcpListener::from_std(listener)?;
        accepting.push(spawn_local(accept(Rc::clone(&core), listener, entry)));
    }
    let mut certificates_at = Instant::now() + Duration::from_secs(CERTIFICATE_POLL_S);
    loop {
        tokio::time::sleep(Duration::from_micros(TICK_US)).await;
        core.tick();
        if core.shared.drain.state() != Drain::Serving {
            accepting.drain(..).for_each(|task: JoinHandle<()>| task.abort());
            if core.live.get() == 0 {
                welcoming.abort();
                if let Some(dock) = core.dock() {
                    dock.close();
                }
                return Ok(());
            }
            core.shared.hand_off(core.now_us());
            core.shared.end_if_late();
        }
        if Instant::now() >= certificates_at {
            certificates_at = Instant::now() + Duration::from_secs(CERTIFICATE_POLL_S);
            let shared = Arc::clone(&core.shared);
            // Files are read away from the sockets. Cores that come to it together find nothing
            // new.
            tokio::task::spawn_blocking(move || shared.look_at_certificates());
        }
    }
}

/// Accepts for one listener, for as long as the core does.
async fn accept(core: Rc<Core>, listener: TcpListener, entry: Entry) {
    loop {
        match listener.accept().await {
            Ok((socket, from)) => {
                if let Err(error) = prepare(&socket) {
                    // The client has left already.
                    tracing::debug!(%error, "socket options");
                    continue;
                }
                driver::admit(&core, socket, from.ip(), entry);
            }
            Err(error) => {
                core.shared.metrics.accept_errors.add(1);
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of files or memory: it would fail again at once.
                tokio::time::sleep(Duration::from_micros(TICK_US)).await;
            }
        }
    }
}
