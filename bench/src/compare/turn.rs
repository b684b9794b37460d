//! One server's turn: it is given its accounts, started, put under load, and stopped.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::Compare;
use super::case::{Case, Group};
use super::table;
use crate::report::{Promise, Row};
use crate::run::{self, Job, Way};
use crate::server::{self, Archive, Kind, Running, Setup};
use crate::{Failure, stop};

/// Turns that are made at the same time.
pub(super) struct Step<'a> {
    pub(super) turns: Vec<Turn<'a>>,
}

/// One server's turn at cases of a group.
pub(super) struct Turn<'a> {
    pub(super) group: &'a Group,
    pub(super) kind: Kind,
    pub(super) version: &'a str,
    pub(super) round: usize,
    pub(super) cases: std::ops::Range<usize>,
}

/// What came of a step.
#[derive(Default)]
pub(super) struct Done {
    pub(super) rows: Vec<Row>,
    pub(super) failed: Vec<String>,
}

impl Step<'_> {
    /// What it is, whatever the round.
    pub(super) fn name(&self) -> String {
        let [turn] = self.turns.as_slice() else {
            return self.turns.first().map_or("", |turn| turn.group.name).to_owned();
        };
        format!("{} {}", turn.group.name, turn.kind.name())
    }

    /// How long it will take, by the sizes of its loads.
    pub(super) fn expected(&self) -> Duration {
        self.turns.iter().map(Turn::expected).max().unwrap_or_default()
    }

    /// Makes its turns, all together.
    pub(super) fn run(&self, compare: &Compare, base: &Path) -> Done {
        let done = Mutex::new(Done::default());
        std::thread::scope(|scope| {
            for (number, turn) in self.turns.iter().enumerate() {
                let (done, name) = (&done, turn.kind.name());
                let folder = base.join(format!("{}-{}-{name}", turn.round, turn.group.name));
                let folder = folder.with_extension(number.to_string());
                scope.spawn(move || {
                    if let Err(why) = turn.run(compare, &folder, done) {
                        fail(done, turn.group.name, name, &why);
                    }
                    // Data of gigabytes must not pile up over the rounds.
                    let _ = std::fs::remove_dir_all(&folder);
                });
            }
        });
        done.into_inner().unwrap_or_default()
    }
}

fn fail(done: &Mutex<Done>, what: &str, server: &str, why: &Failure) {
    let line = format!("!! {what} on {server}: {why}");
    eprintln!("{line}");
    if let Ok(mut done) = done.lock() {
        done.failed.push(line);
    }
}

impl Turn<'_> {
    fn cases(&self) -> impl Iterator<Item = &Case> {
        let cases = self.group.cases.iter().skip(self.cases.start).take(self.cases.len());
        cases.filter(|case| case.is_for(self.kind))
    }

    fn expected(&self) -> Duration {
        Duration::from_secs(6) + self.cases().map(Case::expected).sum::<Duration>()
    }

    fn run(&self, compare: &Compare, folder: &Path, done: &Mutex<Done>) -> Result<(), Failure> {
        let setup = Setup::new(self.kind, self.group.archive, folder.to_owned())?;
        let mut seeds: Vec<server::Seed> = Vec::new();
        for seed in self.cases().map(|case| case.seed(compare.workers)) {
            match seeds.iter_mut().find(|other| other.prefix == seed.prefix) {
                Some(other) if other.needs.accounts >= seed.needs.accounts => {}
                Some(other) => *other = seed,
                None => seeds.push(seed),
            }
        }
        server::seed(&setup, &seeds)?;
        let running = server::start(setup)?;
        for case in self.cases() {
            stop::check()?;
            match self.case(compare, &running, case) {
                Ok(row) => {
                    if let Ok(mut done) = done.lock() {
                        done.rows.push(row);
                    }
                }
                Err(why) => fail(done, &case.name, self.kind.name(), &why),
            }
        }
        Ok(())
    }

    fn case(&self, compare: &Compare, running: &Running, case: &Case) -> Result<Row, Failure> {
        let (name, kind) = (&case.name, self.kind.name());
        eprintln!("round {} of {}: {name} on {kind}", self.round, compare.rounds);
        let target = case.target(running);
        let workers = compare.workers;
        let job = Job { target, scenario: case.scenario.clone(), worker: 0, workers };
        let seen = run::run(&job, workers, Way::Processes)?;
        let archive = self.kind != Kind::Relay && self.group.archive != Archive::Off;
        let row = Row {
            case: name.clone(),
            server: kind.to_owned(),
            version: self.version.to_owned(),
            round: self.round,
            promise: Promise { archive: Some(archive), sm: job.target.sm },
            ..Row::of_run(&job, workers, seen)
        };
        if let Some(path) = &compare.json {
            row.append(path)?;
        }
        eprintln!("  {name} on {kind}: {}", table::line(&row));
        Ok(row)
    }
}
