//! One coarse timer for all connections of a core: a ring of lists of connections, moved on by one
//! sleeping task.
//!
//! A connection is woken at or after the time it asked for, and looks for itself what is due. So an
//! entry is never taken out, moving a deadline back costs nothing, and a connection at rest costs
//! one entry.

/// The ring. Time is in microseconds of a clock that only grows.
#[derive(Debug)]
pub(crate) struct Wheel {
    lists: Vec<Vec<u64>>,
    tick_us: u64,
    /// All ticks up to this one were rung.
    tick: u64,
}

impl Wheel {
    /// A wheel of `lists` ticks.
    pub(crate) fn new(lists: usize, tick_us: u64, now_us: u64) -> Self {
        Self {
            lists: (0..lists.max(2)).map(|_| Vec::new()).collect(),
            tick_us: tick_us.max(1),
            tick: now_us / tick_us.max(1),
        }
    }

    /// Wakes `slot` at or soon after `at_us`, or when the wheel has turned once, if that is
    /// earlier. Returns when that will be.
    pub(crate) fn arm(&mut self, slot: u64, at_us: u64) -> u64 {
        let turn = self.lists.len() as u64 - 1;
        // Rounded up: never before the time.
        let tick = at_us.div_ceil(self.tick_us).clamp(self.tick + 1, self.tick + turn);
        let list = (tick % self.lists.len() as u64) as usize;
        if let Some(list) = self.lists.get_mut(list) {
            list.push(slot);
        }
        tick * self.tick_us
    }

    /// Moves on to `now_us`, and gives each connection whose time has come to `ring`.
    pub(crate) fn turn(&mut self, now_us: u64, mut ring: impl FnMut(u64)) {
        let now = now_us / self.tick_us;
        let turn = self.lists.len() as u64;
        // After a long stall every list is due, and once is enough.
        let first = (self.tick + 1).max((now + 1).saturating_sub(turn));
        for tick in first..=now {
            let list = (tick % turn) as usize;
            if let Some(list) = self.lists.get_mut(list) {
                std::mem::take(list).into_iter().for_each(&mut ring);
            }
        }
        self.tick = self.tick.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(wheel: &mut Wheel, now_us: u64) -> Vec<u64> {
        let mut slots = Vec::new();
        wheel.turn(now_us, |slot| slots.push(slot));
        slots
    }

    #[test]
    fn nobody_is_woken_early_and_everybody_within_a_tick() {
        let mut wheel = Wheel::new(16, 100, 1000);
        for slot in 0..1200 {
            wheel.arm(slot, 1000 + slot);
        }
        let mut seen = 0;
        for now in (1000..=2400).step_by(50) {
            for slot in rung(&mut wheel, now) {
                assert!(1000 + slot <= now, "{slot} at {now}");
                assert!(now <= 1000 + slot.max(1) + 200, "{slot} at {now}");
                seen += 1;
            }
        }
        assert_eq!(seen, 1200);
    }

    #[test]
    fn what_is_further_than_a_turn_comes_after_a_turn() {
        let mut wheel = Wheel::new(16, 100, 0);
        assert_eq!(wheel.arm(7, 1_000_000), 1500);
        assert!(rung(&mut wheel, 1499).is_empty());
        assert_eq!(rung(&mut wheel, 1500), [7]);
    }

    #[test]
    fn a_stall_of_many_turns_loses_nobody() {
        let mut wheel = Wheel::new(16, 100, 0);
        for slot in 0..15 {
            wheel.arm(slot, slot * 100);
        }
        let mut slots = rung(&mut wheel, 1_000_000);
        slots.sort_unstable();
        assert_eq!(slots, (0..15).collect::<Vec<_>>());
        wheel.arm(3, 0);
        assert_eq!(rung(&mut wheel, 1_000_100), [3], "a time that has passed is the next tick");
    }
}
