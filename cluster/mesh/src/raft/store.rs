//! The log as the Raft library wants it: entries in memory, every change a record on disk, and one
//! thread that writes votes and entries in the order in which they came.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::file::{LogFile, Opened, Owned, Sealed};
use super::record::Kind;
use super::types::{Entry, LogId, Types, Vote, decode, encode, entry_bytes};
use crate::limits::{APPEND_BYTES_MAX, LOG_COMPACT_BYTES, LOG_QUEUE_MAX};

/// What the log holds, in memory.
#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    /// Bytes of entries in the file, those that are gone included.
    written: usize,
}

impl State {
    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, it)| it.log_id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |it| it.index + 1)
    }

    fn truncate_after(&mut self, last: Option<LogId>) {
        let from = last.map_or(0, |it| it.index + 1);
        self.entries.split_off(&from);
    }

    fn purge(&mut self, upto: LogId) {
        self.entries = self.entries.split_off(&(upto.index + 1));
        self.purged = self.purged.max(Some(upto));
    }

    /// Takes a record of the file. `None` if it does not fit what came before.
    fn replay(&mut self, kind: Kind, body: &[u8]) -> Option<()> {
        match kind {
            Kind::Start => {}
            Kind::Vote => self.vote = Some(decode(body)?),
            Kind::Committed => self.committed = decode(body)?,
            Kind::Truncate => self.truncate_after(decode(body)?),
            Kind::Purge => self.purge(decode(body)?),
            Kind::Entry => {
                let entry: Entry = decode(body)?;
                let empty = self.entries.is_empty() && self.purged.is_none();
                if entry.log_id.index != self.next_index() && !empty {
                    return None;
                }
                self.written += body.len();
                self.entries.insert(entry.log_id.index, entry);
            }
        }
        Some(())
    }

    /// The shortest file that says the same.
    fn records(&self) -> io::Result<Vec<Owned>> {
        let mut records = Vec::new();
        if let Some(vote) = &self.vote {
            records.push((Kind::Vote, encode(vote)?));
        }
        if let Some(purged) = &self.purged {
            records.push((Kind::Purge, encode(purged)?));
        }
        for entry in self.entries.values() {
            records.push((Kind::Entry, encode(entry)?));
        }
        records.push((Kind::Committed, encode(&self.committed)?));
        Ok(records)
    }
}

/// One change on its way to the disk.
struct Change {
    records: Vec<Owned>,
    /// Written to its own file too, before the log: a damaged log must not forget it.
    vote: Option<Vec<u8>>,
    done: Done,
    /// If set, the file is written anew with `records` as all that it holds.
    anew: bool,
}

enum Done {
    /// Nobody waits; the record goes to disk with the next that somebody waits for.
    Nobody,
    Library(IOFlushed<Types>),
    Reply(oneshot::Sender<io::Result<()>>),
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Done::Nobody => {}
            Done::Library(flushed) => flushed.io_completed(result),
            Done::Reply(reply) => {
                let _ = reply.send(result);
            }
        }
    }
}

/// Whose log it is: written in the first record, so that another node's or another cluster's log
/// is not taken for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) cluster: u128,
    pub(super) replica: u64,
}

impl Whose {
    fn bytes(self) -> Vec<u8> {
        [&self.cluster.to_be_bytes()[..], &self.replica.to_be_bytes()].concat()
    }
}

/// What opening a log found wrong.
#[derive(Debug)]
pub(super) enum Unopened {
    /// Acknowledged parts of it cannot be read.
    Damaged,
    /// It is another node's, or another cluster's.
    NotOurs,
    Disk(io::Error),
}

impl From<io::Error> for Unopened {
    fn from(why: io::Error) -> Unopened {
        Unopened::Disk(why)
    }
}

/// The log of one replica. A clone reads the same log.
#[derive(Clone)]
pub(super) struct LogStore {
    state: Arc<Mutex<State>>,
    changes: mpsc::Sender<Change>,
}

pub(super) const VOTE: &str = "vote";

impl LogStore {
    /// Opens the log in `folder`, or starts one with `vote`, which a damaged log has left.
    pub(super) fn open(
        folder: &Path,
        whose: Whose,
        start_with: Option<Vote>,
    ) -> Result<LogStore, Unopened> {
        let sealed = Sealed::new(folder, VOTE);
        let mut state = State::default();
        let file = match LogFile::open(folder)? {
            Opened::Damaged => return Err(Unopened::Damaged),
            Opened::None => {
                state.vote = start_with;
                LogFile::create(folder, random()?, &whose.bytes(), &state.records()?)?
            }
            Opened::Log(file, records) => {
                let first = records.first().map_or(&[][..], |it| &it.1);
                if first.get(8..) != Some(&whose.bytes()[..]) {
                    return Err(Unopened::NotOurs);
                }
                for (kind, body) in &records {
                    state.replay(*kind, body).ok_or(Unopened::Damaged)?;
                }
                state.vote = newer(state.vote, start_with);
                file
            }
        };
        let (changes, receive) = mpsc::channel(LOG_QUEUE_MAX);
        let writer = Writer { folder: folder.to_owned(), whose, file, sealed, broken: false };
        std::thread::Builder::new()
            .name("carillon-raft-log".to_owned())
            .spawn(move || writer.run(receive))?;
        Ok(LogStore { state: Arc::new(Mutex::new(state)), changes })
    }

