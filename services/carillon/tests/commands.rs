//! The commands of the real binary, as a shell sees them: what they print, how they end, what they
//! leave on the disk, and what they never show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const CANARY: &str = "canary-3f9c-password";

/// How a command ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn carillon(folder: &Path, arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    command.current_dir(folder).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads nothing may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A server on free ports, ended when it is dropped.
struct Server {
    child: Child,
    banner: String,
}

impl Server {
    fn start(folder: &Path) -> Server {
        let text = "workers = 2\n[listen]\nc2s = \"127.0.0.1:0\"\nc2s_tls = []\n\
                    http = \"127.0.0.1:0\"\n[log]\nlevel = \"trace\"\n";
        fs::write(folder.join("c.toml"), text).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
        command.current_dir(folder).args(["--config", "c.toml"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = String::new();
        // The banner ends with an empty line after the metrics.
        while !banner.contains("/health\n\n") {
            banner.push_str(&lines.next().expect("a whole banner").unwrap());
            banner.push('\n');
        }
        Server { child, banner }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn exit_codes_are_those_of_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.toml"), "domain = []\nworkers = \"x\"\n").unwrap();
    for (arguments, code, told) in [
        (&["status"][..], 69, "no server is running on"),
        (&["config", "check", "--config", "bad.toml"], 78, "bad.toml:1: `domain` is not a key"),
        (
            &["config", "check", "--config", "bad.toml"],
            78,
            "bad.toml:2: `workers`: must be a whole",
        ),
        (&["config", "check", "--config", "none.toml"], 78, "none.toml: cannot be read"),
        (&["serve", "--config", "bad.toml"], 78, "bad.toml:1: `domain`"),
        (&["dance"], 2, "unrecognized subcommand"),
        (&["user", "add", "anna"], 2, "has no domain"),
        (&["user", "delete", "anna@localhost"], 2, "--yes"),
        (&["user", "enable", "anna@localhost"], 1, "there is no account anna@localhost"),
        (&["config", "example"], 0, ""),
        (&["help"], 0, ""),
    ] {
        let ended = carillon(folder.path(), arguments, "");
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(told), "{arguments:?}: {}", ended.err);
        assert_eq!(code == 0, !ended.out.is_empty(), "{arguments:?}: {}", ended.out);
    }
}

#[test]
fn accounts_are_the_same_with_and_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| {
        let ended = carillon(folder.path(), &[&["--config", "c.toml"], arguments].concat(), input);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.err);
        ended.out
    };
    let server = Server::start(folder.path());
    assert!(server.banner.starts_with("Carillon "), "{}", server.banner);
    run(&["user", "add", "anna@localhost"], CANARY);
    run(&["user", "add", "ben@localhost"], CANARY);
    run(&["user", "passwd", "ben@localhost"], CANARY);
    run(&["user", "disable", "ben@localhost"], "");
    assert_eq!(run(&["user", "list"], ""), "anna@localhost\nben@localhost (disabled)\n");
    let status: serde_json::Value = serde_json::from_str(&run(&["status", "--json"], "")).unwrap();
    assert_eq!(status["pid"], server.child.id());
    let second = carillon(folder.path(), &["--config", "c.toml"], "");
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("a server is running on this data"), "{}", second.err);
    server.signal("TERM");
    assert_eq!(server.ended(), Some(0));

    assert_eq!(run(&["user", "list"], ""), "anna@localhost\nben@localhost (disabled)\n");
    run(&["user", "enable", "ben@localhost"], "");
    run(&["user", "delete", "--yes", "anna@localhost"], "");
    let server = Server::start(folder.path());
    assert_eq!(run(&["user", "list"], ""), "ben@localhost\n");
    drop(server);
}

/// A client that does not close its stream is waited for, and a second signal waits for nobody.
#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    // The first address that is told is that of clients.
    let (_, rest) = server.banner.split_once("127.0.0.1:").expect(&server.banner);
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let address = (Ipv4Addr::LOCALHOST, port.parse().expect(&server.banner));
    let mut client = TcpStream::connect(address).unwrap();
    client
        .write_all(
            b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' \
              xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
        )
        .unwrap();
    let mut got = [0; 1024];
    assert!(client.read(&mut got).unwrap() > 0);
    server.signal("TERM");
    sleep(Duration::from_millis(300));
    assert_eq!(server.child.try_wait().unwrap(), None, "it waits for the client to close");
    let second = Instant::now();
    server.signal("TERM");
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(server.ended(), Some(1), "{}", log());
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert!(log().contains("the stop was cut short"), "{}", log());
}

// Security cases 56 and 59: no secret is shown, and none is common to two installations.
#[test]
fn secrets_stay_where_they_are() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut kept = Vec::new();
    for folder in &folders {
        let server = Server::start(folder.path());
        let add = ["--config", "c.toml", "user", "add", "anna@localhost"];
        let ended = carillon(folder.path(), &add, CANARY);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let again = carillon(folder.path(), &add, CANARY);
        assert_eq!(again.code, Some(1));
        server.signal("TERM");
        assert_eq!(server.ended(), Some(0));
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(log.contains("user add done account=anna@localhost"), "{log}");
        for shown in [&log, &ended.out, &ended.err, &again.out, &again.err] {
            assert!(!shown.contains(CANARY), "{shown}");
        }
        let read =
            |file| fs::read_to_string(folder.path().join("carillon-data").join(file)).unwrap();
        let all = read("secrets") + &read("tls/localhost.key");
        let long = |line: &&str| line.len() > 40 && !line.starts_with(['#', '-']);
        let mut lines: Vec<_> = all.lines().filter(long).map(str::to_owned).collect();
        lines.push(read("tls/localhost.crt"));
        kept.push(lines);
    }
    assert!(kept[0].len() >= 4 && kept[0].iter().all(|line| !kept[1].contains(line)), "{kept:?}");
}
