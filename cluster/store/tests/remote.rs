//! The store of another node passes the suite, and tells the truth when its link is cut.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what helps tests is a test"
)]

mod rig;

use bytes::Bytes;
use kv::conformance::{self, Rng, block_on};
use kv::{Batch, CommitError, Expect, MemStore, ReadError, Reads, Store, Value};
use mesh::link::{CallError, CallRefusal};
use peer::call::{Call, StoreAnswer, StoreAsk};
use peer::codec::{LENGTH_BYTES, VERSION};
use peer::{Frame, NodeId, NodeSaid};
use rig::{Held, Hold, Rig, WITHIN, batch, key, value};
use std::sync::Arc;
use std::time::Duration;
use store::remote::limits;
use store::{Embedded, Options};

fn get(rig: &Rig, row: &str) -> Option<Value> {
    let rows = block_on(rig.client.read(Reads::get(key(row)))).expect("rows");
    rows.value(0).cloned()
}

#[test]
fn the_remote_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), &Options::default()).unwrap();
    let rig = Rig::new(Arc::new(embedded));
    conformance::run(&rig.client, 0..20);
}

#[test]
fn a_read_whose_link_is_cut_fails_and_may_be_asked_again() {
    let held = Held::new(Hold::Reads);
    let rig = Rig::new(held.clone());
    assert_eq!(block_on(rig.client.commit(batch(1, "row"))), Ok(()));
    let reading = rig.client.read(Reads::get(key("row")));
    held.until_arrived(1);
    rig.cut_and_wait();
    assert_eq!(block_on(reading), Err(ReadError::Unavailable));
    held.open();
    assert_eq!(get(&rig, "row"), Some(value(1)));
}

#[test]
fn a_commit_that_was_applied_is_unknown_and_then_found() {
    let held = Held::new(Hold::Applied);
    let rig = Rig::new(held.clone());
    let commit = rig.client.commit(batch(7, "row"));
    held.until_arrived(1);
    rig.cut_and_wait();
    assert_eq!(block_on(commit), Err(CommitError::Unknown));
    held.open();
    assert_eq!(get(&rig, "row"), Some(value(7)));
    assert_eq!(held.inner.with(|table| table.commits()), 1, "nobody repeated it");
}

#[test]
fn a_commit_that_has_begun_ends_before_anybody_looks_for_it() {
    let held = Held::new(Hold::Commits);
    let rig = Rig::new(held.clone());
    let commit = rig.client.commit(batch(7, "row"));
    held.until_arrived(1);
    rig.cut_and_wait();
    assert_eq!(block_on(commit), Err(CommitError::Unknown));
    // A store that answered "no such row" at once would have lied: it will be there.
    let looking = rig.runtime.spawn(rig.client.read(Reads::get(key("row"))));
    let mut next = Batch::new(8);
    next.check(key("row"), Expect::Equals(value(7))).set(key("next"), value(8));
    let next = rig.client.commit(next);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!looking.is_finished());
    held.open();
    let rows = rig.runtime.block_on(looking).unwrap().expect("rows");
    assert_eq!(rows.value(0), Some(&value(7)));
    assert_eq!(block_on(next), Ok(()), "a commit waits for it, too");
}

#[test]
fn a_caller_that_goes_away_stops_no_commit() {
    let held = Held::new(Hold::Commits);
    let rig = Rig::new(held.clone());
    drop(rig.client.commit(batch(7, "row")));
    held.until_arrived(1);
    held.open();
    rig::until("the row", || get(&rig, "row") == Some(value(7)));
}

/// Whatever is cut when: what was acknowledged is there, what was refused is not, and what is
/// unknown has one fate from the first look on.
#[test]
fn cut_at_random_the_answers_stay_true() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(dir.path(), &Options::default()).unwrap();
    let rig = Rig::new(Arc::new(embedded));
    let mut rng = Rng::new(18);
    let (mut fates, mut unknown) = (Vec::new(), 0);
    for round in 0..40u64 {
        let rows: Vec<(u64, String)> =
            (0..12).map(|n| round * 12 + n).map(|op_id| (op_id, format!("row/{op_id}"))).collect();
        let commits: Vec<_> = rows
            .iter()
            .map(|(op_id, row)| {
                let mut batch = batch(*op_id, row);
                // Long enough that a cut finds some half-way.
                batch.set(key(&format!("{row}/long")), Value::from(vec![1; 40_000]));
                rig.client.commit(batch)
            })
            .collect();
        std::thread::sleep(Duration::from_micros(rng.below(6000)));
        rig.cut();
        for ((op_id, row), commit) in rows.into_iter().zip(commits) {
            let result = block_on(commit);
            let found = loop {
                match block_on(rig.client.read(Reads::get(key(&row)))) {
                    Ok(rows) => break rows.value(0).cloned(),
                    Err(why) => assert_eq!(why, ReadError::Unavailable),
                }
                std::thread::sleep(Duration::from_millis(2));
            };
            let is_there = found == Some(value(op_id));
            match result {
                Ok(()) => assert!(is_there, "{op_id} was acknowledged"),
                Err(CommitError::Unavailable) => assert!(!is_there, "{op_id} was refused"),
                Err(CommitError::Unknown) => unknown += 1,
                Err(why) => panic!("{op_id}: {why}"),
            }
            fates.push((row, found));
        }
    }
    assert!(unknown > 0, "no cut has met a commit");
    for (row, found) in fates {
        assert_eq!(get(&rig, &row), found, "{row} has changed its fate");
    }
}

