//! The configuration: one TOML file, every key optional, checked as a whole before anything starts.

mod check;
mod keys;
mod nearest;
mod read;
mod reader;
pub mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh::{Role, Roles};
use tracing::Level;

pub use keys::example;
pub use nearest::nearest;
pub use reader::Problem;

/// What a node is told to do. `Config::default` is what runs without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The domains served, in their canonical form; at least one, none twice.
    pub domains: Vec<String>,
    /// The folder of everything that must be kept.
    pub data: PathBuf,
    /// Where the data is.
    pub store: StoreKind,
    /// Worker threads; 0 means one for each core.
    pub workers: usize,
    /// Addresses listened on.
    pub listen: Listen,
    /// Certificates.
    pub tls: Tls,
    /// What one client or source may take.
    pub limits: Limits,
    /// Message archives.
    pub archive: Archive,
    /// What the server says of itself.
    pub log: Log,
    /// Its place among other nodes; looked at by `cluster init` and by a node that is of a cluster.
    pub cluster: Cluster,
}

/// A node's place in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What it is called, once for ever; empty: as the machine is.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// Where it listens for other nodes (UDP).
    pub listen: SocketAddr,
    /// Where other nodes find it, as `HOST:PORT`; empty: at `listen`.
    pub advertise: String,
    /// What fails together with it; may be empty.
    pub zone: String,
}

/// The backends of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the data folder, for one process.
    Embedded,
    /// With the node of the cluster that has the role `store`.
    Remote,
}

/// Addresses listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Clients, STARTTLS.
    pub c2s: Vec<SocketAddr>,
    /// Clients, TLS from the first byte (XEP-0368).
    pub c2s_tls: Vec<SocketAddr>,
    /// Metrics and health.
    pub http: Vec<SocketAddr>,
    /// Clients may log in on `c2s` without TLS; only where that is loopback.
    pub clear_text: bool,
}

/// Where certificates are. A domain that is found in neither place gets a generated one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// For every domain; `{domain}` in the paths stands for it.
    pub all: Option<CertificateFiles>,
    /// For single domains.
    pub domains: BTreeMap<String, CertificateFiles>,
}

/// A certificate with its chain, and its key: two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What one client or source may take of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once; 0 means as many as the limit of open files leaves.
    pub connections: u64,
    /// Client connections at once from one source (an IPv4 address or an IPv6 /64).
    pub connections_per_source: u32,
    /// New connections in a second from one source, on average.
    pub connects_per_source_per_second: u32,
    /// New connections from one source at once, after a rest.
    pub connects_per_source_at_once: u32,
    /// Time from the connection to the end of the login.
    pub login_time: Duration,
    /// Largest stanza after the login, in bytes.
    pub stanza_size: u32,
    /// Largest stanza before the login, in bytes.
    pub stanza_size_before_login: u32,
    /// Clients of one account at once.
    pub resources_per_account: usize,
    /// How long a session waits for its client to come back (XEP-0198).
    pub resume_time: Duration,
}

/// Message archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// Whether messages are archived (XEP-0313).
    pub enabled: bool,
}

/// What the server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How an event is written.
    pub format: LogFormat,
    /// The least important events written.
    pub level: Level,
}

/// How an event of the log is written; always one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port: u16| -> Vec<SocketAddr> {
            vec![([127, 0, 0, 1], port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], port).into()]
        };
        Self {
            domains: vec!["localhost".to_owned()],
            data: PathBuf::from("carillon-data"),
            store: StoreKind::Embedded,
            workers: 0,
            listen: Listen {
                c2s: loopback(5222),
                c2s_tls: loopback(5223),
                http: vec![([127, 0, 0, 1], 5280).into()],
                clear_text: false,
            },
            tls: Tls::default(),
            limits: Limits::default(),
            archive: Archive { enabled: true },
            log: Log { format: LogFormat::Human, level: Level::INFO },
            cluster: Cluster::default(),
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: String::new(),
            roles: Roles::of(&[Role::Edge, Role::Router, Role::Control]),
            listen: ([127, 0, 0, 1], 5270).into(),
            advertise: String::new(),
            zone: String::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            connections_per_source: 10_000,
            connects_per_source_per_second: 100,
            connects_per_source_at_once: 2_000,
            login_time: Duration::from_mins(1),
            stanza_size: 256 << 10,
            stanza_size_before_login: 8 << 10,
            resources_per_account: 16,
            resume_time: Duration::from_mins(5),
        }
    }
}

impl Config {
    /// Reads and checks a whole file, relative paths left as they are.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines.
    pub fn parse(source: &str) -> Result<Self, Vec<Problem>> {
        read::parse(source)
    }

    /// Reads the file at `path`, makes its relative paths start at its folder, and checks that what
    /// it names is there.
    ///
    /// # Errors
    /// `ConfigError`, which shows as one line for each problem.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |problems| ConfigError { file: path.to_owned(), problems };
        let source = std::fs::read(path)
            .and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other))
            .map_err(|why| {
                fail(vec![Problem { line: 0, text: format!("cannot be read: {why}") }])
            })?;
        let mut config = Self::parse(&source).map_err(fail)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.rebase(folder);
        Ok(config)
    }

    /// What is wrong on this machine with what the configuration names: files that cannot be read.
    /// Empty when all is well.
    #[must_use]
    pub fn check_files(&self) -> Vec<Problem> {
        check::files(self)
    }

    /// The files of the certificate of a domain, if the configuration names any.
    #[must_use]
    pub fn certificate(&self, domain: &str) -> Option<CertificateFiles> {
        if let Some(files) = self.tls.domains.get(domain) {
            return Some(files.clone());
        }
        let all = self.tls.all.as_ref()?;
        let fill = |path: &Path| PathBuf::from(path.to_string_lossy().replace("{domain}", domain));
        Some(CertificateFiles { certificate: fill(&all.certificate), key: fill(&all.key) })
    }

    fn rebase(&mut self, folder: &Path) {
        self.data = folder.join(&self.data);
        for files in self.tls.all.iter_mut().chain(self.tls.domains.values_mut()) {
            files.certificate = folder.join(&files.certificate);
            files.key = folder.join(&files.key);
        }
    }
}

/// A configuration that cannot be used: the file and everything that is wrong with it.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let between = if index == 0 { "" } else { "\n" };
            write!(f, "{between}{}:", self.file.display())?;
            if problem.line > 0 {
                write!(f, "{}:", problem.line)?;
            }
            write!(f, " {}", problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
