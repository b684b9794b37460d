//! A cluster of processes beside a single node: what the same load costs in both, in alternating
//! rounds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod kernel;
mod million;
mod nodes;

pub use million::{Million, million};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::measure::Cpu;
use crate::report::{Row, Spread};
use crate::run::{Job, Leader, Seen, Way};
use crate::scenario::{Chat, Herd, Login, Scenario};
use crate::server::{self, Archive, Kind, Setup};
use crate::target::{Accounts, Target, Transport};
use crate::{Failure, stop};
use nodes::{Nodes, Role, Shape};

/// What is compared, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Beside {
    #[command(flatten)]
    shape: Shape,
    /// Rounds; in each, the cluster and the single node do everything once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=20))]
    rounds: u64,
    /// Only cases whose name contains one of these: login, chat, rate; and herd, which is left out
    /// otherwise
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Measured seconds of a chat
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Pairs of a chat; the two of a pair are on different edges
    #[arg(long, default_value_t = 100)]
    pairs: usize,
    /// Messages a second where a chat has a rate
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Measured logins
    #[arg(long, default_value_t = 800)]
    logins: usize,
    /// Clients of the herd
    #[arg(long, default_value_t = 15_000)]
    herd: usize,
    /// Append each run to this file, as one line of JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where servers keep their data while they run; a folder on the disk to be measured
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// A load on both.
struct Case {
    name: &'static str,
    transport: Transport,
    scenario: Scenario,
    /// Processes that make the load.
    workers: usize,
}

const SINGLE: &str = "single node";
const CLUSTER: &str = "cluster";

impl Beside {
    fn cases(&self) -> Vec<Case> {
        let chat = |rate| {
            let (pairs, seconds) = (self.pairs, self.seconds);
            Scenario::Chat(Chat { pairs, seconds, warm_up: 3, rate, window: 64, burst: 8 })
        };
        let login = Login { logins: self.logins, accounts: 200, at_once: 32 };
        let herd = Herd { clients: self.herd, at_once: 64, patience: 120 };
        let case = |name, transport, scenario| Case { name, transport, scenario, workers: 1 };
        let mut cases = vec![
            case("login", Transport::Starttls, Scenario::Login(login)),
            case("chat", Transport::Plain, chat(None)),
            case("rate", Transport::Plain, chat(Some(self.rate))),
            Case { workers: 3, ..case("herd", Transport::Tls, Scenario::Herd(herd)) },
        ];
        if self.cases.is_empty() {
            cases.pop();
        }
        if !self.cases.is_empty() {
            cases.retain(|case| self.cases.iter().any(|part| case.name.contains(part)));
        }
        cases
    }
}

/// Runs the comparison and prints it.
///
/// # Errors
/// If a server cannot be started, a load fails, or it is interrupted.
pub fn beside(beside: &Beside) -> Result<(), Failure> {
    let cases = beside.cases();
    cases.iter().try_for_each(|case| case.scenario.check(case.workers))?;
    let base = temporary(beside.folder.as_deref())?;
    let mut rows = Vec::new();
    for round in 1..=beside.rounds {
        let mut order = [SINGLE, CLUSTER];
        if round.is_multiple_of(2) {
            order.reverse();
        }
        for server in order {
            let folder = base.path().join(format!("{round}{}", &server[..1]));
            eprintln!("round {round} of {}: {server}", beside.rounds);
            let done = if server == CLUSTER {
                in_cluster(beside, &cases, &folder)
            } else {
                in_single(&cases, &folder)
            };
            for row in done? {
                let row = Row { round: usize::try_from(round)?, ..row };
                if let Some(path) = &beside.json {
                    row.append(path)?;
                }
                eprint!("{}", row.table());
                rows.push(row);
            }
            std::fs::remove_dir_all(&folder)?;
        }
    }
    print!("{}", table(&cases, &rows));
    Ok(())
}

/// A folder for what servers write. Its name is short: the path of a node's socket has few bytes.
fn temporary(within: Option<&Path>) -> Result<tempfile::TempDir, Failure> {
    let mut named = tempfile::Builder::new();
    let named = named.prefix("cb-");
    Ok(match within {
        Some(folder) => named.tempdir_in(folder)?,
        None => named.tempdir()?,
    })
}

fn in_single(cases: &[Case], folder: &Path) -> Result<Vec<Row>, Failure> {
    let running = server::start(Setup::new(Kind::Carillon, Archive::Synced, folder.to_owned())?)?;
    let accounts = Accounts::Admin(vec![folder.join("data").join("admin.sock")]);
    let run = |case: &Case| {
        let target = running.target(case.transport, case.name);
        run(case, SINGLE, Target { accounts: accounts.clone(), ..target }, |leader| leader)
    };
    cases.iter().map(run).collect()
}

