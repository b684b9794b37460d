//! Servers that this program starts itself, each in a folder of its own, on loopback.

mod carillon;
mod ejabberd;
mod launch;
mod prosody;
mod relay;
mod seed;

pub(crate) use carillon::binary;
pub use launch::{Running, start};
pub use seed::{Seed, seed};

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// The password of all accounts that this program makes.
pub(crate) const PASSWORD: &str = "a load generator's password";

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Carillon.
    Carillon,
    /// ejabberd, archives in SQLite.
    Ejabberd,
    /// ejabberd, archives in Mnesia.
    EjabberdMnesia,
    /// Prosody with generational garbage collection, which costs memory and saves CPU.
    Prosody,
    /// Prosody with incremental garbage collection.
    ProsodyIncremental,
    /// The bare relay of this crate: the floor.
    Relay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Carillon,
        Self::Ejabberd,
        Self::EjabberdMnesia,
        Self::Prosody,
        Self::ProsodyIncremental,
        Self::Relay,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Carillon => "carillon",
            Self::Ejabberd => "ejabberd",
            Self::EjabberdMnesia => "ejabberd-mnesia",
            Self::Prosody => "prosody",
            Self::ProsodyIncremental => "prosody-incremental",
            Self::Relay => "relay",
        }
    }

    /// Whether it is somebody else's server.
    #[must_use]
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Carillon | Self::Relay)
    }

    /// Its version, if it is installed.
    ///
    /// # Errors
    /// How to install it.
    pub fn version(self) -> Result<String, Failure> {
        match self {
            Self::Carillon => carillon::version(),
            Self::Ejabberd | Self::EjabberdMnesia => ejabberd::version(),
            Self::Prosody | Self::ProsodyIncremental => prosody::version(),
            Self::Relay => Ok(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }
}

/// What is promised of archives. Carillon's is always synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// None.
    Off,
    /// Peers archive, and do not wait for the disk.
    NotSynced,
    /// Peers archive, and wait for the disk, as they are packaged.
    Synced,
}

/// A file for a peer's archive on the file system in memory.
fn in_memory(port: u16) -> PathBuf {
    let name = format!("carillon-compare-{}-{port}.sqlite", std::process::id());
    Path::new("/dev/shm").join(name)
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which.
    pub kind: Kind,
    /// Whether messages are archived.
    pub archive: bool,
    /// Everything that it writes goes here.
    pub folder: PathBuf,
    /// Where a peer that archives in SQLite has its file. SQLite waits for the disk at each commit,
    /// and these peers commit each message by itself; on a file system in memory they do not wait.
    pub archive_file: PathBuf,
    /// Its port without TLS (and for STARTTLS).
    pub port: u16,
    /// Its port with TLS from the first byte.
    pub port_tls: u16,
    /// A port for what a server insists on.
    pub port_http: u16,
    /// Certificate and key, PEM.
    pub certificate: PathBuf,
    /// The key alone, PEM.
    pub key: PathBuf,
}

