//! The comparison for a terminal: each figure of each case with minimum, median and maximum over
//! the rounds, and how Carillon stands to it.

use std::collections::BTreeMap;

use crate::report::{Row, Spread};
use crate::scenario::Less;

/// The values of a figure over the rounds.
pub(super) fn spread(rows: &[Row], case: &str, server: &str, figure: &str) -> Option<Spread> {
    let mine = rows.iter().filter(|row| row.case == case && row.server == server);
    Spread::of(mine.filter_map(|row| row.figure(figure)).map(|figure| figure.value).collect())
}

/// A ratio as people say it: `1/5.2` or `3.1x`.
pub(super) fn ratio(own: f64, other: f64) -> String {
    if own <= 0.0 || other <= 0.0 {
        return "-".to_owned();
    }
    let ratio = own / other;
    if ratio < 1.0 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.1}x") }
}

/// The figures that matter of a run, in one line.
pub(super) fn line(row: &Row) -> String {
    let wanted = ["memory", "CPU", "rate", "login p99", "delivery p50", "delivery p99"];
    let bad = ["lost", "bounced", "out of order", "not acknowledged", "sent late"];
    let mut parts = Vec::new();
    for figure in &row.figures {
        let bad = bad.contains(&figure.name.as_str()) && figure.value > 0.0;
        if bad || wanted.contains(&figure.name.as_str()) {
            let value = crate::report::number(figure.value);
            parts.push(format!("{} {value} {}", figure.name, figure.unit).trim().to_owned());
        }
    }
    parts.join("; ")
}

/// The whole comparison.
pub(super) fn table(rows: &[Row]) -> String {
    let mut cases: Vec<&str> = Vec::new();
    for row in rows {
        if !cases.contains(&row.case.as_str()) {
            cases.push(&row.case);
        }
    }
    cases.iter().map(|case| of_case(rows, case)).collect()
}

fn of_case(rows: &[Row], case: &str) -> String {
    let mine: Vec<&Row> = rows.iter().filter(|row| row.case == case).collect();
    let Some(first) = mine.first() else { return String::new() };
    let promise = first.promise.name();
    let mut text = format!("\n{case} ({}; promised: {promise})\n", first.transport.name());
    let mut servers: BTreeMap<&str, &str> = BTreeMap::new();
    servers.extend(mine.iter().map(|row| (row.server.as_str(), row.version.as_str())));
    text.push_str(&format!(
        "  {:22} {:20} {:>10} {:>10} {:>10}  {:12} {}\n",
        "figure", "server", "min", "median", "max", "unit", "Carillon is"
    ));
    for figure in first.figures.iter().filter(|figure| shown(figure, &mine)) {
        for server in servers.keys() {
            let Some(spread) = spread(rows, case, server, &figure.name) else { continue };
            let own = self::spread(rows, case, "carillon", &figure.name);
            let ratio = match own {
                Some(own) if *server != "carillon" => ratio(own.median, spread.median),
                _ => String::new(),
            };
            let number = crate::report::number;
            text.push_str(&format!(
                "  {:22} {:20} {:>10} {:>10} {:>10}  {:12} {}\n",
                figure.name,
                server,
                number(spread.low),
                number(spread.median),
                number(spread.high),
                figure.unit,
                ratio
            ));
        }
    }
    text
}

/// Faults are shown where there are any; all else always.
fn shown(figure: &crate::scenario::Figure, rows: &[&Row]) -> bool {
    let fault = figure.less == Less::Better && figure.unit.is_empty();
    !fault || rows.iter().any(|row| row.figure(&figure.name).is_some_and(|it| it.value > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_said_as_people_say_them() {
        assert_eq!(ratio(1.0, 8.0), "1/8.0");
        assert_eq!(ratio(30.0, 10.0), "3.0x");
        assert_eq!(ratio(1.0, 0.0), "-");
    }
}
