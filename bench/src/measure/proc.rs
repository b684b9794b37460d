//! What the system says of a server: all its processes, CPU and memory.

use std::collections::HashMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// CPU so far, all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// In user mode, in microseconds.
    pub user_us: u64,
    /// In the kernel, in microseconds.
    pub system_us: u64,
}

/// What a server has used at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Since the run began, in microseconds.
    pub at_us: u64,
    /// CPU of all its processes so far.
    pub cpu: Cpu,
    /// Memory of all its processes (PSS), in bytes.
    pub pss: u64,
    /// CPU of the load generator's processes so far.
    pub load: Cpu,
}

impl Cpu {
    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }

    /// Both together, in microseconds.
    #[must_use]
    pub fn total_us(self) -> u64 {
        self.user_us + self.system_us
    }
}

impl std::iter::Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |sum, part| Self {
            user_us: sum.user_us + part.user_us,
            system_us: sum.system_us + part.system_us,
        })
    }
}

/// A process and all that descend from it.
///
/// # Errors
/// If /proc cannot be read.
pub fn family(pid: u32) -> Result<Vec<u32>, Failure> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Ok(fields) = stat(child) {
            parents.insert(child, fields.parent);
        }
    }
    let mut family = vec![pid];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(child, _)| *child));
        at += 1;
    }
    Ok(family)
}

struct Stat {
    parent: u32,
    cpu: Cpu,
}

fn stat(pid: u32) -> Result<Stat, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses and may hold anything.
    let rest = text.rsplit_once(')').map(|(_, rest)| rest).ok_or("unreadable stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<u64, Failure> {
        Ok(fields.get(at).ok_or("short stat")?.parse::<u64>()?)
    };
    // Clock ticks are 1/100 s on Linux (USER_HZ).
    let cpu = Cpu { user_us: field(11)? * 10_000, system_us: field(12)? * 10_000 };
    Ok(Stat { parent: u32::try_from(field(1)?)?, cpu })
}

/// CPU of a process and all that descend from it.
///
/// # Errors
/// If there is no such process.
pub fn cpu(pid: u32) -> Result<Cpu, Failure> {
    let mut sum = stat(pid).map_err(|_| format!("the server (process {pid}) is gone"))?.cpu;
    for child in family(pid)?.into_iter().skip(1) {
        let Ok(stat) = stat(child) else { continue };
        sum.user_us += stat.cpu.user_us;
        sum.system_us += stat.cpu.system_us;
    }
    Ok(sum)
}

/// Memory of a process and all that descend from it: the sum of their proportional shares, in
/// bytes.
///
/// # Errors
/// If there is no such process.
pub fn pss(pid: u32) -> Result<u64, Failure> {
    let mut sum = 0;
    for member in family(pid)? {
        let Ok(rollup) = fs::read_to_string(format!("/proc/{member}/smaps_rollup")) else {
            continue;
        };
        let Some(line) = rollup.lines().find(|line| line.starts_with("Pss:")) else { continue };
        let kib: u64 = line.split_whitespace().nth(1).ok_or("short Pss line")?.parse()?;
        sum += kib * 1024;
    }
    if sum == 0 {
        return Err(format!("the memory of process {pid} cannot be read: is it yours?").into());
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let own = std::process::id();
        assert!(pss(own).unwrap() > 100_000);
        assert!(family(own).unwrap().contains(&own));
        let before = cpu(own).unwrap();
        assert!(cpu(own).unwrap().since(before).total_us() < 60_000_000);
        assert!(cpu(u32::MAX).is_err());
    }

    #[test]
    fn children_belong_to_the_family() {
        let mut child = std::process::Command::new("sleep").arg("10").spawn().unwrap();
        let found = family(std::process::id()).unwrap().contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
