//! A cluster of processes on loopback: configured, founded, joined and ended here.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use carillon::admin::Client as Admin;
use carillon::admin::protocol::{ClusterRequest, ClusterView, Reply, Request};
use rustix::process::Signal;

use crate::limits::{JOIN_RETRY, SERVER_TIME_MAX};
use crate::measure::{Cpu, proc};
use crate::server::{PASSWORD, binary, certificate};
use crate::target::{Accounts, Protocol, Sasl, Target, Transport};
use crate::{Failure, stop};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Owns shards, and holds a replica of the control plane.
    Router,
    /// Has the store.
    Store,
    /// Has the clients.
    Edge,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Router, Self::Store, Self::Edge];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Store => "store",
            Self::Edge => "edge",
        }
    }

    fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Router => &["router", "control"],
            Self::Store => &["store"],
            Self::Edge => &["edge"],
        }
    }
}

/// How many of each.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Shape {
    /// Processes that own accounts; each is a control node too
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    pub(super) routers: u64,
    /// Processes that hold clients
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(super) edges: u64,
    /// Threads of each process of the cluster; 0 for one of each core
    #[arg(long, default_value_t = 1)]
    pub(super) node_workers: u64,
}

impl Shape {
    /// With one thread in each process.
    pub(super) fn new(routers: u64, edges: u64) -> Self {
        Self { routers, edges, node_workers: 1 }
    }
}

/// A process of the cluster.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) role: Role,
    folder: PathBuf,
    ports: Ports,
    child: Option<Child>,
}

/// Where a node listens, all on loopback.
#[derive(Clone, Copy)]
struct Ports {
    c2s: u16,
    c2s_tls: u16,
    http: u16,
    mesh: u16,
}

/// A cluster that runs. Its processes end with it.
pub(super) struct Nodes {
    nodes: Vec<Node>,
}

impl Node {
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn config(&self, workers: u64) -> String {
        let Ports { c2s, c2s_tls, http, mesh } = self.ports;
        let store = if self.role == Role::Store { "embedded" } else { "remote" };
        let (name, roles) = (&self.name, self.role.roles());
        format!(
            "data = \"data\"\n\
             store = \"{store}\"\n\
             workers = {workers}\n\
             [listen]\n\
             c2s = [\"127.0.0.1:{c2s}\"]\n\
             c2s_tls = [\"127.0.0.1:{c2s_tls}\"]\n\
             http = [\"127.0.0.1:{http}\"]\n\
             clear_text = true\n\
             [tls]\n\
             certificate = \"certificate.pem\"\n\
             key = \"key.pem\"\n\
             [limits]\n\
             connections_per_source = 100000\n\
             connects_per_source_per_second = 100000\n\
             connects_per_source_at_once = 100000\n\
             [log]\n\
             level = \"warn\"\n\
             [cluster]\n\
             name = \"{name}\"\n\
             roles = {roles:?}\n\
             listen = \"127.0.0.1:{mesh}\"\n"
        )
    }

