//! An edge on a thread of its own, an owner that answers everything, and a blocking client.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use edge::tls::{CertificateFiles, Certificates, Entry, TicketKey, Ticketer, Tls};
use edge::{Config, Edge, Hub, Limits, Listen, Listeners};
use peer::shard::HashKey;
use peer::{AuthRefusal, Complete, ConnId, Down, Downlink, Epoch, NodeId, SessionId, ShardId};
use peer::{Up, Uplink, shard_of};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use xmpp::jid::Jid;
use xmpp::scram::Verifier;
use xmpp::stanza::Stanza;

pub(crate) const DOMAIN: &str = "a.example";

/// What an owner of a cluster was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Up(Epoch, Up),
    Complete(Epoch),
}

/// An owner of all accounts: everybody's password is "secret". In a cluster it is one owner after
/// another, each under the next epoch.
#[derive(Default)]
pub(crate) struct Owner {
    hub: OnceLock<Arc<Hub>>,
    pub(crate) said: Mutex<Vec<Up>>,
    /// The connection of the session with this number.
    pub(crate) bound: Mutex<Vec<ConnId>>,
    /// Whether stanzas are confirmed.
    pub(crate) confirms: AtomicBool,
    /// In a cluster: the epoch of the present owner, and what all of them were told.
    epoch: AtomicU64,
    pub(crate) told: Mutex<Vec<Told>>,
    /// Whether nothing is answered.
    pub(crate) silent: AtomicBool,
    /// What a session is given in the moment in which it is bound.
    pub(crate) waiting: Mutex<Vec<Stanza>>,
    /// The core on which it runs.
    home: u16,
}

const SALT: &[u8] = b"salt of the test";
const ITERATIONS: u32 = 4096;

impl Owner {
    pub(crate) fn down(&self, to: ConnId, frame: Down) {
        self.down_from(self.epoch.load(Ordering::SeqCst), to, frame);
    }

    /// The owner under an epoch says something.
    pub(crate) fn down_from(&self, epoch: u64, to: ConnId, frame: Down) {
        let owner = peer::Owner { shard: shard(), epoch: Epoch(epoch) };
        self.hub().down(owner, to, frame);
    }

    fn hub(&self) -> &Hub {
        self.hub.get().expect("the hub")
    }

    /// In a cluster: the shard goes to the next owner. Returns what that was told of it.
    pub(crate) fn moves(&self) -> Vec<Told> {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let before = self.told.lock().expect("told").len();
        self.hub().moved(&[(shard(), Epoch(epoch))]);
        self.told.lock().expect("told").split_off(before)
    }

    /// How many frames of a kind were said.
    pub(crate) fn count(&self, wanted: impl Fn(&Up) -> bool) -> usize {
        self.said.lock().expect("said").iter().filter(|frame| wanted(frame)).count()
    }

    /// Answers what was asked in silence.
    pub(crate) fn speaks_again(&self) {
        self.silent.store(false, Ordering::SeqCst);
        let asked = std::mem::take(&mut *self.said.lock().expect("said"));
        asked.iter().for_each(|frame| self.answer(frame));
    }

    fn answer(&self, frame: &Up) {
        if self.silent.load(Ordering::SeqCst) {
            return;
        }
        match frame {
            Up::Challenge { conn, .. } => {
                let salt = bytes::Bytes::from_static(SALT);
                self.down(*conn, Down::Challenge { salt, iterations: ITERATIONS });
            }
            Up::Verify { conn, hash, auth_message, proof, .. } => {
                let verifier =
                    Verifier::derive(*hash, "secret", SALT, ITERATIONS).expect("derived");
                self.down(
                    *conn,
                    match verifier.verify(auth_message, proof) {
                        Some(signature) => {
                            Down::Verified { signature: signature.into(), generation: 1 }
                        }
                        None => Down::Refused(AuthRefusal::NotAuthorized),
                    },
                );
            }
            Up::Bind { conn, account, .. } => {
                let session = {
                    let mut bound = self.bound.lock().expect("bound");
                    bound.push(*conn);
                    SessionId(bound.len() as u128)
                };
                let jid = Jid::parse(&format!("{account}/r{}", session.0)).expect("a JID");
                let epoch = Epoch(self.epoch.load(Ordering::SeqCst).max(1));
                self.down(*conn, Down::Bound { session, jid, epoch });
                for (number, stanza) in (1..).zip(&*self.waiting.lock().expect("waiting")) {
                    self.down(*conn, Down::Stanza { number, log: 0, stanza: stanza.clone() });
                }
            }
            Up::Enable { session, .. } => {
                let conn = self.conn(*session);
                self.down(conn, Down::Enabled { session: *session, resume_s: 300 });
            }
            Up::Stanza { session, number, stanza, .. } => {
                let text = String::from_utf8_lossy(stanza.body.as_bytes()).into_owned();
                assert!(!text.contains("PANIC"), "a bug, on purpose");
                if self.confirms.load(Ordering::SeqCst) {
                    let conn = self.conn(*session);
                    self.down(conn, Down::Handled { number: *number });
                    self.down(
                        conn,
                        Down::Stanza { number: *number, log: 0, stanza: stanza.clone() },
                    );
                }
            }
            _ => {}
        }
    }

