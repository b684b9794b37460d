//! Ownership in a cluster, seen from one worker: grants, loss, the lease.

mod sessions;
mod waiting;

use bytes::Bytes;
use kv::MemStore;
use peer::moving::HandOverRefusal;
use peer::shard::HashKey;
use peer::{ConnId, NodeId, shard_of};
use xmpp::jid::Jid;
use xmpp::scram::Hash;

use super::*;
use crate::config;
use crate::keys;
use crate::limits::{
    CLAIMS_MAX, HAND_OVER_BYTES_MAX, HAND_OVER_US, LEASE_REFRESH_US, LEASE_US, PAGES_WINDOW,
    REBUILD_US, STORE_RETRY_US,
};
use crate::module::Modules;
use crate::rows::Fence;

const HASH: HashKey = HashKey(1, 2);

/// A worker of a cluster, its store, and what came out of it.
struct Rig {
    worker: Worker,
    store: MemStore,
    now: u64,
    /// How far the time of day is ahead of the steady clock.
    ahead: u64,
    away: bool,
    /// Commits are not answered; these are under way.
    stuck: Option<Vec<Batch>>,
    random: u128,
    reads: Vec<Reads>,
    out: Vec<Output>,
}

impl Rig {
    fn new(store: MemStore) -> Self {
        let mut config = Config::new(vec!["a".into()], HASH, [7; 32], Modules::new(&[]));
        config.cluster = Some(config::Cluster { snapshot_key: [1; 32] });
        let worker = Worker::new(Arc::new(config), 0, 1, 1);
        Self {
            worker,
            store,
            now: 10,
            ahead: 0,
            away: false,
            stuck: None,
            random: 4,
            reads: Vec::new(),
            out: Vec::new(),
        }
    }

    fn give(&mut self, input: Input) {
        let now = self.now + self.ahead;
        let random = &mut self.random;
        let mut random = || {
            *random += 1;
            *random
        };
        let mut env = Env { now, steady: self.now, random: &mut random };
        self.worker.handle(input, &mut env);
    }

    /// Everything that follows, to its end.
    fn run(&mut self) {
        if self.worker.deadline().is_some_and(|at| at <= self.now) {
            self.give(Input::Timeout);
        }
        while let Some(output) = self.worker.poll() {
            match output {
                Output::Read(number, reads) => {
                    let rows = self.store.read_now(&reads);
                    let rows = if self.away { Err(ReadError::Unavailable) } else { rows };
                    self.reads.push(reads);
                    self.give(Input::Rows(number, rows));
                }
                Output::Commit(batch) => match &mut self.stuck {
                    Some(stuck) => stuck.push(batch),
                    None => self.commit(&batch),
                },
                output => self.out.push(output),
            }
        }
    }

    fn commit(&mut self, batch: &Batch) {
        let result = self.store.commit_now(batch);
        self.give(Input::Committed(batch.op_id(), result));
    }

    /// Answers the commits that are under way, and those that follow only if `all`.
    fn unstick(&mut self, all: bool) {
        let stuck = self.stuck.take().unwrap_or_default();
        self.stuck = (!all).then(Vec::new);
        for batch in stuck {
            self.commit(&batch);
        }
        self.run();
    }

    fn pass(&mut self, us: u64) {
        let until = self.now + us;
        while let Some(at) = self.worker.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.run();
        }
        self.now = until;
    }

    /// A client of an account asks to log in, at the owner under an epoch.
    fn ask(&mut self, epoch: u64) {
        let account = Jid::parse("juliet@a").expect("a JID");
        let shard = shard_of(&HASH, &account);
        let conn = ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot: 1 };
        let frame = Up::Challenge { conn, account, hash: Hash::Sha256 };
        self.give(Input::Remote(shard, Epoch(epoch), frame));
        self.run();
    }

    fn answers(&mut self) -> usize {
        let answers = self.out.extract_if(.., |output| matches!(output, Output::Down(..)));
        answers.count()
    }
}

fn shard() -> ShardId {
    shard_of(&HASH, &Jid::parse("juliet@a").expect("a JID"))
}

fn served(epoch: u64) -> Rig {
    let mut rig = Rig::new(MemStore::new());
    rig.give(Input::Granted(shard(), Epoch(epoch), Vec::new()));
    rig.run();
    rig.run();
    rig
}

