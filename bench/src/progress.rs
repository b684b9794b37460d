//! A bar for long phases, on standard error, and only where a person watches.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const WIDTH: usize = 30;
const BETWEEN: Duration = Duration::from_millis(200);

/// Somebody's bar is on the terminal, which has room for one.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A bar that is drawn over itself.
pub struct Bar {
    shown: bool,
    last: Option<Instant>,
    length: usize,
}

impl Bar {
    /// A bar that nobody has seen yet.
    #[must_use]
    pub fn new() -> Self {
        let shown = std::io::stderr().is_terminal() && !TAKEN.swap(true, Ordering::Relaxed);
        Self { shown, last: None, length: 0 }
    }

    /// Shows how far a phase is.
    pub fn show(&mut self, what: &str, done: u64, total: u64) {
        let now = Instant::now();
        let early = self.last.is_some_and(|last| now - last < BETWEEN);
        if !self.shown || (early && done < total) {
            return;
        }
        self.last = Some(now);
        self.draw(&line(what, done, total));
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if self.shown && self.length > 0 {
            self.draw("");
            eprint_raw("\r");
            self.length = 0;
        }
    }

    fn draw(&mut self, text: &str) {
        let length = text.chars().count();
        let blank = " ".repeat(self.length.saturating_sub(length));
        eprint_raw(&format!("\r{text}{blank}"));
        self.length = length;
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
        if self.shown {
            TAKEN.store(false, Ordering::Relaxed);
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

fn eprint_raw(text: &str) {
    let mut error = std::io::stderr();
    // A bar that cannot be drawn is no reason to stop a run.
    let _ = error.write_all(text.as_bytes()).and_then(|()| error.flush());
}

fn line(what: &str, done: u64, total: u64) -> String {
    let total = total.max(1);
    let full = usize::try_from(done.min(total) * WIDTH as u64 / total).unwrap_or(WIDTH);
    format!("[{}{}] {done}/{total} {what}", "#".repeat(full), ".".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_and_never_overflow() {
        assert_eq!(line("logins", 0, 4), format!("[{}] 0/4 logins", ".".repeat(30)));
        assert_eq!(line("logins", 9, 4), format!("[{}] 9/4 logins", "#".repeat(30)));
        assert!(line("x", 0, 0).contains("0/1"));
    }
}
