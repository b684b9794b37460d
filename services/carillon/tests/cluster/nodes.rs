//! A cluster of real processes: three routers that are control nodes too, a node with the store,
//! two edges.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use carillon::admin::protocol::{ClusterView, MemberView};
use tempfile::TempDir;

use super::guard;
use super::net::Net;

/// How long anything is waited for: nothing here is a measurement, and machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);
const LOG_LINES_SHOWN: usize = 25;

/// Name and roles, the founder first.
const NODES: [(&str, &str); 6] = [
    ("r1", "router+control"),
    ("s1", "store"),
    ("r2", "router+control"),
    ("r3", "router+control"),
    ("e1", "edge"),
    ("e2", "edge"),
];
pub(crate) const ROUTERS: [&str; 3] = ["r1", "r2", "r3"];
pub(crate) const EDGES: [&str; 2] = ["e1", "e2"];

/// One node.
struct Node {
    name: &'static str,
    folder: PathBuf,
    /// Where it listens for other nodes, and where they find it.
    mesh: u16,
    front: u16,
    c2s: u16,
    child: Option<Child>,
    is_stopped: bool,
}

impl Node {
    fn configure(&self, roles: &str) {
        let Self { name, mesh, c2s, folder, .. } = self;
        let store = if roles.contains("store") { "embedded" } else { "remote" };
        let roles = format!("\"{}\"", roles.replace('+', "\", \""));
        let text = format!(
            "data = \"{data}\"\nstore = \"{store}\"\ndomains = [\"localhost\"]\nworkers = 1\n\
             [listen]\nc2s = [\"127.0.0.1:{c2s}\"]\nc2s_tls = []\nhttp = [\"127.0.0.1:0\"]\n\
             clear_text = true\n\
             [limits]\nconnects_per_source_per_second = 10000\n\
             connects_per_source_at_once = 10000\nconnections_per_source = 10000\n\
             [cluster]\nname = \"{name}\"\nroles = [{roles}]\nlisten = \"127.0.0.1:{mesh}\"\n\
             advertise = \"127.0.0.1:{front}\"\n",
            front = self.front,
            data = folder.join(name).display(),
        );
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.folder.join(format!("{}.toml", self.name))
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// A command of an operator at this node. `None`: it failed, or took too long.
    fn command(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
        command.arg("--config").arg(self.config()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(20) {
                let _ = child.kill();
            }
            sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn start(&mut self, join: Option<&str>) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = Command::new(program(self.name));
        command.arg("--config").arg(self.config()).arg("serve");
        command.args(join.into_iter().flat_map(|token| ["--join", token]));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        guard::begun(child.id());
        self.child = Some(child);
        self.is_stopped = false;
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap_or_else(|| panic!("{} is dead", self.name)).id();
        let kill = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status();
        assert!(kill.unwrap().success(), "{name} for {}", self.name);
    }

    /// How it ended, if it did.
    fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().unwrap()?;
        guard::ended(child.id());
        self.child = None;
        Some(status)
    }

    /// kill -9, which ends a stopped process too.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            guard::ended(child.id());
        }
    }
}

/// The program of a node. `CARILLON_OTHER` names another release, which the second router and the
/// second edge then run.
fn program(name: &str) -> PathBuf {
    let other = std::env::var_os("CARILLON_OTHER").filter(|_| name.ends_with('2'));
    other.map_or_else(|| env!("CARGO_BIN_EXE_carillon").into(), PathBuf::from)
}

/// A cluster, ended when it is dropped.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    accounts: u32,
    net: Net,
    _folder: TempDir,
}

