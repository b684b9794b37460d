//! How long commits take: counts in buckets, for whoever exports metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds; one more bucket holds what is above the last.
pub const BUCKETS_US: [u64; 13] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000,
];

/// From the call of `commit` to its answer.
#[derive(Debug, Default)]
pub struct CommitLatency {
    counts: [AtomicU64; BUCKETS_US.len() + 1],
    total_us: AtomicU64,
}

impl CommitLatency {
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|end| *end < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.total_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Commits in each bucket of [`BUCKETS_US`], and in the last the slower ones. Not cumulative.
    pub fn counts(&self) -> [u64; BUCKETS_US.len() + 1] {
        std::array::from_fn(|n| self.counts.get(n).map_or(0, |c| c.load(Ordering::Relaxed)))
    }

    /// The sum of all times, in microseconds.
    pub fn total_us(&self) -> u64 {
        self.total_us.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let latency = CommitLatency::default();
        for us in [0, 100, 101, 1_000_000, 1_000_001] {
            latency.record(Duration::from_micros(us));
        }
        let counts = latency.counts();
        assert_eq!((counts[0], counts[1], counts[12], counts[13]), (2, 1, 1, 1));
        assert_eq!(latency.total_us(), 2_000_202);
    }
}
