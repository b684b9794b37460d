//! The open loop: messages are due at fixed times, whatever the server does.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::pair::Pair;
use crate::Failure;
use crate::scenario::crowd::Clock;

/// When a worker's messages are due: its part of the rate, between those of the other workers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Between two messages of this worker, in nanoseconds.
    every_ns: u64,
    /// Of the first one.
    first_ns: u64,
}

impl Schedule {
    pub(super) fn new(rate: u64, worker: usize, workers: usize) -> Self {
        let every_ns = 1_000_000_000 * workers as u64 / rate.max(1);
        Self { every_ns, first_ns: every_ns * worker as u64 / workers as u64 }
    }

    /// When a message is due, in microseconds since the schedule began.
    fn due_us(self, number: u64) -> u64 {
        (self.first_ns + number * self.every_ns) / 1000
    }
}

/// Gives each message to its pair when it is due, the pairs in turn, until it is aborted.
pub(super) async fn drive(pairs: Vec<Rc<Pair>>, schedule: Schedule, clock: Clock) {
    if let Err(why) = tick(&pairs, schedule, clock).await {
        pairs.iter().for_each(|pair| pair.fail(&why));
    }
}

async fn tick(pairs: &[Rc<Pair>], schedule: Schedule, clock: Clock) -> Result<(), Failure> {
    let timer = Timer::new()?;
    let begun = clock.now_us();
    let mut number = 0;
    loop {
        let now = clock.now_us() - begun;
        while schedule.due_us(number) <= now {
            let pair = &pairs[usize::try_from(number)? % pairs.len()];
            pair.give(number, begun + schedule.due_us(number))?;
            number += 1;
        }
        timer.wait(schedule.due_us(number) - now).await?;
    }
}

/// A timer of the system: the runtime's own counts in milliseconds, which is as long as what is
/// measured.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> Result<Self, Failure> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "what it warns of, a descriptor closed too early, cannot \
                                       happen: the descriptor is owned and moves in"
        )]
        Ok(Self(AsyncFd::new(timer)?))
    }

    async fn wait(&self, micros: u64) -> Result<(), Failure> {
        let (seconds, nanos) = (micros / 1_000_000, micros % 1_000_000 * 1000);
        let it_value =
            Timespec { tv_sec: i64::try_from(seconds)?, tv_nsec: i64::try_from(nanos.max(1))? };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                Ok(result) => return Ok(result.map(|_| ())?),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_the_rate_evenly() {
        let due: Vec<Vec<u64>> = (0..4)
            .map(|worker| {
                let schedule = Schedule::new(2000, worker, 4);
                (0..3).map(|number| schedule.due_us(number)).collect()
            })
            .collect();
        assert_eq!(
            due,
            [[0, 2000, 4000], [500, 2500, 4500], [1000, 3000, 5000], [1500, 3500, 5500]]
        );
    }

    #[tokio::test]
    async fn the_timer_is_finer_than_a_millisecond() {
        let timer = Timer::new().unwrap();
        let begun = std::time::Instant::now();
        for _ in 0..10 {
            timer.wait(100).await.unwrap();
        }
        assert!(begun.elapsed().as_micros() >= 1000);
    }
}