fn in_cluster(beside: &Beside, cases: &[Case], folder: &Path) -> Result<Vec<Row>, Failure> {
    let nodes = Rc::new(Nodes::start(beside.shape, folder)?);
    let mut rows = Vec::new();
    for case in cases {
        let parts = Rc::new(RefCell::new(BTreeMap::<(Role, String), Cpu>::new()));
        let target = nodes.target(case.transport, case.name);
        let mut row = run(case, CLUSTER, target, |leader| {
            let (nodes, parts) = (nodes.clone(), parts.clone());
            leader.watched(move |phase| {
                for role in Role::ALL {
                    parts.borrow_mut().insert((role, phase.to_owned()), nodes.cpu(role));
                }
                Ok(())
            })
        })?;
        add_parts(&mut row, &parts.borrow());
        rows.push(row);
    }
    for (text, count) in nodes.warnings().into_iter().take(10) {
        eprintln!("  {count} times {text}");
    }
    Ok(rows)
}

/// Each role's part of the CPU.
fn add_parts(row: &mut Row, parts: &BTreeMap<(Role, String), Cpu>) {
    let used = |role: Role| {
        let at = |phase: &str| parts.get(&(role, phase.to_owned())).copied().unwrap_or_default();
        at("end").since(at("begin")).total_us() as f64
    };
    let all: f64 = Role::ALL.into_iter().map(used).sum();
    for role in Role::ALL {
        let share = used(role) * 100.0 / all.max(1.0);
        row.add(&format!("CPU of it: {}", role.name()), "%", share);
    }
}

fn run(
    case: &Case,
    server: &str,
    target: Target,
    watched: impl FnOnce(Leader) -> Leader,
) -> Result<Row, Failure> {
    stop::check()?;
    let workers = case.workers;
    let job = Job { target, scenario: case.scenario.clone(), worker: 0, workers };
    let seen: Seen = watched(Leader::start(&job, workers, Way::Processes)?).lead()?;
    if let Some((why, _)) = seen.outcome.counts.iter().find(|(what, _)| what.starts_with("e.g.")) {
        eprintln!("  {why}");
    }
    let row = Row::of_run(&job, workers, seen);
    Ok(Row { case: case.name.to_owned(), server: server.to_owned(), ..row })
}

/// The medians, in the form of the documentation.
fn table(cases: &[Case], rows: &[Row]) -> String {
    let mut text =
        format!("| load | figure | {SINGLE} | {CLUSTER} | ratio |\n|---|---|---|---|---|\n");
    for case in cases {
        let mut names: Vec<&str> = Vec::new();
        for figure in rows.iter().filter(|row| row.case == case.name).flat_map(|row| &row.figures) {
            if !names.contains(&figure.name.as_str()) {
                names.push(&figure.name);
            }
        }
        for name in names {
            text.push_str(&line(case, rows, name));
        }
    }
    text
}

fn line(case: &Case, rows: &[Row], name: &str) -> String {
    let spread = |server: &str| {
        let mine = rows.iter().filter(|row| row.case == case.name && row.server == server);
        Spread::of(mine.filter_map(|row| row.figure(name)).map(|it| it.value).collect())
    };
    let (single, cluster) = (spread(SINGLE), spread(CLUSTER));
    // Faults are told where there are any.
    let none = |spread: Option<Spread>| spread.is_none_or(|it| it.high == 0.0);
    if none(single) && none(cluster) {
        return String::new();
    }
    let shown = |spread: Option<Spread>| spread.map(|it| it.to_string()).unwrap_or_default();
    let ratio = match (single, cluster) {
        (Some(single), Some(cluster)) if single.median > 0.0 => {
            format!("{:.2}", cluster.median / single.median)
        }
        _ => String::new(),
    };
    let mine = rows.iter().filter(|row| row.case == case.name);
    let unit = mine.filter_map(|row| row.figure(name)).next().map_or("", |it| it.unit.as_str());
    let (load, single, cluster) = (case.name, shown(single), shown(cluster));
    format!("| {load} | {name}, {unit} | {single} | {cluster} | {ratio} |\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::target;

    fn row(server: &str, cpu: f64) -> Row {
        let job = Job {
            target: target("127.0.0.1:1"),
            scenario: Scenario::default(),
            worker: 0,
            workers: 1,
        };
        let mut row = Row::of_run(&job, 1, Seen::default());
        row.figures.clear();
        row.add("CPU", "µs/login", cpu);
        Row { case: "login".into(), server: server.into(), ..row }
    }

    #[test]
    fn a_ratio_is_of_medians() {
        let rows: Vec<Row> = [100.0, 300.0, 200.0]
            .iter()
            .flat_map(|cpu| [row(SINGLE, *cpu), row(CLUSTER, cpu * 1.5)])
            .collect();
        let case = Case {
            name: "login",
            transport: Transport::Plain,
            scenario: Scenario::default(),
            workers: 1,
        };
        let text = table(&[case], &rows);
        assert!(text.contains("| login | CPU, µs/login | 200 (100 to 300) |"), "{text}");
        assert!(text.contains("| 1.50 |\n"), "{text}");
    }
}