#[test]
fn only_what_was_granted_is_served_and_under_its_epoch_alone() {
    let mut rig = served(7);
    assert_eq!(rig.worker.shards().map(Shard::epoch).collect::<Vec<_>>(), [Epoch(7)]);
    rig.ask(7);
    assert_eq!(rig.answers(), 1);
    rig.ask(6);
    assert_eq!(rig.answers(), 0, "it is for the owner before");
    rig.ask(8);
    assert_eq!(rig.answers(), 0, "it is for an owner that is not named here yet");
    rig.give(Input::Granted(shard(), Epoch(8), Vec::new()));
    rig.run();
    assert_eq!(rig.answers(), 1, "it was kept until it was");
    rig.give(Input::Lost(shard(), Epoch(9)));
    rig.ask(8);
    rig.ask(9);
    assert_eq!(rig.answers(), 0);
    assert_eq!(rig.worker.shards().count(), 0);
    rig.give(Input::Granted(shard(), Epoch(9), Vec::new()));
    rig.run();
    assert_eq!(rig.worker.shards().count(), 0, "what is known to be another's is not taken");
}

#[test]
fn a_grant_that_is_older_than_the_store_is_not_served() {
    let newer = served(7);
    let mut rig = Rig::new(newer.store);
    rig.give(Input::Granted(shard(), Epoch(6), Vec::new()));
    rig.run();
    rig.ask(6);
    assert_eq!((rig.answers(), rig.worker.shards().count()), (0, 0));
}

#[test]
fn what_came_for_a_later_grant_waits_for_it() {
    let mut rig = Rig::new(MemStore::new());
    rig.ask(9);
    rig.give(Input::Granted(shard(), Epoch(7), Vec::new()));
    rig.run();
    rig.give(Input::Lost(shard(), Epoch(8)));
    rig.run();
    assert_eq!(rig.answers(), 0);
    rig.give(Input::Granted(shard(), Epoch(9), Vec::new()));
    rig.run();
    rig.run();
    assert_eq!(rig.answers(), 1);
}

#[test]
fn a_claim_of_this_grant_that_was_done_after_all_is_good() {
    let first = served(7);
    let mut rig = Rig::new(first.store);
    rig.give(Input::Granted(shard(), Epoch(7), Vec::new()));
    rig.run();
    assert_eq!(rig.worker.shards().count(), 1);
}

#[test]
fn without_a_lease_nothing_is_said_and_nothing_is_forgotten() {
    let mut rig = served(7);
    rig.away = true;
    rig.pass(LEASE_US - 1_000_000);
    rig.ask(7);
    // The store cannot say; but the lease is there, so the client is told.
    assert_eq!(rig.answers(), 1);
    rig.pass(1_000_000);
    rig.ask(7);
    rig.ask(7);
    assert_eq!(rig.answers(), 0);
    rig.away = false;
    rig.pass(1_000_000);
    rig.run();
    assert_eq!(rig.answers(), 2, "the store names this owner: it goes on");
}

#[test]
fn who_is_not_the_owner_any_more_learns_it_from_its_lease() {
    let mut rig = served(7);
    let fence = Fence { epoch: Epoch(8) };
    let mut batch = Batch::new(1);
    batch.set(keys::epoch(shard()), fence.encode());
    rig.store.commit_now(&batch).expect("a commit");
    rig.pass(1_500_000);
    rig.run();
    assert_eq!(rig.worker.shards().count(), 0);
    assert_eq!(rig.answers(), 0, "nobody is told anything");
}

#[test]
fn who_owns_nothing_asks_too_whether_the_store_answers() {
    let mut rig = Rig::new(MemStore::new());
    assert_eq!(rig.worker.confirmed(), None);
    rig.away = true;
    rig.run();
    assert_eq!(rig.worker.confirmed(), None);
    rig.away = false;
    rig.pass(STORE_RETRY_US);
    rig.run();
    let first = 10 + STORE_RETRY_US;
    assert_eq!(rig.worker.confirmed(), Some(first));
    rig.pass(LEASE_REFRESH_US);
    rig.run();
    assert_eq!(rig.worker.confirmed(), Some(first + LEASE_REFRESH_US));
    assert!(rig.reads.iter().all(|reads| *reads == Reads::get(keys::cluster())));
    rig.away = true;
    rig.pass(10 * LEASE_REFRESH_US);
    rig.run();
    assert_eq!(rig.worker.confirmed(), Some(first + LEASE_REFRESH_US));
}

