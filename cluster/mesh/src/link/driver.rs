//! The endpoint of a node: it listens, dials, and keeps one link to each other node.

mod handshake;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, Incoming, TransportConfig, VarInt};
use tokio::sync::{Notify, Semaphore};

use super::frame::Unframer;
use super::hello::Hello;
use super::outbox::{Intake, Outbox};
use super::refusal::{LinkError, Refusal};
use super::settle::{Claim, replaces};
use super::{
    CallError, Handler, Inner, Judge, Link, Outgoing, Peer, Service, Settings, call, lanes, tls,
};
use crate::authority::Credentials;
use crate::backoff::Backoff;
use crate::identity::{Identity, NodeName};
use crate::limits;

pub use handshake::{Joins, exchange_join};

/// All links of a node. A clone is another handle.
#[derive(Clone)]
pub struct Mesh {
    node: Arc<Node>,
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mesh({})", self.node.me)
    }
}

struct Node {
    endpoint: Endpoint,
    me: Identity,
    credentials: Mutex<Arc<Credentials>>,
    settings: Settings,
    /// Random bits of this process.
    boot: u64,
    handler: Arc<dyn Handler>,
    joins: Mutex<Option<Arc<dyn Joins>>>,
    judge: RwLock<Option<Arc<dyn Judge>>>,
    generations: AtomicU64,
    neighbours: Mutex<BTreeMap<NodeName, Neighbour>>,
    /// Held while the table changes and the handler is told, so that it is told in order; the
    /// table itself is free meanwhile, and the handler may ask for links.
    telling: Mutex<()>,
    /// Told whenever a link comes up or goes.
    changed: Notify,
    handshakes: Semaphore,
}

/// What is remembered of another node while this process runs.
#[derive(Default)]
struct Neighbour {
    link: Option<(Link, Claim)>,
    lost: u64,
    /// Counts the calls of `keep` and `forget`: a keeper that finds another count stops.
    kept: u64,
    addresses: Vec<String>,
}

impl Mesh {
    /// Listens on `address` and tells `handler` of all that links bring. Runs on the runtime that
    /// it is called in.
    ///
    /// # Errors
    /// The address cannot be used, or the credentials do not fit together.
    pub fn start(
        credentials: Credentials,
        address: SocketAddr,
        settings: Settings,
        handler: Arc<dyn Handler>,
    ) -> std::io::Result<Mesh> {
        tls::listener(&credentials).map_err(std::io::Error::other)?;
        tls::dialler(&credentials).map_err(std::io::Error::other)?;
        let config = server_config(&credentials, &settings).map_err(std::io::Error::other)?.0;
        let endpoint = Endpoint::server(config, address)?;
        let mut boot = [0; 8];
        let none = |why: getrandom::Error| std::io::Error::other(why.to_string());
        getrandom::fill(&mut boot).map_err(none)?;
        let node = Node {
            endpoint,
            me: credentials.identity().clone(),
            credentials: Mutex::new(Arc::new(credentials)),
            settings,
            boot: u64::from_be_bytes(boot),
            handler,
            joins: Mutex::new(None),
            judge: RwLock::new(None),
            generations: AtomicU64::new(0),
            neighbours: Mutex::default(),
            telling: Mutex::new(()),
            changed: Notify::new(),
            handshakes: Semaphore::new(limits::HANDSHAKES_MAX),
        };
        let mesh = Mesh { node: Arc::new(node) };
        tokio::spawn(mesh.clone().listen());
        Ok(mesh)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.node.endpoint.local_addr()
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.node.me
    }

    /// New handshakes use these; links that stand are not touched.
    ///
    /// # Errors
    /// They are another node's, or do not fit together.
    pub fn renew(&self, credentials: Credentials) -> Result<(), LinkError> {
        tls::listener(&credentials)?;
        tls::dialler(&credentials)?;
        if *credentials.identity() != self.node.me {
            return Err(LinkError::Refused(Refusal::WrongNode));
        }
        *self.node.credentials.lock() = Arc::new(credentials);
        Ok(())
    }

