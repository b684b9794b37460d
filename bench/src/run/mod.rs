//! A run: worker processes that make the load, and one that leads them from phase to phase and
//! looks at the server between phases.

mod lead;
mod work;

pub use lead::{Leader, Way, run};
pub use work::{Port, serve};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::measure::{Latency, Sample};
use crate::scenario::Scenario;
use crate::target::Target;

/// What one worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The server.
    pub target: Target,
    /// The load.
    pub scenario: Scenario,
    /// This worker's number, from 0.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
}

impl Job {
    /// This worker's part of `count` things: first and number.
    #[must_use]
    pub fn share(&self, count: usize) -> std::ops::Range<usize> {
        let at = |worker: usize| count * worker / self.workers;
        at(self.worker)..at(self.worker + 1)
    }
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// How far a phase is.
    Progress(String, u64, u64),
    /// It waits at the end of a phase.
    Waits(String),
    /// It is done.
    Done(Box<Outcome>),
    /// It cannot go on.
    Failed(String),
}

/// What a worker, or all together, saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Things counted.
    pub counts: BTreeMap<String, u64>,
    /// Times.
    pub latencies: BTreeMap<String, Latency>,
    /// Units of work in each second of the measured time.
    pub seconds: Vec<u64>,
}

impl Outcome {
    /// Counts something.
    pub fn count(&mut self, what: &str, number: u64) {
        *self.counts.entry(what.to_owned()).or_default() += number;
    }

    /// How much of something was counted.
    #[must_use]
    pub fn counted(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// The distribution of some time.
    pub fn latency(&mut self, what: &str) -> &mut Latency {
        self.latencies.entry(what.to_owned()).or_default()
    }

    /// Adds what another worker saw.
    pub fn add(&mut self, other: &Self) {
        for (what, number) in &other.counts {
            self.count(what, *number);
        }
        for (what, latency) in &other.latencies {
            self.latency(what).add(latency);
        }
        self.seconds.resize(self.seconds.len().max(other.seconds.len()), 0);
        for (sum, number) in self.seconds.iter_mut().zip(&other.seconds) {
            *sum += number;
        }
    }
}

/// A finished run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// What all workers saw.
    pub outcome: Outcome,
    /// The server at the end of each phase: the phase's name and what was used.
    pub samples: Vec<(String, Sample)>,
}

impl Seen {
    /// The server at the end of a phase.
    #[must_use]
    pub fn sample(&self, phase: &str) -> Sample {
        let found = self.samples.iter().find(|(name, _)| name == phase);
        found.map(|(_, sample)| *sample).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for (count, workers) in [(10, 3), (1, 4), (0, 2), (100, 1)] {
            let mut next = 0;
            for worker in 0..workers {
                let job = Job {
                    target: crate::target::tests::target("127.0.0.1:1"),
                    scenario: Scenario::default(),
                    worker,
                    workers,
                };
                let share = job.share(count);
                assert_eq!(share.start, next);
                next = share.end;
            }
            assert_eq!(next, count);
        }
    }

    #[test]
    fn outcomes_add_up() {
        let mut sum = Outcome::default();
        let mut part = Outcome { seconds: vec![1, 2], ..Outcome::default() };
        part.count("lost", 2);
        part.latency("login").record(5);
        sum.add(&part);
        part.seconds.push(3);
        sum.add(&part);
        assert_eq!(sum.counted("lost"), 4);
        assert_eq!(sum.latency("login").count(), 2);
        assert_eq!(sum.seconds, [2, 4, 3]);
    }
}
