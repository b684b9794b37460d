//! How a core waits for its sockets: under load, many small wake-ups become fewer that do more.
//!
//! A core with much to do finds the next event almost as soon as it begins to wait. Each such wait
//! costs more than what it brings: a switch of context, a look at the sockets, one stanza, with all
//! caches cold. So a core whose waits are short looks at its sockets once each [`REST_US`], and
//! finds several events at once, as a network card does that gathers packets before it interrupts.
//! A core at leisure looks at once, and one that has work does not wait at all: neither is slower
//! (decision 0019).

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;

use crate::limits::{REST_US, SHORT_WAIT_US};

/// Knows how long the last waits were.
#[derive(Debug)]
struct Pace {
    /// When the wait began that goes on.
    since_us: u64,
    /// The average of the last waits, in sixteenths of a microsecond.
    average: u64,
    /// Cores take turns, so that what one hands to the other waits for a part of a rest only.
    phase_us: u64,
}

/// A wait counts for this much at most, so that one long night is forgotten within some waits.
const WAIT_MAX_US: u64 = 8 * SHORT_WAIT_US;

impl Pace {
    /// The pace of one of `cores`.
    fn new(core: u16, cores: u16) -> Self {
        let phase_us = REST_US * u64::from(core) / u64::from(cores.max(1)) % REST_US;
        Self { since_us: 0, average: WAIT_MAX_US * 16, phase_us }
    }

    /// How long to rest before the wait that begins: until the next of this core's times to look.
    fn rest_us(&self, now_us: u64) -> u64 {
        if self.average >= SHORT_WAIT_US * 16 {
            return 0;
        }
        REST_US - (now_us + REST_US - self.phase_us) % REST_US
    }

    /// The core begins to wait for its sockets.
    fn handle_wait(&mut self, now_us: u64) {
        self.since_us = now_us;
    }

    /// Something came.
    fn handle_wake(&mut self, now_us: u64) {
        let wait_us = now_us.saturating_sub(self.since_us).min(WAIT_MAX_US);
        self.average = self.average - self.average / 16 + wait_us;
    }
}

/// Makes the runtime of a core keep this pace.
pub(super) fn keep(runtime: &mut Builder, core: u16, cores: u16) {
    let pace = Arc::new(Mutex::new(Pace::new(core, cores)));
    let waits = Arc::clone(&pace);
    runtime.on_thread_park(move || {
        let mut pace = waits.lock().unwrap_or_else(PoisonError::into_inner);
        let rest_us = pace.rest_us(now_us());
        if rest_us > 0 {
            std::thread::sleep(Duration::from_micros(rest_us));
        }
        pace.handle_wait(now_us());
    });
    runtime.on_thread_unpark(move || {
        pace.lock().unwrap_or_else(PoisonError::into_inner).handle_wake(now_us());
    });
}

/// Microseconds of a clock that all cores share.
fn now_us() -> u64 {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(STARTED.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits of the lengths given, one after the other; how many rests there were.
    fn rests(pace: &mut Pace, waits_us: impl IntoIterator<Item = u64>) -> usize {
        let mut now_us = 0;
        let mut rests = 0;
        for wait_us in waits_us {
            let rest_us = pace.rest_us(now_us);
            rests += usize::from(rest_us > 0);
            now_us += rest_us;
            pace.handle_wait(now_us);
            now_us += wait_us;
            pace.handle_wake(now_us);
        }
        rests
    }

    #[test]
    fn a_core_at_leisure_never_rests() {
        let mut pace = Pace::new(0, 1);
        assert_eq!(rests(&mut pace, [SHORT_WAIT_US; 1000]), 0);
        // A burst after a night is served at once.
        assert_eq!(rests(&mut pace, [1_000_000, 0, 0, 0, 0]), 0);
    }

    #[test]
    fn a_core_with_much_to_do_rests_until_it_has_less() {
        let mut pace = Pace::new(0, 1);
        let busy = rests(&mut pace, [SHORT_WAIT_US / 8; 1000]);
        assert!((900..1000).contains(&busy), "{busy}");
        // What it finds after a rest was there already, and that is no reason to stop resting.
        assert_eq!(rests(&mut pace, [0, SHORT_WAIT_US / 2].repeat(500)), 1000);
        let after = rests(&mut pace, [2 * SHORT_WAIT_US; 1000]);
        assert!(after < 30, "{after}");
        assert_eq!(pace.rest_us(0), 0);
    }

    #[test]
    fn cores_under_load_look_in_turns() {
        let mut cores = [Pace::new(0, 2), Pace::new(1, 2)];
        for pace in &mut cores {
            rests(pace, [0; 100]);
        }
        for now_us in (10 * REST_US..12 * REST_US).step_by(7) {
            let [a, b] = cores.each_ref().map(|pace| now_us + pace.rest_us(now_us));
            assert!(a > now_us && a <= now_us + REST_US && b > now_us && b <= now_us + REST_US);
            assert_eq!((a % REST_US, b % REST_US), (0, REST_US / 2));
        }
    }
}
