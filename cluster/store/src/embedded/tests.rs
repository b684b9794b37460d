//! The committer over an engine that can be held and broken.

use super::core::{Core, Start};
use super::engine::{Engine, EngineError, Op, Snapshot};
use super::guard::Chain;
use super::high_water::HighWaterFile;
use kv::conformance::{self, block_on};
use kv::{
    Batch, CommitError, CommitFuture, Expect, Key, RangeRead, ReadError, ReadFuture, Reads, Store,
    Value,
};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Disk {
    #[default]
    Works,
    /// Applying waits until the disk works again or fails.
    Held,
    /// Fails when it has applied so many batches.
    FailsAfter(u32),
    Panics,
    PanicsOverReads,
}

#[derive(Default)]
struct Inside {
    disk: Disk,
    rows: BTreeMap<Key, Value>,
    applied: u32,
    /// Somebody waits for a held disk.
    waits: bool,
}

#[derive(Clone, Default)]
struct Fake(Arc<(Mutex<Inside>, Condvar)>);

impl Fake {
    fn set(&self, disk: Disk) {
        self.0.0.lock().disk = disk;
        self.0.1.notify_all();
    }

    fn applied(&self) -> u32 {
        self.0.0.lock().applied
    }

    fn wait_until_held(&self) {
        let mut inside = self.0.0.lock();
        while !inside.waits {
            self.0.1.wait(&mut inside);
        }
    }
}

impl Engine for Fake {
    type Snapshot<'a> = Rows;

    fn snapshot(&self) -> Rows {
        let inside = self.0.0.lock();
        assert!(inside.disk != Disk::PanicsOverReads, "an engine with a damaged file");
        Rows(inside.rows.clone())
    }

    #[allow(clippy::panic, reason = "the test is about panics")]
    fn apply(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        let mut inside = self.0.0.lock();
        while inside.disk == Disk::Held {
            inside.waits = true;
            self.0.1.notify_all();
            self.0.1.wait(&mut inside);
        }
        match inside.disk {
            Disk::FailsAfter(n) if inside.applied >= n => {
                return Err(EngineError("no space".into()));
            }
            Disk::Panics => panic!("an engine with a bug"),
            _ => {}
        }
        let rows = ops.len();
        let mut keys: Vec<Key> = ops.iter().map(|op| op.key().clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), rows, "each row once");
        for op in ops {
            match op {
                Op::Set(key, value) => inside.rows.insert(key, value),
                Op::Delete(key) => inside.rows.remove(&key),
            };
        }
        inside.applied += 1;
        Ok(())
    }
}

struct Rows(BTreeMap<Key, Value>);

impl Snapshot for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Value>, EngineError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        let mut rows = self.0.range(Key::copy_from_slice(start)..Key::copy_from_slice(end));
        while let Some((key, value)) = if reverse { rows.next_back() } else { rows.next() } {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

struct Opened {
    core: Core<Fake>,
    engine: Fake,
    _dir: tempfile::TempDir,
}

impl Store for Opened {
    fn read(&self, reads: Reads) -> ReadFuture {
        self.core.shared.read(reads)
    }

    fn commit(&self, batch: Batch) -> CommitFuture {
        self.core.shared.commit(batch)
    }
}

fn open() -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let engine = Fake::default();
    let start = Start {
        engine: engine.clone(),
        chain: Chain { sequence: 0, checksum: 0 },
        base: 1,
        high_water: HighWaterFile::open(&dir.path().join("mark")).unwrap().0,
        reader_threads: 1,
        seed: 1,
    };
    Opened { core: Core::start(start).unwrap(), engine, _dir: dir }
}

fn key(text: &str) -> Key {
    Key::copy_from_slice(text.as_bytes())
}

fn set(name: &str) -> Batch {
    let mut batch = Batch::new(1);
    batch.set(key(name), Value::from_static(b"x"));
    batch
}

/// Holds the disk with one commit, so that what follows has to wait and becomes one group.
fn hold(store: &Opened) -> CommitFuture {
    store.engine.set(Disk::Held);
    let first = store.commit(set("first"));
    store.engine.wait_until_held();
    first
}

#[test]
fn the_committer_conforms_over_any_engine() {
    let store = open();
    conformance::run(&store, 0..100);
}

#[test]
fn what_waits_becomes_one_group_and_each_batch_sees_those_before_it() {
    let store = open();
    let first = hold(&store);
    let number = |n: u64| Value::copy_from_slice(&n.to_be_bytes());
    let chain: Vec<CommitFuture> = (0..100u64)
        .map(|n| {
            let mut batch = Batch::new(n);
            let before = if n == 0 { Expect::Absent } else { Expect::Equals(number(n - 1)) };
            // As fence, as check, and with the row gone and made again in between.
            if n % 2 == 0 {
                batch.fence(key("counter"), before);
            } else {
                batch.check(key("counter"), before);
            }
            batch.delete_range(key("c"), key("d")).set(key("counter"), number(n));
            store.commit(batch)
        })
        .collect();
    let mut stale = Batch::new(200);
    stale.fence(key("counter"), Expect::Equals(number(50))).set(key("stale"), number(0));
    let stale = store.commit(stale);
    store.engine.set(Disk::Works);
    assert_eq!(block_on(first), Ok(()));
    for commit in chain {
        assert_eq!(block_on(commit), Ok(()));
    }
    assert_eq!(block_on(stale), Err(CommitError::Fenced(vec![key("counter")])));
    assert_eq!(store.engine.applied(), 2, "one for the first, one for all others");
    let mut reads = Reads::get(key("counter"));
    reads.add_get(key("stale"));
    let rows = block_on(store.read(reads)).unwrap();
    assert_eq!((rows.value(0), rows.value(1)), (Some(&number(99)), None));
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    let store = open();
    let first = hold(&store);
    // The engine is in the middle of it; the lock of the fake is free while it is held.
    assert_eq!(block_on(store.read(Reads::get(key("first")))).unwrap().value(0), None);
    store.engine.set(Disk::Works);
    assert_eq!(block_on(first), Ok(()));
    assert!(block_on(store.read(Reads::get(key("first")))).unwrap().value(0).is_some());
}