impl Cluster {
    /// Makes one, and waits until it is whole.
    pub(crate) fn start() -> Self {
        let (folder, net) = (tempfile::tempdir().unwrap(), Net::default());
        guard::folder(&folder.path().display().to_string());
        let node = |(name, roles): (&'static str, &str)| {
            let (mesh, front, c2s) = (free_port(), free_port(), free_port());
            net.relay(UdpSocket::bind((Ipv4Addr::LOCALHOST, front)).unwrap(), mesh);
            let folder = folder.path().to_owned();
            let node = Node { name, folder, mesh, front, c2s, child: None, is_stopped: false };
            node.configure(roles);
            node
        };
        let nodes = NODES.map(node).into();
        let mut cluster = Self { nodes, accounts: 0, net: net.clone(), _folder: folder };
        let first = cluster.nodes[0].command(&["cluster", "init"], "").unwrap();
        cluster.nodes[0].start(None);
        cluster.until("the first node answers", |it| it.view());
        for (index, (name, roles)) in NODES.iter().enumerate().skip(1) {
            let told = match index {
                1 => first.clone(),
                _ => cluster.command(&["cluster", "token", "--roles", roles]),
            };
            let token = told.split_whitespace().find(|it| it.starts_with("carillon-join"));
            let token = token.expect("a token in what is said").to_owned();
            cluster.node(name).start(Some(&token));
        }
        cluster.settle();
        cluster
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|it| it.name == name).unwrap()
    }

    /// Where clients go.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes.iter().filter(|it| EDGES.contains(&it.name)).map(|it| it.c2s).collect()
    }

    /// The port for clients of one edge.
    pub(crate) fn port(&mut self, name: &str) -> u16 {
        self.node(name).c2s
    }

    /// A command of an operator, at any control node that runs.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        self.until(&format!("{arguments:?} is done"), |it| it.any(arguments, "").ok())
    }

    fn any(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let runs = |it: &&Node| it.child.is_some() && !it.is_stopped && ROUTERS.contains(&it.name);
        let mut last = Err("no control node runs".to_owned());
        for node in self.nodes.iter().filter(runs) {
            last = node.command(arguments, input);
            if last.is_ok() {
                return last;
            }
        }
        last
    }

    /// The cluster as a control node sees it.
    pub(crate) fn view(&self) -> Option<ClusterView> {
        serde_json::from_str(&self.any(&["cluster", "status", "--json"], "").ok()?).ok()
    }

    /// The cluster as a router sees it that is not this one.
    pub(crate) fn view_beside(&self, but: &str) -> Option<ClusterView> {
        ROUTERS.iter().filter(|it| **it != but).find_map(|it| self.view_of(it))
    }

    /// The cluster as one node sees it.
    pub(crate) fn view_of(&self, name: &str) -> Option<ClusterView> {
        let node = self.nodes.iter().find(|it| it.name == name)?;
        serde_json::from_str(&node.command(&["cluster", "status", "--json"], "").ok()?).ok()
    }

    /// A member as the cluster sees it.
    pub(crate) fn member(&self, name: &str) -> Option<MemberView> {
        self.view()?.members.into_iter().find(|it| it.name == name)
    }

    /// The control node that leads.
    pub(crate) fn leader(&self) -> String {
        self.until("somebody leads", |it| it.view()?.leader)
    }

    /// The router that owns the most shards, of those that do not lead; none of `but`.
    pub(crate) fn owner(&self, but: &[&str]) -> String {
        self.until("somebody owns shards", |it| {
            let view = it.view()?;
            let leader = view.leader?;
            let fits = |it: &MemberView| {
                it.shards > 0 && it.name != leader && !but.contains(&it.name.as_str())
            };
            let owners = view.members.into_iter().filter(fits);
            owners.max_by_key(|it| it.shards).map(|it| it.name)
        })
    }

    /// Waits until something is there.
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        self.until_or(what, look, String::new)
    }

    /// The same; `shown` says more where it does not come.
    pub(crate) fn until_or<T>(
        &self,
        what: &str,
        look: impl Fn(&Self) -> Option<T>,
        shown: impl Fn() -> String,
    ) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let more = || format!("{}\n{:#?}\n{}", shown(), self.view(), self.logs());
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}\n{}", more());
            sleep(LOOK);
        }
    }

    /// Starts what does not run, and waits until all nodes are members, all shards have owners that
    /// share them, and edges take clients.
    pub(crate) fn settle(&mut self) {
        for node in &mut self.nodes {
            if node.child.is_none() {
                node.start(None);
            }
        }
        self.until("the cluster is whole", |it| it.is_whole().then_some(()));
    }

    fn is_whole(&self) -> bool {
        let Some(view) = self.view() else { return false };
        let owns = |it: &MemberView| it.shards > 0 || !ROUTERS.contains(&it.name.as_str());
        let replicas = view.members.iter().filter(|it| ["leader", "voter"].contains(&&*it.replica));
        let open = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        view.members.len() == NODES.len()
            && view.members.iter().all(|it| it.standing == "active" && owns(it))
            && replicas.count() == ROUTERS.len()
            && (view.free, view.moving) == (0, 0)
            && view.leader.is_some()
            && self.ports().into_iter().all(open)
    }

    /// Waits until routers have about as many shards each: moves that are planned are over.
    pub(crate) fn balance(&self) {
        self.until("routers have their shares", |it| {
            let view = it.view()?;
            let shares = view.members.iter().filter(|it| ROUTERS.contains(&it.name.as_str()));
            let shares = shares.map(|it| it.shards);
            let (least, most) = (shares.clone().min()?, shares.max()?);
            (view.moving == 0 && most * 4 <= least * 5).then_some(())
        });
    }

    /// New accounts, with the password "secret"; their names.
    pub(crate) fn accounts(&mut self, count: u32) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|n| format!("u{}", self.accounts + n)).collect();
        self.accounts += count;
        for name in &names {
            let account = format!("{name}@localhost");
            self.until(&format!("{account} is there"), |it| {
                match it.any(&["user", "add", &account], "secret") {
                    Ok(_) => Some(()),
                    Err(why) => why.contains("exists").then_some(()),
                }
            });
        }
        names
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, name: &str) {
        self.node(name).kill();
    }

    /// Starts a node again.
    pub(crate) fn restart(&mut self, name: &str) {
        self.node(name).start(None);
    }

    /// Starts a node again, and waits until it is a member again: under another incarnation.
    pub(crate) fn come_back(&mut self, name: &str, before: &MemberView) {
        self.restart(name);
        self.until(&format!("{name} is back"), |it| {
            let now = it.member(name)?;
            (now.standing == "active" && now.incarnation > before.incarnation).then_some(())
        });
    }

    /// SIGSTOP: it does nothing until it may go on.
    pub(crate) fn pause(&mut self, name: &str) {
        self.node(name).signal("STOP");
        self.node(name).is_stopped = true;
    }

    /// SIGCONT.
    pub(crate) fn go_on(&mut self, name: &str) {
        self.node(name).signal("CONT");
        self.node(name).is_stopped = false;
    }

    /// Cuts one node off from all others. Clients reach it, and operators on its machine.
    pub(crate) fn cut_off(&self, name: &str) {
        let (here, there): (Vec<&Node>, Vec<&Node>) =
            self.nodes.iter().partition(|it| it.name == name);
        for other in there {
            self.net.cut(here[0].mesh, other.mesh);
            self.net.cut(other.mesh, here[0].mesh);
        }
    }

    /// Nodes do not hear each other for this time.
    pub(crate) fn blip(&self, time: Duration) {
        self.net.cut_all();
        sleep(time);
        self.net.heal();
    }

    /// All hear each other again.
    pub(crate) fn heal(&self) {
        self.net.heal();
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(&mut self, name: &str) -> ExitStatus {
        self.node(name).signal("TERM");
        self.wait_end(name)
    }

    /// Waits until a node has ended by itself.
    pub(crate) fn wait_end(&mut self, name: &str) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.node(name).ended() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not end\n{}", self.logs());
            sleep(LOOK);
        }
    }

    /// What a node has logged so far.
    pub(crate) fn log(&mut self, name: &str) -> String {
        fs::read_to_string(self.node(name).log()).unwrap_or_default()
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let log = fs::read_to_string(node.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            let _ = writeln!(text, "--- {}\n{}", node.name, end.join("\n"));
        }
        text
    }

    /// Keeps the logs of a cluster that went wrong, if `CARILLON_KEEP` names a folder.
    pub(crate) fn keep(&self, as_name: &str) {
        let Some(place) = std::env::var_os("CARILLON_KEEP") else { return };
        let place = Path::new(&place).join(as_name);
        let _ = fs::create_dir_all(&place);
        for node in &self.nodes {
            let _ = fs::copy(node.log(), place.join(format!("{}.log", node.name)));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        self.net.end();
    }
}

/// A port that is free, from a range that the system gives to no one by itself: while a node is
/// down, a client that tries again and again could otherwise be given its port, and meet itself.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() * 89 % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let place = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(place).is_ok() && UdpSocket::bind(place).is_ok() {
            return port;
        }
    }
}