    /// What new handshakes use.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.node.credentials.lock().clone()
    }

    /// Answers joining nodes from now on.
    pub fn serve_joins(&self, joins: Arc<dyn Joins>) {
        *self.node.joins.lock() = Some(joins);
    }

    /// Asks `judge` about each link from now on, and about those that stand. Before that, a
    /// certificate of the cluster is enough: a node that has no map yet has to get it from someone.
    pub fn set_judge(&self, judge: Arc<dyn Judge>) {
        *self.node.judge.write() = Some(judge);
        self.judge_again();
    }

    /// Asks about the links that stand, and ends those that may not: what the judge knows has
    /// changed.
    pub fn judge_again(&self) {
        for link in self.links() {
            self.end_unless_may(&link);
        }
    }

    fn may_link(&self, peer: &Peer) -> bool {
        let judge = self.node.judge.read().clone();
        judge.is_none_or(|judge| judge.may_link(peer))
    }

    fn end_unless_may(&self, link: &Link) {
        if !self.may_link(link.peer()) {
            tracing::info!(?link, "the node may not be linked any more");
            let why = LinkError::Refused(Refusal::NotAMember);
            link.inner.connection.close(why.code().into(), b"");
        }
    }

    /// The link to a node, if it stands.
    pub fn link(&self, node: &NodeName) -> Option<Link> {
        let neighbours = self.node.neighbours.lock();
        neighbours.get(node).and_then(|it| it.link.as_ref()).map(|(link, _)| link.clone())
    }

    /// All links that stand.
    pub fn links(&self) -> Vec<Link> {
        let neighbours = self.node.neighbours.lock();
        neighbours.values().filter_map(|it| it.link.as_ref()).map(|it| it.0.clone()).collect()
    }

    /// Asks a node. Without a link to it this fails at once.
    ///
    /// # Errors
    /// No answer came, or a refusal.
    pub async fn call(
        &self,
        node: &NodeName,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let link = self.link(node).ok_or(CallError::NoLink)?;
        link.call(service, body, within).await
    }

    /// Makes one attempt at a link to whoever answers at `address`; if `node` is given, nobody
    /// else will do.
    ///
    /// # Errors
    /// Nobody answers, or one side refuses the other.
    pub async fn dial(
        &self,
        address: SocketAddr,
        node: Option<&NodeName>,
    ) -> Result<Link, LinkError> {
        if let Some(link) = node.and_then(|node| self.link(node)) {
            return Ok(link);
        }
        let attempt = self.dial_once(address, node);
        let made = tokio::time::timeout(limits::HANDSHAKE, attempt).await;
        made.unwrap_or(Err(LinkError::Silent))
    }

    /// Keeps a link to a node: dials now and whenever it is lost, with growing waits, each address
    /// in turn. Other addresses take the place of earlier ones.
    pub fn keep(&self, node: &NodeName, addresses: Vec<SocketAddr>) {
        self.keep_at(node, addresses.iter().map(SocketAddr::to_string).collect());
    }

    /// As [`Mesh::keep`], with addresses as operators give them: `host:port`. A name is looked up
    /// at each attempt, for what it stands for may change, and so may whether anyone knows it.
    pub fn keep_at(&self, node: &NodeName, addresses: Vec<String>) {
        if *node == self.node.me.node || addresses.is_empty() {
            return;
        }
        let kept = {
            let mut neighbours = self.node.neighbours.lock();
            let neighbour = neighbours.entry(node.clone()).or_default();
            if neighbour.addresses == addresses {
                return;
            }
            neighbour.addresses = addresses.clone();
            neighbour.kept += 1;
            neighbour.kept
        };
        tokio::spawn(self.clone().keeper(node.clone(), addresses, kept));
    }

    /// Dials a node no more, and ends the link to it.
    pub fn forget(&self, node: &NodeName) {
        let mut neighbours = self.node.neighbours.lock();
        let Some(neighbour) = neighbours.get_mut(node) else { return };
        neighbour.addresses.clear();
        neighbour.kept += 1;
        if let Some((link, _)) = &neighbour.link {
            link.close();
        }
        drop(neighbours);
        self.node.changed.notify_waiters();
    }

    /// Ends all links and listens no more.
    pub async fn close(&self) {
        let names: Vec<NodeName> = self.node.neighbours.lock().keys().cloned().collect();
        names.iter().for_each(|name| self.forget(name));
        self.node.endpoint.close(LinkError::Closed.code().into(), b"");
        let idle = self.node.endpoint.wait_idle();
        let _ = tokio::time::timeout(Duration::from_secs(1), idle).await;
    }

    async fn keeper(self, node: NodeName, addresses: Vec<String>, kept: u64) {
        let mut backoff = Backoff::new();
        let mut turn = addresses.iter().cycle();
        loop {
            let changed = self.node.changed.notified();
            let (mine, up) = {
                let neighbours = self.node.neighbours.lock();
                let neighbour = neighbours.get(&node);
                (
                    neighbour.is_some_and(|it| it.kept == kept),
                    neighbour.is_some_and(|it| it.link.is_some()),
                )
            };
            if !mine {
                return;
            }
            if up {
                backoff.succeed();
                changed.await;
                continue;
            }
            let Some(address) = turn.next() else { return };
            let Err(why) = self.dial_named(address, &node).await else { continue };
            tracing::debug!(%node, %address, %why, "no link");
            let mut random = [0; 8];
            // Without random bits the waits are the shortest; nothing depends on them.
            let _ = getrandom::fill(&mut random);
            let wait = backoff.fail(u64::from_be_bytes(random));
            let changed = self.node.changed.notified();
            let _ = tokio::time::timeout(wait, changed).await;
        }
    }

    /// One attempt at each address that a name stands for.
    async fn dial_named(&self, address: &str, node: &NodeName) -> Result<Link, LinkError> {
        let found = tokio::time::timeout(limits::HANDSHAKE, tokio::net::lookup_host(address)).await;
        let found = found.ok().and_then(Result::ok).ok_or(LinkError::NoAddress)?;
        let mut last = LinkError::NoAddress;
        for address in found.take(limits::ADDRESSES_MAX) {
            match self.dial(address, Some(node)).await {
                Ok(link) => return Ok(link),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn listen(self) {
        while let Some(incoming) = self.node.endpoint.accept().await {
            let open = self.node.handshakes.available_permits();
            if open == 0 {
                incoming.refuse();
            } else if open < limits::HANDSHAKES_MAX / 2 && incoming.may_retry() {
                // Under a flood an address must show that it is one before it costs a handshake.
                let _ = incoming.retry();
            } else {
                tokio::spawn(self.clone().greet(incoming));
            }
        }
    }

    async fn greet(self, incoming: Incoming) {
        let Ok(_open) = self.node.handshakes.try_acquire() else { return };
        let address = incoming.remote_address();
        let greeting = self.answer(incoming);
        let made = tokio::time::timeout(limits::HANDSHAKE, greeting).await;
        match made.unwrap_or(Err(LinkError::Silent)) {
            Ok(_) => {}
            // Both dialled at once; one of the two stays.
            Err(why @ LinkError::Refused(Refusal::Duplicate)) => {
                tracing::debug!(%address, %why, "a link was not made");
            }
            Err(why) => tracing::info!(%address, %why, "a link was not made"),
        }
    }

    /// Takes a connection into the table if it is to stay, and starts its tasks.
    fn settle(
        &self,
        connection: &Connection,
        (identity, key): (Identity, [u8; 32]),
        hello: &Hello,
        dialled: bool,
    ) -> Result<Link, LinkError> {
        let claim = Claim { dialled, boot: hello.boot, lost: hello.lost };
        let name = identity.node.clone();
        let link = {
            let address = connection.remote_address();
            self.link_of(connection, Peer { identity, key, address, boot: hello.boot }, hello)
        };
        if !self.may_link(link.peer()) {
            return Err(LinkError::Refused(Refusal::NotAMember));
        }
        let telling = self.node.telling.lock();
        let old = {
            let mut neighbours = self.node.neighbours.lock();
            let neighbour = neighbours.entry(name.clone()).or_default();
            if let Some((_, earlier)) = &neighbour.link
                && !replaces(*earlier, claim, self.node.me.node < name)
            {
                return Err(LinkError::Refused(Refusal::Duplicate));
            }
            neighbour.link.replace((link.clone(), claim))
        };
        // Told before the new one is: whoever listens knows at most one link to a node.
        if let Some((old, _)) = old {
            self.end(&old, LinkError::Superseded);
        }
        self.node.handler.up(&link);
        drop(telling);
        self.node.changed.notify_waiters();
        // Who was removed after the question and before the link was in the table is found now.
        self.end_unless_may(&link);
        Ok(link)
    }

    fn link_of(&self, connection: &Connection, peer: Peer, hello: &Hello) -> Link {
        let settings = &self.node.settings;
        let outgoing = (0..hello.lanes).map(|_| {
            let mut outbox = Outbox::new(settings.room());
            outbox.handle_window(hello.work_frames as usize, hello.work_bytes as usize);
            Outgoing { outbox: Mutex::new(outbox), wake: Notify::new() }
        });
        let incoming = (0..settings.lanes()).map(|_| Mutex::new(Intake::default()));
        Link {
            inner: Arc::new(Inner {
                peer: Arc::new(peer),
                generation: 1 + self.node.generations.fetch_add(1, Ordering::Relaxed),
                connection: connection.clone(),
                handler: self.node.handler.clone(),
                up: RwLock::new(true),
                room: settings.room(),
                frame_bytes: settings.frame_bytes.min(hello.frame_bytes as usize),
                outgoing: outgoing.collect(),
                incoming: incoming.collect(),
                calls: call::Rooms::default(),
                heard: AtomicU64::new(0),
                since: Instant::now(),
            }),
        }
    }

    /// The end of a link, told once.
    fn end(&self, link: &Link, why: LinkError) {
        let mut up = link.inner.up.write();
        if !std::mem::take(&mut *up) {
            return;
        }
        drop(up);
        link.inner.connection.close(why.code().into(), b"");
        // What is queued may hold the room of work that came over this link, and so the link.
        let queued = link.inner.outgoing.iter().map(|it| it.outbox.lock().handle_end());
        drop(queued.collect::<Vec<_>>());
        (0..link.inner.outgoing.len()).for_each(|lane| link.inner.wake(lane));
        self.node.handler.down(link, why);
    }

    async fn watch(self, link: Link) {
        let why = lanes::watch(&link).await;
        let telling = self.node.telling.lock();
        if let Some(neighbour) = self.node.neighbours.lock().get_mut(&link.peer().identity.node) {
            let mine = |it: &(Link, Claim)| it.0.generation() == link.generation();
            if neighbour.link.as_ref().is_some_and(mine) {
                neighbour.link = None;
                neighbour.lost += 1;
            }
        }
        self.end(&link, why);
        drop(telling);
        self.node.changed.notify_waiters();
    }

    fn hello_to(&self, node: &NodeName) -> Hello {
        let settings = &self.node.settings;
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let lost = self.node.neighbours.lock().get(node).map_or(0, |it| it.lost);
        Hello {
            version: super::hello::VERSION,
            version_min: super::hello::VERSION_MIN,
            boot: self.node.boot,
            lost,
            lanes: settings.lanes(),
            work_frames: number(settings.work_frames),
            work_bytes: number(settings.work_bytes),
            frame_bytes: number(settings.frame_bytes),
        }
    }

    fn unframer(&self) -> Unframer {
        Unframer::new(self.node.settings.frame_bytes.max(256))
    }
}

fn server_config(
    credentials: &Credentials,
    settings: &Settings,
) -> Result<(quinn::ServerConfig, tls::Verdict), LinkError> {
    let (config, verdict) = tls::listener(credentials)?;
    let config = QuicServerConfig::try_from(config).map_err(|_| LinkError::Unusable)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(config));
    config.transport_config(transport(settings));
    config.migration(false);
    config.max_incoming(limits::HANDSHAKES_MAX);
    Ok((config, verdict))
}

pub(super) fn client_config(
    config: rustls::ClientConfig,
    settings: &Settings,
) -> Result<quinn::ClientConfig, LinkError> {
    let config = QuicClientConfig::try_from(config).map_err(|_| LinkError::Unusable)?;
    let mut config = quinn::ClientConfig::new(Arc::new(config));
    config.transport_config(transport(settings));
    Ok(config)
}

/// What a lane may have in flight without being read; the whole link has eight times this.
const STREAM_WINDOW: u32 = 1024 * 1024;

fn transport(settings: &Settings) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let calls = u32::try_from(limits::CALLS_MAX).unwrap_or(u32::MAX);
    config.max_concurrent_uni_streams(VarInt::from_u32(u32::from(settings.lanes())));
    config.max_concurrent_bidi_streams(VarInt::from_u32(calls));
    config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    config.receive_window(VarInt::from_u32(8 * STREAM_WINDOW));
    config.send_window(u64::from(8 * STREAM_WINDOW));
    config.datagram_receive_buffer_size(None);
    config.keep_alive_interval(Some(settings.keep_alive));
    // Only silences that no QUIC timer can count fail here; then the default stays.
    config.max_idle_timeout(settings.silence.try_into().ok());
    Arc::new(config)
}
