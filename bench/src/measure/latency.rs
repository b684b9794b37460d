//! Distributions of time, in microseconds, that add up over processes.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest time that is told apart: ten minutes.
const LONGEST_US: u64 = 600_000_000;

/// A distribution of times in microseconds, three digits exact.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the crate takes")]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("constant bounds"))
    }
}

impl Latency {
    /// Counts a time.
    pub fn record(&mut self, micros: u64) {
        self.0.saturating_record(micros.max(1));
    }

    /// Adds another distribution.
    pub fn add(&mut self, other: &Self) {
        for value in other.0.iter_recorded() {
            self.0.saturating_record_n(value.value_iterated_to(), value.count_at_value());
        }
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that a share of the counted ones do not exceed; 0 if none was counted.
    #[must_use]
    pub fn at(&self, percentile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_percentile(percentile) }
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.0.max()
    }
}

/// As pairs of value and count: short, readable, and independent of the crate.
impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<(u64, u64)> = self
            .0
            .iter_recorded()
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect();
        pairs.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latency = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latency.0.saturating_record_n(value.max(1), count);
        }
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_add_up_and_survive_the_wire() {
        let (mut low, mut high) = (Latency::default(), Latency::default());
        (1..=900).for_each(|value| low.record(value));
        (0..100).for_each(|_| high.record(50_000));
        let text = serde_json::to_string(&high).unwrap();
        low.add(&serde_json::from_str(&text).unwrap());
        assert_eq!(low.count(), 1000);
        assert!((449..=501).contains(&low.at(50.0)), "{}", low.at(50.0));
        let slow = low.at(99.0);
        assert!((50_000..=50_100).contains(&slow), "three digits are exact: {slow}");
        assert_eq!(Latency::default().at(99.0), 0);
    }

    #[test]
    fn what_is_too_long_counts_as_longest() {
        let mut latency = Latency::default();
        latency.record(u64::MAX);
        latency.record(0);
        assert_eq!(latency.count(), 2);
        assert!(latency.longest() >= LONGEST_US);
    }
}
