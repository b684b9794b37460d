//! Kills a process that writes at full speed, again and again, over one store: each acknowledged
//! batch is there, and no half of one ever is.
//!
//! The test runs itself as the child (hence no harness). A child has several writers; each commits
//! batch after batch of a few rows and a counter that the next batch checks, and reports each
//! acknowledged batch over a pipe.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test without a harness is still a test"
)]

use kv::conformance::{Rng, block_on};
use kv::{Batch, Expect, Key, KeyReader, KeyWriter, RangeRead, Reads, Store, Value};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use store::{Embedded, Options};

const KILLS: u32 = 200;
const CREATIONS: u64 = 40;
const WRITERS: u8 = 4;
const ROWS: u64 = 3;
const CHILD: &str = "CARILLON_CRASH_CHILD";

fn main() {
    // As a test binary should: listing and filters by name do nothing here.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    match std::env::var(CHILD) {
        Ok(child) => {
            let (round, path) = child.split_once(' ').unwrap();
            write_until_killed(Path::new(path), round.parse().unwrap());
        }
        Err(_) => {
            kill_again_and_again();
            kill_creations();
        }
    }
}

fn options() -> Options {
    // Small, so that flushes and merges are among what is cut.
    Options { memtable_bytes: 128 * 1024, ..Options::default() }
}

fn counter(round: u32, writer: u8) -> Key {
    KeyWriter::new(b"count").u32(round).u8(writer).finish()
}

fn row(round: u32, writer: u8, batch: u64, row: u64) -> Key {
    KeyWriter::new(b"row").u32(round).u8(writer).u64(batch).u64(row).finish()
}

/// Some rows are longer than a block, some longer than a chunk.
fn value(batch: u64, row: u64) -> Value {
    let len = if batch.is_multiple_of(199) && row == 0 {
        90_000
    } else {
        10 + (batch * 31 + row * 7) % 200
    };
    Value::from(vec![(batch + row) as u8; len as usize])
}

fn number(n: u64) -> Value {
    Value::copy_from_slice(&n.to_be_bytes())
}

fn batch(round: u32, writer: u8, n: u64) -> Batch {
    let mut batch = Batch::new(n);
    let before = if n == 1 { Expect::Absent } else { Expect::Equals(number(n - 1)) };
    batch.fence(counter(round, writer), before).set(counter(round, writer), number(n));
    for at in 0..ROWS {
        batch.set(row(round, writer, n, at), value(n, at));
    }
    batch
}

fn write_until_killed(path: &Path, round: u32) {
    let store = Embedded::open(path, &options()).unwrap();
    // Old rounds are removed while the new one is written.
    if round > 3 {
        let mut sweep = Batch::new(0);
        sweep.delete_range(
            KeyWriter::new(b"row").finish(),
            KeyWriter::new(b"row").u32(round - 3).finish(),
        );
        assert_eq!(block_on(store.commit(sweep)), Ok(()));
    }
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for n in 1.. {
                    assert_eq!(block_on(store.commit(batch(round, writer, n))), Ok(()));
                    let mut report = [0; 9];
                    report[0] = writer;
                    report[1..].copy_from_slice(&n.to_be_bytes());
                    // One write of a few bytes to a pipe arrives whole or not at all.
                    let mut pipe = std::io::stdout();
                    pipe.write_all(&report).and_then(|()| pipe.flush()).unwrap();
                }
            });
        }
    });
}

