//! The table of an edge's connections: from the slot of a connection to what it shares, from any
//! thread.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use peer::shard::HashKey;
use peer::{Complete, ConnId, Down, Downlink, Epoch, NodeId, Owner, ShardId, Uplink};
use session::attachment;

use crate::inbox::Ring;
use crate::limits::INBOX_BYTES_MAX;
use crate::lost::Lost;
use crate::metrics::Metrics;
use crate::post::{Letter, Post, weight};

/// Parts of the table, each with its lock: enough that cores seldom meet.
const PARTS: usize = 64;

/// All connections of an edge, by slot. Slots are counted up and never used twice.
pub struct Hub {
    edge: NodeId,
    key: HashKey,
    cluster: bool,
    uplink: Arc<dyn Uplink>,
    metrics: Arc<Metrics>,
    next: AtomicU64,
    parts: [Mutex<Part>; PARTS],
    /// Those of the table that have lost their sockets, at an edge of a cluster.
    lost: Mutex<Lost>,
}

type Part = HashMap<u64, Arc<Post>, BuildHasherDefault<SlotHasher>>;

impl Hub {
    pub(crate) fn new(
        edge: NodeId,
        key: HashKey,
        cluster: bool,
        uplink: Arc<dyn Uplink>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let parts = std::array::from_fn(|_| Mutex::new(Part::default()));
        let (next, lost) = (AtomicU64::new(1), Mutex::default());
        Self { edge, key, cluster, uplink, metrics, next, parts, lost }
    }

    /// A place for a new connection.
    pub(crate) fn register(&self) -> (ConnId, Arc<Post>) {
        let slot = self.next.fetch_add(1, Ordering::Relaxed);
        let conn = ConnId { edge: self.edge, slot };
        let post = Arc::new(Post::new(conn, self.cluster));
        if let Some(part) = self.part(slot) {
            part.lock().insert(slot, Arc::clone(&post));
        }
        (conn, post)
    }

    /// The connection is gone, and its owner is told. At an edge of a cluster a session that may go
    /// on keeps its place in the table, so that later owners are told too.
    pub(crate) fn leave(&self, slot: u64, post: &Post, now_us: u64) {
        let Some(bytes) = post.leave(&*self.uplink) else { return self.remove(slot) };
        self.metrics.lost_kept.add(1);
        let dropped = self.lost.lock().keep(slot, bytes, now_us);
        self.metrics.lost_kept.sub(dropped.len() as u64);
        self.metrics.lost_dropped.add(dropped.len() as u64);
        dropped.into_iter().for_each(|slot| self.remove(slot));
        // Its end may have been said before it was among the lost.
        if post.is_over() {
            self.forget(slot);
        }
    }

    /// Shards have new owners: tells them what sessions of theirs are here, connected or lost, and
    /// then that this was all. The node calls it when the new owners can be seen by
    /// [`Uplink::epoch`], not before: a login that reads an epoch before is among those that are
    /// told here.
    pub fn moved(&self, changes: &[(ShardId, Epoch)]) {
        let mut latest = BTreeMap::new();
        for (shard, epoch) in changes {
            let known: &mut Epoch = latest.entry(*shard).or_default();
            *known = (*known).max(*epoch);
        }
        for part in &self.parts {
            // Told without the part's lock: whoever is told may answer at once.
            let posts: Vec<_> = part.lock().values().cloned().collect();
            let reports = posts.iter().filter(|post| post.moved(&*self.uplink, &latest)).count();
            self.metrics.reports.add(reports as u64);
        }
        self.metrics.shards_moved.add(latest.len() as u64);
        for (shard, epoch) in latest {
            self.uplink.complete(Complete { edge: self.edge, shard, epoch });
        }
    }

    /// Forgets lost connections whose time is over.
    pub(crate) fn sweep(&self, now_us: u64) {
        if !self.cluster {
            return;
        }
        let over = self.lost.lock().expire(now_us);
        self.metrics.lost_kept.sub(over.len() as u64);
        over.into_iter().for_each(|slot| self.remove(slot));
    }

