//! The state machine that the log is applied to, its snapshots on disk, and who watches it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::{Mutex, RwLock};
use peer::control::Seen;
use tokio::sync::watch;

use super::file::{Contents, Sealed};
use super::types::{
    Applied, LogId, Snapshot, SnapshotMeta, StoredMembership, Types, decode, encode,
};
use crate::limits::SNAPSHOT_BYTES_MAX;
use crate::link::Peer;

/// What the log's commands change. Every replica applies the same commands in the same order and
/// must come to the same state: nothing here may depend on the clock, on chance or on the node.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command and says what came of it. A command that makes no sense changes nothing
    /// and is answered; it never panics, for every replica would.
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8>;
    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;
    /// Takes the state of a snapshot in place of its own. False, and unchanged, if it cannot be
    /// read.
    fn restore(&mut self, snapshot: &[u8]) -> bool;
    /// What a node without a replica is told that has seen `have`, if there is anything newer: what
    /// [`Copied::take`] reads. It may say less than the state holds: not every node may know all.
    fn news(&self, have: Seen) -> Option<Vec<u8>>;
    /// Whether a node without the control role may propose this. Those with the role may propose
    /// anything: they hold the log.
    fn may_propose(&self, caller: &Peer, asked: &[u8]) -> bool;
    /// A proposal as the leader writes it into the log; `now_us` is the leader's clock. `None` for
    /// what no replica could read: the log is for ever.
    fn stamp(&self, asked: Vec<u8>, _now_us: u64) -> Option<Vec<u8>> {
        Some(asked)
    }
}

/// What a node without a replica keeps of the state.
pub trait Copied: Send + Sync + 'static {
    /// What it has seen: handed to [`StateMachine::news`], nothing at first.
    fn seen(&self) -> Seen;
    /// Takes news. False if they cannot be read, or are older than what it has.
    fn take(&mut self, news: &[u8]) -> bool;
}

/// What replica and library share.
pub(super) struct Shared<M> {
    machine: RwLock<Inner<M>>,
    applied: watch::Sender<u64>,
    panicked: watch::Sender<bool>,
}

struct Inner<M> {
    machine: M,
    last: Option<LogId>,
    membership: StoredMembership,
}

impl<M: StateMachine> Shared<M> {
    pub(super) fn new(machine: M) -> Arc<Shared<M>> {
        let inner = Inner { machine, last: None, membership: StoredMembership::default() };
        let (applied, panicked) = (watch::Sender::new(0), watch::Sender::new(false));
        Arc::new(Shared { machine: RwLock::new(inner), applied, panicked })
    }

    /// Looks at the state.
    pub(super) fn with<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.machine.read().machine)
    }

    /// The index of the last entry that was applied, 0 before the first.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Whether the state machine has met a bug: then nothing is known of the state.
    pub(super) fn panicked(&self) -> watch::Receiver<bool> {
        self.panicked.subscribe()
    }

    /// Runs a part of the state machine. The library would see a panic when it next has something
    /// for the task that is gone, and could not tell it from a fault of the disk.
    fn guard<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
            self.panicked.send_replace(true);
            io::Error::other("the state machine met a bug")
        })
    }

    fn tell(&self, last: Option<LogId>) {
        let last = last.map_or(0, |it| it.index);
        self.applied.send_if_modified(|applied| std::mem::replace(applied, last) != last);
    }
}

/// The snapshot on disk.
pub(super) struct Snapshots {
    sealed: Sealed,
    /// Held while the file changes: one built in the background never takes the place of a newer
    /// one that was installed meanwhile.
    last: Mutex<Option<LogId>>,
}

const SNAPSHOT: &str = "snapshot";

/// What is on disk.
pub(super) enum Found {
    None,
    Damaged,
    Snapshot(Box<Snapshot>),
}

impl Snapshots {
    pub(super) fn new(folder: &Path) -> Arc<Snapshots> {
        let sealed = Sealed::new(folder, SNAPSHOT);
        Arc::new(Snapshots { sealed, last: Mutex::new(None) })
    }

    pub(super) fn read(&self) -> io::Result<Found> {
        let bytes = match self.sealed.read()? {
            Contents::None => return Ok(Found::None),
            Contents::Damaged => return Ok(Found::Damaged),
            Contents::Bytes(bytes) => bytes,
        };
        let found = decode::<(SnapshotMeta, Vec<u8>)>(&bytes);
        let Some((meta, snapshot)) = found else { return Ok(Found::Damaged) };
        *self.last.lock() = meta.last_log_id;
        Ok(Found::Snapshot(Box::new(Snapshot { meta, snapshot })))
    }