const NOBODY: NodeId = NodeId { number: 0, incarnation: 0 };

fn frame(said: Call<StoreAsk, StoreAnswer>) -> Bytes {
    let frame = Frame::Node { source: NOBODY, target: NOBODY, said: NodeSaid::Store(said) };
    let mut body = Vec::new();
    peer::codec::encode(&frame, VERSION, &mut body).unwrap();
    body.into()
}

fn ask(call: u64, ask: StoreAsk) -> Bytes {
    frame(Call::Ask { call, ask })
}

/// What became of a commit, by the answer to it.
fn result(answer: Result<Bytes, CallError>) -> Result<Result<(), CommitError>, CallError> {
    match peer::codec::decode(&answer?.slice(LENGTH_BYTES..)).unwrap() {
        Frame::Node {
            said: NodeSaid::Store(Call::Answer { answer: StoreAnswer::Committed(result), .. }),
            ..
        } => Ok(result),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_that_has_not_begun_never_will_once_it_is_settled() {
    let rig = Rig::new(Arc::new(MemStore::new()));
    // Another client than the rig's own, as far as the server can tell.
    let first = 9 << 40;
    let commit = |n: u64, row: &str| ask(first + n, StoreAsk::Commit(batch(n, row)));
    let busy = Err(CallError::Refused(CallRefusal::Busy));
    assert_eq!(result(rig.call(commit(0, "row/0"))), busy, "it has to settle first");
    assert_eq!(result(rig.call(ask(first, StoreAsk::Settle))), Ok(Ok(())));
    // Number 0 does not come, so 1 waits for it; 2 is lost.
    rig.call_and_go(commit(1, "row/1"));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(result(rig.call(ask(first + 3, StoreAsk::Settle))), Ok(Ok(())));
    for (n, row) in [(0, "row/0"), (1, "row/1"), (2, "row/2")] {
        let gone = Ok(Err(CommitError::Unavailable));
        assert_eq!(result(rig.call(commit(n, row))), gone, "{n}");
        assert_eq!(get(&rig, row), None);
    }
    // An older settling that comes late opens no way for it.
    assert_eq!(result(rig.call(ask(first, StoreAsk::Settle))), Ok(Ok(())));
    assert_eq!(result(rig.call(commit(2, "row/2"))), Ok(Err(CommitError::Unavailable)));
    assert_eq!(result(rig.call(commit(3, "row/3"))), Ok(Ok(())));
    assert_eq!(get(&rig, "row/3"), Some(value(3)));
}

#[test]
fn only_routers_may_ask() {
    for roles in ["edge", "control", "web+federation"] {
        let store = MemStore::new();
        let rig = Rig::of(Arc::new(store.clone()), roles, WITHIN);
        let refused = Err(CallError::Refused(CallRefusal::NotAllowed));
        for ask_for in [StoreAsk::Read(Reads::get(key("row"))), StoreAsk::Settle] {
            assert_eq!(rig.call(ask(0, ask_for)), refused, "{roles}");
        }
        assert_eq!(rig.call(ask(0, StoreAsk::Commit(batch(1, "row")))), refused, "{roles}");
        assert_eq!(rig.call(Bytes::new()), refused, "garbage is not looked at");
        let read = block_on(rig.client.read(Reads::get(key("row"))));
        assert_eq!(read, Err(ReadError::Unavailable));
        assert_eq!(block_on(rig.client.commit(batch(1, "row"))), Err(CommitError::Unavailable));
        assert_eq!(store.with(|table| table.commits()), 0);
    }
}

#[test]
fn a_body_that_is_no_question_is_refused() {
    let rig = Rig::new(Arc::new(MemStore::new()));
    let read = || ask(1, StoreAsk::Read(Reads::get(key("row"))));
    let answer = frame(Call::Answer { call: 1, answer: StoreAnswer::Committed(Ok(())) });
    let raft = NodeSaid::Raft(Call::Ask { call: 1, ask: Bytes::from_static(b"x") });
    let mut other = Vec::new();
    let raft = Frame::Node { source: NOBODY, target: NOBODY, said: raft };
    peer::codec::encode(&raft, VERSION, &mut other).unwrap();
    let mut rng = Rng::new(4);
    let noise: Vec<u8> = (0..5000).map(|_| rng.below(256) as u8).collect();
    let bodies = [
        Bytes::new(),
        Bytes::from_static(b"\0\0\0"),
        Bytes::from_static(b"\xFF\xFF\xFF\xFF"),
        noise.into(),
        read().slice(..read().len() - 1),
        [&read()[..], b"x"].concat().into(),
        [&read()[..], &read()[..]].concat().into(),
        answer,
        other.into(),
    ];
    for body in bodies {
        let refused = Err(CallError::Refused(CallRefusal::Malformed));
        assert_eq!(rig.call(body.clone()), refused, "{body:?}");
    }
    assert_eq!(get(&rig, "row"), None, "the link stands");
}

#[test]
fn so_many_commits_wait_and_the_rest_is_refused() {
    let held = Held::new(Hold::Commits);
    let rig = Rig::new(held.clone());
    let commit = |n: usize| rig.client.commit(batch(n as u64, &format!("row/{n}")));
    let commits: Vec<_> = (0..limits::COMMITS_MAX).map(commit).collect();
    assert_eq!(block_on(commit(limits::COMMITS_MAX)), Err(CommitError::Unavailable));
    held.until_arrived(limits::COMMITS_UNDER_WAY_MAX);
    held.open();
    assert!(commits.into_iter().all(|commit| block_on(commit) == Ok(())));
    assert_eq!(block_on(commit(limits::COMMITS_MAX)), Ok(()), "there is room again");
}

#[test]
fn so_many_bytes_of_commits_wait_and_the_rest_is_refused() {
    let held = Held::new(Hold::Commits);
    let rig = Rig::new(held.clone());
    let mut large = Batch::new(1);
    for row in ["a", "b", "c"] {
        large.set(key(row), Value::from(vec![1; kv::limits::VALUE_BYTES_MAX]));
    }
    let most = limits::COMMIT_BYTES_MAX / large.bytes();
    let commits: Vec<_> = (0..most).map(|_| rig.client.commit(large.clone())).collect();
    assert_eq!(block_on(rig.client.commit(large)), Err(CommitError::Unavailable));
    held.open();
    assert!(commits.into_iter().all(|commit| block_on(commit) == Ok(())));
}

#[test]
fn so_many_reads_wait_and_the_rest_is_refused() {
    let held = Held::new(Hold::Reads);
    let rig = Rig::new(held.clone());
    let read = || rig.client.read(Reads::get(key("row")));
    let reads: Vec<_> = (0..limits::READS_MAX).map(|_| read()).collect();
    assert_eq!(block_on(read()), Err(ReadError::Unavailable));
    held.until_arrived(limits::READS_UNDER_WAY_MAX);
    held.open();
    assert!(reads.into_iter().all(|read| block_on(read).is_ok()));
    assert!(block_on(read()).is_ok(), "there is room again");
}

#[test]
fn an_answer_above_what_a_call_carries_is_refused() {
    let rig = Rig::new(Arc::new(MemStore::new()));
    let mut reads = Reads::none();
    for n in 0..15 {
        let row = key(&format!("row/{n}"));
        let mut batch = Batch::new(n);
        batch.set(row.clone(), Value::from(vec![1; kv::limits::VALUE_BYTES_MAX]));
        assert_eq!(block_on(rig.client.commit(batch)), Ok(()));
        reads.add_get(row);
    }
    let rows = block_on(rig.client.read(reads.clone())).expect("rows");
    assert_eq!(rows.found.len(), 15);
    assert!((0..15).all(|n| rows.value(n).is_some()));
    reads.add_get(key("row/0"));
    assert_eq!(block_on(rig.client.read(reads)), Err(ReadError::TooLarge));
}

#[test]
fn nothing_takes_longer_than_it_may() {
    let within = Duration::from_secs(1);
    let held = Held::new(Hold::Reads);
    let rig = Rig::of(held, "router", within);
    let read = rig.client.read(Reads::get(key("row")));
    assert_eq!(block_on(read), Err(ReadError::Unavailable));

    let held = Held::new(Hold::Commits);
    let rig = Rig::of(held.clone(), "router", within);
    let commit = rig.client.commit(batch(1, "row"));
    assert_eq!(block_on(commit), Err(CommitError::Unknown));
    // Nobody looks while it is under way.
    let read = rig.client.read(Reads::get(key("row")));
    assert_eq!(block_on(read), Err(ReadError::Unavailable));
    assert_eq!(block_on(rig.client.commit(batch(2, "row"))), Err(CommitError::Unavailable));
    held.open();
    let look = || block_on(rig.client.read(Reads::get(key("row"))));
    rig::until("the row", || look().is_ok_and(|rows| rows.value(0) == Some(&value(1))));
}

#[test]
fn without_a_link_everything_is_refused_at_once() {
    let rig = Rig::new(Arc::new(MemStore::new()));
    assert_eq!(block_on(rig.client.commit(batch(1, "row"))), Ok(()));
    rig.part();
    let read = rig.client.read(Reads::get(key("row")));
    assert_eq!(block_on(read), Err(ReadError::Unavailable));
    assert_eq!(block_on(rig.client.commit(batch(2, "row"))), Err(CommitError::Unavailable));
}