    /// The connection to which a session was given.
    pub(crate) fn conn(&self, session: SessionId) -> ConnId {
        self.bound.lock().expect("bound")[session.0 as usize - 1]
    }
}

/// That of all who log in here.
fn shard() -> ShardId {
    shard_of(&KEY, &Jid::parse("juliet@a.example").expect("a JID"))
}

const KEY: HashKey = HashKey(1, 2);

impl Uplink for Owner {
    fn epoch(&self, _: ShardId) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    fn complete(&self, complete: Complete) {
        self.told.lock().expect("told").push(Told::Complete(complete.epoch));
    }

    fn up(&self, to: peer::Owner, frame: Up) {
        if to.epoch != Epoch(0) {
            self.told.lock().expect("told").push(Told::Up(to.epoch, frame.clone()));
        }
        self.said.lock().expect("said").push(frame.clone());
        self.answer(&frame);
    }

    fn core(&self, _: ShardId) -> Option<u16> {
        Some(self.home)
    }
}

/// A running edge.
pub(crate) struct Node {
    _dir: tempfile::TempDir,
    pub(crate) edge: Edge,
    pub(crate) owner: Arc<Owner>,
    pub(crate) starttls: SocketAddr,
    pub(crate) direct: SocketAddr,
    client: Arc<ClientConfig>,
    cores: Vec<JoinHandle<()>>,
}

fn tls() -> (tempfile::TempDir, Arc<Tls>, Arc<ClientConfig>) {
    let dir = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec![DOMAIN.to_owned()]).expect("made");
    let files = CertificateFiles {
        names: vec![DOMAIN.to_owned()],
        chain: dir.path().join("chain.pem"),
        key: dir.path().join("key.pem"),
    };
    std::fs::write(&files.chain, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    let certificates = Arc::new(Certificates::load(vec![files]).expect("certificates"));
    let tickets = Arc::new(Ticketer::new(TicketKey::random().expect("random")));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"xmpp-client".to_vec()];
    let tls = Tls::new(certificates, tickets).expect("TLS");
    (dir, Arc::new(tls), Arc::new(client))
}

impl Node {
    pub(crate) fn start(limits: Limits) -> Self {
        Self::start_on(1, limits)
    }

    /// The edge of a cluster.
    pub(crate) fn start_in_cluster(limits: Limits) -> Self {
        Self::start_with(1, limits, true)
    }

    /// An edge of several cores; the owner of all accounts runs on the last.
    pub(crate) fn start_on(cores: u16, limits: Limits) -> Self {
        Self::start_with(cores, limits, false)
    }