    /// Forgets a lost connection.
    fn forget(&self, slot: u64) {
        if self.lost.lock().forget(slot) {
            self.metrics.lost_kept.sub(1);
            self.remove(slot);
        }
    }

    fn remove(&self, slot: u64) {
        let Some(part) = self.part(slot) else { return };
        let mut part = part.lock();
        part.remove(&slot);
        if part.len() * 4 < part.capacity() {
            part.shrink_to_fit();
        }
    }

    /// What came for a connection that is gone. An owner that has just given it a session must
    /// learn that there is nobody, or it would keep it for ever; and one that says that the session
    /// goes on elsewhere, or is over, is believed whatever its epoch: it knew.
    fn turn_away(&self, owner: Owner, slot: u64, frame: &Down) {
        if matches!(frame, Down::Close { .. }) && self.cluster {
            if let Some(post) = self.find(slot) {
                post.end();
            }
            self.forget(slot);
        }
        if let Some((shard, frame)) = attachment::orphaned(&self.key, frame) {
            self.uplink.up(Owner { shard, epoch: owner.epoch }, frame);
        }
    }

    /// Wakes a connection, if it is there.
    pub(crate) fn ring(&self, slot: u64, ring: Ring) {
        if let Some(post) = self.find(slot) {
            post.inbox.ring(ring);
        }
    }

    /// Wakes all connections.
    pub(crate) fn ring_all(&self, ring: Ring) {
        for part in &self.parts {
            let posts: Vec<_> = part.lock().values().cloned().collect();
            posts.iter().for_each(|post| post.inbox.ring(ring));
        }
    }

    /// The slots of all connections that have a socket, oldest first.
    pub(crate) fn slots(&self) -> VecDeque<u64> {
        let mut slots = Vec::new();
        for part in &self.parts {
            slots.extend(part.lock().keys());
        }
        let lost = self.lost.lock();
        slots.retain(|slot| !lost.has(*slot));
        slots.sort_unstable();
        slots.into()
    }

    fn find(&self, slot: u64) -> Option<Arc<Post>> {
        self.part(slot)?.lock().get(&slot).cloned()
    }

    fn part(&self, slot: u64) -> Option<&Mutex<Part>> {
        self.parts.get((slot % PARTS as u64) as usize)
    }
}

