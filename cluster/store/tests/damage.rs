//! Damaged files and foreign directories: the store refuses, with a sentence, and never opens with
//! less than it acknowledged.

#![allow(clippy::unwrap_used, reason = "helpers of tests stop at the first failure, too")]

use kv::conformance::block_on;
use kv::{Batch, Key, KeyWriter, RangeRead, Reads, Store, Value};
use std::fs;
use std::path::{Path, PathBuf};
use store::embedded::Gap;
use store::{Embedded, OpenError, Options};

const BATCHES: u64 = 60;

fn row(n: u64) -> Key {
    KeyWriter::new(b"row").u64(n).finish()
}

fn fill(path: &Path) -> u64 {
    let store = Embedded::open(path, &Options::default()).unwrap();
    for n in 0..BATCHES {
        let mut batch = Batch::new(n);
        batch.set(row(n), Value::from(vec![n as u8; 20 + (n * 7 % 50) as usize]));
        batch.set(row(n + 1_000), Value::from_static(b"x"));
        assert_eq!(block_on(store.commit(batch)), Ok(()));
    }
    store.close();
    rows(&store_again(path))
}

fn store_again(path: &Path) -> Embedded {
    Embedded::open(path, &Options::default()).unwrap()
}

fn rows(store: &Embedded) -> u64 {
    let all = RangeRead::prefix(Key::new()).key_only();
    block_on(store.read(Reads::range(all))).unwrap().rows(0).len() as u64
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.metadata().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn journal(path: &Path) -> PathBuf {
    let files = fs::read_dir(path.join("engine")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ext| ext == "jnl")).max().unwrap()
}

#[test]
fn no_flipped_byte_of_the_journal_costs_an_acknowledged_commit_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    assert_eq!(fill(&whole), 2 * BATCHES);
    let bytes = fs::read(journal(&whole)).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let (mut gaps, mut damaged, mut harmless) = (0, 0, 0);
    for (n, at) in (0..used).step_by(used / 150).enumerate() {
        let broken = dir.path().join(format!("broken{n}"));
        copy(&whole, &broken);
        let mut flipped = bytes[..used].to_vec();
        flipped[at] ^= 1 << (n % 8);
        fs::write(journal(&broken), &flipped).unwrap();
        match Embedded::open(&broken, &Options::default()) {
            Ok(store) => {
                assert_eq!(rows(&store), 2 * BATCHES, "byte {at}: opened with less");
                harmless += 1;
            }
            Err(OpenError::Gap { .. }) => gaps += 1,
            Err(OpenError::Damaged { .. }) => damaged += 1,
            Err(other) => unreachable!("byte {at}: {other}"),
        }
        fs::remove_dir_all(&broken).unwrap();
    }
    // The silent cut is real; were it mended in the engine, this guard would have nothing left to
    // do.
    assert!(gaps > 0 && damaged > 0, "{gaps} gaps, {damaged} damaged, {harmless} harmless");
}

#[test]
fn a_cut_journal_is_a_gap_until_the_loss_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let path = journal(dir.path());
    let bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(&path, &bytes[..used / 2]).unwrap();
    for _ in 0..2 {
        let error = Embedded::open(dir.path(), &Options::default()).err().unwrap();
        let OpenError::Gap { gap: Gap::End { found, expected }, .. } = &error else {
            unreachable!("{error}");
        };
        assert!(*found < *expected && *expected == BATCHES, "{error}");
        assert!(error.to_string().contains("restore the directory from a backup"), "{error}");
    }
    let accept = Options { accept_loss: true, ..Options::default() };
    let left = rows(&Embedded::open(dir.path(), &accept).unwrap());
    assert!(left > 0 && left < 2 * BATCHES);
    // From then on the store is whole again, and guarded again.
    for more in 1..=3 {
        let store = store_again(dir.path());
        let mut batch = Batch::new(1);
        batch.set(row(5_000 + more), Value::from_static(b"y"));
        assert_eq!(block_on(store.commit(batch)), Ok(()));
        store.close();
        assert_eq!(rows(&store_again(dir.path())), left + more);
    }
    let bytes = fs::read(journal(dir.path())).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    fs::write(journal(dir.path()), &bytes[..used - 60]).unwrap();
    assert!(matches!(
        Embedded::open(dir.path(), &Options::default()).err(),
        Some(OpenError::Gap { .. })
    ));
}

#[test]
fn a_missing_engine_or_mark_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let mark = fs::read(dir.path().join("high-water")).unwrap();
    fs::remove_file(dir.path().join("high-water")).unwrap();
    let error = Embedded::open(dir.path(), &Options::default()).err();
    assert!(matches!(error, Some(OpenError::Damaged { .. })), "{error:?}");
    fs::write(dir.path().join("high-water"), mark).unwrap();
    assert_eq!(rows(&store_again(dir.path())), 2 * BATCHES);
    fs::remove_dir_all(dir.path().join("engine")).unwrap();
    let error = Embedded::open(dir.path(), &Options::default()).err();
    assert!(matches!(error, Some(OpenError::Gap { .. })), "{error:?}");
}

#[test]
fn a_store_is_open_in_one_place_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = store_again(dir.path());
    let error = Embedded::open(dir.path(), &Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    let id = first.id().to_owned();
    drop(first);
    assert_eq!(store_again(dir.path()).id(), id);
}

#[test]
fn what_is_no_store_of_this_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.tex"), "x").unwrap();
    let error = Embedded::open(&foreign, &Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1, "nothing was put there");

    let store = dir.path().join("store");
    drop(store_again(&store));
    type Is = fn(&OpenError) -> bool;
    let table: [(&str, Is, &str); 3] = [
        ("format 2\nid 00\n", |e| matches!(e, OpenError::Version { .. }), "has format 2"),
        ("something else\n", |e| matches!(e, OpenError::Foreign { .. }), "holds no Carillon store"),
        ("format 1\nid zz\n", |e| matches!(e, OpenError::Damaged { .. }), "has no id"),
    ];
    for (text, is, says) in table {
        fs::write(store.join("carillon-store"), text).unwrap();
        let error = Embedded::open(&store, &Options::default()).err().unwrap();
        assert!(is(&error) && error.to_string().contains(says), "{text:?}: {error}");
    }
}

#[test]
fn after_the_end_everything_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_again(dir.path());
    let mut batch = Batch::new(1);
    batch.set(row(1), Value::from_static(b"x"));
    let waiting = store.commit(batch.clone());
    store.close();
    assert_eq!(block_on(waiting), Ok(()), "what was queued is committed");
    assert_eq!(block_on(store.commit(batch)), Err(kv::CommitError::Unavailable));
    assert_eq!(block_on(store.read(Reads::get(row(1)))), Err(kv::ReadError::Unavailable));
    let range = RangeRead::prefix(row(1));
    assert_eq!(block_on(store.read(Reads::range(range))), Err(kv::ReadError::Unavailable));
    store.close();
    assert_eq!(store.latency().counts().iter().sum::<u64>(), 1);
    assert!(store.size_on_disk() > 0);
}
