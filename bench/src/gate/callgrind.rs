//! Counting instructions: the program runs itself under valgrind's callgrind.

use std::process::Command;

use super::Case;
use crate::Failure;

/// Instructions of one time of a case: the difference between many times and none, so that what is
/// done once does not count.
///
/// # Errors
/// If valgrind is missing or the case fails.
pub fn count(case: &Case) -> Result<u64, Failure> {
    let many = total(case.name, case.times)?;
    let none = total(case.name, 0)?;
    Ok(many.saturating_sub(none) / case.times)
}

fn total(name: &str, times: u64) -> Result<u64, Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["case", name, &times.to_string()])
        .output()
        .map_err(|why| format!("valgrind cannot be run ({why}): apt-get install valgrind"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name} failed under valgrind: {said}").into());
    }
    Ok(collected(&said).ok_or_else(|| format!("valgrind did not say a count: {said}"))?)
}

/// The number in `==1== Collected : 123`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        let said = "==7== Callgrind\n==7== Events    : Ir\n==7== Collected : 6155812\n==7==\n";
        assert_eq!(collected(said), Some(6_155_812));
        assert_eq!(collected("==7== nothing"), None);
    }
}
