//! The log: one event, one line, to standard error, for people or as JSON.
//!
//! Whatever clients put into a field stays inside its line: control characters and the marks that
//! turn the direction of text are written as escapes (security cases 140 and 141). Events go to a
//! thread of their own through a bounded queue, so that a stuck pipe never stops a worker; what did
//! not fit is counted and said.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::config::{Log, LogFormat};
use crate::limits::{LOG_LINE_MAX, LOG_QUEUE};

/// Crates whose events are logged at the level that the operator chose; those of others from
/// `warn`.
const OURS: &[&str] = &[
    "carillon", "edge", "router", "store", "session", "xeps", "stream", "xmpp", "kv", "peer",
    "mesh",
];

/// What the queue carries.
enum Item {
    Line(String),
    Flush(SyncSender<()>),
}

/// The running log. Dropping it writes what waits.
pub struct Guard {
    queue: SyncSender<Item>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        flush(&self.queue);
    }
}

/// Waits, for a second at most, until all that was logged is written.
fn flush(queue: &SyncSender<Item>) {
    let (done, wait) = sync_channel(1);
    if queue.try_send(Item::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }
}

/// Starts the log of this process.
///
/// # Errors
/// A sentence, where the system gives no thread or a log is running.
pub fn start(log: &Log) -> Result<Guard, String> {
    let (queue, lines) = sync_channel(LOG_QUEUE);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&lines))
        .map_err(|why| format!("the log has no thread: {why}"))?;
    let layer = Lines { format: log.format, queue: queue.clone(), lost: AtomicU64::new(0) };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(log.level)));
    tracing::subscriber::set_global_default(subscriber).map_err(|why| why.to_string())?;
    Ok(Guard { queue })
}

fn filter(level: Level) -> Targets {
    let others = level.min(Level::WARN);
    let ours = OURS.iter().map(|name| (*name, level));
    Targets::new().with_default(others).with_targets(ours)
}

fn write_lines(lines: &Receiver<Item>) {
    while let Ok(item) = lines.recv() {
        match item {
            Item::Line(line) => {
                let _ = std::io::stderr().lock().write_all(line.as_bytes());
            }
            Item::Flush(done) => drop(done),
        }
    }
}