#[test]
fn a_failed_write_is_the_end() {
    let store = open();
    assert_eq!(block_on(store.commit(set("before"))), Ok(()));
    let first = hold(&store);
    let waiting = store.commit(set("waiting"));
    store.engine.set(Disk::FailsAfter(0));
    assert_eq!(block_on(first), Err(CommitError::Unknown), "it may be in the journal");
    assert_eq!(block_on(waiting), Err(CommitError::Unavailable), "it was never tried");
    assert!(store.core.shared.is_poisoned());
    store.engine.set(Disk::Works);
    assert_eq!(block_on(store.commit(set("after"))), Err(CommitError::Unavailable));
    let reads = [Reads::get(key("before")), Reads::range(RangeRead::prefix(Key::new()))];
    for reads in reads {
        assert_eq!(block_on(store.read(reads)), Err(ReadError::Unavailable));
    }
    store.core.close();
}

#[test]
fn a_failed_check_beside_a_failed_write_is_not_told() {
    let store = open();
    let first = hold(&store);
    let good = store.commit(set("good"));
    let mut bad = set("bad");
    bad.check(key("good"), Expect::Absent);
    let bad = store.commit(bad);
    // The first goes through; the group of the other two does not.
    store.engine.set(Disk::FailsAfter(1));
    assert_eq!(block_on(first), Ok(()));
    assert_eq!(block_on(good), Err(CommitError::Unknown));
    assert_eq!(block_on(bad), Err(CommitError::Unavailable), "what it saw may never have been");
}

#[test]
fn a_panic_of_the_committer_leaves_nobody_waiting() {
    let store = open();
    let first = hold(&store);
    let waiting = store.commit(set("waiting"));
    store.engine.set(Disk::Panics);
    assert_eq!(block_on(first), Err(CommitError::Unknown));
    assert_eq!(block_on(waiting), Err(CommitError::Unavailable));
    assert!(store.core.shared.is_poisoned());
    assert_eq!(block_on(store.commit(set("after"))), Err(CommitError::Unavailable));
}

#[test]
fn a_full_queue_refuses() {
    let store = open();
    let first = hold(&store);
    let mut large = Batch::new(1);
    for n in 0..3 {
        large.set(key(&format!("large/{n}")), Value::from(vec![0; 1_000_000]));
    }
    let mut waiting = Vec::new();
    let refused = loop {
        let commit = store.commit(large.clone());
        if waiting.len() as u32 * 3_000_000 > super::limits::QUEUE_BYTES_MAX as u32 - 3_100_000 {
            break commit;
        }
        waiting.push(commit);
    };
    assert_eq!(block_on(refused), Err(CommitError::Unavailable));
    store.engine.set(Disk::Works);
    assert_eq!(block_on(first), Ok(()));
    for commit in waiting {
        assert_eq!(block_on(commit), Ok(()));
    }
    assert_eq!(block_on(store.commit(large)), Ok(()), "there is room again");
}

#[test]
fn a_range_delete_of_too_many_rows_is_refused_alone() {
    let store = open();
    {
        let mut inside = store.engine.0.0.lock();
        for n in 0..=kv::limits::DELETE_RANGE_ROWS_MAX {
            inside.rows.insert(key(&format!("many/{n:06}")), Value::new());
        }
    }
    let first = hold(&store);
    let mut sweep = Batch::new(1);
    sweep.set(key("sweep"), Value::new()).delete_range(key("many/"), key("many0"));
    let (sweep, beside) = (store.commit(sweep), store.commit(set("beside")));
    store.engine.set(Disk::Works);
    assert_eq!(block_on(first), Ok(()));
    assert_eq!(block_on(sweep), Err(CommitError::TooLarge));
    assert_eq!(block_on(beside), Ok(()));
    assert_eq!(block_on(store.read(Reads::get(key("sweep")))).unwrap().value(0), None);
    let mut most = Batch::new(1);
    most.delete_range(key("many/000001"), key("many0"));
    assert_eq!(block_on(store.commit(most)), Ok(()), "exactly as many as may be");
}

#[test]
fn an_engine_that_panics_over_what_it_reads_costs_that_answer_only() {
    let store = open();
    assert_eq!(block_on(store.commit(set("there"))), Ok(()));
    let all = || Reads::range(RangeRead::new(key("a"), key("z")));
    store.engine.set(Disk::PanicsOverReads);
    // More often than there are threads.
    for _ in 0..10 {
        assert_eq!(block_on(store.read(all())), Err(ReadError::Damaged));
        assert_eq!(block_on(store.read(Reads::get(key("there")))), Err(ReadError::Damaged));
    }
    store.engine.set(Disk::Works);
    assert_eq!(block_on(store.read(all())).unwrap().rows(0).len(), 1);
}
