//! The folder of a demonstration: which nodes it has, their ports, their configurations.

use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mesh::{Role, Roles};
use serde::{Deserialize, Serialize};

use super::DOMAIN;
use crate::certificates;
use crate::exit::Failure;
use crate::home::write_private;
use crate::limits::DEMO_PORTS;
use crate::secrets::random;

/// The version of the file of nodes.
const VERSION: u32 = 1;
/// The file of nodes, by which the folder is known.
const FILE: &str = "demo.json";

/// The folder of a demonstration, which this process has to itself.
pub(super) struct Folder {
    root: PathBuf,
    nodes: Vec<Node>,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    nodes: Vec<Node>,
}

/// A node of the demonstration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    /// What it is called.
    pub(super) name: String,
    /// What it does, joined by `+`.
    pub(super) roles: String,
    /// Its port for other nodes (UDP).
    mesh: u16,
    /// Its port for metrics.
    http: u16,
    /// Of an edge: its ports for clients, STARTTLS and TLS.
    pub(super) clients: Option<(u16, u16)>,
}

impl Node {
    /// Whether it has a role.
    pub(super) fn has(&self, role: Role) -> bool {
        Roles::parse(&self.roles).is_some_and(|roles| roles.has(role))
    }
}

impl Folder {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// A sentence: it is somebody else's, or in use, or cannot be written.
    pub(super) fn open(root: &Path) -> Result<Self, Failure> {
        let shown = root.display();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|why| Failure::new(format!("{shown} cannot be made: {why}")))?;
        let root = root
            .canonicalize()
            .map_err(|why| Failure::new(format!("{shown} cannot be used: {why}")))?;
        let file = root.join(FILE);
        if !file.exists() {
            let mut inside = fs::read_dir(&root)
                .map_err(|why| Failure::new(format!("{shown} cannot be read: {why}")))?;
            if inside.next().is_some() {
                return Err(Failure::new(format!(
                    "{shown} has files in it and is not the folder of a demonstration: name \
                     another one with --data"
                )));
            }
            let kept = Kept { version: VERSION, nodes: six()? };
            let text = serde_json::to_vec_pretty(&kept).unwrap_or_default();
            write(&file, &text)?;
        }
        let broken = |why: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {why}; remove {shown} to begin anew", file.display()))
        };
        let lock = File::open(&file).map_err(|why| broken(&why))?;
        lock.try_lock()
            .map_err(|_| Failure::new(format!("a demonstration runs in {shown} already")))?;
        let text = fs::read(&file).map_err(|why| broken(&why))?;
        let kept: Kept = serde_json::from_slice(&text).map_err(|why| broken(&why))?;
        if kept.version != VERSION {
            return Err(broken(&"it was written by another release"));
        }
        let folder = Self { root, nodes: kept.nodes, _lock: lock };
        folder.furnish()?;
        Ok(folder)
    }

    /// Writes what is not there yet: a certificate that both edges show, and the configurations.
    fn furnish(&self) -> Result<(), Failure> {
        certificates::generate(&self.root.join("tls"), DOMAIN).map_err(Failure::new)?;
        for node in &self.nodes {
            let file = self.config(node);
            if !file.exists() {
                write(&file, configuration(node).as_bytes())?;
            }
        }
        Ok(())
    }

    /// Its nodes: the founder first.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The configuration of a node.
    pub(super) fn config(&self, node: &Node) -> PathBuf {
        self.root.join(format!("{}.toml", node.name))
    }

    /// The data of a node.
    pub(super) fn data(&self, node: &Node) -> PathBuf {
        self.root.join(&node.name)
    }

    /// What a node says.
    pub(super) fn log(&self, node: &Node) -> PathBuf {
        self.root.join(format!("{}.log", node.name))
    }

    /// What clients are to trust.
    pub(super) fn certificate(&self) -> PathBuf {
        self.root.join("tls").join(format!("{DOMAIN}.crt"))
    }
}

fn write(file: &Path, text: &[u8]) -> Result<(), Failure> {
    write_private(file, text)
        .map_err(|why| Failure::new(format!("{} cannot be written: {why}", file.display())))
}