    /// Up to where entries are gone, if any.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.state.lock().purged
    }

    /// The last vote, if any.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.state.lock().vote
    }

    async fn change(&self, change: Change) -> io::Result<()> {
        self.changes.send(change).await.map_err(|_| io::Error::other("the log has stopped"))
    }

    /// Writes records and waits for the disk.
    async fn wait(&self, records: Vec<Owned>, vote: Option<Vec<u8>>, anew: bool) -> io::Result<()> {
        let (reply, done) = oneshot::channel();
        self.change(Change { records, vote, done: Done::Reply(reply), anew }).await?;
        done.await.map_err(|_| io::Error::other("the log has stopped"))?
    }
}

/// The later of two votes. Two votes of one term for different nodes cannot both be ours.
fn newer(a: Option<Vote>, b: Option<Vote>) -> Option<Vote> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b > a { b } else { a }),
        (a, b) => a.or(b),
    }
}

pub(super) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|why| io::Error::other(why.to_string()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The thread that owns the files.
struct Writer {
    folder: PathBuf,
    whose: Whose,
    file: LogFile,
    sealed: Sealed,
    /// After a failure nothing is known of what is on disk, so nothing more is written: the process
    /// ends and reads it anew.
    broken: bool,
}

impl Writer {
    fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        while let Some(first) = changes.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < LOG_QUEUE_MAX
                && let Ok(more) = changes.try_recv()
            {
                batch.push(more);
            }
            let result = if self.broken { Err(stopped()) } else { self.write(&batch) };
            self.broken |= result.is_err();
            for change in batch {
                change.done.tell(match &result {
                    Ok(()) => Ok(()),
                    Err(why) => Err(io::Error::new(why.kind(), why.to_string())),
                });
            }
        }
    }

    /// Writes everything, and syncs once if anybody waits.
    fn write(&mut self, batch: &[Change]) -> io::Result<()> {
        let mut waits = false;
        for change in batch {
            if let Some(vote) = &change.vote {
                self.sealed.write(vote)?;
            }
            if change.anew {
                let start = self.whose.bytes();
                self.file = LogFile::create(&self.folder, random()?, &start, &change.records)?;
            } else {
                self.file.append(&change.records)?;
            }
            waits |= !matches!(change.done, Done::Nobody);
        }
        if waits { self.file.sync() } else { Ok(()) }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log could not be written before")
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let state = self.state.lock();
        Ok(state.entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state.lock().vote)
    }

    /// As many as fit one call, and at least one.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let state = self.state.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for (_, entry) in state.entries.range(start..end) {
            bytes += entry_bytes(entry);
            if bytes > APPEND_BYTES_MAX && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.state.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let body = encode(vote)?;
        self.state.lock().vote = Some(*vote);
        self.wait(vec![(Kind::Vote, body.clone())], Some(body), false).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let records = vec![(Kind::Committed, encode(&committed)?)];
        self.state.lock().committed = committed;
        self.change(Change { records, vote: None, done: Done::Nobody, anew: false }).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.state.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let records: io::Result<Vec<Owned>> =
            entries.iter().map(|entry| Ok((Kind::Entry, encode(entry)?))).collect();
        let records = records?;
        {
            let mut state = self.state.lock();
            state.written += records.iter().map(|it| it.1.len()).sum::<usize>();
            for entry in entries {
                let empty = state.entries.is_empty() && state.purged.is_none();
                if entry.log_id.index != state.next_index() && !empty {
                    return Err(io::Error::other("an entry does not follow the last one"));
                }
                state.entries.insert(entry.log_id.index, entry);
            }
        }
        let done = Done::Library(callback);
        self.change(Change { records, vote: None, done, anew: false }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let records = vec![(Kind::Truncate, encode(&last)?)];
        self.state.lock().truncate_after(last);
        self.wait(records, None, false).await
    }

    /// What was purged is gone from the file when that has grown long enough to be written anew.
    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let (records, anew) = {
            let mut state = self.state.lock();
            state.purge(upto);
            let live: usize = state.entries.values().map(entry_bytes).sum();
            if state.written > LOG_COMPACT_BYTES.max(4 * live) {
                state.written = live;
                (state.records()?, true)
            } else {
                (vec![(Kind::Purge, encode(&upto)?)], false)
            }
        };
        self.wait(records, None, anew).await
    }
}