struct Lines {
    format: LogFormat,
    queue: SyncSender<Item>,
    lost: AtomicU64,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = fields.line(self.format, event.metadata(), now_us());
        match self.queue.try_send(Item::Line(line)) {
            Ok(()) => self.say_what_was_lost(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Lines {
    fn say_what_was_lost(&self) {
        if self.lost.load(Ordering::Relaxed) == 0 {
            return;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let line = format!(
            "{} WARN log: {lost} events were lost: the log was not read\n",
            stamp(now_us())
        );
        if lost > 0 && self.queue.try_send(Item::Line(line)).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX))
}

fn stamp(now_us: u64) -> String {
    xmpp::blocks::datetime::format(now_us)
}

/// The fields of one event, as texts.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn line(self, format: LogFormat, about: &Metadata<'_>, now_us: u64) -> String {
        let time = stamp(now_us);
        let mut line = String::with_capacity(128);
        match format {
            LogFormat::Human => {
                let _ = write!(line, "{time} {:5} {}: ", about.level(), about.target());
                escape(&self.message, &mut line);
                for (name, value) in &self.rest {
                    let _ = write!(line, " {name}=");
                    match value.as_str() {
                        Some(text) if is_plain(text) => line.push_str(text),
                        Some(text) => escape(&format!("{text:?}"), &mut line),
                        None => escape(&value.to_string(), &mut line),
                    }
                }
            }
            LogFormat::Json => {
                let mut object = Map::new();
                object.insert("time".to_owned(), time.into());
                object.insert("level".to_owned(), about.level().as_str().into());
                object.insert("target".to_owned(), about.target().into());
                object.insert("message".to_owned(), self.message.into());
                let fields: Map<_, _> =
                    self.rest.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                if !fields.is_empty() {
                    object.insert("fields".to_owned(), fields.into());
                }
                escape_json(&Value::Object(object).to_string(), &mut line);
            }
        }
        line.push('\n');
        line
    }

    fn put(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.rest.push((field.name(), value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Capped(String::new());
        let _ = write!(text, "{value:?}");
        self.put(field, text.0.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Capped(String::new());
        let _ = text.write_str(value);
        self.put(field, text.0.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// A text that stops at the longest field.
struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LOG_LINE_MAX.saturating_sub(self.0.len());
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        if end < text.len() {
            self.0.push('…');
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Whether a value needs no quotes to be told from what follows it.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.chars().any(|c| c.is_whitespace() || is_unsafe(c) || "\"=\\".contains(c))
}

/// What a terminal or a reader could be fooled by: controls, line separators, marks of direction.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if is_unsafe(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
}

/// The same inside JSON, where such characters only stand in strings.
fn escape_json(text: &str, out: &mut String) {
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use super::*;

    /// Runs `log` under a log of its own and gives its lines.
    fn lines(format: LogFormat, level: Level, log: impl FnOnce()) -> Vec<String> {
        let (queue, lines) = sync_channel(16);
        let layer = Lines { format, queue, lost: AtomicU64::new(0) };
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(level)));
        tracing::subscriber::with_default(subscriber, log);
        taken(&lines)
    }

    fn taken(lines: &Receiver<Item>) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(item) = lines.try_recv() {
            if let Item::Line(line) = item {
                all.push(line);
            }
        }
        all
    }

    #[test]
    fn an_event_is_a_line() {
        let human = lines(LogFormat::Human, Level::INFO, || {
            tracing::info!(account = %"a@b", tries = 3, why = "two words", "login refused");
            tracing::debug!("not this");
        });
        assert_eq!(human.len(), 1);
        let rest =
            " INFO  carillon::log::tests: login refused account=a@b tries=3 why=\"two words\"\n";
        assert!(human[0].ends_with(rest), "{human:?}");

        let json = lines(LogFormat::Json, Level::INFO, || {
            tracing::warn!(account = %"a@b", tries = 3, fine = true, "login refused");
        });
        let value: Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!((&value["level"], &value["message"]), (&"WARN".into(), &"login refused".into()));
        assert_eq!(value["fields"]["tries"], 3);
        assert_eq!(value["fields"]["fine"], true);
    }

    // Security cases 140 and 141.
    #[test]
    fn what_clients_send_stays_inside_its_line() {
        let evil =
            "a\nFORGED INFO carillon: b\r\u{1b}[31m\u{9b}2J\u{7f}\u{202e}\u{2028}${jndi:x}%n{}\0";
        for format in [LogFormat::Human, LogFormat::Json] {
            let all = lines(format, Level::INFO, || {
                tracing::info!(shown = %evil, debugged = ?evil, given = evil, "about {evil}");
            });
            assert_eq!(all.len(), 1);
            let line = all[0].strip_suffix('\n').unwrap();
            assert!(!line.chars().any(is_unsafe), "{line}");
            assert!(line.contains("${jndi:x}%n{}"), "{line}");
            if format == LogFormat::Json {
                let value: Value = serde_json::from_str(line).unwrap();
                assert_eq!(value["fields"]["given"], evil);
            }
        }
        let forged = lines(LogFormat::Human, Level::INFO, || {
            tracing::info!(name = %"x admin=true", "hello");
        });
        assert!(forged[0].ends_with(" hello name=\"x admin=true\"\n"), "{forged:?}");
    }

    #[test]
    fn a_line_is_bounded_and_lost_lines_are_counted() {
        let all = lines(LogFormat::Human, Level::INFO, || {
            tracing::info!(long = %"é".repeat(LOG_LINE_MAX), "hello");
        });
        assert!(all[0].len() < LOG_LINE_MAX + 200);

        let (queue, reader) = sync_channel(2);
        let layer = Lines { format: LogFormat::Human, queue, lost: AtomicU64::new(0) };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            (0..5).for_each(|n| tracing::info!(n));
            assert_eq!(taken(&reader).len(), 2);
            tracing::info!("after");
        });
        let rest = taken(&reader);
        assert!(rest[1].contains("3 events were lost"), "{rest:?}");
    }

    #[test]
    fn other_crates_are_heard_from_warn() {
        let all = lines(LogFormat::Human, Level::DEBUG, || {
            tracing::info!(target: "rustls::conn", "quiet");
            tracing::warn!(target: "rustls::conn", "heard");
            tracing::debug!(target: "edge", "heard");
        });
        assert_eq!(all.len(), 2);
        let all = lines(LogFormat::Human, Level::ERROR, || {
            tracing::warn!(target: "rustls::conn", "quiet");
        });
        assert_eq!(all.len(), 0);
    }
}
