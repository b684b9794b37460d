//! The storage, under the library's own suite and under crashes.

use std::path::Path;

use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::testing::log_id;
use openraft::{EntryPayload, RaftLogReader as _, StorageError};
use tempfile::TempDir;

use super::file::Sealed;
use super::folder::{Folder, OpenError, Starts};
use super::machine::{Adapter, Shared, Snapshots};
use super::store::{LogStore, Whose};
use super::testing::Lines;
use super::types::{Command, Entry, SnapshotMeta, Types, Vote, decode, encode};

const WHOSE: Whose = Whose { cluster: 1, replica: 1 };

struct Builder;

impl StoreBuilder<Types, LogStore, Adapter<Lines>, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Adapter<Lines>), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let log = LogStore::open(folder.path(), WHOSE, None).unwrap();
        let shared = Shared::new(Lines::default());
        let adapter = Adapter { shared, snapshots: Snapshots::new(folder.path()) };
        Ok((folder, log, adapter))
    }
}

#[tokio::test]
async fn the_suite_of_the_library_passes() {
    Suite::test_all(Builder).await.unwrap();
}

fn entry(index: u64) -> Entry {
    let payload = EntryPayload::Normal(Command(format!("command {index}").into_bytes()));
    Entry { log_id: log_id::<Types>(1, 1, index), payload }
}

fn vote(term: u64) -> Vote {
    Vote {
        leader_id: openraft::impls::leader_id_std::LeaderId { term, voted_for: 1 },
        committed: false,
    }
}

async fn indexes(log: &mut LogStore) -> Vec<u64> {
    log.try_get_log_entries(..).await.unwrap().iter().map(|it| it.log_id.index).collect()
}

/// A folder with a vote and entries 1 to 5, in three appends.
async fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Folder::open(folder.path(), WHOSE, Starts::First).unwrap();
    assert!(!opened.rebuilding.exists());
    opened.log.save_vote(&vote(3)).await.unwrap();
    opened.log.blocking_append([entry(0), entry(1), entry(2)]).await.unwrap();
    opened.log.save_committed(Some(entry(1).log_id)).await.unwrap();
    opened.log.blocking_append([entry(3)]).await.unwrap();
    opened.log.blocking_append([entry(4), entry(5)]).await.unwrap();
    folder
}

/// The lock is gone a moment after its holder.
fn open(path: &Path) -> Result<Folder, OpenError> {
    for _ in 0..100 {
        match Folder::open(path, WHOSE, Starts::Again) {
            Err(OpenError::InUse(_)) => std::thread::sleep(std::time::Duration::from_millis(5)),
            other => return other,
        }
    }
    Folder::open(path, WHOSE, Starts::Again)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = filled().await;
    assert!(matches!(
        Folder::open(folder.path(), Whose { replica: 2, ..WHOSE }, Starts::Again),
        Err(OpenError::NotOurs(_))
    ));
    let mut again = open(folder.path()).unwrap();
    assert_eq!(again.log.read_vote().await.unwrap(), Some(vote(3)));
    assert_eq!(again.log.read_committed().await.unwrap(), Some(entry(1).log_id));
    assert_eq!(indexes(&mut again.log).await, [0, 1, 2, 3, 4, 5]);
    assert!(matches!(Folder::open(folder.path(), WHOSE, Starts::Again), Err(OpenError::InUse(_))));

    again.log.truncate_after(Some(entry(4).log_id)).await.unwrap();
    again.log.purge(entry(1).log_id).await.unwrap();
    again.log.save_vote(&vote(4)).await.unwrap();
    drop(again);
    // Entries are gone for which there is no snapshot: that is damage, in this test on purpose.
    let opened = LogStore::open(folder.path(), WHOSE, None);
    let mut log = opened.unwrap();
    assert_eq!(indexes(&mut log).await, [2, 3, 4]);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(4)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(entry(1).log_id));
    assert_eq!(state.last_log_id, Some(entry(4).log_id));
    drop(log);
    let rebuilt = open(folder.path()).unwrap();
    assert!(rebuilt.rebuilding.exists());
}