    fn prepare(&self, workers: u64) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.folder)?;
        certificate(&self.folder)?;
        Ok(std::fs::write(self.folder.join("carillon.toml"), self.config(workers))?)
    }

    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(binary()?);
        command.current_dir(&self.folder).arg("--config").arg(self.folder.join("carillon.toml"));
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn start(&mut self, join: Option<&str>) -> Result<(), Failure> {
        stop::check()?;
        let said = File::create(self.folder.join("said.txt"))?;
        let mut command = self.command()?;
        command.arg("serve").stdout(said.try_clone()?).stderr(said);
        if let Some(join) = join {
            command.args(["--join", join]);
        }
        // An interrupt from the terminal is for this program, which ends its processes.
        command.process_group(0);
        let child =
            command.spawn().map_err(|why| format!("{} does not start: {why}", self.name))?;
        stop::started(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// Its administration socket.
    pub(super) fn admin(&self) -> PathBuf {
        self.folder.join("data").join("admin.sock")
    }

    fn ask(&self, request: ClusterRequest) -> Result<Reply, Failure> {
        ask(&self.admin(), Request::Cluster(request))
    }

    /// Asks until there is an answer: a node that starts, or a control plane that elects, has none.
    fn insist(&mut self, request: &ClusterRequest) -> Result<Reply, Failure> {
        let begun = Instant::now();
        loop {
            let why = match self.ask(request.clone()) {
                Ok(Reply::Refused { text, .. }) => text,
                Ok(reply) => return Ok(reply),
                Err(why) => why.to_string(),
            };
            self.must_run()?;
            if begun.elapsed() > SERVER_TIME_MAX {
                return Err(format!("{}: {why}; {}", self.name, self.said()).into());
            }
            stop::sleep(JOIN_RETRY)?;
        }
    }

    /// A token for a node of this role, as `--join` takes it.
    fn token(&mut self, role: Role) -> Result<String, Failure> {
        let roles = Some(role.roles().join("+"));
        match self.insist(&ClusterRequest::Token { roles })? {
            Reply::Token { token, host } => Ok(format!("{token}@{host}")),
            other => Err(format!("{} gives no token: {other:?}", self.name).into()),
        }
    }

    fn must_run(&mut self) -> Result<(), Failure> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) | None => Ok(()),
            Some(Ok(Some(status))) => {
                Err(format!("{} ended ({status}): {}", self.name, self.said()).into())
            }
            Some(Err(why)) => Err(why.into()),
        }
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.folder.join("said.txt")).unwrap_or_default();
        let from = said.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
        said[from..].to_owned()
    }

    /// Ends it, without any order: what it leaves is thrown away.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            stop::ended(child.id());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Nodes {
    /// Founds a cluster in a folder, starts its processes, and waits until all are members, all
    /// shards have owners and none moves.
    ///
    /// # Errors
    /// What a process said that did not start or was not let in.
    pub(super) fn start(shape: Shape, folder: &Path) -> Result<Self, Failure> {
        let mut nodes = Self { nodes: lay_out(shape, folder)? };
        nodes.nodes.iter().try_for_each(|node| node.prepare(shape.node_workers))?;
        let [founder, others @ ..] = nodes.nodes.as_mut_slice() else {
            return Err("a cluster without nodes".into());
        };
        let made = founder.command()?.args(["cluster", "init"]).output()?;
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        let first = said.split_whitespace().find(|word| word.starts_with("carillon-join"));
        let why = || format!("no cluster: {said}{}", String::from_utf8_lossy(&made.stderr));
        let mut token = Some(first.ok_or_else(why)?.to_owned());
        founder.start(None)?;
        for node in others {
            // The first one is for any role: the store's, without which nothing else is ready.
            let join = match token.take() {
                Some(token) => {
                    founder.insist(&ClusterRequest::Status)?;
                    token
                }
                None => founder.token(node.role)?,
            };
            node.start(Some(&join))?;
        }
        nodes.settle()?;
        Ok(nodes)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            stop::sleep(JOIN_RETRY)?;
            self.nodes.iter_mut().try_for_each(Node::must_run)?;
            let view = self.status()?;
            let up = view.members.iter().filter(|it| it.standing == "active").count();
            if up == self.nodes.len() && is_settled(&view) && self.listen() {
                return Ok(());
            }
            if begun.elapsed() > SERVER_TIME_MAX {
                return Err(self.unsettled(&view).into());
            }
        }
    }

    /// Who is not there, and what all have said.
    fn unsettled(&self, view: &ClusterView) -> String {
        let (free, moving) = (view.free, view.moving);
        let is_there = |node: &&Node| {
            view.members.iter().any(|it| it.name == node.name && it.standing == "active")
        };
        let missing = self.nodes.iter().filter(|node| !is_there(node));
        let missing: Vec<&str> = missing.map(|node| node.name.as_str()).collect();
        let mut text = format!(
            "the cluster does not settle: {free} shards are free, {moving} move, not there: {}",
            missing.join(", ")
        );
        for node in &self.nodes {
            text.push_str(&format!("\n{}: {}", node.name, node.said()));
        }
        text
    }

    fn listen(&self) -> bool {
        let ports = self.of(Role::Edge).flat_map(|node| [node.ports.c2s, node.ports.c2s_tls]);
        let mut ports = ports;
        ports.all(|port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
    }

    /// The cluster as a router sees it that runs.
    pub(super) fn status(&mut self) -> Result<ClusterView, Failure> {
        let mut failed: Failure = "no router runs".into();
        for node in self.of(Role::Router).filter(|node| node.child.is_some()) {
            match node.ask(ClusterRequest::Status) {
                Ok(Reply::Cluster(view)) => return Ok(*view),
                Ok(other) => failed = format!("{}: {other:?}", node.name).into(),
                Err(why) => failed = format!("{}: {why}", node.name).into(),
            }
        }
        Err(failed)
    }

    /// The nodes of a role.
    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.role == role)
    }

    /// CPU so far of the nodes of a role.
    pub(super) fn cpu(&self, role: Role) -> Cpu {
        self.of(role).filter_map(|node| proc::cpu(node.pid()?).ok()).sum()
    }

    /// Memory (PSS) of the nodes of a role, in bytes.
    pub(super) fn pss(&self, role: Role) -> u64 {
        self.of(role).filter_map(|node| proc::pss(node.pid()?).ok()).sum()
    }

    /// Kills a router at once, as `kill -9` does: not the one that leads the control plane, if
    /// another is there. Says which.
    pub(super) fn kill_router(&mut self) -> Result<String, Failure> {
        let leader = self.status()?.leader;
        let is_fit = |node: &Node| node.role == Role::Router && node.child.is_some();
        let node = self.nodes.iter_mut().rev().find(|node| {
            is_fit(node) && leader.as_deref().is_none_or(|leader| leader != node.name)
        });
        let node = node.ok_or("no router can be killed")?;
        node.kill();
        Ok(node.name.clone())
    }

    /// The edges as a target, whose accounts are made through a router.
    pub(super) fn target(&self, transport: Transport, prefix: &str) -> Target {
        let tls = transport == Transport::Tls;
        let port = |node: &Node| if tls { node.ports.c2s_tls } else { node.ports.c2s };
        let address = |node| SocketAddr::from(([127, 0, 0, 1], port(node)));
        Target {
            addresses: self.of(Role::Edge).map(address).collect(),
            transport,
            sasl: Sasl::ScramSha1,
            domain: "localhost".to_owned(),
            prefix: prefix.to_owned(),
            password: PASSWORD.to_owned(),
            sm: false,
            classic: false,
            tickets: false,
            protocol: Protocol::Xmpp,
            accounts: Accounts::Admin(self.of(Role::Router).map(Node::admin).collect()),
            pids: self.nodes.iter().filter_map(Node::pid).collect(),
        }
    }

    /// Warnings and errors that nodes have said, most often said first.
    pub(super) fn warnings(&self) -> Vec<(String, usize)> {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for node in &self.nodes {
            let said = std::fs::read_to_string(node.folder.join("said.txt")).unwrap_or_default();
            let bad = said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
            for line in bad {
                // Without the time, which makes every line another.
                let text = line.split_once(' ').map_or(line, |(_, text)| text).trim();
                let text: String = text.chars().take(160).collect();
                *counts.entry(format!("{}: {text}", node.role.name())).or_default() += 1;
            }
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // All at once: nobody is to look for those who are gone.
        for pid in self.nodes.iter().filter_map(Node::pid) {
            stop::tell(pid, Signal::KILL);
        }
    }
}