impl Downlink for Hub {
    fn down(&self, owner: Owner, to: ConnId, frame: Down) {
        // A frame for another edge, or for an incarnation before this one, has no place here: that
        // edge was declared dead, and its sessions with it.
        if to.edge != self.edge {
            return;
        }
        let bytes = weight(&frame);
        let letter = Letter::Down(owner, frame);
        let refused = match self.find(to.slot) {
            Some(post) => post.inbox.push(letter, bytes, INBOX_BYTES_MAX),
            None => Err(letter),
        };
        if let Err(Letter::Down(owner, frame)) = refused {
            self.turn_away(owner, to.slot, &frame);
        }
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

    use peer::{SessionId, Up, shard_of};
    use stream::Ask;
    use xmpp::jid::Jid;
    use xmpp::scram::Hash;
    use xmpp::stanza::{Kind, MessageType, Stanza};

    use super::*;
    use crate::limits::LOST_US;

    #[derive(Clone, Debug, PartialEq)]
    enum Word {
        Up(Owner, Up),
        Complete(Epoch),
    }

    /// Remembers what is said to owners.
    #[derive(Default)]
    struct Said {
        epoch: AtomicU64,
        words: Mutex<Vec<Word>>,
    }

    impl Uplink for Said {
        fn epoch(&self, _: ShardId) -> Epoch {
            let epoch = Epoch(self.epoch.load(Ordering::SeqCst));
            // Time for what is known to change.
            std::thread::yield_now();
            epoch
        }

        fn up(&self, owner: Owner, frame: Up) {
            self.words.lock().push(Word::Up(owner, frame));
        }

        fn complete(&self, complete: Complete) {
            self.words.lock().push(Word::Complete(complete.epoch));
        }
    }

    impl Said {
        fn take(&self) -> Vec<Word> {
            std::mem::take(&mut *self.words.lock())
        }
    }

    const KEY: HashKey = HashKey(1, 2);
    const OWNER: Owner = Owner { shard: ShardId(0), epoch: Epoch(0) };

    fn node(number: u32) -> NodeId {
        NodeId { number, incarnation: 1 }
    }

    fn hub_of(cluster: bool) -> (Hub, Arc<Said>) {
        let said = Arc::new(Said::default());
        let (uplink, metrics) = (Arc::clone(&said) as _, Arc::default());
        (Hub::new(node(1), KEY, cluster, uplink, metrics), said)
    }

    fn hub() -> (Hub, Arc<Said>) {
        hub_of(false)
    }

    fn jid() -> Jid {
        Jid::parse("juliet@a.example/balcony").expect("a JID")
    }

    fn owner(epoch: u64) -> Owner {
        Owner { shard: shard_of(&KEY, &jid()), epoch: Epoch(epoch) }
    }

    fn bound() -> Down {
        Down::Bound { session: SessionId(9), jid: jid(), epoch: Epoch(1) }
    }

    fn chat(number: u64) -> Down {
        Down::Stanza { number, log: 0, stanza: Stanza::new(Kind::Message(MessageType::Chat)) }
    }

    fn challenge(account: &str) -> Ask {
        let account = Jid::parse(account).expect("a JID");
        Ask::Challenge { account, hash: Hash::Sha256 }
    }

    fn letters(post: &Post) -> Vec<(Owner, Down)> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(mail) = post.inbox.poll(&mut cx, true) else { return Vec::new() };
        let letter = |letter| match letter {
            Letter::Down(owner, frame) => (owner, frame),
            other => panic!("{other:?}"),
        };
        mail.queue.into_iter().map(letter).collect()
    }

