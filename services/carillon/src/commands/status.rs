//! `carillon status`.

use super::accounts::{ask_server, unexpected};
use super::{block_on, configuration, say};
use crate::admin::protocol::{Reply, Request, Status};
use crate::cli::Place;
use crate::config::Config;
use crate::config::units::show_size;
use crate::exit::Failure;

/// Prints how the running server is.
///
/// # Errors
/// With exit code 69 where none runs.
pub fn status(place: &Place, json: bool) -> Result<(), Failure> {
    let (config, _) = configuration(place)?;
    let status = block_on(ask(&config))??;
    say(&if json { to_json(&status) } else { for_people(&status) });
    Ok(())
}

async fn ask(config: &Config) -> Result<Status, Failure> {
    match ask_server(config, &Request::Status).await? {
        Reply::Status(status) => Ok(*status),
        other => Err(unexpected(other)),
    }
}

fn to_json(status: &Status) -> String {
    let mut text = serde_json::to_string_pretty(status).unwrap_or_default();
    text.push('\n');
    text
}

fn for_people(status: &Status) -> String {
    let running = if status.draining { "stopping" } else { "running" };
    let mut lines = vec![
        ("server", format!("Carillon {}, {running}, process {}", status.version, status.pid)),
        ("uptime", duration(status.uptime_s)),
        ("domains", status.domains.join(", ")),
    ];
    for (kind, address) in &status.listeners {
        lines.push(("listens", format!("{address} ({kind})")));
    }
    lines.extend([
        ("data", status.data.clone()),
        ("connections", status.connections.to_string()),
        ("sessions", status.sessions.to_string()),
        ("store", rough_size(status.store_bytes)),
        ("memory", rough_size(status.memory_bytes)),
    ]);
    lines.iter().map(|(name, text)| format!("{name:12}{text}\n")).collect()
}

/// Seconds as the two largest units that say something.
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} m {rest} s"),
        (0, ..) => format!("{hours} h {minutes} m"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A size in whole units of at most four digits.
fn rough_size(bytes: u64) -> String {
    let mut unit = 1;
    while bytes / unit >= 10_000 && unit < 1 << 30 {
        unit <<= 10;
    }
    show_size(bytes / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_it() {
        for (seconds, text) in
            [(0, "0 s"), (61, "1 m 1 s"), (3_600, "1 h 0 m"), (200_000, "2 d 7 h")]
        {
            assert_eq!(duration(seconds), text);
        }
        for (bytes, text) in
            [(0, "0 B"), (9_999, "9999 B"), (123_456, "120 KiB"), (50_000_000, "47 MiB")]
        {
            assert_eq!(rough_size(bytes), text);
        }
        let status = Status {
            version: "1".to_owned(),
            pid: 7,
            listeners: vec![("c2s".to_owned(), "127.0.0.1:5222".to_owned())],
            ..Status::default()
        };
        let text = for_people(&status);
        assert!(text.starts_with("server      Carillon 1, running, process 7\n"), "{text}");
        assert!(text.contains("\nlistens     127.0.0.1:5222 (c2s)\n"), "{text}");
        let json: Status = serde_json::from_str(&to_json(&status)).unwrap();
        assert_eq!(json, status);
    }
}
