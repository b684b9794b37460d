//! The real binary on loopback ports, with a data folder that goes away with it. Everything that
//! the tests know of its command line and configuration is in this file.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tools::run;

const DOMAIN: &str = "localhost";
/// A start waits for the store's recovery; a stop for clients that do not close their side.
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Lines of its log that are shown when a scenario fails.
const LOG_LINES_SHOWN: usize = 150;

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    folder: TempDir,
    /// STARTTLS, direct TLS, HTTP.
    ports: [u16; 3],
    level: String,
    child: Option<Child>,
}

impl Server {
    /// Starts with a new data folder and these accounts; it logs from this level on.
    pub(crate) fn start(accounts: &[(&str, String)], level: &str) -> Result<Server, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let level = level.to_owned();
        let mut server = Server { folder, ports: free_ports(), level, child: None };
        fs::write(server.config(), server.configuration()).map_err(|e| e.to_string())?;
        let ready = server.up().and_then(|()| {
            accounts.iter().try_for_each(|(user, password)| server.user("add", user, password))
        });
        ready.map_err(|what| format!("{what}\n--- the server's log\n{}", server.log_tail()))?;
        Ok(server)
    }

    /// Limits that a client from one address meets are raised: all clients are on this machine.
    fn configuration(&self) -> String {
        let [c2s, c2s_tls, http] = self.ports;
        let level = &self.level;
        format!(
            "domains = [\"{DOMAIN}\"]\ndata = \"data\"\n\
             [listen]\nc2s = [\"127.0.0.1:{c2s}\"]\nc2s_tls = [\"127.0.0.1:{c2s_tls}\"]\n\
             http = [\"127.0.0.1:{http}\"]\n\
             [limits]\nconnects_per_source_per_second = 10000\nconnects_per_source_at_once = 10000\n\
             [log]\nlevel = \"{level}\"\n"
        )
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("carillon.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join(format!("data/tls/{DOMAIN}.crt"))
    }

    fn binary(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
        command.current_dir(self.folder.path());
        command
    }

    /// `carillon user …` as an operator types it; a password goes to its standard input.
    fn user(&self, verb: &str, user: &str, password: &str) -> Result<(), String> {
        let mut command = self.binary();
        command.args(["user", verb, &format!("{user}@{DOMAIN}"), "--config"]).arg(self.config());
        if verb == "delete" {
            command.arg("--yes");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        // A verb that reads nothing may be done.
        let _ = writeln!(child.stdin.take().unwrap(), "{password}");
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(format!("user {verb} {user}: {error}"))
    }

    /// What every script is told.
    pub(crate) fn arguments(&self, command: &mut Command) {
        let [c2s, c2s_tls, _] = self.ports;
        command.args(["--port", &c2s.to_string(), "--tls-port", &c2s_tls.to_string()]);
        command.args(["--domain", DOMAIN, "--ca"]).arg(self.certificate());
        command.env("NODE_EXTRA_CA_CERTS", self.certificate());
    }

    /// Starts it and waits until it takes clients.
    fn up(&mut self) -> Result<(), String> {
        let log = OpenOptions::new().create(true).append(true).open(self.log());
        let log = log.map_err(|e| e.to_string())?;
        let mut command = self.binary();
        command.args(["serve", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().map_err(|e| e.to_string())?);
        let start = Instant::now();
        while start.elapsed() < START_MAX {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                return Err(format!("the server ended at its start: {status}"));
            }
            let open = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            if self.ports.iter().all(|p| open(*p)) {
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        Err(format!("the server does not listen after {START_MAX:?}"))
    }

    /// Where metrics are.
    pub(crate) fn http_port(&self) -> u16 {
        self.ports[2]
    }

    /// Does what a scenario asked for: `kill` and `term` start it again, `stop` does not; `renew`
    /// gives it another certificate, `logged` and `unlogged` look into its log; the rest is done
    /// with accounts.
    pub(crate) fn control(&mut self, what: &str) -> Result<(), String> {
        match what {
            "kill" => {
                self.kill();
                self.up()
            }
            "term" => self.stop().and_then(|()| self.up()),
            "stop" => self.stop(),
            "start" => self.up(),
            "renew" => self.renew(),
            _ => match what.split(' ').collect::<Vec<_>>()[..] {
                ["logged", text] => self.has_logged(text, true),
                ["unlogged", secret] => self.has_logged(secret, false),
                ["user", verb, user] => self.user(verb, user, ""),
                ["user", verb, user, password] => self.user(verb, user, password),
                _ => Err(format!("no such request: {what}")),
            },
        }
    }

    /// Whether a text stands in all that it has written so far.
    fn has_logged(&self, text: &str, wanted: bool) -> Result<(), String> {
        let log = fs::read_to_string(self.log()).map_err(|e| e.to_string())?;
        let found = log.lines().find(|line| line.contains(text));
        let fine = found.is_some() == wanted;
        fine.then_some(()).ok_or(format!("logged: {found:?}, and that is wrong"))
    }

    /// Another certificate and key in the place of those that are in use, and SIGHUP.
    fn renew(&mut self) -> Result<(), String> {
        let names = [DOMAIN.to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(|e| e.to_string())?;
        let fail = |e: std::io::Error| e.to_string();
        fs::write(self.certificate(), made.cert.pem()).map_err(fail)?;
        let key = self.certificate().with_extension("key");
        fs::write(key, made.signing_key.serialize_pem()).map_err(fail)?;
        let renewals = self.renewals();
        self.signal("HUP")?;
        let start = Instant::now();
        while self.renewals() == renewals {
            if start.elapsed() > STOP_MAX {
                return Err(format!("no certificate was read within {STOP_MAX:?} of SIGHUP"));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// How often it has said that certificates were read.
    fn renewals(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.matches("certificates read again").count()
    }

    fn signal(&self, name: &str) -> Result<(), String> {
        let Some(child) = self.child.as_ref() else { return Err("it does not run".into()) };
        let kill = format!("kill -{name} {}", child.id());
        run(Command::new("sh").args(["-c", &kill])).map(drop)
    }

    /// kill -9.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, and an orderly end with status 0.
    fn stop(&mut self) -> Result<(), String> {
        if self.child.is_none() {
            return Ok(());
        }
        self.signal("TERM")?;
        let child = self.child.as_mut().unwrap();
        let start = Instant::now();
        while start.elapsed() < STOP_MAX {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                let fine = status.success();
                return fine.then_some(()).ok_or(format!("SIGTERM: ended with {status}"));
            }
            sleep(Duration::from_millis(10));
        }
        Err(format!("still there {STOP_MAX:?} after SIGTERM"))
    }

    /// The end of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that are free, from a range that the system gives to no one by itself: while the server
/// is down, a client that tries again and again could otherwise be given its port, and meet
/// itself.
fn free_ports() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() * 97 % 10_000).unwrap();
    let next = || loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    };
    [next(), next(), next()]
}
