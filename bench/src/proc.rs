//! What the system says of a process.

use std::fs;

use crate::Failure;

/// CPU of a process so far, all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// In user mode, in microseconds.
    pub user_us: u64,
    /// In the kernel, in microseconds.
    pub system_us: u64,
}

impl Cpu {
    /// Reads it for a process.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: u32) -> Result<Self, Failure> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the name in parentheses and may hold anything.
        let rest = stat.rsplit_once(')').map(|(_, rest)| rest).ok_or("unreadable stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Clock ticks are 1/100 s on Linux (USER_HZ).
        let ticks = |at: usize| -> Result<u64, Failure> {
            Ok(fields.get(at).ok_or("short stat")?.parse::<u64>()? * 10_000)
        };
        Ok(Self { user_us: ticks(11)?, system_us: ticks(12)? })
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us - earlier.user_us,
            system_us: self.system_us - earlier.system_us,
        }
    }

    /// Both together, in microseconds.
    #[must_use]
    pub fn total_us(self) -> u64 {
        self.user_us + self.system_us
    }
}

/// Memory of a process: its proportional share (PSS), in bytes.
///
/// # Errors
/// If there is no such process.
pub fn pss(pid: u32) -> Result<u64, Failure> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).ok_or("no Pss line")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("short Pss line")?.parse()?;
    Ok(kib * 1024)
}
