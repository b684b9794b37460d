//! Lines of JSON as one page: tables, and plots of latency, throughput and memory. The page needs
//! nothing from anywhere else.

use std::collections::BTreeSet;

use super::svg::{Line, Plot, escape};
use super::{Row, number};
use crate::scenario::Scenario;

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
    let mut text = format!(
        "<h2>{}</h2><p>Streams: {transport}. Promised: {promise}.</p>{}",
        escape(case),
        table(rows)
    );
    let plots = [latency(rows), throughput(rows), memory(rows)];
    plots.iter().filter_map(Plot::svg).for_each(|svg| text.push_str(&svg));
    text
}

fn name(row: &Row, rows: &[&Row]) -> String {
    let servers: BTreeSet<&str> = rows.iter().map(|row| row.server.as_str()).collect();
    if servers.len() == rows.len() {
        return row.server.clone();
    }
    format!("{} ({})", row.server, row.round)
}

fn table(rows: &[&Row]) -> String {
    let mut text = String::from("<table><tr><th>figure</th>");
    for row in rows {
        text.push_str(&format!("<th>{}</th>", escape(&name(row, rows))));
    }
    text.push_str("</tr>");
    let Some(first) = rows.first() else { return String::new() };
    for figure in &first.figures {
        let (what, unit) = (escape(&figure.name), escape(&figure.unit));
        text.push_str(&format!("<tr><td>{what} {unit}</td>"));
        for row in rows {
            let value = row.figure(&figure.name).map(|figure| number(figure.value));
            text.push_str(&format!("<td>{}</td>", value.unwrap_or_default()));
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

/// The first latency of each run.
fn latency(rows: &[&Row]) -> Plot {
    let line = |row: &&Row| {
        let found = row.latencies.iter().find(|(_, latency)| latency.count() > 0);
        let points = found.map(|(_, latency)| {
            let at =
                |(place, share): (&(f64, &str), f64)| (place.0, latency.at(share) as f64 / 1000.0);
            PERCENTILES.iter().zip(SHARES).map(at).collect()
        });
        Line { name: name(row, rows), points: points.unwrap_or_default() }
    };
    let what = rows.iter().find_map(|row| row.latencies.keys().next().cloned());
    let title = format!("Latency: {}", what.unwrap_or_default());
    let ticks = PERCENTILES.iter().map(|(at, name)| (*at, (*name).to_owned())).collect();
    let lines = rows.iter().map(line).collect();
    Plot { logarithmic: true, ticks, ..plot(&title, "percentile", "ms", lines) }
}

fn throughput(rows: &[&Row]) -> Plot {
    let line = |row: &&Row| {
        // The last second is only part of one.
        let whole = row.seconds.len().saturating_sub(1);
        let seconds = row.seconds.iter().take(whole).enumerate();
        let points = seconds.map(|(at, done)| (at as f64, *done as f64)).collect();
        Line { name: name(row, rows), points }
    };
    plot("Throughput over time", "second", "done a second", rows.iter().map(line).collect())
}

fn memory(rows: &[&Row]) -> Plot {
    let line = |row: &&Row| {
        let mut points = Vec::new();
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
        Line { name: name(row, rows), points }
    };
    plot("Memory over sessions", "sessions at rest", "MiB", rows.iter().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Job, Seen};
    use crate::target::tests::target;

    #[test]
    fn a_page_stands_alone() {
        let scenario = Scenario::default();
        let job = Job { target: target("127.0.0.1:1"), scenario, worker: 0, workers: 1 };
        let mut seen = Seen::default();
        (1..500).for_each(|micros| seen.outcome.latency("login").record(micros));
        seen.outcome.seconds = vec![3, 4, 5];
        let rows = [Row::of_run(&job, 1, seen.clone()), Row::of_run(&job, 1, seen)];
        let page = page(&rows);
        assert!(page.contains("<svg") && page.contains("Latency: login"));
        assert!(page.contains("Throughput") && !page.contains("Memory over"));
        assert!(!page.contains("http") && !page.contains("src="));
    }
}
