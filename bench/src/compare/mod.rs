//! The comparison: the same loads on Carillon, its peers and the bare relay, in alternating rounds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod case;
mod goal;
mod machine;
mod plan;
mod table;
mod turn;

use std::path::PathBuf;

use crate::server::Kind;
use crate::{Failure, stop};
use plan::Plan;

/// What is compared, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Compare {
    /// Only what the goals are about, made so short that three rounds take about 40 minutes
    ///
    /// The loads of the rows of the goals and no others; idle sessions and archives that wait for
    /// the disk in the first round only. The other options change what it says here: 5 measured
    /// seconds, 800 logins.
    #[arg(long)]
    pub goals: bool,
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
    #[arg(long, default_value_t = 15, default_value_if("goals", "true", "5"),
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Pairs of a chat
    #[arg(long, default_value_t = 100)]
    pub pairs: usize,
    /// Messages a second where a chat has a rate
    #[arg(long, default_value_t = 2000)]
    pub rate: u64,
    /// Measured logins
    #[arg(long, default_value_t = 2000, default_value_if("goals", "true", "800"))]
    pub logins: usize,
    /// Numbers of idle sessions; the first is such that caches of a fixed size are full
    #[arg(long, value_delimiter = ',', default_values_t = [5000, 15000])]
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
/// If no server can be started at all, nothing is to be compared, or it is interrupted. A case that
/// fails on one server is said and left out; at the end there is an error with their number.
pub fn compare(compare: &Compare) -> Result<(), Failure> {
    let servers = installed(compare);
    let groups = case::groups(compare);
    if servers.is_empty() || groups.is_empty() {
        return Err("nothing to compare: see --servers and --cases".into());
    }
    for case in groups.iter().flat_map(|group| &group.cases) {
        case.scenario.check(compare.workers)?;
    }
    let base = match &compare.folder {
        Some(folder) => tempfile::Builder::new().prefix("compare-").tempdir_in(folder)?,
        None => tempfile::Builder::new().prefix("carillon-compare-").tempdir()?,
    };
    print!("{}", machine::machine(base.path(), &servers));
    let mut plan = Plan::new(compare, &groups, &servers);
    eprintln!("{}", plan.left());
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    while let Some(step) = plan.next() {
        let done = step.run(compare, base.path());
        rows.extend(done.rows);
        failed.extend(done.failed);
        if stop::check().is_err() {
            break;
        }
        plan.done();
        eprintln!("{}", plan.left());
    }
    if !compare.goals {
        print!("{}", table::table(&rows));
    }
    print!("{}", goal::table(&rows));
    stop::check()?;
    match failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} failed:\n{}", failed.join("\n")).into()),
    }
}

/// The servers that are there; what is missing is said.
fn installed(compare: &Compare) -> Vec<(Kind, String)> {
    // The goals speak of archives in SQLite.
    let usual = |kind: &Kind| !(compare.goals && *kind == Kind::EjabberdMnesia);
    let asked = |kind: &Kind| match compare.servers.as_slice() {
        [] => usual(kind),
        some => some.contains(kind),
    };
    let mut found = Vec::new();
    for kind in Kind::ALL.into_iter().filter(asked) {
        match kind.version() {
            Ok(version) => found.push((kind, version)),
            Err(why) => eprintln!("{} is left out: {why}", kind.name()),
        }
    }
    found
}

/// Rows of runs that were never made, for tests.
#[cfg(test)]
fn row(case: &str, server: &str, round: usize, figures: &[(&str, f64)]) -> crate::report::Row {
    use crate::report::Row;
    use crate::run::{Job, Seen};
    use crate::scenario::{Figure, Less, Scenario};
    let target = crate::target::tests::target("127.0.0.1:1");
    let job = Job { target, scenario: Scenario::default(), worker: 0, workers: 1 };
    let figure = |(name, value): &(&str, f64)| Figure {
        name: (*name).to_owned(),
        unit: if *name == "lost" { String::new() } else { "µs".to_owned() },
        value: *value,
        less: if *name == "rate" { Less::Worse } else { Less::Better },
    };
    Row {
        case: case.to_owned(),
        server: server.to_owned(),
        round,
        figures: figures.iter().map(figure).collect(),
        ..Row::of_run(&job, 1, Seen::default())
    }
}
