//! One run as one line of JSON, and as a table.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::measure::{Latency, Sample};
use crate::run::{Job, Seen};
use crate::scenario::{Figure, Less, Scenario};
use crate::target::Transport;

/// What the server had promised during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Messages were archived; nothing if that is not known.
    pub archive: Option<bool>,
    /// Clients used stream management (XEP-0198).
    pub sm: bool,
}

impl Promise {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.archive, self.sm) {
            (Some(true), true) => "archive, 0198",
            (Some(true), false) => "archive",
            (Some(false), true) => "0198",
            (Some(false), false) => "neither",
            (None, true) => "0198; archive not known",
            (None, false) => "archive not known",
        }
    }
}

/// Where the servers of a run listen.
fn servers(job: &Job) -> String {
    let addresses: Vec<String> = job.target.addresses.iter().map(ToString::to_string).collect();
    match addresses.as_slice() {
        [first, second, others @ ..] if !others.is_empty() => {
            format!("{first}, {second} and {} more", others.len())
        }
        few => few.join(", "),
    }
}

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Seconds since the Unix epoch, when it ended.
    pub at_s: u64,
    /// Which comparison it belongs to.
    pub case: String,
    /// The server.
    pub server: String,
    /// Its version.
    pub version: String,
    /// The round of the comparison, from 1.
    pub round: usize,
    /// How streams begin.
    pub transport: Transport,
    /// What was promised.
    pub promise: Promise,
    /// Processes that made the load.
    pub workers: usize,
    /// The load.
    pub scenario: Scenario,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Times, in microseconds: pairs of value and count.
    pub latencies: BTreeMap<String, Latency>,
    /// Units of work in each second.
    pub seconds: Vec<u64>,
    /// The server at the end of each phase.
    pub samples: Vec<(String, Sample)>,
}

impl Row {
    /// A run that belongs to no comparison.
    #[must_use]
    pub fn of_run(job: &Job, workers: usize, seen: Seen) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut figures = job.scenario.figures(&seen);
        if job.target.pids.is_empty() {
            // Nothing is known of a server whose process was not named; zero would be a claim.
            figures.retain(|it| !it.name.starts_with("CPU") && !it.name.starts_with("memory"));
        }
        Self {
            at_s: now.map_or(0, |since| since.as_secs()),
            case: job.scenario.name().to_owned(),
            server: servers(job),
            version: String::new(),
            round: 1,
            transport: job.target.transport,
            promise: Promise { archive: None, sm: job.target.sm },
            workers,
            scenario: job.scenario.clone(),
            figures,
            latencies: seen.outcome.latencies,
            seconds: seen.outcome.seconds,
            samples: seen.samples,
        }
    }

    /// Adds a figure that says what was done.
    pub fn add(&mut self, name: &str, unit: &str, value: f64) {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.figures.push(Figure { name, unit, value, less: Less::Neither });
    }

    /// A figure by its name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let (case, server, transport) = (&self.case, &self.server, self.transport.name());
        let mut text =
            format!("{case} on {server} ({transport}; promised: {})\n", self.promise.name());
        let width = self.figures.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
        for figure in &self.figures {
            let (name, value) = (&figure.name, number(figure.value));
            text.push_str(&format!("  {name:width$}  {value:>10} {}\n", figure.unit));
        }
        text
    }

    /// Appends itself to a file, as one line.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, path: &Path) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(file.write_all(&line)?)
    }

    /// Reads a file of such lines.
    ///
    /// # Errors
    /// If it cannot be read, or a line is something else.
    pub fn read(path: &Path) -> Result<Vec<Self>, Failure> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
        let line = |(number, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|why| format!("{}:{}: {why}", path.display(), number + 1).into())
        };
        text.lines().enumerate().map(line).collect()
    }
}

/// Three digits that count, as people write numbers.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use crate::target::tests::target;

    #[test]
    fn rows_survive_the_file() {
        let scenario = Scenario::default();
        let job = Job { target: target("127.0.0.1:1"), scenario, worker: 0, workers: 1 };
        let mut seen = Seen::default();
        seen.outcome.latency("login").record(1234);
        seen.outcome.count("logins", 1);
        let measured =
            Job { target: Target { pids: vec![1], ..job.target.clone() }, ..job.clone() };
        assert!(Row::of_run(&measured, 1, seen.clone()).figure("CPU").is_some());
        let row = Row::of_run(&job, 1, seen);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        row.append(&path).unwrap();
        row.append(&path).unwrap();
        let read = Row::read(&path).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].figures, row.figures);
        assert_eq!(read[1].latencies["login"].count(), 1);
        assert!(row.table().contains("login p99"));
        assert!(row.figure("CPU").is_none(), "no process was named");
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 98_765.4].map(number);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "98765"]);
    }
}
