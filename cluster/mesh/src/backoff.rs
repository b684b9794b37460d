//! When to try again: pure, with randomness as an argument.

use std::time::Duration;

/// The first wait is at most this.
pub const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Waits between attempts: doubling, capped, and each drawn between its half and its whole, so
/// that nodes that lost the same neighbour do not return in step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Nothing failed so far.
    pub fn new() -> Backoff {
        Backoff::default()
    }

    /// How long to wait after one more failure. `random` is any 64 random bits.
    pub fn fail(&mut self, random: u64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let whole = doubled.min(LONGEST).as_micros() as u64;
        let half = whole / 2;
        Duration::from_micros(half + random % (whole - half + 1))
    }

    /// An attempt succeeded.
    pub fn succeed(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let (mut low, mut high) = (Backoff::new(), Backoff::new());
        let waits: Vec<_> = (0..8)
            .map(|_| {
                let whole = low.fail(0) * 2;
                (whole.as_millis(), high.fail(whole.as_micros() as u64 / 2).as_millis())
            })
            .collect();
        let want = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(waits, want.map(|it| (it, it)));
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            let wait = Backoff::new().fail(random);
            assert!(wait >= FIRST / 2 && wait <= FIRST, "{wait:?}");
        }
    }

    #[test]
    fn success_starts_anew_and_many_failures_do_not_overflow() {
        let mut backoff = Backoff::new();
        for _ in 0..100 {
            assert!(backoff.fail(u64::MAX) <= LONGEST);
        }
        backoff.attempts = u32::MAX;
        assert!(backoff.fail(7) <= LONGEST);
        backoff.succeed();
        assert!(backoff.fail(u64::MAX) <= FIRST);
    }
}
