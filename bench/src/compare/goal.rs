//! The goals of the comparison: how much better than the best peer Carillon is to be.

use super::table::{ratio, spread};
use crate::report::{Row, number};
use crate::server::Kind;

/// A goal.
struct Goal {
    what: &'static str,
    case: &'static str,
    figure: &'static str,
    /// Carillon's figure is at most the peer's divided by this; where more is better, at least the
    /// peer's times this.
    factor: f64,
    more_is_better: bool,
}

const fn less(what: &'static str, case: &'static str, figure: &'static str, factor: f64) -> Goal {
    Goal { what, case, figure, factor, more_is_better: false }
}

/// The goals, in the order in which they were set.
const GOALS: [Goal; 11] = [
    less("idle session, plain", "idle-plain", "memory", 8.0),
    less("idle session, TLS 1.3", "idle-tls", "memory", 6.0),
    less("login, STARTTLS + SCRAM, CPU", "login-starttls", "CPU", 4.0),
    less("chat, saturated, CPU", "chat-plain", "CPU", 8.0),
    less("chat over TLS, saturated, CPU", "chat-tls", "CPU", 7.0),
    less("chat at a rate, CPU", "chat-rate", "CPU", 4.0),
    less("chat with archive, CPU", "archive-plain", "CPU", 16.0),
    Goal {
        what: "messages a second, archive on disk",
        case: "disk-plain",
        figure: "rate",
        factor: 30.0,
        more_is_better: true,
    },
    less("presence delivery, CPU", "presence", "CPU", 6.0),
    less("archive query, CPU a result", "mam", "CPU", 16.0),
    less("p99 at a rate, archive on", "archive-rate", "delivery p99", 1.0),
];

/// How far the goals are met, by medians.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\ngoals (medians)\n  {:36} {:>10} {:>10} {:20} {:>8} {:>8}\n",
        "work", "Carillon", "best peer", "", "ratio", "goal"
    );
    for goal in &GOALS {
        let Some(own) = spread(rows, goal.case, "carillon", goal.figure) else { continue };
        let Some((peer, best)) = best(rows, goal) else { continue };
        let bound = if goal.more_is_better { goal.factor * best } else { best / goal.factor };
        let met = if goal.more_is_better { own.median >= bound } else { own.median <= bound };
        let wanted = if goal.more_is_better { bound / best } else { best / bound };
        let wanted = match goal.more_is_better {
            true => format!("{wanted:.0}x"),
            false => format!("1/{wanted:.0}"),
        };
        text.push_str(&format!(
            "  {:36} {:>10} {:>10} {:20} {:>8} {:>8}  {}\n",
            goal.what,
            number(own.median),
            number(best),
            peer,
            ratio(own.median, best),
            wanted,
            if met { "met" } else { "MISSED" }
        ));
    }
    if let (Some(own), Some(floor)) =
        (spread(rows, "chat-plain", "carillon", "CPU"), spread(rows, "chat-plain", "relay", "CPU"))
    {
        let met = if own.median <= 4.0 * floor.median { "met" } else { "MISSED" };
        text.push_str(&format!(
            "  {:36} {:>10} {:>10} {:20} {:>8} {:>8}  {met}\n",
            "chat, saturated, to the relay",
            number(own.median),
            number(floor.median),
            "relay",
            ratio(own.median, floor.median),
            "4x",
        ));
    }
    text
}

/// The best peer at a goal's work, by medians.
fn best(rows: &[Row], goal: &Goal) -> Option<(&'static str, f64)> {
    let peers = Kind::ALL.into_iter().filter(|kind| kind.is_peer());
    let medians = peers.filter_map(|kind| {
        let spread = spread(rows, goal.case, kind.name(), goal.figure)?;
        Some((kind.name(), spread.median))
    });
    medians.min_by(|a, b| {
        let order = a.1.total_cmp(&b.1);
        if goal.more_is_better { order.reverse() } else { order }
    })
}