/// What a worker reads for its lease when it has so many shards.
fn lease_of(shards: u16) -> Reads {
    let mut rig = Rig::new(MemStore::new());
    for id in 0..shards {
        rig.give(Input::Granted(ShardId(4000 - id), Epoch(7), Vec::new()));
    }
    rig.run();
    rig.run();
    assert_eq!(rig.worker.shards().count(), usize::from(shards));
    rig.reads.clear();
    rig.pass(LEASE_REFRESH_US);
    rig.run();
    assert_eq!((rig.reads.len(), rig.worker.shards().count()), (1, usize::from(shards)));
    rig.reads.remove(0)
}

#[test]
fn a_lease_reads_the_fences_of_its_own_shards() {
    let own: BTreeSet<kv::Key> = [4000, 3999].map(|id| keys::epoch(ShardId(id))).into();
    let read: BTreeSet<kv::Key> = match &lease_of(2).list[..] {
        [kv::Read::Get(one), kv::Read::Get(other)] => [one.clone(), other.clone()].into(),
        reads => panic!("{reads:?}"),
    };
    assert_eq!(read, own);
    let most = kv::limits::READS_MAX as u16;
    assert_eq!(lease_of(most).list.len(), usize::from(most));
    match &lease_of(most + 1).list[..] {
        [kv::Read::Range(range)] => {
            let of = |id: u16| keys::epoch(ShardId(id));
            assert!((0..=most).all(|id| range.contains(&of(4000 - id))));
            assert!(range.start == (0..=most).map(|id| of(4000 - id)).min().expect("a key"));
            assert!(!range.contains(&[&range.end[..], b"\0"].concat()));
        }
        reads => panic!("{reads:?}"),
    }
}

#[test]
fn a_fence_that_cannot_be_read_or_is_gone_is_not_ours() {
    for value in [Some(&b"?"[..]), None] {
        let mut rig = served(7);
        let mut batch = Batch::new(1);
        match value {
            Some(value) => batch.set(keys::epoch(shard()), Bytes::from_static(value)),
            None => batch.delete(keys::epoch(shard())),
        };
        rig.store.commit_now(&batch).expect("a commit");
        rig.pass(LEASE_REFRESH_US);
        rig.run();
        assert_eq!(rig.worker.shards().count(), 0, "{value:?}");
        assert!(matches!(rig.out[..], [Output::Fallen(..)]), "{:?}", rig.out);
    }
}

#[test]
fn a_lease_that_was_asked_for_before_a_claim_says_nothing_against_it() {
    let mut rig = served(7);
    rig.now += LEASE_REFRESH_US;
    rig.give(Input::Timeout);
    let Some(Output::Read(number, reads)) = rig.worker.poll() else { panic!("no lease") };
    let rows = rig.store.read_now(&reads);
    rig.give(Input::Lost(shard(), Epoch(8)));
    rig.give(Input::Granted(shard(), Epoch(9), Vec::new()));
    rig.run();
    rig.give(Input::Rows(number, rows));
    rig.run();
    assert_eq!(rig.worker.shards().map(Shard::epoch).collect::<Vec<_>>(), [Epoch(9)]);
}

#[test]
fn time_in_which_the_machine_was_suspended_counts_for_the_lease() {
    for (ahead, answers) in [(LEASE_US - 1, 1), (LEASE_US, 0)] {
        let mut rig = served(7);
        rig.away = true;
        rig.ahead = ahead;
        rig.ask(7);
        assert_eq!(rig.answers(), answers, "{ahead}");
        rig.away = false;
        rig.pass(STORE_RETRY_US);
        rig.run();
        assert_eq!(rig.answers(), 1 - answers, "the store was asked at once");
    }
}

const EDGE: NodeId = NodeId { number: 1, incarnation: 1 };

fn bind() -> Input {
    let account = Jid::parse("juliet@a").expect("a JID");
    let conn = ConnId { edge: EDGE, slot: 1 };
    let bind = Up::Bind { conn, account, generation: 1, resource: None, resends: false };
    Input::Remote(shard(), Epoch(7), bind)
}

#[test]
fn a_shard_that_was_granted_waits_for_its_edges_and_not_for_ever() {
    for (say, wait, answers) in
        [(false, 0, 0), (true, 0, 1), (false, REBUILD_US - 1, 0), (false, REBUILD_US, 1)]
    {
        let mut rig = Rig::new(MemStore::new());
        let begun = rig.now;
        rig.give(Input::Granted(shard(), Epoch(7), vec![EDGE]));
        rig.run();
        rig.give(bind());
        rig.run();
        assert_eq!(rig.answers(), 0);
        if say {
            rig.give(Input::Complete(Complete { edge: EDGE, shard: shard(), epoch: Epoch(7) }));
        }
        rig.pass(begun + wait - rig.now);
        rig.run();
        // Nobody has this account; but the client is told.
        assert_eq!(rig.answers(), answers, "{say} {wait}");
    }
}

