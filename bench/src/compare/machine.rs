//! Where the figures come from: the machine, and the servers' versions.

use std::fs::read_to_string;
use std::path::Path;

use crate::server::Kind;

/// The magic number of a file system in memory (statfs(2)).
const TMPFS: u64 = 0x0102_1994;

/// A paragraph for the head of the tables.
pub(super) fn machine(folder: &Path, servers: &[(Kind, String)]) -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let field = |path: &str| read_to_string(path).unwrap_or_default().trim().to_owned();
    let load = field("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let servers: Vec<String> =
        servers.iter().map(|(kind, version)| format!("{} {version}", kind.name())).collect();
    let mut text = format!(
        "{cores} cores, {}; Linux {}; load average {load} before the first run\n{}\n",
        model.map_or("unknown", |(_, name)| name),
        field("/proc/sys/kernel/osrelease"),
        servers.join(", ")
    );
    if load.parse::<f64>().is_ok_and(|load| load > 0.5) {
        text.push_str("NOTE: the machine was not quiet.\n");
    }
    if rustix::fs::statfs(folder).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(TMPFS)) {
        text.push_str("NOTE: servers keep their data in memory, not on a disk: see --folder.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_not_taken_for_a_disk() {
        let servers = [(Kind::Relay, "1".to_owned())];
        let text = machine(Path::new("/proc"), &servers);
        assert!(text.contains("relay 1") && text.contains("cores"));
        assert!(!text.contains("in memory"));
        if Path::new("/dev/shm").is_dir() {
            assert!(machine(Path::new("/dev/shm"), &servers).contains("in memory"));
        }
    }
}
