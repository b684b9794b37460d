//! Sending the clients of an edge to others, so many in a second: each comes back at once, and all
//! at once would be a herd.

use std::collections::VecDeque;

/// Who is still to be sent away.
#[derive(Debug)]
pub(crate) struct HandOff {
    /// Where they are told to go.
    location: Option<Box<str>>,
    rate: u64,
    started_us: u64,
    told: u64,
    waiting: VecDeque<u64>,
}

impl HandOff {
    /// Begins with these connections, in this order.
    pub(crate) fn new(
        rate_per_second: u32,
        location: Option<String>,
        waiting: VecDeque<u64>,
        now_us: u64,
    ) -> Self {
        let rate = u64::from(rate_per_second.max(1));
        let location = location.map(String::into_boxed_str);
        Self { location, rate, started_us: now_us, told: 0, waiting }
    }

    /// Where clients are told to go.
    pub(crate) fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Whose turn it is.
    pub(crate) fn due(&mut self, now_us: u64) -> Vec<u64> {
        let elapsed_us = now_us.saturating_sub(self.started_us);
        let all = u128::from(elapsed_us) * u128::from(self.rate) / 1_000_000;
        let new = u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(self.told);
        let new = usize::try_from(new).unwrap_or(usize::MAX).min(self.waiting.len());
        self.told += new as u64;
        let due = self.waiting.drain(..new).collect();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_number() {
        let mut off = HandOff::new(10, None, (0..25).collect(), 5_000_000);
        assert!(off.due(5_000_000).is_empty() && off.due(5_099_999).is_empty());
        assert_eq!(off.due(5_100_000), [0]);
        assert!(off.due(5_100_000).is_empty(), "another core has looked");
        assert_eq!(off.due(6_000_000), (1..10).collect::<Vec<_>>());
        assert_eq!(off.due(7_000_000).len(), 10);
        assert_eq!(off.due(60_000_000), [20, 21, 22, 23, 24]);
        assert!(off.due(u64::MAX).is_empty());
    }

    #[test]
    fn no_rate_is_one_in_a_second() {
        let mut off = HandOff::new(0, None, (0..3).collect(), 0);
        assert!(off.due(999_999).is_empty());
        assert_eq!(off.due(1_000_000), [0]);
    }
}
