//! An edge as its node sees it: made once, run on each core, drained.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use peer::shard::HashKey;
use peer::{NodeId, ShardId, Uplink};

use crate::admission::{Admission, Pass};
use crate::berth::{Dock, Voyage};
use crate::core;
use crate::derive::Derivers;
use crate::handoff::HandOff;
use crate::hub::Hub;
use crate::inbox::Ring;
use crate::limits::{LOGINS_MAX, RESERVED_FILES};
use crate::listen::Listeners;
use crate::metrics::Metrics;
use crate::sources::{Place, SourceLimits, SourceRefusal, Sources};
use crate::tls::{CertificateFault, Tls};

/// What an edge is told when it is made.
#[derive(Debug)]
pub struct Config {
    /// This node, in this incarnation.
    pub node: NodeId,
    /// How many cores run it.
    pub cores: u16,
    /// The key by which accounts are spread over shards.
    pub hash_key: HashKey,
    /// Whether owners of shards change: what a new one must be told is kept of each session.
    pub cluster: bool,
    /// What streams are told.
    pub stream: Arc<stream::Config>,
    /// Certificates and ticket keys.
    pub tls: Arc<Tls>,
    /// Limits that an operator may change.
    pub limits: Limits,
}

/// Limits that an operator may change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of the node at a time.
    pub connections_max: u64,
    /// What one source address may do.
    pub source: SourceLimits,
    /// From accept to session, in microseconds, whatever the client does meanwhile.
    pub handshake_us: u64,
    /// Threads that derive keys for PLAIN.
    pub derive_threads: usize,
    /// Questions of logins that may wait for their owners before no login begins.
    pub logins_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: connections_by_files(),
            source: SourceLimits::default(),
            // A phone on a bad network needs a dozen round trips of a second or two.
            handshake_us: 60_000_000,
            derive_threads: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().div_ceil(4)),
            logins_max: LOGINS_MAX,
        }
    }
}

/// How many connections the limit of open files leaves, or 1,000 where the system does not say.
fn connections_by_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse::<u64>().ok())
        .unwrap_or(1_000 + RESERVED_FILES);
    soft.saturating_sub(RESERVED_FILES).max(1)
}

/// An edge. Clones are the same edge.
#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
}

/// What all cores of an edge share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) hub: Arc<Hub>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) derivers: Derivers,
    pub(crate) admission: Mutex<Admission>,
    pub(crate) drain: Draining,
    /// By core: where connections arrive that another core accepted.
    pub(crate) docks: Vec<Dock>,
    pub(crate) uplink: Arc<dyn Uplink>,
    sources: Arc<Sources>,
    started: Instant,
}

/// How far the stopping of an edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It is not being stopped.
    Serving = 0,
    /// It accepts nobody, and sends its clients to other edges.
    HandingOff = 1,
    /// It accepts nobody, and its streams are closing.
    Closing = 2,
    /// It lets go of every socket.
    Ending = 3,
}

#[derive(Debug, Default)]
pub(crate) struct Draining {
    state: AtomicU8,
    deadline: Mutex<Option<Instant>>,
    hand_off: Mutex<Option<HandOff>>,
}

impl Draining {
    pub(crate) fn state(&self) -> Drain {
        match self.state.load(Ordering::SeqCst) {
            0 => Drain::Serving,
            1 => Drain::HandingOff,
            2 => Drain::Closing,
            _ => Drain::Ending,
        }
    }

    /// Goes on to a state; `false`: it is there, or further.
    fn advance(&self, to: Drain) -> bool {
        self.state.fetch_max(to as u8, Ordering::SeqCst) < to as u8
    }

    /// What a connection must be told that was not there when the others were.
    pub(crate) fn bell(&self) -> Option<Ring> {
        match self.state() {
            Drain::Serving => None,
            Drain::HandingOff => Some(Ring::HandOff),
            Drain::Closing | Drain::Ending => Some(Ring::Drain),
        }
    }

    /// Where clients are sent.
    pub(crate) fn location(&self) -> Option<String> {
        self.hand_off.lock().as_ref()?.location().map(str::to_owned)
    }
}

impl Edge {
    /// Makes an edge, and the hub by which frames reach its connections.
    ///
    /// # Errors
    /// Where no threads can be started.
    pub fn new(config: Config, uplink: Arc<dyn Uplink>) -> io::Result<(Self, Arc<Hub>)> {
        let metrics = Arc::new(Metrics::default());
        let (edge, key, cluster) = (config.node, config.hash_key, config.cluster);
        let up = Arc::clone(&uplink);
        let hub = Arc::new(Hub::new(edge, key, cluster, up, Arc::clone(&metrics)));
        let shared = Shared {
            hub: Arc::clone(&hub),
            metrics,
            derivers: Derivers::start(config.limits.derive_threads)?,
            admission: Mutex::new(Admission::new(
                config.limits.connections_max,
                config.limits.logins_max,
            )),
            drain: Draining::default(),
            sources: Arc::new(Sources::new(config.limits.source, config.limits.connections_max)),
            docks: (0..config.cores).map(|_| Dock::new()).collect(),
            uplink,
            started: Instant::now(),
            config,
        };
        Ok((Self { shared: Arc::new(shared) }, hub))
    }