/// Whether every shard has an owner and none moves.
pub(super) fn is_settled(view: &ClusterView) -> bool {
    view.free == 0 && view.moving == 0
}

fn ask(socket: &Path, request: Request) -> Result<Reply, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Ok(Admin::connect(socket).await?.call(&request).await?) })
}

/// The nodes in the order in which they start: the founder, the store, the other routers, edges.
fn lay_out(shape: Shape, folder: &Path) -> Result<Vec<Node>, Failure> {
    let roles = std::iter::once(Role::Router)
        .chain(std::iter::once(Role::Store))
        .chain((1..shape.routers).map(|_| Role::Router))
        .chain((0..shape.edges).map(|_| Role::Edge));
    let roles: Vec<Role> = roles.collect();
    let ports = free_ports(roles.len())?;
    let mut nodes: Vec<Node> = Vec::new();
    for (role, ports) in roles.into_iter().zip(ports) {
        let number = nodes.iter().filter(|node| node.role == role).count() + 1;
        let name = format!("{}{number}", role.name());
        let folder = folder.join(&name);
        nodes.push(Node { name, role, folder, ports, child: None });
    }
    Ok(nodes)
}

/// Ports that nobody has now, for so many nodes.
fn free_ports(nodes: usize) -> Result<Vec<Ports>, Failure> {
    let mut held = Vec::new();
    for _ in 0..nodes {
        let tcp = || TcpListener::bind(("127.0.0.1", 0));
        held.push((tcp()?, tcp()?, tcp()?, UdpSocket::bind(("127.0.0.1", 0))?));
    }
    let port = |tcp: &TcpListener| Ok::<u16, Failure>(tcp.local_addr()?.port());
    let ports = held.iter().map(|(c2s, c2s_tls, http, mesh)| {
        let mesh = mesh.local_addr()?.port();
        Ok(Ports { c2s: port(c2s)?, c2s_tls: port(c2s_tls)?, http: port(http)?, mesh })
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_founder_comes_first_and_the_store_next() {
        let shape = Shape { routers: 3, edges: 2, node_workers: 1 };
        let nodes = lay_out(shape, Path::new("/f")).unwrap();
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["router1", "store1", "router2", "router3", "edge1", "edge2"]);
        assert_eq!(nodes[0].admin(), Path::new("/f/router1/data/admin.sock"));
    }

    #[test]
    fn configurations_are_understood() {
        let shape = Shape { routers: 1, edges: 1, node_workers: 1 };
        for node in lay_out(shape, Path::new("/f")).unwrap() {
            let config = ::carillon::config::Config::parse(&node.config(1)).unwrap();
            assert_eq!(config.cluster.name, node.name);
            assert!(config.cluster.listen.ip().is_loopback());
            assert!(config.listen.c2s.iter().all(|address| address.ip().is_loopback()));
        }
    }
}