    fn start_with(cores: u16, limits: Limits, cluster: bool) -> Self {
        let (dir, tls, client) = tls();
        let config = Config {
            node: NodeId { number: 1, incarnation: 1 },
            cores,
            hash_key: KEY,
            cluster,
            stream: Arc::new(stream::Config::new(vec![DOMAIN.to_owned()])),
            tls,
            limits,
        };
        let owner = Arc::new(Owner { home: cores - 1, ..Owner::default() });
        owner.confirms.store(true, Ordering::SeqCst);
        owner.epoch.store(u64::from(cluster), Ordering::SeqCst);
        let (edge, hub) = Edge::new(config, Arc::clone(&owner) as _).expect("an edge");
        owner.hub.set(hub).ok().expect("once");
        let any = "127.0.0.1:0".parse().expect("an address");
        let wanted = [Entry::StartTls, Entry::Direct].map(|entry| Listen { address: any, entry });
        let listeners = Listeners::bind(&wanted, cores).expect("bound");
        let addresses = listeners[0].addresses();
        let start = |listeners| {
            let running = edge.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let local = tokio::task::LocalSet::new();
                local
                    .block_on(&runtime.expect("a runtime"), running.run_core(listeners))
                    .expect("served");
            })
        };
        let cores = listeners.into_iter().map(start).collect();
        Self {
            _dir: dir,
            edge,
            owner,
            starttls: addresses[0].address,
            direct: addresses[1].address,
            client,
            cores,
        }
    }

    /// A client inside direct TLS, before its stream.
    pub(crate) fn tls(&self) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let socket = connect(self.direct);
        Client::new(self.wrap(socket))
    }

    /// The same for a client that has never been here.
    pub(crate) fn tls_anew(&self) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let mut config = ClientConfig::clone(&self.client);
        config.resumption = rustls::client::Resumption::disabled();
        let conn = ClientConnection::new(Arc::new(config), name).expect("a client");
        Client::new(StreamOwned::new(conn, connect(self.direct)))
    }

    pub(crate) fn wrap(&self, socket: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let conn = ClientConnection::new(Arc::clone(&self.client), name).expect("a client");
        StreamOwned::new(conn, socket)
    }

    /// A client that would send early data; each has the tickets of the one before.
    pub(crate) fn wrap_early(&self, socket: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let mut config = ClientConfig::clone(&self.client);
        config.enable_early_data = true;
        let conn = ClientConnection::new(Arc::new(config), name).expect("a client");
        StreamOwned::new(conn, socket)
    }

    /// A client with a session, by direct TLS and PLAIN.
    pub(crate) fn session(&self) -> Client<StreamOwned<ClientConnection, TcpStream>> {
        let mut client = self.tls();
        client.login();
        client
    }

    /// Waits until all is over, and no longer than a while.
    pub(crate) fn join(&mut self) {
        for core in self.cores.drain(..) {
            wait_until("the core to end", || core.is_finished());
            core.join().expect("no panic");
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    socket
}

/// Waits for something that another thread brings about.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) struct Client<S> {
    pub(crate) io: S,
    got: String,
}

pub(crate) const HEADER: &str = "<stream:stream xmlns='jabber:client' to='a.example' version='1.0' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";
/// `\0juliet\0secret`
pub(crate) const AUTH: &str =
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>";
pub(crate) const BIND: &str =
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
pub(crate) const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

impl<S: Read + Write> Client<S> {
    pub(crate) fn new(io: S) -> Self {
        Self { io, got: String::new() }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).expect("written");
        self.io.flush().expect("flushed");
    }

    /// Reads until `wanted` has come; returns all up to its end.
    pub(crate) fn hear(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.got.find(wanted) {
                let rest = self.got.split_off(at + wanted.len());
                return std::mem::replace(&mut self.got, rest);
            }
            let mut part = [0; 4096];
            match self.io.read(&mut part) {
                Ok(n) if n > 0 => self.got.push_str(std::str::from_utf8(&part[..n]).expect("text")),
                end => panic!("{end:?} instead of {wanted} after {:?}", self.got),
            }
        }
    }

    /// Reads to the end of the connection, however it comes.
    pub(crate) fn hear_all(&mut self) -> String {
        let mut part = [0; 4096];
        while let Ok(n) = self.io.read(&mut part)
            && n > 0
        {
            self.got.push_str(&String::from_utf8_lossy(&part[..n]));
        }
        std::mem::take(&mut self.got)
    }

    pub(crate) fn login(&mut self) {
        self.say(HEADER);
        self.hear("</stream:features>");
        self.say(AUTH);
        self.hear("<success");
        self.hear(">");
        self.say(HEADER);
        self.hear("</stream:features>");
        self.say(BIND);
        self.hear("</iq>");
    }

    pub(crate) fn into_io(self) -> S {
        self.io
    }
}