    fn write(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        if data.len() > SNAPSHOT_BYTES_MAX {
            return Err(io::Error::other("the state is larger than a snapshot may be"));
        }
        let bytes = encode(&(meta, data))?;
        let mut last = self.last.lock();
        if *last > meta.last_log_id {
            return Ok(());
        }
        self.sealed.write(&bytes)?;
        *last = meta.last_log_id;
        Ok(())
    }

    /// Writes it anew, as [`Sealed::anew`].
    pub(super) fn anew(&self) -> io::Result<()> {
        self.sealed.anew()
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        *self.last.lock() = None;
        self.sealed.remove()
    }
}

/// The state machine as the library wants it.
pub(super) struct Adapter<M> {
    pub(super) shared: Arc<Shared<M>>,
    pub(super) snapshots: Arc<Snapshots>,
}

/// One snapshot on its way to the disk.
pub(super) struct Builder {
    meta: SnapshotMeta,
    data: io::Result<Vec<u8>>,
    snapshots: Arc<Snapshots>,
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (snapshots, meta) = (self.snapshots.clone(), self.meta.clone());
        let data = std::mem::replace(&mut self.data, Ok(Vec::new()))?;
        on_disk(move || {
            snapshots.write(&meta, &data)?;
            Ok(Snapshot { meta, snapshot: data })
        })
        .await
    }
}

impl<M: StateMachine> RaftStateMachine<Types> for Adapter<M> {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let inner = self.shared.machine.read();
        Ok((inner.last, inner.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut last = None;
        while let Some((entry, responder)) = entries.try_next().await? {
            last = Some(entry.log_id);
            let mut inner = self.shared.machine.write();
            inner.last = last;
            let answer = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(command) => {
                    let machine = &mut inner.machine;
                    self.shared.guard(|| machine.apply(entry.log_id.index, &command.0))?
                }
                EntryPayload::Membership(members) => {
                    inner.membership = StoredMembership::new(last, members);
                    Vec::new()
                }
            };
            drop(inner);
            if let Some(responder) = responder {
                responder.send(Applied(answer));
            }
        }
        if last.is_some() {
            self.shared.tell(last);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let inner = self.shared.machine.read();
        let meta =
            SnapshotMeta { last_log_id: inner.last, last_membership: inner.membership.clone() };
        let data = self.shared.guard(|| inner.machine.snapshot());
        Builder { meta, data, snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Vec<u8>) -> io::Result<()> {
        {
            let mut inner = self.shared.machine.write();
            let machine = &mut inner.machine;
            if !self.shared.guard(|| machine.restore(&data))? {
                return Err(io::Error::other("the snapshot cannot be read"));
            }
            inner.last = meta.last_log_id;
            inner.membership = meta.last_membership.clone();
        }
        let (snapshots, meta) = (self.snapshots.clone(), meta.clone());
        let last = meta.last_log_id;
        on_disk(move || snapshots.write(&meta, &data)).await?;
        self.shared.tell(last);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        match on_disk(move || snapshots.read()).await? {
            Found::None => Ok(None),
            Found::Damaged => Err(io::Error::other("the snapshot on disk is damaged")),
            Found::Snapshot(snapshot) => Ok(Some(*snapshot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(index: u64) -> LogId {
        openraft::testing::log_id::<Types>(1, 1, index)
    }

    #[test]
    fn an_older_snapshot_never_replaces_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path());
        let meta = |index| SnapshotMeta { last_log_id: Some(log_id(index)), ..Default::default() };
        snapshots.write(&meta(5), b"five").unwrap();
        snapshots.write(&meta(4), b"four").unwrap();
        let Found::Snapshot(found) = snapshots.read().unwrap() else { panic!() };
        assert_eq!((found.meta, found.snapshot), (meta(5), b"five".to_vec()));
        let path = folder.path().join(SNAPSHOT);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(snapshots.read().unwrap(), Found::Damaged));
        let large = vec![0; SNAPSHOT_BYTES_MAX + 1];
        assert!(snapshots.write(&meta(6), &large).is_err());
        assert!(snapshots.write(&meta(6), &large[1..]).is_ok());
    }
}
