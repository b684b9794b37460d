//! What the workers count. Plain atomics: the binary exports them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the commit latency buckets, in microseconds; one more bucket is above the last.
pub const COMMIT_BUCKETS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// Counters of one node's workers.
#[derive(Default)]
pub struct Metrics {
    /// Sessions, attached and waiting to be resumed.
    pub sessions: AtomicU64,
    /// Accounts in memory.
    pub accounts: AtomicU64,
    /// Bytes that sessions hold released and not taken.
    pub queue_bytes: AtomicU64,
    /// Stanzas from clients: messages, presences, IQs.
    pub stanzas: [AtomicU64; 3],
    /// Stanzas to clients, each as often as it is released: messages, presences, IQs.
    pub stanzas_out: [AtomicU64; 3],
    /// Logins: verified, refused, failed for lack of the store.
    pub logins: [AtomicU64; 3],
    /// Commits.
    pub commits: AtomicU64,
    /// Shards that panicked, and were dropped and opened again. Each is a bug.
    pub shards_fallen: AtomicU64,
    /// Bytes of commits.
    pub commit_bytes: AtomicU64,
    /// Commits that did not succeed at first.
    pub commit_retries: AtomicU64,
    /// Commits by latency, see [`COMMIT_BUCKETS_US`].
    pub commit_us: [AtomicU64; COMMIT_BUCKETS_US.len() + 1],
    /// Sum of commit latencies in microseconds.
    pub commit_us_sum: AtomicU64,
}

impl Metrics {
    pub(crate) fn committed(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = COMMIT_BUCKETS_US.iter().position(|bound| us <= *bound);
        let bucket = bucket.unwrap_or(COMMIT_BUCKETS_US.len());
        self.commit_us[bucket].fetch_add(1, Ordering::Relaxed);
        self.commit_us_sum.fetch_add(us, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}
