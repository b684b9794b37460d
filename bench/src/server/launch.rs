//! Starting a server, waiting until it listens, and ending it.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use super::{Kind, Setup, carillon, ejabberd, prosody, relay};
use crate::Failure;
use crate::limits::SERVER_TIME_MAX;
use crate::target::{Protocol, Sasl, Target, Transport};

/// Servers that run: they end when this program is told to end.
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A server that runs as a child of this process, and ends with it.
pub struct Running {
    setup: Setup,
    child: Child,
}

/// Writes a server's configuration and starts it.
///
/// # Errors
/// If it does not start, or does not listen in time: with the end of what it said.
pub fn start(setup: Setup) -> Result<Running, Failure> {
    let mut command = match setup.kind {
        Kind::Carillon => carillon::command(&setup)?,
        Kind::Ejabberd | Kind::EjabberdMnesia => ejabberd::command(&setup)?,
        Kind::Prosody | Kind::ProsodyIncremental => prosody::command(&setup)?,
        Kind::Relay => relay::command(&setup)?,
    };
    let said = File::create(setup.path("said.txt"))?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    let name = setup.kind.name();
    ends_with_us();
    let child = command.spawn().map_err(|why| format!("{name} cannot be started: {why}"))?;
    running_now().push(child.id());
    let mut running = Running { setup, child };
    running.wait()?;
    Ok(running)
}

impl Running {
    fn wait(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let name = self.setup.kind.name();
        for port in [self.setup.port, self.setup.port_tls] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                if let Some(status) = self.child.try_wait()? {
                    let said = self.said();
                    return Err(format!("{name} ended at once ({status}): {said}").into());
                }
                if begun.elapsed() > SERVER_TIME_MAX {
                    return Err(format!("{name} does not listen: {}", self.said()).into());
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.setup.path("said.txt")).unwrap_or_default();
        let from = said.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
        said[from..].to_owned()
    }

    /// The server as a target.
    #[must_use]
    pub fn target(&self, transport: Transport) -> Target {
        let port = if transport == Transport::Tls { self.setup.port_tls } else { self.setup.port };
        let lines = self.setup.kind == Kind::Relay;
        Target {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            transport,
            sasl: Sasl::ScramSha1,
            domain: "localhost".to_owned(),
            prefix: "load".to_owned(),
            password: "a load generator's password".to_owned(),
            sm: false,
            classic: false,
            tickets: false,
            protocol: if lines { Protocol::Lines } else { Protocol::Xmpp },
            accounts: self.setup.kind.accounts(&self.setup),
            pid: Some(self.child.id()),
        }
    }

    /// Which server it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.setup.kind
    }

    /// Ends it in order, and by force if that takes too long.
    fn stop(&mut self) {
        running_now().retain(|pid| *pid != self.child.id());
        if let Ok(None) = self.child.try_wait() {
            terminate(self.child.id());
            let begun = Instant::now();
            while begun.elapsed() < SERVER_TIME_MAX / 3 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        // Memory that a file took is given back.
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let file = format!("{}{suffix}", self.setup.archive_file.display());
            let _ = std::fs::remove_file(file);
        }
    }
}

fn running_now() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // A process that has ended already is what was wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Has an interrupt or a request to end reach the servers first: a server left behind would hold
/// ports, memory and a core.
fn ends_with_us() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| -> Result<(), Failure> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let mut asked = signal(SignalKind::terminate())?;
                let mut interrupted = signal(SignalKind::interrupt())?;
                tokio::select! {
                    _ = asked.recv() => {}
                    _ = interrupted.recv() => {}
                }
                running_now().drain(..).for_each(terminate);
                std::process::exit(130)
            })
        });
    });
}

/// A command that runs in the folder of a setup.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>, setup: &Setup) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&setup.folder).env("HOME", &setup.folder);
    command
}