fn kill_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut rng = Rng::new(7);
    let mut counters: BTreeMap<(u32, u8), u64> = BTreeMap::new();
    let (began, mut acknowledged) = (Instant::now(), 0);
    for round in 1..=KILLS {
        // Most are killed while they write, some while they open the store.
        let waits = !rng.one_in(4);
        let acks = run_child(&path, round, waits, Duration::from_millis(1 + rng.below(80)));
        acknowledged += acks.values().sum::<u64>();
        let store = Embedded::open(&path, &options());
        assert!(store.is_ok(), "round {round}: {}", store.err().unwrap());
        let store = store.unwrap();
        for writer in 0..WRITERS {
            let acked = acks.get(&writer).copied().unwrap_or(0);
            let stored = check_writer(&store, round, writer, acked);
            counters.insert((round, writer), stored);
        }
        // What earlier rounds left is as it was found then.
        for ((round, writer), n) in &counters {
            assert_eq!(stored_counter(&store, *round, *writer), *n, "{round}/{writer} later");
        }
        store.close();
    }
    assert!(acknowledged > u64::from(KILLS), "the children got to write: {acknowledged}");
    println!("crash: {KILLS} kills, {acknowledged} acknowledged batches, {:?}", began.elapsed());
}

/// A store whose creation was cut short can be opened, with what was acknowledged.
fn kill_creations() {
    for n in 0..CREATIONS {
        let dir = tempfile::tempdir().unwrap();
        let acks = run_child(dir.path(), 1, false, Duration::from_micros(500 * n));
        let store = Embedded::open(dir.path(), &options());
        assert!(store.is_ok(), "creation {n}: {}", store.err().unwrap());
        let store = store.unwrap();
        for writer in 0..WRITERS {
            check_writer(&store, 1, writer, acks.get(&writer).copied().unwrap_or(0));
        }
    }
}

/// Lets a child live for so long, after its first acknowledged batch if `waits`; the last batch
/// acknowledged to each writer.
fn run_child(path: &Path, round: u32, waits: bool, lives_for: Duration) -> BTreeMap<u8, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, format!("{round} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut bytes = Vec::new();
    if waits {
        bytes.resize(9, 0);
        let first = pipe.read_exact(&mut bytes);
        assert!(first.is_ok(), "round {round}: the child has ended");
    }
    let reader = std::thread::spawn(move || {
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    });
    std::thread::sleep(lives_for);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut acks = BTreeMap::new();
    for report in reader.join().unwrap().chunks_exact(9) {
        let n = u64::from_be_bytes(report[1..].try_into().unwrap());
        let before = acks.insert(report[0], n).unwrap_or(0);
        assert_eq!(before + 1, n, "reports are in order");
    }
    acks
}

fn stored_counter(store: &Embedded, round: u32, writer: u8) -> u64 {
    let rows = block_on(store.read(Reads::get(counter(round, writer)))).unwrap();
    rows.value(0).map_or(0, |value| u64::from_be_bytes(value[..].try_into().unwrap()))
}

/// Every batch up to the counter is there whole, none beyond it; and the counter is not below what
/// was acknowledged.
fn check_writer(store: &Embedded, round: u32, writer: u8, acked: u64) -> u64 {
    let stored = stored_counter(store, round, writer);
    assert!(
        stored >= acked,
        "round {round}, writer {writer}: {acked} acknowledged, {stored} stored"
    );
    // One batch may have been committed whose answer died with the process.
    assert!(stored <= acked + 1, "round {round}, writer {writer}: {acked}, {stored}");
    let prefix = KeyWriter::new(b"row").u32(round).u8(writer).finish();
    let mut range = RangeRead::prefix(prefix.clone());
    let mut expected = (1..=stored).flat_map(|n| (0..ROWS).map(move |at| (n, at)));
    loop {
        let rows = block_on(store.read(Reads::range(range.clone()))).unwrap();
        for found in rows.rows(0) {
            let mut key = KeyReader::new(&found.key, &prefix).unwrap();
            let at = (key.u64().unwrap(), key.u64().unwrap());
            assert_eq!(Some(at), expected.next(), "round {round}, writer {writer}");
            assert!(found.value == value(at.0, at.1), "round {round}, writer {writer}, {at:?}");
        }
        let Some(more) = rows.more(0) else { break };
        range = range.after(more.clone());
    }
    assert_eq!(expected.next(), None, "round {round}, writer {writer}");
    stored
}
