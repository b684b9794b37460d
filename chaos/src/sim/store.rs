//! The store of a run: answers late, refuses, does not know, and keeps what it has acknowledged.

use kv::{Batch, CommitError, Read, ReadError, Reads, Row, Rows};
use peer::ShardId;
use session::keys;
use session::rows::{Cursor, Fence};

use super::World;
use super::queue::{Event, Proc};
use super::tamper::Tamper;
use crate::invariants::Checked;

/// What happens to a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Unavailable,
    UnknownDone,
    UnknownLost,
}

impl World {
    pub(crate) fn ask_read(&mut self, by: Proc, number: u64, reads: Reads) {
        let at = self.now + self.rng.within(self.plan.read_us);
        self.queue.put(at, Event::Read(by, number, reads));
    }

    pub(crate) fn read(&mut self, by: Proc, number: u64, reads: &Reads) {
        let at = self.now + self.rng.within(self.plan.read_us);
        let away = self.outage || self.away.contains(&by);
        let fails = away || (!self.healed && self.rng.chance(self.plan.read_fails));
        let rows = if fails { Err(ReadError::Unavailable) } else { self.table.read_now(reads) };
        if fails {
            self.note(|| format!("{} read {number} fails", name(by)));
        }
        let rows = match self.options.tamper {
            Some(Tamper::ServeWithoutLease) if asks_for_lease(reads) => self.says_yes(by, reads),
            Some(Tamper::ForgetClock) => rows.map(|rows| forget_clock(reads, rows)),
            _ => rows,
        };
        self.queue.put(at, Event::Rows(by, number, rows));
    }

    pub(crate) fn ask_commit(&mut self, by: Proc, batch: Batch) {
        let at = self.now + self.rng.within(self.plan.commit_us);
        let op_id = batch.op_id();
        let claim = batch.fences().is_empty();
        match self.options.tamper {
            Some(Tamper::AckBeforeCommit) if !claim => {
                self.queue.put(self.now + 10, Event::Committed(by, op_id, Ok(())));
                if self.rng.chance(100) {
                    self.lost_commits.insert(op_id);
                }
            }
            Some(Tamper::ReleaseBeforeCommit) if !claim => {
                self.queue.put(self.now + 10, Event::Committed(by, op_id, Ok(())));
            }
            _ => {}
        }
        self.queue.put(at, Event::Commit(by, batch));
    }

    pub(crate) fn commit(&mut self, by: Proc, batch: Batch) -> Checked {
        let op_id = batch.op_id();
        let told = matches!(
            self.options.tamper,
            Some(Tamper::AckBeforeCommit | Tamper::ReleaseBeforeCommit)
        ) && !batch.fences().is_empty();
        if self.lost_commits.remove(&op_id) {
            return Ok(());
        }
        let fate = if told { Fate::Done } else { self.commit_fate(by) };
        let result = match fate {
            Fate::Done => self.apply(by, &batch)?,
            Fate::Unavailable => Err(CommitError::Unavailable),
            Fate::UnknownDone => self.apply(by, &batch)?.and(Err(CommitError::Unknown)),
            Fate::UnknownLost => Err(CommitError::Unknown),
        };
        let result = match (self.options.tamper, result) {
            (Some(Tamper::UnknownIsDone), Err(CommitError::Unknown)) => Ok(()),
            (_, result) => result,
        };
        if let Err(error) = &result {
            self.note(|| format!("{} commit {op_id}: {error}", name(by)));
        }
        let at = self.now + self.rng.within(self.plan.commit_us);
        if !told {
            self.queue.put(at, Event::Committed(by, op_id, result));
        }
        Ok(())
    }

    /// Answers a worker that it owns what it takes for its own.
    fn says_yes(&self, by: Proc, reads: &Reads) -> Result<Rows, ReadError> {
        let worker = self.nodes.get(&by).map(|node| &node.worker);
        let epoch_of = |id: ShardId| {
            let own = worker?.shards().find(|shard| shard.id() == id);
            own.map(|shard| shard.epoch())
        };
        let mut rows = self.table.read_now(reads)?;
        for (read, found) in reads.list.iter().zip(&mut rows.found) {
            if let Read::Get(key) = read
                && let Some(epoch) = keys::epoch_of(key).and_then(epoch_of)
            {
                found.rows = vec![Row { key: key.clone(), value: Fence { epoch }.encode() }];
            }
        }
        Ok(rows)
    }

    fn commit_fate(&mut self, by: Proc) -> Fate {
        if self.outage || self.away.contains(&by) {
            return Fate::Unavailable;
        }
        if self.healed {
            return Fate::Done;
        }
        if self.rng.chance(self.plan.unavailable) {
            return Fate::Unavailable;
        }
        if self.rng.chance(self.plan.unknown) {
            return if self.rng.chance(500) { Fate::UnknownDone } else { Fate::UnknownLost };
        }
        Fate::Done
    }

    fn apply(
        &mut self,
        by: Proc,
        batch: &Batch,
    ) -> Result<Result<(), CommitError>, crate::invariants::Violation> {
        let result = match self.options.tamper {
            Some(Tamper::IgnoreFences) => self.table.commit_now(&open(batch, false, |_| true)),
            // A claim that finds no clock would be refused for it.
            Some(Tamper::ForgetClock) => {
                let claims = |key: &[u8]| key.first() != Some(&b'c');
                self.table.commit_now(&open(batch, true, claims))
            }
            _ => self.table.commit_now(batch),
        };
        if result.is_ok() {
            self.ledger.fence.now = self.now;
            self.ledger.applied(by, batch)?;
            self.note(|| {
                format!("{} commit {} is done{}", name(by), batch.op_id(), rows_text(batch))
            });
        }
        Ok(result)
    }
}

/// A worker's name in traces.
pub(crate) fn name(proc: Proc) -> String {
    format!("worker {}.{}", proc.number, proc.incarnation)
}

/// A batch without some of its conditions.
fn open(batch: &Batch, fenced: bool, checked: impl Fn(&[u8]) -> bool) -> Batch {
    let mut open = Batch::new(batch.op_id());
    for fence in batch.fences().iter().filter(|_| fenced) {
        open.fence(fence.key.clone(), fence.expect.clone());
    }
    for check in batch.checks().iter().filter(|check| checked(&check.key)) {
        open.check(check.key.clone(), check.expect.clone());
    }
    for mutation in batch.mutations() {
        open.mutate(mutation.clone());
    }
    open
}

/// What a batch says of epochs and cursors.
fn rows_text(batch: &Batch) -> String {
    let mut text = String::new();
    for mutation in batch.mutations() {
        if let kv::Mutation::Set(key, value) = mutation {
            match (key.first(), key.get(17)) {
                (Some(b'f'), _) => text += &format!(", {:?} of {key:?}", Fence::decode(value)),
                (Some(b'e'), Some(b'c')) => text += &format!(", {:?}", Cursor::decode(value)),
                _ => {}
            }
        }
    }
    text
}

fn forget_clock(reads: &Reads, mut rows: Rows) -> Rows {
    for (read, found) in reads.list.iter().zip(&mut rows.found) {
        if let Read::Get(key) = read
            && key.first() == Some(&b'c')
            && reads.len() > 1
        {
            found.rows.clear();
        }
    }
    rows
}

fn asks_for_lease(reads: &Reads) -> bool {
    let fence = |read: &Read| matches!(read, Read::Get(key) if keys::epoch_of(key).is_some());
    reads.list.iter().all(|read| fence(read) || *read == Read::Get(keys::cluster()))
}
