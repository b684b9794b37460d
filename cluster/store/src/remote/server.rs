//! The side that answers, from a store of its own node.

use super::numbers::client_of;
use super::turns::{Turn, Turns};
use super::{limits, wire};
use bytes::Bytes;
use kv::{Batch, CommitError, Reads, Store};
use mesh::link::{Answer, CallRefusal, Peer};
use mesh::{NodeName, Role};
use parking_lot::Mutex;
use peer::call::StoreAsk;
use peer::codec::TooLarge;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Serves a store to the routers of the cluster. A clone is another handle.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    askers: Mutex<BTreeMap<AskerId, Arc<Asker>>>,
}

/// One client of one process of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AskerId {
    node: NodeName,
    boot: u64,
    client: u64,
}

#[derive(Default)]
struct Asker {
    turns: Mutex<Turns>,
    /// Told whenever `turns` changes.
    changed: Notify,
}

impl Server {
    /// Serves this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { shared: Arc::new(Shared { store, askers: Mutex::default() }) }
    }

    /// Answers a call of [`Service::Store`](mesh::link::Service::Store). Only routers may ask, and
    /// what cannot be read is refused.
    pub fn answer(&self, peer: &Arc<Peer>, body: Bytes) -> Answer {
        let (shared, peer) = (Arc::clone(&self.shared), Arc::clone(peer));
        Box::pin(async move {
            if !peer.identity.roles.has(Role::Router) {
                return Err(CallRefusal::NotAllowed);
            }
            let (number, ask) = wire::asked(body).ok_or(CallRefusal::Malformed)?;
            match ask {
                StoreAsk::Read(reads) => shared.read(number, reads).await,
                StoreAsk::Commit(batch) => shared.commit(&peer, number, batch).await,
                StoreAsk::Settle => shared.settle(&peer, number).await,
            }
        })
    }
}

impl Shared {
    async fn read(&self, number: u64, reads: Reads) -> Result<Bytes, CallRefusal> {
        wire::found(number, self.store.read(reads).await).map_err(failed)
    }

    /// Begins the commit when it is its turn. If the caller is gone by then, it never begins; once
    /// begun it goes on without the caller.
    async fn commit(&self, peer: &Peer, number: u64, batch: Batch) -> Result<Bytes, CallRefusal> {
        // Who has not settled here does not know yet that this is another process.
        let known = self.askers.lock().get(&asker_id(peer, number)).cloned();
        let asker = known.ok_or(CallRefusal::Busy)?;
        loop {
            // Made before the look, so that no change between the two is missed.
            let changed = asker.changed.notified();
            if asker.turn_of(number) != Turn::Later {
                break;
            }
            changed.await;
        }
        let begun = {
            let mut turns = asker.turns.lock();
            match turns.begin(number) {
                // Under the lock, so that the store takes them in this order; it never waits.
                Turn::Now => self.store.commit(batch),
                Turn::Full => return Err(CallRefusal::Busy),
                Turn::Gone | Turn::Later => {
                    let refused = wire::committed(number, Err(CommitError::Unavailable));
                    return refused.map_err(failed);
                }
            }
        };
        let under_way = UnderWay { asker, number };
        under_way.asker.changed.notify_waiters();
        let task = tokio::spawn(async move {
            let result = begun.await;
            drop(under_way);
            result
        });
        let result = task.await.unwrap_or(Err(CommitError::Unknown));
        wire::committed(number, result).map_err(failed)
    }

    /// Sees to it that no commit below `first` begins any more, and waits for those that have.
    async fn settle(&self, peer: &Peer, first: u64) -> Result<Bytes, CallRefusal> {
        let asker = self.asker(asker_id(peer, first)).ok_or(CallRefusal::Busy)?;
        asker.turns.lock().settle(first);
        asker.changed.notify_waiters();
        loop {
            let changed = asker.changed.notified();
            let is_settled = asker.turns.lock().is_settled(first);
            if is_settled {
                return wire::committed(first, Ok(())).map_err(failed);
            }
            changed.await;
        }
    }

    /// The asker of this name, which is new if it was not known. `None`: there are too many.
    fn asker(&self, id: AskerId) -> Option<Arc<Asker>> {
        let mut askers = self.askers.lock();
        if askers.len() >= limits::ASKERS_MAX && !askers.contains_key(&id) {
            // Nobody holds what goes, so nothing of it can begin any more. A client that is still
            // there is told to settle again, which costs it a call.
            askers.retain(|_, asker| Arc::strong_count(asker) > 1);
            if askers.len() >= limits::ASKERS_MAX {
                return None;
            }
        }
        Some(Arc::clone(askers.entry(id).or_default()))
    }
}

impl Asker {
    fn turn_of(&self, number: u64) -> Turn {
        self.turns.lock().turn(number)
    }
}

/// A commit that the store has been given, until it has ended.
struct UnderWay {
    asker: Arc<Asker>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.asker.turns.lock().end(self.number);
        self.asker.changed.notify_waiters();
    }
}

/// An answer that fits no frame, which none of ours is.
fn failed(_: TooLarge) -> CallRefusal {
    CallRefusal::Failed
}

fn asker_id(peer: &Peer, number: u64) -> AskerId {
    let node = peer.identity.node.clone();
    AskerId { node, boot: peer.boot, client: client_of(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv::MemStore;

    fn id(client: u64) -> AskerId {
        AskerId { node: NodeName::parse("a").unwrap(), boot: 1, client }
    }

    #[test]
    fn so_many_clients_are_remembered_and_idle_ones_make_room() {
        let server = Server::new(Arc::new(MemStore::new()));
        let most = limits::ASKERS_MAX as u64;
        let count = || server.shared.askers.lock().len();
        let mut held: Vec<_> =
            (0..most).map(|client| server.shared.asker(id(client)).expect("room")).collect();
        assert!(server.shared.asker(id(most)).is_none(), "all have calls under way");
        assert!(server.shared.asker(id(3)).is_some(), "one that is known");
        assert_eq!(count(), limits::ASKERS_MAX);
        held.truncate(limits::ASKERS_MAX - 2);
        assert!(server.shared.asker(id(most)).is_some());
        assert_eq!(count(), limits::ASKERS_MAX - 1, "two idle ones made room for one");
    }
}