#[test]
fn an_edge_that_is_dead_is_not_waited_for() {
    let mut rig = Rig::new(MemStore::new());
    rig.give(Input::Granted(shard(), Epoch(7), vec![EDGE]));
    rig.run();
    assert!(rig.worker.shards().all(Shard::is_rebuilding));
    rig.give(Input::Gone(EDGE));
    rig.run();
    assert!(!rig.worker.shards().any(Shard::is_rebuilding));
}

fn page(number: u32, last: bool, body: Bytes) -> Page {
    Page { shard: shard(), epoch: Epoch(7), number, last, body }
}

fn said(rig: &mut Rig) -> Vec<HandOver> {
    let said = rig.out.drain(..).filter_map(|output| match output {
        Output::HandOver(_, _, said) => Some(said),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_shard_goes_over_with_its_pages_and_waits_for_no_edge() {
    let mut old = served(7);
    old.give(Input::GiveUp(shard()));
    old.run();
    let mut new = Rig::new(old.store);
    for output in old.out {
        if let Output::Page(page) = output {
            assert!(page.last && page.number == 0 && page.epoch == Epoch(7));
            new.give(Input::Page(page));
        }
    }
    new.run();
    assert_eq!(said(&mut new), [HandOver::Complete]);
    new.give(Input::Granted(shard(), Epoch(8), vec![EDGE]));
    new.run();
    assert_eq!(new.worker.shards().map(Shard::is_rebuilding).collect::<Vec<_>>(), [false]);
}

#[test]
fn pages_of_an_owner_that_is_none_any_more_are_worth_nothing() {
    let mut rig = Rig::new(served(7).store);
    let epoch = Epoch(6);
    rig.give(Input::Page(Page { epoch, ..page(0, true, Bytes::from_static(&[1, 0])) }));
    rig.give(Input::Granted(shard(), Epoch(8), vec![EDGE]));
    rig.run();
    assert!(rig.worker.shards().all(Shard::is_rebuilding));
}

#[test]
fn a_shard_that_control_forgets_goes_on() {
    let mut rig = served(7);
    rig.give(Input::GiveUp(shard()));
    rig.ask(7);
    rig.pass(HAND_OVER_US - 1);
    rig.run();
    assert_eq!(rig.answers(), 0);
    rig.pass(1);
    rig.run();
    assert_eq!(rig.answers(), 1);
}

#[test]
fn pages_come_in_order_and_so_many_bytes_of_them_are_kept() {
    let mut rig = Rig::new(MemStore::new());
    let part = Bytes::from(vec![0; HAND_OVER_BYTES_MAX / 16]);
    rig.give(Input::Page(page(1, false, part.clone())));
    rig.run();
    assert_eq!(said(&mut rig), [HandOver::Refused(HandOverRefusal::Gap)]);
    for number in 0..16 {
        rig.give(Input::Page(page(number, false, part.clone())));
        rig.run();
        let next = number + 1;
        assert_eq!(said(&mut rig), [HandOver::Taken { next, window: PAGES_WINDOW }]);
    }
    rig.give(Input::Page(page(16, true, Bytes::from_static(&[1]))));
    rig.run();
    assert_eq!(said(&mut rig), [HandOver::Refused(HandOverRefusal::Full)]);
}

#[test]
fn so_many_shards_are_claimed_at_a_time() {
    let mut rig = Rig::new(MemStore::new());
    let granted = 2 * CLAIMS_MAX as u16 + 7;
    for id in 0..granted {
        rig.give(Input::Granted(ShardId(id), Epoch(1), Vec::new()));
    }
    let mut claims = 0;
    while let Some(output) = rig.worker.poll() {
        claims += usize::from(matches!(&output, Output::Read(_, reads) if reads.len() == 2));
        rig.out.push(output);
    }
    assert_eq!(claims, CLAIMS_MAX);
    for output in std::mem::take(&mut rig.out) {
        let Output::Read(number, reads) = output else { continue };
        let rows = rig.store.read_now(&reads);
        rig.give(Input::Rows(number, rows));
    }
    rig.run();
    assert_eq!(rig.worker.shards().count(), usize::from(granted), "the others had their turn");
}
