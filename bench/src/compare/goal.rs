//! The goals of the comparison: how much better than the best peer Carillon is to be.

use super::table::{ratio, spread};
use crate::report::{Row, Spread, number};
use crate::scenario::Less;
use crate::server::Kind;

/// A goal.
struct Goal {
    what: &'static str,
    case: &'static str,
    figure: &'static str,
    /// With whom Carillon is compared.
    with: With,
    /// Carillon's figure is at most the other's divided by this; where more is better, at least the
    /// other's times this. None: it is shown, and nothing was asked.
    factor: Option<f64>,
    more_is_better: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum With {
    BestPeer,
    Relay,
}

const fn less(what: &'static str, case: &'static str, figure: &'static str, factor: f64) -> Goal {
    let factor = Some(factor);
    Goal { what, case, figure, with: With::BestPeer, factor, more_is_better: false }
}

const fn more(what: &'static str, case: &'static str, figure: &'static str, factor: f64) -> Goal {
    Goal { more_is_better: true, ..less(what, case, figure, factor) }
}

const fn relay(what: &'static str, case: &'static str, factor: Option<f64>) -> Goal {
    Goal { with: With::Relay, factor, ..less(what, case, "CPU", 1.0) }
}

/// The goals, in the order in which they were set.
const GOALS: [Goal; 15] = [
    less("idle session, plain", "idle-plain", "memory", 8.0),
    less("idle session, TLS 1.3", "idle-tls", "memory", 6.0),
    less("login, STARTTLS and SCRAM, CPU", "login-starttls", "CPU", 4.0),
    less("chat, saturated, CPU", "chat-plain", "CPU", 8.0),
    relay("the same, to the relay", "chat-plain", Some(0.25)),
    less("chat over TLS, saturated, CPU", "chat-tls", "CPU", 7.0),
    relay("the same, to the relay", "chat-tls", None),
    less("chat at a rate, CPU", "chat-rate", "CPU", 4.0),
    relay("the same, to the relay", "chat-rate", None),
    less("chat with archive, saturated, CPU", "archive-plain", "CPU", 16.0),
    more("messages a second with archive, theirs in memory", "archive-plain", "rate", 30.0),
    more("the same, theirs on the disk, as packaged", "disk-plain", "rate", 30.0),
    less("presence delivered in a storm, CPU", "presence", "CPU", 6.0),
    less("archive query, CPU of a result", "mam", "CPU", 16.0),
    less("p99 at a rate, archive on", "archive-rate", "delivery p99", 1.0),
];

/// Whether a goal is about a case.
pub(super) fn is_about(case: &str) -> bool {
    GOALS.iter().any(|goal| goal.case == case)
}

/// What the goals are about.
#[cfg(test)]
pub(super) fn cases() -> Vec<&'static str> {
    let mut cases: Vec<&str> = GOALS.iter().map(|goal| goal.case).collect();
    cases.sort_unstable();
    cases.dedup();
    cases
}

/// How far the goals are met, by medians; as a table that a document can take.
pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for goal in &GOALS {
        let Some(own) = spread(rows, goal.case, Kind::Carillon.name(), goal.figure) else {
            continue;
        };
        let Some((other, best)) = goal.other(rows) else { continue };
        let first = rows.iter().find(|row| row.case == goal.case);
        let unit = first.and_then(|row| row.figure(goal.figure)).map_or("", |it| &it.unit);
        let row = [
            goal.what.to_owned(),
            first.map_or("", |row| row.promise.name()).to_owned(),
            format!("{} {}", best, other),
            format!("{} {unit}", own),
            ratio(own.median, best.median),
            goal.wanted(),
            goal.verdict(own.median, best.median).to_owned(),
        ];
        lines.push(row);
    }
    if lines.is_empty() {
        return String::new();
    }
    let head = ["work", "promised", "best peer, or relay", "Carillon", "ratio", "goal", ""];
    let rounds = rows.iter().map(|row| row.round).max().unwrap_or(1);
    format!(
        "\nGoals: medians, with least and most where rounds differ (rounds: {rounds}; one of idle \
         sessions and of archives that wait for the disk).\n\n{}{}",
        columns(&head.map(str::to_owned), &lines),
        faults(rows)
    )
}

impl Goal {
    /// The other's figure and name: the relay, or the best peer by medians.
    fn other(&self, rows: &[Row]) -> Option<(&'static str, Spread)> {
        let is_other = |kind: &Kind| match self.with {
            With::Relay => *kind == Kind::Relay,
            With::BestPeer => kind.is_peer(),
        };
        let others = Kind::ALL.into_iter().filter(is_other).filter_map(|kind| {
            Some((kind.name(), spread(rows, self.case, kind.name(), self.figure)?))
        });
        others.min_by(|a, b| {
            let order = a.1.median.total_cmp(&b.1.median);
            if self.more_is_better { order.reverse() } else { order }
        })
    }

