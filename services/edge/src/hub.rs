//! Where frames for connections arrive: from the slot of a connection to the inbox of its task,
//! from any thread.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use peer::shard::HashKey;
use peer::{ConnId, Down, Downlink, NodeId, Owner, Uplink};
use session::attachment;
use xmpp::scram::Keys;

use crate::inbox::{Inbox, Ring};
use crate::limits::{FRAME_BYTES, INBOX_BYTES_MAX};

/// What can be in a connection's inbox.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A frame of the owner.
    Down(Down),
    /// The keys of a password; `None` if nobody can have it.
    Derived(Option<Keys>),
}

/// The inbox of a connection.
pub(crate) type Post = Inbox<Letter>;

/// Parts of the table, each with its lock: enough that cores seldom meet.
const PARTS: usize = 64;

/// All connections of an edge, by slot. Slots are counted up and never used twice.
pub struct Hub {
    edge: NodeId,
    key: HashKey,
    uplink: Arc<dyn Uplink>,
    next: AtomicU64,
    parts: [Mutex<Part>; PARTS],
}

type Part = HashMap<u64, Arc<Post>, BuildHasherDefault<SlotHasher>>;

impl Hub {
    pub(crate) fn new(edge: NodeId, key: HashKey, uplink: Arc<dyn Uplink>) -> Self {
        let parts = std::array::from_fn(|_| Mutex::new(Part::default()));
        Self { edge, key, uplink, next: AtomicU64::new(1), parts }
    }

    /// A place for a new connection.
    pub(crate) fn register(&self) -> (ConnId, Arc<Post>) {
        let slot = self.next.fetch_add(1, Ordering::Relaxed);
        let post = Arc::new(Post::new());
        if let Some(part) = self.part(slot) {
            part.lock().insert(slot, Arc::clone(&post));
        }
        (ConnId { edge: self.edge, slot }, post)
    }

    /// The connection is gone: what it has not taken goes the way of what comes too late.
    pub(crate) fn remove(&self, slot: u64) {
        let Some(part) = self.part(slot) else { return };
        let post = {
            let mut part = part.lock();
            let post = part.remove(&slot);
            if part.len() * 4 < part.capacity() {
                part.shrink_to_fit();
            }
            post
        };
        for letter in post.map(|post| post.close()).unwrap_or_default() {
            if let Letter::Down(frame) = letter {
                self.turn_away(&frame);
            }
        }
    }

    /// Tells the owner that a session it has just given to a connection has none, or it would keep
    /// it for ever.
    fn turn_away(&self, frame: &Down) {
        if let Some((shard, frame)) = attachment::orphaned(&self.key, frame) {
            let epoch = self.uplink.epoch(shard);
            self.uplink.up(Owner { shard, epoch }, frame);
        }
    }

    /// Wakes a connection, if it is there.
    pub(crate) fn ring(&self, slot: u64, ring: Ring) {
        if let Some(post) = self.find(slot) {
            post.ring(ring);
        }
    }

    /// Wakes all connections.
    pub(crate) fn ring_all(&self, ring: Ring) {
        for part in &self.parts {
            let posts: Vec<_> = part.lock().values().cloned().collect();
            posts.iter().for_each(|post| post.ring(ring));
        }
    }

    fn find(&self, slot: u64) -> Option<Arc<Post>> {
        self.part(slot)?.lock().get(&slot).cloned()
    }

    fn part(&self, slot: u64) -> Option<&Mutex<Part>> {
        self.parts.get((slot % PARTS as u64) as usize)
    }
}

impl Downlink for Hub {
    fn down(&self, _: Owner, to: ConnId, frame: Down) {
        // A frame for another edge, or for an incarnation before this one, has no place here: that
        // edge was declared dead, and its sessions with it.
        if to.edge != self.edge {
            return;
        }
        let bytes = weight(&frame);
        let refused = match self.find(to.slot) {
            Some(post) => post.push(Letter::Down(frame), bytes, INBOX_BYTES_MAX),
            None => Err(Letter::Down(frame)),
        };
        if let Err(Letter::Down(frame)) = refused {
            self.turn_away(&frame);
        }
    }
}

