//! What a replica finds in its folder when it starts, and what to do about it.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{Contents, Sealed};
use super::machine::{Found, Snapshots};
use super::store::{LogStore, Unopened, VOTE, Whose};
use super::types::{Vote, decode, encode};

/// Why a replica cannot start.
#[derive(Debug)]
pub enum OpenError {
    /// Log and vote are both damaged or gone, so this replica may have voted and not know it.
    Lost(PathBuf),
    /// The folder is another node's, or another cluster's.
    NotOurs(PathBuf),
    /// Another process uses the folder.
    InUse(PathBuf),
    /// The disk does not do what it is asked.
    Disk(PathBuf, io::Error),
    /// The library refused what it found.
    Refused(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Lost(path) => write!(
                f,
                "the control plane's log in {} is damaged or gone, and so is its vote: remove this \
                 node from the cluster, empty the folder, and join the node anew",
                path.display()
            ),
            OpenError::NotOurs(path) => write!(
                f,
                "the control plane's log in {} is that of another node or cluster: check the data \
                 folder",
                path.display()
            ),
            OpenError::InUse(path) => {
                write!(f, "another process uses {}: stop it first", path.display())
            }
            OpenError::Disk(path, why) => write!(f, "{} cannot be used: {why}", path.display()),
            OpenError::Refused(why) => write!(f, "the control plane's log does not fit: {why}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// What a replica has behind it when it is opened: its node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// It was just made, or its node has just joined under a number that no replica had before: it
    /// has promised nothing, so its folder may be empty. The node says so until the replica has
    /// been opened once.
    First,
    /// It has run before. If its folder is empty, what it has promised is lost.
    Again,
}

/// A folder that is ready for a replica.
pub(super) struct Folder {
    pub(super) log: LogStore,
    pub(super) snapshots: Arc<Snapshots>,
    /// There while this replica has lost part of what it had acknowledged.
    pub(super) rebuilding: Sealed,
    /// Held for as long as the replica runs.
    pub(super) _lock: File,
}

impl Folder {
    /// Opens the folder. If log or snapshot are damaged, what is left of them is set aside, and the
    /// replica starts empty, with its vote, and marked as rebuilding: it gives no vote until
    /// it has again all that was committed.
    pub(super) fn open(path: &Path, whose: Whose, starts: Starts) -> Result<Folder, OpenError> {
        let disk = |why| OpenError::Disk(path.to_owned(), why);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = options.open(path.join("lock")).map_err(disk)?;
        if lock.try_lock().is_err() {
            return Err(OpenError::InUse(path.to_owned()));
        }
        let vote = Sealed::new(path, VOTE);
        let (kept, vote_damaged) = match vote.read().map_err(disk)? {
            Contents::None => (None, false),
            Contents::Damaged => (None, true),
            Contents::Bytes(bytes) => (decode::<Vote>(&bytes), decode::<Vote>(&bytes).is_none()),
        };
        let snapshots = Snapshots::new(path);
        let snapshot = snapshots.read().map_err(disk)?;
        let rebuilding = Sealed::new(path, "rebuilding");
        let log_is_there = path.join("log").exists();
        let traces = kept.is_some() || vote_damaged || !matches!(snapshot, Found::None);
        vote.anew()
            .and_then(|()| snapshots.anew())
            .and_then(|()| rebuilding.anew())
            .map_err(disk)?;
        // One that has run and finds nothing may have voted; what it takes for its first term may
        // be one in which it has.
        let log = if !log_is_there && (traces || starts == Starts::Again) {
            Err(Unopened::Damaged)
        } else {
            LogStore::open(path, whose, kept)
        };
        let bad_snapshot = |log: &LogStore| match &snapshot {
            Found::Damaged => true,
            Found::None => log.purged().is_some(),
            Found::Snapshot(_) => false,
        };
        let (log, kept) = match log {
            Ok(log) if !bad_snapshot(&log) => {
                if let (true, Some(saved)) = (vote_damaged, log.vote()) {
                    let bytes = encode(&saved).map_err(disk)?;
                    vote.write(&bytes).map_err(disk)?;
                }
                return Ok(Folder { log, snapshots, rebuilding, _lock: lock });
            }
            // The log is whole, so it knows the vote, whatever became of the vote's own file.
            Ok(log) => (Some(()), log.vote()),
            Err(Unopened::Damaged) => (None, kept),
            Err(Unopened::NotOurs) => return Err(OpenError::NotOurs(path.to_owned())),
            Err(Unopened::Disk(why)) => return Err(disk(why)),
        };
        if log.is_none() && kept.is_none() {
            return Err(OpenError::Lost(path.to_owned()));
        }
        tracing::error!(
            folder = %path.display(),
            "the control plane's log is damaged: this replica gives no vote until the others have \
             brought it up to date"
        );
        rebuilding.write(b"").map_err(disk)?;
        if log_is_there {
            std::fs::rename(path.join("log"), path.join("log.damaged")).map_err(disk)?;
        }
        snapshots.remove().map_err(disk)?;
        match LogStore::open(path, whose, kept) {
            Ok(log) => Ok(Folder { log, snapshots, rebuilding, _lock: lock }),
            Err(_) => Err(disk(io::Error::other("the log cannot be started anew"))),
        }
    }
}