    fn handled(post: &Post) -> Vec<u64> {
        letters(post)
            .into_iter()
            .map(|(_, frame)| match frame {
                Down::Handled { number } => number,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// A connection with a session, in a cluster, under epoch 1.
    fn session(hub: &Hub, said: &Said) -> (ConnId, Arc<Post>) {
        said.epoch.store(1, Ordering::SeqCst);
        let (id, post) = hub.register();
        post.ask(said, &KEY, challenge("juliet@a.example"));
        assert!(post.hear(owner(1), &bound()).0);
        said.take();
        (id, post)
    }

    /// The map names the owner under an epoch, and the hub is told.
    fn moves(hub: &Hub, said: &Said, epoch: u64) -> Vec<Word> {
        said.epoch.store(epoch, Ordering::SeqCst);
        hub.moved(&[(owner(0).shard, Epoch(epoch))]);
        said.take()
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
        hub.leave(id.slot, &post, 0);
        hub.down(OWNER, id, Down::Handled { number: 4 });
        assert!(handled(&post).is_empty());
        assert_ne!(hub.register().0.slot, id.slot);
    }

    /// Whatever the epoch, whoever gave it the session hears of it.
    #[test]
    fn a_session_that_is_bound_too_late_is_lost() {
        for (cluster, epoch) in [(false, 0), (true, 7)] {
            let (hub, said) = hub_of(cluster);
            let lost = || {
                let is_lost = |word: &Word| {
                    let Word::Up(to, Up::Lost { session: SessionId(9), .. }) = word else {
                        return false;
                    };
                    assert_eq!(*to, owner(epoch));
                    true
                };
                said.take().iter().filter(|word| is_lost(word)).count()
            };
            said.epoch.store(epoch, Ordering::SeqCst);
            let (id, post) = hub.register();
            post.ask(&*said, &KEY, challenge("juliet@a.example"));
            let bound = Down::Bound { session: SessionId(9), jid: jid(), epoch: Epoch(epoch) };
            hub.down(owner(epoch), id, bound.clone());
            assert_eq!(lost(), 0, "the connection may still take it");
            hub.leave(id.slot, &post, 0);
            assert_eq!(lost(), 1, "it did not");
            said.epoch.store(8, Ordering::SeqCst);
            hub.down(owner(epoch), id, bound);
            assert_eq!(lost(), 1, "it is not there");
            hub.down(owner(epoch), id, Down::Handled { number: 1 });
            assert!(said.take().is_empty());
        }
    }

    #[test]
    fn what_was_not_heard_when_the_shard_moved_is_not_reported_and_not_heard() {
        let (hub, said) = hub_of(true);
        let (id, post) = session(&hub, &said);
        assert!(post.hear(owner(1), &chat(1)).0);
        hub.down(owner(1), id, chat(2));
        let words = moves(&hub, &said, 2);
        let [Word::Up(to, kept), Word::Up(_, Up::Report(report)), Word::Complete(Epoch(2))] =
            &words[..]
        else {
            panic!("{words:?}");
        };
        assert!(*to == owner(2) && matches!(kept, Up::Kept { number: 1, .. }), "{kept:?}");
        assert_eq!((report.received, report.lost), (1, false));
        // The next owner says it again.
        hub.down(owner(2), id, chat(2));
        let heard = letters(&post).into_iter().map(|(owner, frame)| post.hear(owner, &frame).0);
        assert_eq!(heard.collect::<Vec<_>>(), [false, true]);
        assert_eq!(moves(&hub, &said, 2), [Word::Complete(Epoch(2))], "it was told before");
        assert_eq!(moves(&hub, &said, 3).len(), 4, "two that were given, a report, the end");
    }

    #[test]
    fn what_is_asked_is_asked_of_the_next_owner_too() {
        let (hub, said) = hub_of(true);
        let (_, post) = hub.register();
        assert_eq!(moves(&hub, &said, 1), [Word::Complete(Epoch(1))], "nobody is there");
        post.ask(&*said, &KEY, challenge("juliet@a.example"));
        let asked = said.take();
        let [Word::Up(to, asked)] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(*to, owner(1));
        let words = moves(&hub, &said, 2);
        assert_eq!(words, [Word::Up(owner(2), asked.clone()), Word::Complete(Epoch(2))]);
    }

    /// A wrong password, and then another account, of a shard that has moved less often.
    #[test]
    fn the_owner_of_an_account_before_is_not_heard() {
        let (hub, said) = hub_of(true);
        let (_, post) = hub.register();
        said.epoch.store(9, Ordering::SeqCst);
        post.ask(&*said, &KEY, challenge("juliet@a.example"));
        let refused = Down::Refused(peer::AuthRefusal::NotAuthorized);
        assert!(post.hear(owner(9), &refused).0);
        let other = "romeo@a.example";
        let shard = shard_of(&KEY, &Jid::parse(other).expect("a JID"));
        assert_ne!(shard, owner(0).shard);
        said.epoch.store(3, Ordering::SeqCst);
        post.ask(&*said, &KEY, challenge(other));
        assert!(!post.hear(owner(9), &refused).0, "it speaks of somebody else");
        assert!(post.hear(Owner { shard, epoch: Epoch(3) }, &refused).0);
    }

    #[test]
    fn a_lost_connection_is_reported_until_its_end_is_said_or_its_time_is_over() {
        let close = Down::Close { condition: xmpp::error::StreamCondition::Conflict };
        for early in [false, true] {
            let (hub, said) = hub_of(true);
            let kept = || hub.metrics.lost_kept.value();
            let (id, post) = session(&hub, &said);
            let (other, unlucky) = session(&hub, &said);
            hub.leave(other.slot, &unlucky, 1);
            hub.leave(id.slot, &post, 2);
            assert_eq!(kept(), 2);
            let lost = said.take();
            assert!(
                matches!(&lost[..], [Word::Up(_, Up::Lost { .. }), Word::Up(_, Up::Lost { .. })]),
                "{lost:?}"
            );
            let words = moves(&hub, &said, 2);
            let is_report = |word: &Word| matches!(word, Word::Up(_, Up::Report(it)) if it.lost);
            assert_eq!(words.iter().filter(|word| is_report(word)).count(), 2);
            // It hears nothing but its end, of whatever owner.
            hub.down(owner(2), id, chat(1));
            if early {
                hub.down(owner(1), id, close.clone());
            } else {
                hub.sweep(LOST_US + 1);
                assert!(hub.find(other.slot).is_none() && hub.find(id.slot).is_some());
                hub.sweep(LOST_US + 2);
            }
            assert_eq!(kept(), u64::from(early));
            assert!(hub.find(id.slot).is_none());
            let reports = moves(&hub, &said, 3).iter().filter(|word| is_report(word)).count();
            assert_eq!(reports, usize::from(early));
        }
    }

    /// Ends each session in the moment in which it hears that its socket is lost.
    #[derive(Default)]
    struct Ends(std::sync::OnceLock<(Arc<Hub>, ConnId)>);

    impl Uplink for Ends {
        fn up(&self, owner: Owner, frame: Up) {
            let condition = xmpp::error::StreamCondition::Conflict;
            if let (Up::Lost { .. }, Some((hub, conn))) = (frame, self.0.get()) {
                hub.down(owner, *conn, Down::Close { condition });
            }
        }
    }

    /// The end may be said before the connection looks at its mail, or while it is being lost.
    #[test]
    fn a_connection_whose_end_was_said_is_not_kept() {
        for early in [true, false] {
            let ends = Arc::new(Ends::default());
            let uplink = Arc::clone(&ends) as _;
            let hub = Arc::new(Hub::new(node(1), KEY, true, uplink, Arc::default()));
            let (id, post) = hub.register();
            post.ask(&*ends, &KEY, challenge("juliet@a.example"));
            assert!(post.hear(owner(1), &bound()).0);
            if early {
                let condition = xmpp::error::StreamCondition::Conflict;
                hub.down(owner(1), id, Down::Close { condition });
            }
            ends.0.set((Arc::clone(&hub), id)).ok().expect("once");
            hub.leave(id.slot, &post, 0);
            assert!(hub.metrics.lost_kept.value() == 0 && hub.find(id.slot).is_none());
        }
    }

    /// A login reads which epoch its owner has while that changes.
    #[test]
    fn no_login_is_left_with_an_owner_of_before() {
        for round in 0..300 {
            let (hub, said) = hub_of(true);
            let (hub, said) = (&hub, &said);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(move || {
                        for _ in 0..4 {
                            let (_, post) = hub.register();
                            post.ask(&**said, &KEY, challenge("juliet@a.example"));
                        }
                    });
                }
                scope.spawn(move || {
                    for epoch in 1..=4 {
                        said.epoch.store(epoch, Ordering::SeqCst);
                        hub.moved(&[(owner(0).shard, Epoch(epoch))]);
                    }
                });
            });
            let mut latest = BTreeMap::new();
            for word in said.take() {
                match word {
                    Word::Up(to, Up::Challenge { conn, .. }) => {
                        let before = latest.insert(conn, to.epoch);
                        assert!(before.is_none_or(|it| it < to.epoch), "round {round}: {conn:?}");
                    }
                    Word::Up(_, frame) => panic!("{frame:?}"),
                    Word::Complete(epoch) => {
                        latest.values().for_each(|told| assert!(*told >= epoch, "round {round}"));
                        // Nothing for an owner before comes behind it.
                        latest.values_mut().for_each(|told| *told = epoch.max(*told));
                    }
                }
            }
        }
    }
}
