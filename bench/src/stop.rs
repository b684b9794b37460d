//! An interrupt, or a request to end: long work looks here, gives up, and so stops the servers and
//! workers that it started and takes its files away. A second request, or work that does not look
//! in time, ends the program at once; servers are ended even then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;

/// How long work may take to give up.
const GIVE_UP_MAX: Duration = Duration::from_secs(45);

static ASKED: AtomicBool = AtomicBool::new(false);

/// Processes that must not be left behind.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Fails when this program was asked to end.
///
/// # Errors
/// That it was.
pub fn check() -> Result<(), Failure> {
    if ASKED.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(()) }
}

/// Sleeps, and fails as soon as this program is asked to end.
///
/// # Errors
/// That it was.
pub fn sleep(time: Duration) -> Result<(), Failure> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time {
        check()?;
        std::thread::sleep(Duration::from_millis(50).min(time));
    }
    check()
}

/// A process that must not be left behind has started.
pub(crate) fn started(pid: u32) {
    running().push(pid);
    listen();
}

/// It has ended.
pub(crate) fn ended(pid: u32) {
    running().retain(|other| *other != pid);
}

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to a process.
pub(crate) fn tell(pid: u32, what: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that has ended already is what was wanted.
        let _ = kill_process(pid, what);
    }
}

/// Has requests to end set the flag, from the first call on.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| -> Result<(), Failure> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut asked = signal(SignalKind::terminate())?;
                let mut interrupted = signal(SignalKind::interrupt())?;
                let mut hung_up = signal(SignalKind::hangup())?;
                for patience in [Duration::MAX, GIVE_UP_MAX] {
                    let once = async {
                        tokio::select! {
                            _ = asked.recv() => {}
                            _ = interrupted.recv() => {}
                            _ = hung_up.recv() => {}
                        }
                    };
                    let _ = tokio::time::timeout(patience, once).await;
                    ASKED.store(true, Ordering::Relaxed);
                }
                running().drain(..).for_each(|pid| tell(pid, Signal::KILL));
                std::process::exit(130)
            })
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_that_nobody_interrupts_is_as_long_as_asked() {
        let begun = std::time::Instant::now();
        sleep(Duration::from_millis(20)).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn processes_are_remembered_until_they_end() {
        running().push(u32::MAX);
        ended(u32::MAX);
        assert!(!running().contains(&u32::MAX));
        // Nobody has this number: nothing happens.
        tell(u32::MAX, Signal::TERM);
    }
}