#[tokio::test]
async fn a_hole_is_refused() {
    let folder = filled().await;
    let mut log = open(folder.path()).unwrap().log;
    assert!(log.blocking_append([entry(7)]).await.is_err());
    log.purge(entry(9).log_id).await.unwrap();
    assert!(log.blocking_append([entry(9)]).await.is_err());
    log.blocking_append([entry(10)]).await.unwrap();
    assert_eq!(indexes(&mut log).await, [10]);
}

/// What a crash leaves of appends that nobody was told of: any part of them. The replica starts
/// with what was acknowledged, and more only if it is whole.
#[tokio::test]
async fn a_crash_at_any_byte_of_the_last_append_loses_nothing_acknowledged() {
    let folder = filled().await;
    let path = folder.path().join("log");
    let acknowledged = std::fs::read(&path).unwrap().len();
    let mark = std::fs::read(folder.path().join("log.synced")).unwrap();
    let mut log = open(folder.path()).unwrap().log;
    log.blocking_append([entry(6), entry(7)]).await.unwrap();
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for cut in acknowledged..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        std::fs::write(folder.path().join("log.synced"), &mark).unwrap();
        let mut opened = open(folder.path()).unwrap();
        assert!(!opened.rebuilding.exists(), "cut at {cut}");
        let got = indexes(&mut opened.log).await;
        assert!(got.starts_with(&[0, 1, 2, 3, 4, 5]) && got.len() <= 8, "cut at {cut}: {got:?}");
        assert_eq!(got.len() == 8, cut == whole.len());
        assert_eq!(opened.log.read_vote().await.unwrap(), Some(vote(3)));
    }
}

#[tokio::test]
async fn damage_at_any_byte_of_what_was_acknowledged_makes_a_replica_without_a_vote() {
    let folder = filled().await;
    let path = folder.path().join("log");
    let whole = std::fs::read(&path).unwrap();
    let mark = std::fs::read(folder.path().join("log.synced")).unwrap();
    for at in (0..whole.len()).step_by(3) {
        for flip in [true, false] {
            let mut bad = whole.clone();
            if flip {
                bad[at] ^= 4
            } else {
                bad.truncate(at)
            }
            std::fs::write(&path, &bad).unwrap();
            std::fs::write(folder.path().join("log.synced"), &mark).unwrap();
            let _ = std::fs::remove_file(folder.path().join("rebuilding"));
            let mut opened = open(folder.path()).unwrap();
            assert!(opened.rebuilding.exists(), "{at} {flip}");
            assert_eq!(indexes(&mut opened.log).await, [0; 0]);
            assert_eq!(opened.log.read_vote().await.unwrap(), Some(vote(3)), "{at} {flip}");
            drop(opened);
            // It stays so over a restart.
            assert!(open(folder.path()).unwrap().rebuilding.exists());
        }
    }
}

#[tokio::test]
async fn a_log_that_is_gone_is_damage_and_one_without_its_vote_is_lost() {
    let folder = filled().await;
    let path = |name: &str| folder.path().join(name);
    std::fs::remove_file(path("log")).unwrap();
    let opened = open(folder.path()).unwrap();
    assert!(opened.rebuilding.exists());
    assert_eq!(opened.log.vote(), Some(vote(3)));
    drop(opened);

    let folder = filled().await;
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("vote"), b"bad").unwrap();
    let opened = open(folder.path()).unwrap();
    assert!(!opened.rebuilding.exists(), "the log knows the vote");
    drop(opened);
    std::fs::write(path("vote"), b"bad").unwrap();
    std::fs::write(path("log"), b"bad").unwrap();
    let why = open(folder.path()).err().unwrap();
    assert!(matches!(why, OpenError::Lost(_)) && why.to_string().contains("join the node anew"));
}