    fn wanted(&self) -> String {
        match self.factor {
            None => "-".to_owned(),
            Some(factor) if self.more_is_better => format!("{factor:.0}x"),
            Some(factor) if factor < 1.0 => format!("{:.0}x", 1.0 / factor),
            Some(1.0) => "1x".to_owned(),
            Some(factor) => format!("1/{factor:.0}"),
        }
    }

    fn verdict(&self, own: f64, other: f64) -> &'static str {
        match self.factor {
            None => "",
            Some(factor) if self.more_is_better && own >= factor * other => "met",
            Some(factor) if !self.more_is_better && own <= other / factor => "met",
            Some(_) => "MISSED",
        }
    }
}

/// A table in Markdown whose columns are as wide as what is in them.
fn columns<const N: usize>(head: &[String; N], lines: &[[String; N]]) -> String {
    let width = |column: usize| {
        let all = lines.iter().chain([head]);
        all.map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths);
        cells.fold("|".to_owned(), |text, (cell, width)| text + &format!(" {cell:width$} |")) + "\n"
    };
    let rule = line(&widths.map(|width| "-".repeat(width)));
    lines.iter().fold(line(head) + &rule, |text, cells| text + &line(cells))
}

/// What should have been none and was not, in each round: a figure with faults is worth less than
/// it seems.
fn faults(rows: &[Row]) -> String {
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        for figure in row.figures.iter().filter(|it| it.less == Less::Better && it.unit.is_empty())
        {
            let what = format!("{} on {}: {}", row.case, row.server, figure.name);
            let value = number(figure.value);
            match seen.iter_mut().find(|(other, _)| *other == what) {
                Some((_, values)) => values.push(value),
                None => seen.push((what, vec![value])),
            }
        }
    }
    seen.retain(|(_, values)| values.iter().any(|value| value != "0"));
    if seen.is_empty() {
        return "\nNothing was lost.\n".to_owned();
    }
    let line = |(what, values): &(String, Vec<String>)| format!("- {what} {}\n", values.join(", "));
    format!("\nFaults, by rounds:\n\n{}", seen.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::row;

    fn line(text: &str, start: &str) -> String {
        text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned()
    }

    #[test]
    fn the_best_peer_counts_by_its_median() {
        let mut rows = Vec::new();
        for (round, (own, ejabberd, prosody)) in
            [(9.0, 80.0, 90.0), (10.0, 99.0, 95.0), (11.0, 100.0, 96.0)].into_iter().enumerate()
        {
            rows.push(row("chat-plain", "carillon", round + 1, &[("CPU", own)]));
            rows.push(row("chat-plain", "ejabberd", round + 1, &[("CPU", ejabberd)]));
            rows.push(row("chat-plain", "prosody", round + 1, &[("CPU", prosody), ("lost", 3.0)]));
            rows.push(row("chat-plain", "relay", round + 1, &[("CPU", 2.0)]));
        }
        let text = table(&rows);
        let chat = line(&text, "| chat, saturated");
        assert!(
            chat.contains("95.0 (90.0 to 96.0) prosody") && chat.contains("10.0 (9.00 to 11.0)")
        );
        assert!(chat.contains("1/9.5") && chat.contains("1/8") && chat.contains("| met"), "{chat}");
        let relay = line(&text, "| the same, to the relay");
        assert!(relay.contains("5.0x") && relay.contains("4x") && relay.contains("MISSED"));
        assert!(text.contains("- chat-plain on prosody: lost 3.00, 3.00, 3.00"), "{text}");
    }

    #[test]
    fn more_can_be_better() {
        let rows = [
            row("disk-plain", "carillon", 1, &[("rate", 30_000.0)]),
            row("disk-plain", "ejabberd", 1, &[("rate", 1000.0)]),
            row("disk-plain", "prosody-incremental", 1, &[("rate", 900.0)]),
            row("archive-rate", "carillon", 1, &[("delivery p99", 2.0)]),
            row("archive-rate", "prosody", 1, &[("delivery p99", 1.9)]),
        ];
        let text = table(&rows);
        let disk = line(&text, "| the same, theirs on the disk");
        assert!(disk.contains("1000 ejabberd") && disk.contains("30.0x") && disk.contains("| met"));
        let late = line(&text, "| p99");
        assert!(late.contains("| 1x") && late.contains("MISSED"), "{late}");
        assert!(text.contains("Nothing was lost."));
        assert!(table(&rows[..1]).is_empty(), "without a peer there is no ratio");
    }
}
