//! What an edge counts. The binary exports it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds, and returns the value after it.
    pub(crate) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed) + n
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}

/// The figures of one edge. Bytes are those on the socket, TLS included.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sockets open.
    pub connections: Gauge,
    /// Of these, with a bound session.
    pub sessions: Gauge,
    /// Sockets accepted and served.
    pub accepted: Counter,
    /// Sockets closed at once: the source holds too many.
    pub refused_source_count: Counter,
    /// Sockets closed at once: the source comes too fast.
    pub refused_source_rate: Counter,
    /// Sockets closed at once: the node is full.
    pub refused_full: Counter,
    /// Sockets closed at once: too many are on their way in.
    pub refused_busy: Counter,
    /// Logins that were not begun: too many wait for an answer.
    pub refused_logins: Counter,
    /// Calls of `accept` that failed.
    pub accept_errors: Counter,
    /// TLS handshakes done, without and with a ticket.
    pub tls_full: Counter,
    /// See [`Metrics::tls_full`].
    pub tls_resumed: Counter,
    /// TLS connections that ended by a fault, in the handshake or later.
    pub tls_faults: Counter,
    /// Connections that had no session when their time was up.
    pub handshake_timeouts: Counter,
    /// Connections whose client does not answer the kernel's probes.
    pub silent: Counter,
    /// Connections that took too little of what they were sent.
    pub slow_readers: Counter,
    /// Connections lost to a bug of ours.
    pub panics: Counter,
    /// Connections that went to the core of their owner.
    pub moved: Counter,
    /// Bytes read.
    pub bytes_in: Counter,
    /// Bytes written.
    pub bytes_out: Counter,
    /// Stanzas from clients.
    pub stanzas_in: Counter,
    /// Stanzas to clients.
    pub stanzas_out: Counter,
    /// Passwords derived for PLAIN.
    pub derivations: Counter,
    /// Passwords not derived, as too many were waiting.
    pub derivations_refused: Counter,
    /// Bytes of stanzas that were sent to owners and not yet confirmed.
    pub in_flight_bytes: Gauge,
    /// Lost connections that later owners of their shards will be told of, at an edge of a cluster.
    pub lost_kept: Gauge,
    /// Of these, forgotten as there were too many.
    pub lost_dropped: Counter,
    /// Sessions that new owners were told of.
    pub reports: Counter,
    /// Shards whose new owners were told all.
    pub shards_moved: Counter,
    /// Frames of owners that are not owners any more.
    pub stale_frames: Counter,
}