    /// Serves on this core until the edge is drained. Wants a current-thread runtime with time and
    /// IO, inside a `LocalSet`.
    ///
    /// # Errors
    /// Where the runtime refuses the sockets.
    pub async fn run_core(&self, listeners: Listeners) -> io::Result<()> {
        core::run(Arc::clone(&self.shared), listeners).await
    }

    /// Stops: accepts nobody, and closes the streams with `system-shutdown` (RFC 6120 §4.9.3.20).
    /// What is left after `patience` is cut. The second call cuts everything now.
    pub fn drain(&self, patience: Duration) {
        let shared = &self.shared;
        if shared.drain.advance(Drain::Closing) {
            *shared.drain.deadline.lock() = Some(Instant::now() + patience);
            shared.hub.ring_all(Ring::Drain);
        } else {
            shared.end();
        }
    }

    /// Gives its clients to other edges: accepts nobody, and closes so many streams in a second,
    /// the oldest first. No session is over by that: its client resumes it elsewhere. `location` is
    /// where, as `host` or `host:port`; it is told to those whose stream TLS protects
    /// (`see-other-host`, RFC 6120 §4.9.3.19). All others, and all without it, are told that the
    /// node stops, and find another one by their domain.
    ///
    /// The edge ends with its last connection; [`Edge::drain`] ends it sooner.
    pub fn hand_off(&self, rate_per_second: u32, location: Option<String>) {
        let shared = &self.shared;
        let mut hand_off = shared.drain.hand_off.lock();
        if shared.drain.advance(Drain::HandingOff) {
            // Who is registered after this sees that it has begun.
            let slots = shared.hub.slots();
            *hand_off = Some(HandOff::new(rate_per_second, location, slots, shared.now_us()));
        }
    }

    /// How far the stopping is.
    pub fn drain_state(&self) -> Drain {
        self.shared.drain.state()
    }

    /// Sockets open.
    pub fn connections(&self) -> u64 {
        self.shared.metrics.connections.value()
    }

    /// The figures of this edge.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Reads all certificate files again; faults leave the certificate before in its place.
    pub fn reload_certificates(&self) -> Vec<CertificateFault> {
        self.shared.config.tls.certificates().reload()
    }
}

impl Shared {
    /// Counts a connection from this address, or refuses it.
    pub(crate) fn admit(&self, from: IpAddr, now_us: u64) -> Option<(Place, Pass)> {
        let metrics = &self.metrics;
        if self.drain.state() != Drain::Serving {
            return None;
        }
        if metrics.connections.value() >= self.config.limits.connections_max {
            metrics.refused_full.add(1);
            return None;
        }
        let place = match self.sources.admit(from, now_us) {
            Ok(place) => place,
            Err(SourceRefusal::TooMany) => {
                metrics.refused_source_count.add(1);
                return None;
            }
            Err(SourceRefusal::TooFast) => {
                metrics.refused_source_rate.add(1);
                return None;
            }
        };
        let Some(pass) = self.admission.lock().arrives(self.derivers.waiting()) else {
            metrics.refused_busy.add(1);
            return None;
        };
        metrics.accepted.add(1);
        Some((place, pass))
    }

    /// Microseconds since the edge started.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The core on which the owner of a shard runs, if it is one of this edge's.
    pub(crate) fn core_of(&self, shard: ShardId) -> Option<u16> {
        self.uplink.core(shard).filter(|core| *core < self.config.cores)
    }

    /// Sends a connection to another core.
    pub(crate) fn send_to_core(&self, core: u16, voyage: Voyage) {
        if let Some(dock) = self.docks.get(usize::from(core)) {
            self.metrics.moved.add(1);
            dock.send(voyage);
        }
    }

    /// Sends those away whose turn it is.
    pub(crate) fn hand_off(&self, now_us: u64) {
        let due = self.drain.hand_off.lock().as_mut().map(|it| it.due(now_us)).unwrap_or_default();
        due.into_iter().for_each(|slot| self.hub.ring(slot, Ring::HandOff));
    }

    /// Cuts what is left when the patience of the drain is over.
    pub(crate) fn end_if_late(&self) {
        let late = self.drain.deadline.lock().is_some_and(|deadline| Instant::now() >= deadline);
        if late && self.drain.state() == Drain::Closing {
            self.end();
        }
    }

    fn end(&self) {
        self.drain.advance(Drain::Ending);
        self.hub.ring_all(Ring::Abandon);
    }

    /// Takes certificates whose files changed.
    pub(crate) fn look_at_certificates(&self) {
        let (renewed, faults) = self.config.tls.certificates().reload_changed();
        if renewed > 0 {
            tracing::info!(renewed, "certificates read again");
        }
        for fault in faults {
            tracing::error!(%fault, "a certificate cannot be used; the one before stays");
        }
    }
}
