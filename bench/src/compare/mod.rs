//! The comparison: the same loads on Carillon, its peers and the bare relay, in alternating rounds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod case;
mod goal;
mod table;

use std::path::{Path, PathBuf};

use crate::Failure;
use crate::report::{Promise, Row};
use crate::run::{self, Job, Way};
use crate::server::{self, Archive, Kind, Setup};
use case::{Case, Group};

/// What is compared, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Compare {
    /// Rounds; in each, every server does everything once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    pub rounds: u64,
    /// Only these servers
    #[arg(long, value_enum, value_delimiter = ',')]
    pub servers: Vec<Kind>,
    /// Only cases whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    pub cases: Vec<String>,
    /// Measured seconds of a chat
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Pairs of a chat
    #[arg(long, default_value_t = 100)]
    pub pairs: usize,
    /// Messages a second where a chat has a rate
    #[arg(long, default_value_t = 2000)]
    pub rate: u64,
    /// Measured logins
    #[arg(long, default_value_t = 2000)]
    pub logins: usize,
    /// Numbers of idle sessions
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 4000])]
    pub sessions: Vec<usize>,
    /// Seconds at rest before memory is read
    #[arg(long, default_value_t = 60)]
    pub rest: u64,
    /// Processes that make the load
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Append each run to this file, as one line of JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Where servers keep their data while they run; a folder on the disk to be measured
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// Runs the comparison and prints it.
///
/// # Errors
/// If no server can be started at all, or nothing is to be compared. A case that fails on one
/// server is said and left out.
pub fn compare(compare: &Compare) -> Result<(), Failure> {
    let servers = installed(compare);
    let groups = case::groups(compare);
    if servers.is_empty() || groups.is_empty() {
        return Err("nothing to compare: see --servers and --cases".into());
    }
    for group in &groups {
        for case in &group.cases {
            case.scenario.check(compare.workers)?;
        }
    }
    let base = match &compare.folder {
        Some(folder) => tempfile::Builder::new().prefix("compare-").tempdir_in(folder)?,
        None => tempfile::Builder::new().prefix("carillon-compare-").tempdir()?,
    };
    let mut rows = Vec::new();
    for round in 1..=usize::try_from(compare.rounds)? {
        for group in &groups {
            // Every other round goes the other way: what drifts on the machine hits all alike.
            let mut order: Vec<&(Kind, String)> = servers.iter().collect();
            if round.is_multiple_of(2) {
                order.reverse();
            }
            for (kind, version) in order.into_iter().filter(|(kind, _)| group.is_for(*kind)) {
                let folder = base.path().join(format!("{round}-{}-{}", group.name, kind.name()));
                let done = Turn { compare, group, kind: *kind, version, round };
                let result = done.run(&folder, &mut rows);
                if let Err(why) = result {
                    eprintln!("!! {} on {}: {why}", group.name, kind.name());
                }
                // Data of gigabytes must not pile up over the rounds.
                let _ = std::fs::remove_dir_all(&folder);
            }
        }
    }
    print!("{}", table::table(&rows));
    print!("{}", goal::table(&rows));
    Ok(())
}

/// The servers that are there; what is missing is said.
fn installed(compare: &Compare) -> Vec<(Kind, String)> {
    let asked = |kind: &Kind| compare.servers.is_empty() || compare.servers.contains(kind);
    let mut found = Vec::new();
    for kind in Kind::ALL.into_iter().filter(asked) {
        match kind.version() {
            Ok(version) => found.push((kind, version)),
            Err(why) => eprintln!("{} is left out: {why}", kind.name()),
        }
    }
    found
}

/// One server's turn at a group of cases.
struct Turn<'a> {
    compare: &'a Compare,
    group: &'a Group,
    kind: Kind,
    version: &'a str,
    round: usize,
}

impl Turn<'_> {
    fn run(&self, folder: &Path, rows: &mut Vec<Row>) -> Result<(), Failure> {
        let setup = Setup::new(self.kind, self.group.archive, folder.to_owned())?;
        let running = server::start(setup)?;
        for case in self.group.cases.iter().filter(|case| case.is_for(self.kind)) {
            match self.case(&running, case) {
                Ok(row) => rows.push(row),
                Err(why) => eprintln!("!! {} on {}: {why}", case.name, self.kind.name()),
            }
        }
        Ok(())
    }

    fn case(&self, running: &server::Running, case: &Case) -> Result<Row, Failure> {
        let (name, kind) = (&case.name, self.kind.name());
        eprintln!("round {} of {}: {name} on {kind}", self.round, self.compare.rounds);
        let target = case.target(running);
        let workers = self.compare.workers;
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
        if let Some(path) = &self.compare.json {
            row.append(path)?;
        }
        eprintln!("  {}", table::line(&row));
        Ok(row)
    }
}
