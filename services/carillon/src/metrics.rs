//! The text format of Prometheus, and what the process knows of itself.

use std::fmt::{Display, Write as _};
use std::time::Instant;

/// The media type of the format.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The release of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

/// A page of metrics, being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample with labels. Label values come from closed sets, never from clients: their number
    /// is what a scraper pays for (security case 21).
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A histogram of times: `counts` by upper bound in microseconds, not cumulative, the last one
    /// without a bound; the sum in microseconds. Written in seconds, as the format wants.
    pub fn times(
        &mut self,
        name: &'static str,
        help: &str,
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        debug_assert_eq!(bounds_us.len() + 1, counts.len());
        self.family(name, Kind::Histogram, help);
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (index, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds_us.get(index).map_or_else(|| "+Inf".to_owned(), |us| seconds(*us));
            self.sample(&bucket, &[("le", &bound)], total);
        }
        self.sample(&format!("{name}_sum"), &[], seconds(sum_us));
        self.sample(&format!("{name}_count"), &[], total);
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }
}

/// Microseconds as seconds, without a rounding error.
fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What the process knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    started: Instant,
}

impl Process {
    /// A process that starts now.
    #[must_use]
    pub fn started() -> Self {
        Self { started: Instant::now() }
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Writes build, uptime, memory and open files.
    pub fn write(&self, page: &mut Page) {
        page.family("carillon_build_info", Kind::Gauge, "Release of the program; always 1.");
        page.sample("carillon_build_info", &[("version", VERSION)], 1);
        let help = "Seconds since the start.";
        page.single("carillon_uptime_seconds", Kind::Gauge, help, self.uptime_s());
        if let Some(memory) = memory() {
            let name = "carillon_memory_bytes";
            page.family(name, Kind::Gauge, "Memory by what the allocator did with it.");
            page.sample(name, &[("kind", "allocated")], memory.allocated);
            page.sample(name, &[("kind", "active")], memory.active);
            page.sample(name, &[("kind", "resident")], memory.resident);
        }
        if let Some(files) = open_files() {
            page.single("carillon_open_files", Kind::Gauge, "Open file descriptors.", files);
        }
    }
}

/// Memory as the allocator counts it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Asked for and not given back.
    pub allocated: u64,
    /// In pages that hold something of it.
    pub active: u64,
    /// In physical memory.
    pub resident: u64,
}

/// Asks the allocator. `None` where it does not count.
#[must_use]
pub fn memory() -> Option<Memory> {
    use tikv_jemalloc_ctl::{epoch, stats};
    epoch::advance().ok()?;
    Some(Memory {
        allocated: stats::allocated::read().ok()? as u64,
        active: stats::active::read().ok()? as u64,
        resident: stats::resident::read().ok()? as u64,
    })
}

fn open_files() -> Option<usize> {
    // The listing itself holds one descriptor.
    std::fs::read_dir("/proc/self/fd").ok().map(|it| it.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_like_the_format() {
        let mut page = Page::new();
        page.family("logins_total", Kind::Counter, "Logins by result.");
        page.sample("logins_total", &[("result", "ok"), ("odd", "a\"b\\c\nd")], 3);
        page.single("sessions", Kind::Gauge, "Sessions.", 7);
        page.times(
            "commit_seconds",
            "Commits.",
            &[500, 1_000, 2_500_000],
            &[1, 0, 2, 4],
            9_000_001,
        );
        let expected = r#"# HELP logins_total Logins by result.
# TYPE logins_total counter
logins_total{result="ok",odd="a\"b\\c\nd"} 3
# HELP sessions Sessions.
# TYPE sessions gauge
sessions 7
# HELP commit_seconds Commits.
# TYPE commit_seconds histogram
commit_seconds_bucket{le="0.0005"} 1
commit_seconds_bucket{le="0.001"} 1
commit_seconds_bucket{le="2.5"} 3
commit_seconds_bucket{le="+Inf"} 7
commit_seconds_sum 9.000001
commit_seconds_count 7
"#;
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn the_process_knows_itself() {
        let mut page = Page::new();
        Process::started().write(&mut page);
        let text = page.finish();
        assert!(text.contains(&format!("carillon_build_info{{version=\"{VERSION}\"}} 1\n")));
        assert!(text.contains("\ncarillon_uptime_seconds 0\n"), "{text}");
        assert!(text.contains("\ncarillon_open_files "), "{text}");
        let memory = memory().expect("jemalloc counts");
        assert!(memory.allocated <= memory.active);
    }
}