/// Three routers that hold the control plane, a store, two edges.
fn six() -> Result<Vec<Node>, Failure> {
    let mut ports = free_ports(2 * 6 + 2 * 2)?.into_iter();
    let mut port = || ports.next().unwrap_or_default();
    let mut node = |name: &str, roles: &str| Node {
        name: name.to_owned(),
        roles: roles.to_owned(),
        mesh: port(),
        http: port(),
        clients: (roles == "edge").then(|| (port(), port())),
    };
    Ok(vec![
        node("r1", "router+control"),
        node("r2", "router+control"),
        node("r3", "router+control"),
        node("s1", "store"),
        node("e1", "edge"),
        node("e2", "edge"),
    ])
}

/// Ports that are free now, of UDP and of TCP. They are below those that the system gives to
/// outgoing connections, so that nobody has one by chance while a node is down.
fn free_ports(many: usize) -> Result<Vec<u16>, Failure> {
    let drawn = random(2).map_err(Failure::new)?;
    let drawn = drawn.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
    let all: Vec<u16> = DEMO_PORTS.collect();
    let (before, after) = all.split_at(drawn % all.len());
    let is_free = |port: &u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    let free: Vec<u16> = after.iter().chain(before).copied().filter(is_free).take(many).collect();
    if free.len() < many {
        return Err(Failure::new("this machine has too few free ports"));
    }
    Ok(free)
}

fn configuration(node: &Node) -> String {
    let Node { name, roles, mesh, http, clients } = node;
    let store = if node.has(Role::Store) { "embedded" } else { "remote" };
    let roles: Vec<String> = roles.split('+').map(|role| format!("{role:?}")).collect();
    let clients = clients.map_or_else(String::new, |(c2s, c2s_tls)| {
        format!("c2s = [\"127.0.0.1:{c2s}\"]\nc2s_tls = [\"127.0.0.1:{c2s_tls}\"]\n")
    });
    format!(
        "# Node {name} of a demonstration (`carillon cluster demo`).\n\
         domains = [\"{DOMAIN}\"]\ndata = \"{name}\"\nstore = \"{store}\"\nworkers = 1\n\n\
         [listen]\n{clients}http = [\"127.0.0.1:{http}\"]\n\n\
         [tls]\ncertificate = \"tls/{DOMAIN}.crt\"\nkey = \"tls/{DOMAIN}.key\"\n\n\
         [cluster]\nname = \"{name}\"\nroles = [{}]\nlisten = \"127.0.0.1:{mesh}\"\n",
        roles.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, StoreKind};

    #[test]
    fn the_same_cluster_is_found_again() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("demo");
        let folder = Folder::open(&root).unwrap();
        let nodes = folder.nodes().to_vec();
        assert_eq!(nodes.len(), 6);
        let again = Folder::open(&root).err().unwrap();
        assert!(again.text.contains("runs in"), "{again}");
        drop(folder);
        assert_eq!(Folder::open(&root).unwrap().nodes(), nodes);
    }

    #[test]
    fn each_node_can_be_configured_so() {
        let around = tempfile::tempdir().unwrap();
        let folder = Folder::open(&around.path().join("demo")).unwrap();
        for node in folder.nodes() {
            let config = Config::load(&folder.config(node)).unwrap();
            assert!(config.check_files().is_empty());
            assert_eq!(config.data, folder.data(node));
            assert_eq!(config.cluster.roles.has(Role::Store), config.store == StoreKind::Embedded);
            assert_eq!(node.clients.is_some(), config.cluster.roles.has(Role::Edge));
            if let Some((c2s, _)) = node.clients {
                assert_eq!(config.listen.c2s[0].port(), c2s);
            }
        }
    }

    #[test]
    fn the_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        let why = Folder::open(folder.path()).err().unwrap();
        assert!(why.text.contains("is not the folder of a demonstration"), "{why}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join(FILE), "{}").unwrap();
        let why = Folder::open(folder.path()).err().unwrap();
        assert!(why.text.contains("to begin anew"), "{why}");
    }
}
