//! `carillon cluster demo` with real processes: comes up, heals, stops, and leaves nobody behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Six processes of a slow build on a busy machine.
const WITHIN: Duration = Duration::from_secs(120);

fn carillon() -> Command {
    Command::new(env!("CARGO_BIN_EXE_carillon"))
}

/// A demonstration; ended when it is dropped, and its nodes with it.
struct Demo {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    /// What it said when all served.
    guide: String,
    nodes: BTreeMap<String, u32>,
    folder: PathBuf,
}

impl Demo {
    fn start(folder: &Path) -> Demo {
        let mut command = carillon();
        command.args(["cluster", "demo", "--data"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let (guide, nodes) = (String::new(), BTreeMap::new());
        let mut demo = Demo { child, said, guide, nodes, folder: folder.to_owned() };
        demo.guide = demo.hear("Stop it:");
        for line in demo.guide.lines().filter(|line| line.ends_with(".log")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            demo.nodes.insert(words[0].to_owned(), words[2].parse().unwrap());
        }
        assert_eq!(demo.nodes.len(), 6, "{}", demo.guide);
        demo
    }

    /// What it says, up to a line with this text.
    fn hear(&mut self, text: &str) -> String {
        let mut heard = String::new();
        loop {
            let line = self.said.next().unwrap_or_else(|| panic!("it ended after: {heard}"));
            heard.push_str(&line.unwrap());
            heard.push('\n');
            if heard.lines().next_back().is_some_and(|line| line.contains(text)) {
                return heard;
            }
        }
    }

    fn status(&self, node: &str) -> serde_json::Value {
        let mut command = carillon();
        command.args(["cluster", "status", "--json", "--config"]);
        let output = command.arg(self.folder.join(format!("{node}.toml"))).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `carillon cluster VERB NODE`, asked of the founder.
    fn cluster(&self, verb: &str, node: &str) {
        let mut command = carillon();
        command.args(["cluster", verb, node, "--config"]).arg(self.folder.join("r1.toml"));
        assert!(command.status().unwrap().success(), "{verb} {node}");
    }

    fn signal(&self, name: &str) {
        kill(name, self.child.id());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(signal: &str, process: u32) {
    let kill = format!("kill -{signal} {process}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

fn is_alive(process: u32) -> bool {
    // One that nobody has waited for yet is a line, and no more.
    std::fs::read_to_string(format!("/proc/{process}/status"))
        .is_ok_and(|text| !text.contains("State:\tZ"))
}

fn eventually(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < WITHIN, "{what}");
        sleep(Duration::from_millis(100));
    }
}

fn is_whole(status: &serde_json::Value) -> bool {
    let members = status["members"].as_array().unwrap();
    members.len() == 6
        && members.iter().all(|it| it["standing"] == "active")
        && status["free"] == 0
        && status["leader"].is_string()
}

#[test]
fn a_cluster_comes_up_heals_and_leaves_nobody_behind() {
    let around = tempfile::tempdir().unwrap();
    let folder = around.path().join("demo");
    let mut demo = Demo::start(&folder);
    for told in ["anna@localhost", "ben@localhost", "(STARTTLS)", "cluster status --watch"] {
        assert!(demo.guide.contains(told), "{}", demo.guide);
    }
    assert!(is_whole(&demo.status("e1")), "{}", demo.status("e1"));

    let incarnation = |status: &serde_json::Value| {
        let members = status["members"].as_array().unwrap();
        members.iter().find(|it| it["name"] == "r2").unwrap()["incarnation"].as_u64().unwrap()
    };
    let before = incarnation(&demo.status("e1"));
    let router = demo.nodes["r2"];
    kill("KILL", router);
    let heard = demo.hear("r2 was started again");
    assert!(heard.contains("r2 has ended (signal: 9 (SIGKILL)) and starts again in"), "{heard}");
    let again: u32 = heard.trim().rsplit(' ').next().unwrap().parse().unwrap();
    demo.nodes.insert("r2".to_owned(), again);
    eventually("the router is a member again", || {
        let status = demo.status("e1");
        is_whole(&status) && incarnation(&status) > before
    });

    // What is drained stops in order, too.
    demo.cluster("drain", "e1");
    demo.cluster("drain", "r2");
    sleep(Duration::from_secs(2));
    demo.signal("TERM");
    let heard = demo.hear("All nodes have stopped");
    assert!(heard.contains("in order"), "{heard}");
    assert!(demo.child.wait().unwrap().success());
    for name in demo.nodes.keys() {
        let log = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
        assert!(!log.contains("which is a bug"), "{log}");
    }
    let left: Vec<_> = demo.nodes.iter().filter(|it| is_alive(*it.1)).collect();
    assert!(left.is_empty(), "{left:?}");

    // The same cluster again, and this time it is not asked to stop.
    let mut demo = Demo::start(&folder);
    assert!(demo.guide.contains("(made by an earlier start)"), "{}", demo.guide);
    assert!(is_whole(&demo.status("s1")), "{}", demo.status("s1"));
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    eventually("its nodes end with it", || !demo.nodes.values().any(|it| is_alive(*it)));
}
