//! Lines of JSON as one page: tables, and plots of latency, throughput and memory. The page needs
//! nothing from anywhere else.

use super::svg::{Line, Plot, escape};
use super::{Row, Spread};
use crate::measure::Latency;
use crate::scenario::Scenario;
use crate::server::Kind;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
    padding:0 1rem;color:#111;background:#fff}table{border-collapse:collapse;font-variant-numeric:\
    tabular-nums}td,th{padding:.1rem .7rem;border-bottom:1px solid #ccc;text-align:right}\
    td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto;font:12px system-ui}\
    .t{font-weight:600;font-size:14px}.g{stroke:#ccc;fill:none}.l{fill:none;stroke:#111;\
    stroke-width:1.6}.m{font-size:9px}.c0{stroke-opacity:1}";

const PERCENTILES: [(f64, &str); 7] = [
    (0.0, "p50"),
    (1.0, "p75"),
    (2.0, "p90"),
    (3.0, "p95"),
    (4.0, "p99"),
    (5.0, "p99.9"),
    (6.0, "max"),
];
const SHARES: [f64; 7] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0];

/// The page for some runs.
#[must_use]
pub fn page(rows: &[Row]) -> String {
    let mut body = String::from("<h1>Carillon: load and what it costs</h1>");
    let mut cases: Vec<&str> = Vec::new();
    for row in rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    for case in cases {
        let mine: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
        body.push_str(&section(case, &mine));
    }
    format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' \
         content='width=device-width'><title>Carillon: load</title><style>{STYLE}</style>{body}\
         </html>\n"
    )
}

fn section(case: &str, rows: &[&Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let (transport, promise) = (first.transport.name(), first.promise.name());
    let versions: Vec<String> =
        servers(rows).iter().map(|it| format!("{} {}", it.name, it.rows[0].version)).collect();
    let rounds = rows.iter().map(|row| row.round).max().unwrap_or(1);
    let mut text = format!(
        "<h2>{}</h2><p>Streams: {transport}. Promised: {promise}. Rounds: {rounds}, medians with \
         least and most where they differ. {}.</p>{}",
        escape(case),
        escape(&versions.join(", ")),
        table(rows)
    );
    let plots = [latency(rows), throughput(rows), memory(rows)];
    plots.iter().filter_map(Plot::svg).for_each(|svg| text.push_str(&svg));
    text
}

/// Runs of one server: rounds of one comparison are one line of a plot and one column of a table.
struct Server<'a> {
    name: &'a str,
    style: usize,
    rows: Vec<&'a Row>,
}

fn servers<'a>(rows: &[&'a Row]) -> Vec<Server<'a>> {
    let mut servers: Vec<Server<'a>> = Vec::new();
    for row in rows {
        match servers.iter_mut().find(|server| server.name == row.server) {
            Some(server) => server.rows.push(row),
            None => {
                let known = Kind::ALL.iter().position(|kind| kind.name() == row.server);
                let style = known.unwrap_or(servers.len());
                servers.push(Server { name: &row.server, style, rows: vec![row] });
            }
        }
    }
    // Whoever ended first has no place of its own.
    servers.sort_by_key(|server| server.style);
    servers
}

impl Server<'_> {
    fn line(&self, points: Vec<(f64, f64)>) -> Line {
        Line { name: self.name.to_owned(), style: self.style, points }
    }

    /// A figure's median, and what it lies between where rounds differ.
    fn figure(&self, name: &str) -> String {
        let values = self.rows.iter().filter_map(|row| row.figure(name)).map(|it| it.value);
        Spread::of(values.collect()).map_or_else(String::new, |spread| spread.to_string())
    }

    /// The first latency that the runs have, all rounds together.
    fn latency(&self) -> Option<Latency> {
        let mut sum = Latency::default();
        for row in &self.rows {
            if let Some((_, latency)) = first_latency(row) {
                sum.add(latency);
            }
        }
        (sum.count() > 0).then_some(sum)
    }

    /// Work in each second, on average over the rounds.
    fn seconds(&self) -> Vec<f64> {
        // The last second is only part of one.
        let whole = |row: &&Row| row.seconds.len().saturating_sub(1);
        let length = self.rows.iter().map(whole).min().unwrap_or(0);
        let rounds = self.rows.len() as f64;
        let of =
            |at: usize| self.rows.iter().map(|row| row.seconds[at] as f64).sum::<f64>() / rounds;
        (0..length).map(of).collect()
    }
}

fn first_latency(row: &Row) -> Option<(&String, &Latency)> {
    row.latencies.iter().find(|(_, latency)| latency.count() > 0)
}

