//! What very many connections need of the kernel: said, and raised where that is asked for.

use std::fs::{read_to_string, write};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Settings of the whole machine, and how much each needs for a connection (two ends).
const NEEDS: [(&str, u64); 2] =
    [("/proc/sys/fs/file-max", 3), ("/proc/sys/net/netfilter/nf_conntrack_max", 2)];

/// What the kernel allows, for a time. What was raised is put back in the end.
pub(super) struct Kernel {
    said: Vec<String>,
    before: Vec<(&'static str, String)>,
}

impl Kernel {
    /// Looks at what so many sessions need, and raises it if it may.
    pub(super) fn prepare(sessions: usize, raises: bool) -> Self {
        let mut kernel = Self {
            said: vec![format!("files of a process: {}", descriptors())],
            before: Vec::new(),
        };
        for (path, each) in NEEDS {
            kernel.need(path, sessions as u64 * each + 65_536, raises);
        }
        kernel
    }

    fn need(&mut self, path: &'static str, needed: u64, raises: bool) {
        let name = path.trim_start_matches("/proc/sys/");
        let Ok(text) = read_to_string(path) else {
            self.said.push(format!("{name}: not there"));
            return;
        };
        let has: u64 = text.trim().parse().unwrap_or_default();
        if has >= needed {
            self.said.push(format!("{name}: {has} is enough"));
        } else if !raises {
            self.said.push(format!("{name}: {has}, where {needed} are needed: see --kernel"));
        } else if let Err(why) = write(path, needed.to_string()) {
            self.said.push(format!("{name}: {has}, where {needed} are needed: {why}"));
        } else {
            self.said.push(format!("{name}: raised from {has} to {needed}"));
            self.before.push((path, text.trim().to_owned()));
        }
    }

    /// What was found and done.
    pub(super) fn said(&self) -> String {
        self.said.join("; ")
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        for (path, before) in self.before.drain(..) {
            let _ = write(path, before);
        }
    }
}

/// How many files a process may open, after it has taken all that it is allowed.
pub(super) fn descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Memory that the machine has left, in bytes.
pub(super) fn left() -> u64 {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_nothing_is_changed() {
        let kernel = Kernel::prepare(usize::MAX / 8, false);
        assert!(kernel.said().contains("see --kernel") || kernel.said().contains("not there"));
        assert!(kernel.before.is_empty());
        assert!(Kernel::prepare(1, false).said().contains("files of a process"));
        assert!(left() > 1 << 20);
    }
}
