//! Two nodes on loopback: one serves a store, the other asks it.

use bytes::Bytes;
use kv::{Batch, CommitFuture, Key, MemStore, ReadFuture, Reads, Store, Value};
use mesh::link::{Answer, CallError, CallRefusal, Digest, Peer, Service, Settings};
use mesh::{
    Authority, ClusterId, Credentials, Frame, Handler, Identity, Link, LinkError, Mesh, NodeKey,
    NodeName, Roles,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::remote::{Client, Server};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Long enough for a machine that does much else.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// Waits until something holds, for twenty seconds at most.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("did not come: {what}");
}

/// Answers calls of the store, if it has one.
struct Node(Option<Server>);

impl Handler for Node {
    fn up(&self, _: &Link) {}

    fn frame(&self, _: &Link, _: Frame, _: Option<Digest>) {}

    fn room(&self, _: &Link) {}

    fn down(&self, _: &Link, _: LinkError) {}

    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        match &self.0 {
            Some(server) if service == Service::Store => server.answer(peer, body),
            _ => Box::pin(std::future::ready(Err(CallRefusal::NoService))),
        }
    }
}

fn credentials(authority: &Authority, cluster: ClusterId, node: &str, roles: &str) -> Credentials {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let identity = Identity { cluster, node: name(node), roles: Roles::parse(roles).unwrap() };
    let key = NodeKey::create().unwrap();
    let hour = Duration::from_secs(3600);
    let made = authority.issue_for(&key.request().unwrap(), &identity, now, hour).unwrap();
    Credentials::new(authority.certificate(), &made, &key.to_der()).unwrap()
}

/// A node that serves a store, and one that has a client of it.
pub(crate) struct Rig {
    pub(crate) client: Client,
    asking: Mesh,
    _home: Mesh,
    pub(crate) runtime: Runtime,
}

impl Rig {
    /// A router asks, and may take its time.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self::of(store, "router", WITHIN)
    }

    pub(crate) fn of(store: Arc<dyn Store>, roles: &str, within: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let inside = runtime.enter();
        let cluster = ClusterId(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let authority = Authority::create(cluster, now).unwrap();
        let node = |name: &str, roles: &str, server: Option<Server>| {
            let credentials = credentials(&authority, cluster, name, roles);
            let address = "127.0.0.1:0".parse().unwrap();
            Mesh::start(credentials, address, Settings::default(), Arc::new(Node(server))).unwrap()
        };
        let home = node("home", "router+control", Some(Server::new(store)));
        let asking = node("asking", roles, None);
        asking.keep(&name("home"), vec![home.address().unwrap()]);
        let client = Client::start(asking.clone(), name("home"), within).unwrap();
        drop(inside);
        let rig = Self { client, asking, _home: home, runtime };
        until("a link", || rig.link().is_some());
        rig
    }

    fn link(&self) -> Option<Link> {
        self.asking.link(&name("home"))
    }

    /// Ends the link.
    pub(crate) fn cut(&self) {
        if let Some(link) = self.link() {
            link.close();
        }
    }

    /// Ends the link and waits for the next one.
    pub(crate) fn cut_and_wait(&self) {
        let before = self.link().map_or(0, |link| link.generation());
        self.cut();
        until("another link", || self.link().is_some_and(|link| link.generation() > before));
    }

    /// Dials no more, and ends the link.
    pub(crate) fn part(&self) {
        self.asking.forget(&name("home"));
        until("the end of the link", || self.link().is_none());
    }

    /// A call as any node may make it.
    pub(crate) fn call(&self, body: Bytes) -> Result<Bytes, CallError> {
        let home = name("home");
        self.runtime.block_on(self.asking.call(&home, Service::Store, body, WITHIN))
    }

    /// A call whose answer nobody waits for.
    pub(crate) fn call_and_go(&self, body: Bytes) {
        let asking = self.asking.clone();
        self.runtime.spawn(async move {
            let _ = asking.call(&name("home"), Service::Store, body, WITHIN).await;
        });
    }
}

/// Where a store holds what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Reads,
    /// Before they are applied.
    Commits,
    /// When they are applied.
    Applied,
}

/// A store that answers only when it is let.
pub(crate) struct Held {
    pub(crate) inner: MemStore,
    hold: Hold,
    open: watch::Sender<bool>,
    arrived: AtomicUsize,
}

impl Held {
    pub(crate) fn new(hold: Hold) -> Arc<Self> {
        let (inner, open) = (MemStore::new(), watch::Sender::new(false));
        Arc::new(Self { inner, hold, open, arrived: AtomicUsize::new(0) })
    }

    /// Answers everything from now on.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until it has been asked so many times for what it holds.
    pub(crate) fn until_arrived(&self, count: usize) {
        until("the calls", || self.arrived.load(Ordering::SeqCst) >= count);
    }

    fn opened(&self) -> impl Future<Output = ()> + Send + use<> {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.subscribe();
        async move {
            let _ = open.wait_for(|open| *open).await;
        }
    }
}

impl Store for Held {
    fn read(&self, reads: Reads) -> ReadFuture {
        if self.hold != Hold::Reads {
            return self.inner.read(reads);
        }
        let (inner, opened) = (self.inner.clone(), self.opened());
        Box::pin(async move {
            opened.await;
            inner.read_now(&reads)
        })
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        let (inner, hold) = (self.inner.clone(), self.hold);
        if hold == Hold::Reads {
            return inner.commit(batch);
        }
        let applied = (hold == Hold::Applied).then(|| inner.commit_now(&batch));
        let opened = self.opened();
        Box::pin(async move {
            opened.await;
            applied.unwrap_or_else(|| inner.commit_now(&batch))
        })
    }
}

pub(crate) fn key(text: &str) -> Key {
    Key::copy_from_slice(text.as_bytes())
}

/// A batch that writes its `op_id` into a row of this name.
pub(crate) fn batch(op_id: u64, row: &str) -> Batch {
    let mut batch = Batch::new(op_id);
    batch.set(key(row), value(op_id));
    batch
}

pub(crate) fn value(op_id: u64) -> Value {
    Value::copy_from_slice(&op_id.to_be_bytes())
}