fn table(rows: &[&Row]) -> String {
    let servers = servers(rows);
    let mut text = String::from("<table><tr><th>figure</th>");
    for server in &servers {
        text.push_str(&format!("<th>{}</th>", escape(server.name)));
    }
    text.push_str("</tr>");
    let Some(first) = rows.first() else { return String::new() };
    for figure in &first.figures {
        let (what, unit) = (escape(&figure.name), escape(&figure.unit));
        text.push_str(&format!("<tr><td>{what} {unit}</td>"));
        for server in &servers {
            text.push_str(&format!("<td>{}</td>", server.figure(&figure.name)));
        }
        text.push_str("</tr>");
    }
    text + "</table>"
}

fn plot(title: &str, across: &str, up: &str, lines: Vec<Line>) -> Plot {
    let lines = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
    Plot {
        title: title.to_owned(),
        across: across.to_owned(),
        up: up.to_owned(),
        logarithmic: false,
        ticks: Vec::new(),
        lines,
    }
}

fn latency(rows: &[&Row]) -> Plot {
    let line = |server: &Server<'_>| {
        let points = server.latency().map(|latency| {
            let at =
                |(place, share): (&(f64, &str), f64)| (place.0, latency.at(share) as f64 / 1000.0);
            PERCENTILES.iter().zip(SHARES).map(at).collect()
        });
        server.line(points.unwrap_or_default())
    };
    let what = rows.iter().find_map(|row| first_latency(row)).map_or("", |(what, _)| what);
    let title = format!("Latency: {what}");
    let ticks = PERCENTILES.iter().map(|(at, name)| (*at, (*name).to_owned())).collect();
    let lines = servers(rows).iter().map(line).collect();
    Plot { logarithmic: true, ticks, ..plot(&title, "percentile", "ms", lines) }
}

fn throughput(rows: &[&Row]) -> Plot {
    let line = |server: &Server<'_>| {
        let seconds = server.seconds().into_iter().enumerate();
        let points: Vec<_> = seconds.map(|(at, done)| (at as f64, done)).collect();
        // Less than that is not a course.
        server.line(if points.len() < 2 { Vec::new() } else { points })
    };
    let lines = servers(rows).iter().map(line).collect();
    plot("Throughput over time", "second", "done a second", lines)
}

fn memory(rows: &[&Row]) -> Plot {
    let line = |server: &Server<'_>| {
        let mut points = Vec::new();
        let row = server.rows[0];
        if let Scenario::Idle(idle) = &row.scenario {
            let at = |phase: &str| {
                let found = row.samples.iter().find(|(name, _)| name == phase);
                found.map(|(_, sample)| sample.pss as f64 / f64::from(1 << 20))
            };
            points.extend(at("empty").map(|memory| (0.0, memory)));
            for step in &idle.sessions {
                points.extend(at(&format!("rest {step}")).map(|memory| (*step as f64, memory)));
            }
        }
        server.line(points)
    };
    let lines = servers(rows).iter().map(line).collect();
    plot("Memory over sessions", "sessions at rest", "MiB", lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Job, Seen};
    use crate::target::Target;
    use crate::target::tests::target;

    #[test]
    fn a_page_stands_alone() {
        let scenario = Scenario::default();
        let target = Target { pids: vec![1], ..target("127.0.0.1:1") };
        let job = Job { target, scenario, worker: 0, workers: 1 };
        let mut seen = Seen::default();
        (1..500).for_each(|micros| seen.outcome.latency("login").record(micros));
        seen.outcome.seconds = vec![3, 4, 5];
        let rows = [Row::of_run(&job, 1, seen.clone()), Row::of_run(&job, 1, seen)];
        let mut other = rows[1].clone();
        other.server = "other".to_owned();
        other.figures[0].value = 7.0;
        let mut later = other.clone();
        later.figures[0].value = 9.0;
        later.seconds = vec![5, 4, 5];
        let rows = [rows[0].clone(), other, later];
        let page = page(&rows);
        assert!(page.contains("8.00 (7.00 to 9.00)"), "{page}");
        assert_eq!(page.matches(">● 127").count() + page.matches("■ other").count(), 4);
        let all: Vec<&Row> = rows.iter().collect();
        let both = servers(&all);
        assert_eq!(both[1].seconds(), [4.0, 4.0]);
        assert_eq!(both[1].latency().unwrap().count(), 2 * 499);
        assert!(page.contains("<svg") && page.contains("Latency: login"));
        assert!(page.contains("Throughput") && !page.contains("Memory over"));
        assert!(!page.contains("http") && !page.contains("src="));
    }
}
