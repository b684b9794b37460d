//! A comparison that is interrupted leaves no server, no worker and no file behind.
#![cfg(feature = "load")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use carillon_bench::measure::proc::family;
use rustix::process::{Pid, Signal, kill_process};

/// Ends with the test, whatever becomes of it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A comparison of the bare relay with itself, which takes a minute.
fn compare(folder: &Path) -> Ended {
    let child = Command::new(env!("CARGO_BIN_EXE_carillon-bench"))
        .args(["compare", "--servers", "relay", "--cases", "chat-plain", "--pairs", "2"])
        .args(["--seconds", "60", "--rounds", "1", "--folder"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ended(child.unwrap())
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn interrupted(signal: Signal) {
    let folder = tempfile::tempdir().unwrap();
    let mut compare = compare(folder.path());
    let pid = compare.0.id();
    until("a server and a worker run", || family(pid).unwrap().len() >= 3);
    let started: Vec<u32> = family(pid).unwrap().into_iter().skip(1).collect();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    until("it ends", || !is_there(pid) || family(pid).unwrap().len() == 1);
    assert!(!compare.0.wait().unwrap().success());
    until("what it started ends", || !started.iter().any(|pid| is_there(*pid)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files are left");
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    interrupted(Signal::INT);
}

#[test]
fn a_request_to_end_leaves_nothing_behind() {
    interrupted(Signal::TERM);
}
