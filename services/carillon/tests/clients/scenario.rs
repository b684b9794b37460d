//! One script with a server of its own, and the conversation between the two.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use super::server::Server;
use super::tools;

/// What runs a script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Python,
    Node,
}

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    /// A file beside this one.
    pub(crate) script: &'static str,
    /// Accounts that exist.
    pub(crate) accounts: &'static [&'static str],
    /// Accounts that the script is told of, and that do not exist.
    pub(crate) strangers: &'static [&'static str],
    pub(crate) arguments: &'static [&'static str],
    /// What the server logs.
    pub(crate) level: &'static str,
    /// The script gives up after this time; it is killed a little later.
    pub(crate) seconds: u64,
}

/// Time for a script to end by itself once it has given up.
const GRACE: Duration = Duration::from_secs(20);

/// Benvolio's has what breaks escaping and preparation: separators of SCRAM and XML, other
/// letters.
fn password(user: &str) -> String {
    match user {
        "benvolio" => "sch\u{f6}n, =2C & <gut> \u{3b8}\u{3b1}".into(),
        _ => format!("pw-{user}"),
    }
}

impl Scenario {
    pub(crate) fn run(&self) -> Result<(), String> {
        let mut command = tools::command(self.program, self.script)?;
        let accounts: Vec<_> = self.accounts.iter().map(|user| (*user, password(user))).collect();
        let mut server = Server::start(&accounts, self.level)?;
        server.arguments(&mut command);
        command.args(["--timeout", &self.seconds.to_string()]).args(self.arguments);
        if self.program == Program::Python {
            command.args(["--control", "stdio"]);
            command.args(["--http-port", &server.http_port().to_string()]);
        }
        command.args(accounts.iter().map(|(user, password)| format!("{user}:{password}")));
        command.args(self.strangers.iter().map(|user| format!("{user}:{}", password(user))));
        let outcome = self.talk(&mut command, &mut server);
        outcome.map_err(|what| format!("{what}\n\n--- the server's log\n{}", server.log_tail()))
    }

    /// Passes the script's requests to the server, until it ends with its line of JSON.
    fn talk(&self, command: &mut Command, server: &mut Server) -> Result<(), String> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let mut answers = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut errors = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let (ended, watched) = sync_channel(1);
        let limit = Duration::from_secs(self.seconds) + GRACE;
        let watch = thread::spawn(move || watch(child, limit, &watched));
        let mut last = String::new();
        let mut trouble = Vec::new();
        for line in lines.map_while(Result::ok) {
            let Some(request) = line.strip_prefix('@') else {
                last = line;
                continue;
            };
            let answer = server.control(request);
            let _ = writeln!(answers, "{}", if answer.is_ok() { "ok" } else { "failed" });
            trouble.extend(answer.err());
        }
        let _ = ended.send(());
        let done = watch.join().unwrap();
        let errors = errors.join().unwrap();
        let value: serde_json::Value = serde_json::from_str(&last).unwrap_or_default();
        if done && value["ok"] == true && trouble.is_empty() {
            return Ok(());
        }
        Err(format!("{}: {last}\n{}\n{errors}", self.script, trouble.join("\n")))
    }
}

/// Waits for the script's end; kills it when it has not ended in time. Whether it ended with 0.
fn watch(mut child: Child, limit: Duration, ended: &Receiver<()>) -> bool {
    if ended.recv_timeout(limit).is_err() {
        let _ = child.kill();
    }
    child.wait().is_ok_and(|status| status.success())
}
