//! What tests of several files need: credentials and a handler that writes down what it sees.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::link::{Answer, CallRefusal, Digest, Peer, Service, Settings};
use crate::{
    Authority, ClusterId, Credentials, Frame, Handler, Identity, Link, LinkError, Mesh, NodeKey,
    NodeName, Roles,
};

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// A cluster's authority with what it needs to make nodes.
pub(crate) struct Maker {
    pub(crate) cluster: ClusterId,
    pub(crate) authority: Authority,
}

impl Maker {
    pub(crate) fn new(cluster: u128) -> Maker {
        let cluster = ClusterId(cluster);
        Maker { cluster, authority: Authority::create(cluster, now()).unwrap() }
    }

    /// The same authority, as another node holds it.
    pub(crate) fn again(&self) -> Authority {
        Authority::open(self.authority.certificate(), &self.authority.key()).unwrap()
    }

    pub(crate) fn identity(&self, node: &str, roles: &str) -> Identity {
        let roles = Roles::parse(roles).unwrap();
        Identity { cluster: self.cluster, node: name(node), roles }
    }

    pub(crate) fn credentials(&self, node: &str, roles: &str) -> Credentials {
        self.credentials_at(&self.identity(node, roles), now())
    }

    pub(crate) fn credentials_at(&self, identity: &Identity, at: Duration) -> Credentials {
        let key = NodeKey::create().unwrap();
        let hour = Duration::from_secs(3600);
        let made = self.authority.issue_for(&key.request().unwrap(), identity, at, hour).unwrap();
        Credentials::new(self.authority.certificate(), &made, &key.to_der()).unwrap()
    }
}

/// What a handler saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Up(String, u64),
    Frame(u64, u16, Bytes),
    Room(u64),
    Down(u64, LinkError),
}

type OnFrame = dyn Fn(&Link, &Frame, Option<Digest>) + Send + Sync;

/// Writes down what it sees, and answers calls with what they said.
#[derive(Default)]
pub(crate) struct Book {
    seen: Mutex<Vec<Seen>>,
    pub(crate) on_frame: Mutex<Option<Arc<OnFrame>>>,
}

impl Book {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(crate) fn count(&self, of: impl Fn(&Seen) -> bool) -> usize {
        self.seen.lock().iter().filter(|it| of(it)).count()
    }
}

impl Handler for Book {
    fn up(&self, link: &Link) {
        let node = link.peer().identity.node.to_string();
        self.seen.lock().push(Seen::Up(node, link.generation()));
    }

    fn frame(&self, link: &Link, frame: Frame, digest: Option<Digest>) {
        let on_frame = self.on_frame.lock().clone();
        if let Some(on_frame) = on_frame {
            return on_frame(link, &frame, digest);
        }
        self.seen.lock().push(Seen::Frame(link.generation(), frame.shard, frame.body));
    }

    fn room(&self, link: &Link) {
        self.seen.lock().push(Seen::Room(link.generation()));
    }

    fn down(&self, link: &Link, why: LinkError) {
        self.seen.lock().push(Seen::Down(link.generation(), why));
    }

    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        let said = format!("{} {service:?} {}", peer.identity.node, body.len());
        Box::pin(async move {
            match service {
                Service::Store => Err(CallRefusal::Busy),
                Service::Shard => std::future::pending().await,
                _ => Ok(Bytes::from(said)),
            }
        })
    }
}

pub(crate) const LOCALHOST: &str = "127.0.0.1:0";

pub(crate) fn start(credentials: Credentials, settings: Settings) -> (Mesh, Arc<Book>) {
    let book = Arc::new(Book::default());
    let address: SocketAddr = LOCALHOST.parse().unwrap();
    (Mesh::start(credentials, address, settings, book.clone()).unwrap(), book)
}

/// Waits until something holds, for ten seconds at most.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not come: {what}");
}