impl Setup {
    /// Makes a folder with a certificate, and takes three free ports.
    ///
    /// # Errors
    /// If the folder cannot be written, or ports cannot be had.
    pub fn new(kind: Kind, archive: Archive, folder: PathBuf) -> Result<Self, Failure> {
        std::fs::create_dir_all(&folder)?;
        let (certificate, key) = certificate(&folder)?;
        let [port, port_tls, port_http] = free_ports()?;
        let archive_file = match archive {
            Archive::NotSynced => in_memory(port),
            Archive::Off | Archive::Synced => folder.join("archive.sqlite"),
        };
        let archive = archive != Archive::Off;
        Ok(Self {
            kind,
            archive,
            folder,
            archive_file,
            port,
            port_tls,
            port_http,
            certificate,
            key,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Writes a certificate for `localhost` and its key: `certificate.pem` and `key.pem`.
pub(crate) fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let signing = rcgen::KeyPair::generate()?;
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?;
    // ejabberd sets a timer for the end, and fails where that is centuries away.
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let secret = signing.serialize_pem();
    let public = parameters.self_signed(&signing)?.pem();
    std::fs::write(&certificate, format!("{public}{secret}"))?;
    std::fs::write(&key, secret)?;
    Ok((certificate, key))
}

/// Ports that nobody has now.
fn free_ports() -> Result<[u16; 3], Failure> {
    let any = || TcpListener::bind(("127.0.0.1", 0));
    let held = [any()?, any()?, any()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// What a program says of its version, or how to install it.
fn ask(program: &str, arguments: &[&str], install: &str) -> Result<String, Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|_| format!("{program} is not installed. {install}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A path as the text of a configuration file.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Contacts, Needs};

    fn setup(kind: Kind, archive: bool) -> Setup {
        Setup {
            kind,
            archive,
            folder: "/folder".into(),
            archive_file: "/folder/archive.sqlite".into(),
            port: 1001,
            port_tls: 1002,
            port_http: 1003,
            certificate: "/folder/certificate.pem".into(),
            key: "/folder/key.pem".into(),
        }
    }

    #[test]
    fn configurations_say_what_they_are_told() {
        for archive in [false, true] {
            let ejabberd = ejabberd::config(&setup(Kind::Ejabberd, archive));
            assert_eq!(ejabberd.contains("mod_mam"), archive);
            assert!(ejabberd.contains("port: 1001") && ejabberd.contains("port: 1002"));
            let mnesia = ejabberd::config(&setup(Kind::EjabberdMnesia, archive));
            assert_eq!(mnesia.contains("db_type: mnesia"), archive);
            let prosody = prosody::config(&setup(Kind::Prosody, archive));
            assert_eq!(prosody.contains("\"mam\""), archive);
            assert!(prosody.contains("generational"));
            let incremental = prosody::config(&setup(Kind::ProsodyIncremental, archive));
            assert!(incremental.contains("incremental"));
            let own = carillon::config(&setup(Kind::Carillon, archive));
            let parsed = ::carillon::config::Config::parse(&own).unwrap();
            assert_eq!(parsed.archive.enabled, archive);
            assert!(parsed.listen.c2s.iter().all(|address| address.ip().is_loopback()));
        }
    }

    #[test]
    fn prosody_has_its_accounts_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup { folder: folder.path().into(), ..setup(Kind::Prosody, false) };
        let friends = Needs { accounts: 4, rosters: 3, contacts: Contacts::Friends(3) };
        seed(&setup, &[Seed { prefix: "u".into(), needs: friends }]).unwrap();
        let read = |file: &str| {
            std::fs::read_to_string(folder.path().join("data/localhost").join(file)).unwrap()
        };
        let account = read("accounts/u3.dat");
        assert!(account.contains("[\"iteration_count\"] = 4096") && account.contains("stored_key"));
        let roster = read("roster/u1.dat");
        assert_eq!(roster.matches("\"both\"").count(), 2);
        assert!(roster.contains("u0@localhost") && !roster.contains("u1@localhost"));
        assert!(!folder.path().join("data/localhost/roster/u3.dat").exists());
    }

    #[test]
    fn a_setup_has_a_certificate_and_ports() {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(Kind::Relay, Archive::Off, folder.path().join("relay")).unwrap();
        let ports = [setup.port, setup.port_tls, setup.port_http];
        assert!(ports.iter().all(|port| *port > 0) && ports[0] != ports[1]);
        let text = std::fs::read_to_string(&setup.certificate).unwrap();
        assert!(text.contains("BEGIN CERTIFICATE") && text.contains("PRIVATE KEY"));
    }

    #[test]
    fn what_is_not_installed_is_said() {
        let why = ask("no-such-server", &[], "apt-get install it").unwrap_err().to_string();
        assert!(why.contains("apt-get install it"), "{why}");
    }
}