/// What a frame counts for.
fn weight(frame: &Down) -> usize {
    match frame {
        Down::Stanza { stanza, .. } => FRAME_BYTES + stanza.size_hint(),
        _ => FRAME_BYTES,
    }
}

/// Slots are our own count, so that one multiplication spreads them well enough.
#[derive(Debug, Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, slot: u64) {
        self.0 = (self.0 ^ slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use peer::{Epoch, SessionId, ShardId, Up};
    use xmpp::jid::Jid;

    use super::*;

    /// Remembers what is said to owners.
    #[derive(Default)]
    struct Said(Mutex<Vec<Up>>);

    impl Uplink for Said {
        fn up(&self, _: Owner, frame: Up) {
            self.0.lock().push(frame);
        }
    }

    const OWNER: Owner = Owner { shard: ShardId(0), epoch: Epoch(0) };

    fn node(number: u32) -> NodeId {
        NodeId { number, incarnation: 1 }
    }

    fn hub() -> (Hub, Arc<Said>) {
        let said = Arc::new(Said::default());
        (Hub::new(node(1), HashKey(1, 2), Arc::clone(&said) as _), said)
    }

    fn bound() -> Down {
        let jid = Jid::parse("juliet@a.example/balcony").expect("a JID");
        Down::Bound { session: SessionId(9), jid, epoch: Epoch(1) }
    }

    fn handled(post: &Post) -> Vec<u64> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(mail) = post.poll(&mut cx, true) else { return Vec::new() };
        mail.queue
            .iter()
            .map(|letter| match letter {
                Letter::Down(Down::Handled { number }) => *number,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn frames_find_their_connection_from_any_thread() {
        let (hub, _) = hub();
        let places: Vec<_> = (0..200).map(|_| hub.register()).collect();
        std::thread::scope(|scope| {
            for start in 0..4 {
                let (hub, places) = (&hub, &places);
                scope.spawn(move || {
                    for (id, _) in places.iter().skip(start).step_by(4) {
                        hub.down(OWNER, *id, Down::Handled { number: id.slot });
                        hub.down(OWNER, *id, Down::Handled { number: id.slot + 1 });
                    }
                });
            }
        });
        for (id, post) in &places {
            assert_eq!(handled(post), [id.slot, id.slot + 1]);
        }
    }

    #[test]
    fn what_is_for_nobody_here_is_dropped() {
        let (hub, _) = hub();
        let (id, post) = hub.register();
        hub.down(OWNER, ConnId { edge: node(2), slot: id.slot }, Down::Handled { number: 1 });
        let old = NodeId { number: 1, incarnation: 0 };
        hub.down(OWNER, ConnId { edge: old, slot: id.slot }, Down::Handled { number: 2 });
        hub.down(OWNER, ConnId { edge: node(1), slot: id.slot + 1 }, Down::Handled { number: 3 });
        assert!(handled(&post).is_empty());
        hub.remove(id.slot);
        hub.down(OWNER, id, Down::Handled { number: 4 });
        assert!(handled(&post).is_empty());
        assert_ne!(hub.register().0.slot, id.slot);
    }

    #[test]
    fn a_session_that_is_bound_too_late_is_lost() {
        let lost = |said: &Said| {
            let frames = std::mem::take(&mut *said.0.lock());
            frames
                .iter()
                .filter(|frame| matches!(frame, Up::Lost { session: SessionId(9), .. }))
                .count()
        };
        let (hub, said) = hub();
        let (id, _post) = hub.register();
        hub.down(OWNER, id, bound());
        assert_eq!(lost(&said), 0, "the connection may still take it");
        hub.remove(id.slot);
        assert_eq!(lost(&said), 1, "it did not");
        hub.down(OWNER, id, bound());
        assert_eq!(lost(&said), 1, "it is not there");
        hub.down(OWNER, id, Down::Handled { number: 1 });
        assert!(said.0.lock().is_empty());
    }
}
