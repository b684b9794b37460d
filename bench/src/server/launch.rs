//! Starting a server, waiting until it listens, and ending it.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Kind, PASSWORD, Setup, carillon, ejabberd, prosody, relay};
use crate::limits::{SEED_TIME_MAX, SERVER_END_MAX, SERVER_TIME_MAX};
use crate::target::{Accounts, Protocol, Sasl, Target, Transport};
use crate::{Failure, stop};

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
    let command = match setup.kind {
        Kind::Carillon => carillon::command(&setup)?,
        Kind::Ejabberd | Kind::EjabberdMnesia => ejabberd::command(&setup)?,
        Kind::Prosody | Kind::ProsodyIncremental => prosody::command(&setup)?,
        Kind::Relay => relay::command(&setup)?,
    };
    let mut running = spawn(setup, command)?;
    running.wait()?;
    Ok(running)
}

/// Starts a server's command, and does not wait for anything.
pub(super) fn spawn(setup: Setup, mut command: Command) -> Result<Running, Failure> {
    stop::check()?;
    let said = File::create(setup.path("said.txt"))?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    // An interrupt from the terminal is for this program, which ends the server in order.
    command.process_group(0);
    let name = setup.kind.name();
    let child = command.spawn().map_err(|why| format!("{name} cannot be started: {why}"))?;
    stop::started(child.id());
    Ok(Running { setup, child })
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
                stop::sleep(Duration::from_millis(100))?;
            }
        }
        Ok(())
    }

    /// Waits until a process that ends by itself has done so.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let name = self.setup.kind.name();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("{name} failed ({status}): {}", self.said()).into());
                }
                None if begun.elapsed() > SEED_TIME_MAX => {
                    return Err(format!("{name} does not end: {}", self.said()).into());
                }
                None => stop::sleep(Duration::from_millis(50))?,
            }
        }
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.setup.path("said.txt")).unwrap_or_default();
        let from = said.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
        said[from..].to_owned()
    }

    /// The server as a target, for clients whose accounts are there and begin with a prefix.
    #[must_use]
    pub fn target(&self, transport: Transport, prefix: &str) -> Target {
        let port = if transport == Transport::Tls { self.setup.port_tls } else { self.setup.port };
        let lines = self.setup.kind == Kind::Relay;
        Target {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], port))],
            transport,
            sasl: Sasl::ScramSha1,
            domain: "localhost".to_owned(),
            prefix: prefix.to_owned(),
            password: PASSWORD.to_owned(),
            sm: false,
            classic: false,
            tickets: false,
            protocol: if lines { Protocol::Lines } else { Protocol::Xmpp },
            accounts: Accounts::Exist,
            pids: vec![self.child.id()],
        }
    }

    /// Which server it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.setup.kind
    }

    /// Ends it in order, and by force if that takes too long.
    fn stop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            stop::tell(self.child.id(), Signal::TERM);
            let begun = Instant::now();
            while begun.elapsed() < SERVER_END_MAX && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        stop::ended(self.child.id());
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

/// A command that runs in the folder of a setup.
pub(super) fn command(program: impl AsRef<std::ffi::OsStr>, setup: &Setup) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&setup.folder).env("HOME", &setup.folder);
    command
}
