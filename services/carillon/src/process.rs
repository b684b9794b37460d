//! What the process asks of the system: open files, signals, and what a panic may end.

use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::time::Duration;

use rustix::process::{Resource, getpid, getrlimit, kill_process, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, warn};

use crate::limits::ORPHAN_TIME;

/// The queue of the log has a thread of its own, which needs a moment before the process ends.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Raises the limit of open files to what the system allows; gives the limit then in force, `None`
/// where there is none.
pub fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if setrlimit(Resource::Nofile, limit).is_err() {
            return getrlimit(Resource::Nofile).current;
        }
    }
    limit.current
}

/// The signals that a server minds.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    has_terminal: bool,
}

/// Has this process stop when its standard input ends, as if by SIGTERM: whoever started it held
/// the other end, and is gone. It ends soon after, in order or not.
pub fn stop_at_eof() {
    let wait = || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        warn!("whoever started this process is gone");
        let _ = kill_process(getpid(), rustix::process::Signal::TERM);
        std::thread::sleep(ORPHAN_TIME);
        error!("the stop takes too long; this process ends now");
        std::thread::sleep(LAST_WORDS);
        std::process::exit(1);
    };
    if let Err(why) = std::thread::Builder::new().name("orphan".to_owned()).spawn(wait) {
        warn!(%why, "the end of standard input is not waited for");
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// Stop; the name of the signal.
    Stop(&'static str),
    /// Read again what may have changed.
    Reload,
}

impl Stop {
    /// Listens for them from here on; the process does not end by them any more.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            has_terminal: std::io::stdin().is_terminal(),
        })
    }

    /// Waits for the next one. SIGHUP asks to reload, but where it means that the terminal was
    /// closed it stops.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.terminate.recv() => StopSignal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => StopSignal::Stop("SIGINT"),
            _ = self.hang_up.recv() => {
                if self.has_terminal { StopSignal::Stop("SIGHUP") } else { StopSignal::Reload }
            }
        }
    }
}

/// Installs what is done about panics: each is logged; one on a thread named in `vital` ends the
/// process, because what such a thread holds cannot be trusted afterwards. Other threads catch
/// theirs, and lose the connection or shard that caused it.
pub fn watch_panics(vital: &'static [&'static str]) {
    std::panic::set_hook(Box::new(move |info| on_panic(info, vital)));
}

fn on_panic(info: &PanicHookInfo<'_>, vital: &[&str]) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed").to_owned();
    let place =
        info.location().map_or_else(String::new, |it| format!("{}:{}", it.file(), it.line()));
    let payload = info.payload();
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    error!(thread = %name, %place, "a part of the server panicked, which is a bug: {what}");
    if vital.iter().any(|it| name.starts_with(it)) {
        error!(thread = %name, "the server cannot go on without this part and ends now");
        std::thread::sleep(LAST_WORDS);
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_reach_the_hard_limit() {
        let now = raise_open_files();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((now, limit.current), (limit.maximum, limit.maximum));
    }
}
