//! Figures: what a run showed, each with its unit and which way is better.

use serde::{Deserialize, Serialize};

use crate::measure::{Cpu, Latency};
use crate::run::Seen;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Less {
    /// Less is better.
    Better,
    /// Less is worse.
    Worse,
    /// Neither: it says what was done.
    Neither,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The figure.
    pub value: f64,
    /// Which way is better.
    pub less: Less,
}

impl Figure {
    pub(super) fn new(name: &str, unit: &str, value: f64, less: Less) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), value, less }
    }

    /// Server CPU for each of `number` units of work between two phases: all, user, system; and
    /// that of the load generator, which shares the machine.
    pub(super) fn cpu(seen: &Seen, from: &str, to: &str, number: u64, unit: &str) -> Vec<Self> {
        Self::cpu_of(seen, &[(from.to_owned(), to.to_owned())], number, unit)
    }

    /// The same, where the work was done in several pieces.
    pub(super) fn cpu_of(
        seen: &Seen,
        pieces: &[(String, String)],
        number: u64,
        unit: &str,
    ) -> Vec<Self> {
        let (mut cpu, mut load) = (Cpu::default(), 0);
        for (from, to) in pieces {
            let (from, to) = (seen.sample(from), seen.sample(to));
            let used = to.cpu.since(from.cpu);
            cpu.user_us += used.user_us;
            cpu.system_us += used.system_us;
            load += to.load.since(from.load).total_us();
        }
        let each = |micros: u64| micros as f64 / number.max(1) as f64;
        let unit = format!("µs/{unit}");
        vec![
            Self::new("CPU", &unit, each(cpu.total_us()), Less::Better),
            Self::new("CPU user", &unit, each(cpu.user_us), Less::Neither),
            Self::new("CPU system", &unit, each(cpu.system_us), Less::Neither),
            Self::new("CPU of the load", &unit, each(load), Less::Neither),
        ]
    }

    /// Units of work a second between two phases.
    pub(super) fn rate(seen: &Seen, from: &str, to: &str, number: u64, unit: &str) -> Self {
        let micros = seen.sample(to).at_us.saturating_sub(seen.sample(from).at_us).max(1);
        let rate = number as f64 * 1e6 / micros as f64;
        Self::new("rate", &format!("{unit}/s"), rate, Less::Worse)
    }

    /// Percentiles of a time.
    pub(super) fn percentiles(latency: Option<&Latency>, what: &str) -> Vec<Self> {
        let Some(latency) = latency.filter(|it| it.count() > 0) else { return Vec::new() };
        let at = |name: &str, percentile: f64| {
            let millis = latency.at(percentile) as f64 / 1000.0;
            Self::new(&format!("{what} {name}"), "ms", millis, Less::Better)
        };
        vec![at("p50", 50.0), at("p90", 90.0), at("p99", 99.0), at("p99.9", 99.9), at("max", 100.0)]
    }

    /// Something that was counted, and should be none.
    pub(super) fn counted(seen: &Seen, what: &str) -> Self {
        Self::new(what, "", seen.outcome.counted(what) as f64, Less::Better)
    }
}

/// How much of something was done.
pub(super) fn done(what: &str, number: u64) -> Figure {
    Figure::new(what, "done", number as f64, Less::Neither)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Sample;

    fn seen() -> Seen {
        let at = |name: &str, user_us: u64, at_us: u64| {
            let cpu = Cpu { user_us, system_us: user_us / 10 };
            (name.to_owned(), Sample { at_us, cpu, ..Sample::default() })
        };
        let samples =
            vec![at("a", 0, 0), at("b", 1000, 500_000), at("c", 5000, 0), at("d", 6000, 0)];
        Seen { samples, ..Seen::default() }
    }

    #[test]
    fn cpu_is_of_the_pieces_and_nothing_between() {
        let one = Figure::cpu(&seen(), "a", "b", 100, "x");
        assert_eq!((one[0].value, one[1].value, one[2].value), (11.0, 10.0, 1.0));
        assert_eq!(one[0].unit, "µs/x");
        let pieces = [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())];
        assert_eq!(Figure::cpu_of(&seen(), &pieces, 200, "x")[0].value, 11.0);
        assert_eq!(Figure::cpu(&seen(), "a", "b", 0, "x")[0].value, 1100.0);
    }

    #[test]
    fn rates_are_by_the_clock() {
        assert_eq!(Figure::rate(&seen(), "a", "b", 100, "x").value, 200.0);
    }
}