#[tokio::test]
async fn an_empty_folder_is_lost_unless_the_replica_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let again = || open(folder.path());
    assert!(matches!(again(), Err(OpenError::Lost(_))), "it may have voted");
    assert!(matches!(again(), Err(OpenError::Lost(_))), "and trying has changed nothing");
    let first = Folder::open(folder.path(), WHOSE, Starts::First).unwrap();
    assert!(!first.rebuilding.exists());
    drop(first);
    assert!(!again().unwrap().rebuilding.exists(), "from now on there is a log");
    let kept = filled().await;
    let first = |_| Folder::open(kept.path(), WHOSE, Starts::First).ok();
    let mut first = (0..100).find_map(first).unwrap();
    assert_eq!(indexes(&mut first.log).await.len(), 6, "what is there is taken in any case");
}

/// A sync that has failed leaves what it should have written in the cache, marked as written.
#[tokio::test]
async fn what_is_read_at_opening_is_written_anew() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = filled().await;
    let bytes = encode(&(SnapshotMeta::default(), b"state".to_vec())).unwrap();
    Sealed::new(folder.path(), "snapshot").write(&bytes).unwrap();
    Sealed::new(folder.path(), "rebuilding").write(b"").unwrap();
    let files = ["log", "vote", "snapshot", "rebuilding"];
    let look = || {
        files.map(|name| {
            let path = folder.path().join(name);
            (std::fs::metadata(&path).unwrap().ino(), std::fs::read(path).unwrap())
        })
    };
    let before = look();
    let mut opened = open(folder.path()).unwrap();
    for (name, (before, after)) in files.iter().zip(before.into_iter().zip(look())) {
        assert_ne!(before.0, after.0, "{name} is another file");
        assert_eq!(before.1, after.1, "{name} says the same");
    }
    opened.log.blocking_append([entry(6)]).await.unwrap();
    drop(opened);
    assert_eq!(indexes(&mut open(folder.path()).unwrap().log).await, [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_long_log_is_written_anew_when_most_of_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(folder.path(), WHOSE, None).unwrap();
    log.save_vote(&vote(9)).await.unwrap();
    let long =
        |index| Entry { payload: EntryPayload::Normal(Command(vec![7; 100_000])), ..entry(index) };
    for index in 0..15 {
        log.blocking_append([long(index)]).await.unwrap();
    }
    let length = || std::fs::metadata(folder.path().join("log")).unwrap().len();
    assert!(length() > 1_500_000);
    let few = log.limited_get_log_entries(0, 15).await.unwrap().len();
    assert_eq!(few, 15);
    log.purge(entry(13).log_id).await.unwrap();
    assert!(length() < 110_000, "{}", length());
    log.blocking_append([entry(15)]).await.unwrap();
    drop(log);
    let mut log = LogStore::open(folder.path(), WHOSE, None).unwrap();
    assert_eq!(indexes(&mut log).await, [14, 15]);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(9)));
}

/// The library's types as they are written: an update that changes them fails here first.
#[test]
fn bytes_of_the_librarys_types_are_frozen() {
    let members =
        openraft::Membership::new_with_defaults(vec![std::collections::BTreeSet::from([1, 2])], []);
    let member = Entry { payload: EntryPayload::Membership(members), ..entry(300) };
    let blank = Entry { payload: EntryPayload::Blank, ..entry(1) };
    assert_eq!(encode(&vote(300)).unwrap(), [172, 2, 1, 1, 0]);
    assert_eq!(encode(&blank).unwrap(), [1, 1, 0]);
    assert_eq!(encode(&entry(2)).unwrap(), *b"\x01\x02\x01\x09command 2");
    assert_eq!(encode(&member).unwrap(), [1, 172, 2, 2, 1, 2, 1, 2, 2, 1, 0, 0, 2, 0, 0]);
    for entry in [blank, entry(2), member] {
        let bytes = encode(&entry).unwrap();
        assert_eq!(decode::<Entry>(&bytes), Some(entry));
        assert_eq!(decode::<Entry>(&[&bytes[..], b"x"].concat()), None);
    }
}
