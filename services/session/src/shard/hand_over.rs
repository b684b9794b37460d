//! A shard that moves to another owner with its memory (design: "Hand-over"): its owner takes no
//! new work, ends what it has begun, and hands over what is left in pages; the next owner begins
//! with them, and edges only have to say where their connections are.
//!
//! What is in rows is read again from the store, so the pages hold what is in none: sessions with
//! their queues, and how far the windows of others were taken.

use bytes::Bytes;
use kv::{Fields, ValueWriter};
use peer::{ConnId, Epoch, NodeId, ShardId};

use super::window::Incoming;
use super::{Env, Shard, Work};
use crate::limits;
use crate::rows::RowError;
use crate::snapshot::Snapshot;
use crate::stored::QueuedRow;

const VERSION: u8 = 1;

const WINDOW: u8 = 1;
const SESSION: u8 = 2;
const CLOCK: u8 = 3;

/// Where a session is said to be that has no connection.
pub(crate) const NOWHERE: ConnId = ConnId { edge: NodeId { number: 0, incarnation: 0 }, slot: 0 };

/// One thing that is handed over.
enum Record {
    /// From this shard everything up to a number was taken, sent under an epoch.
    Window(ShardId, Epoch, u64),
    Session(Box<Snapshot>),
    /// This was the last commit.
    Clock(u64),
}

impl Shard {
    /// It is about to be given up: what was delivered and not written is written, and how far
    /// each account has come.
    pub fn give_up(&mut self, env: &mut Env<'_>) {
        self.core.giving = true;
        for jid in self.names() {
            self.turn(&jid, env, |turn| {
                turn.write_passing();
                turn.write_cursor();
            });
        }
        self.settle(env);
    }

    /// Whether it waits for something that comes from other shards or from the store: what they
    /// send must be taken until then, for they may be given up too, and wait for this one.
    pub fn waits_for_others(&self) -> bool {
        !self.core.tickets.is_empty()
            || self.core.windows.out.values().any(|window| !window.is_empty())
    }

    /// Everything that is in no row, in pages. The shard is settled, and is not touched from here
    /// on unless the hand-over fails.
    pub fn pages(&self) -> Vec<Bytes> {
        let Some(key) = self.core.config.cluster.as_ref().map(|c| c.snapshot_key) else {
            return Vec::new();
        };
        let windows = self.core.windows.incoming.iter().map(|(source, incoming)| {
            ValueWriter::new(VERSION, 32)
                .u8(WINDOW)
                .varint(u64::from(source.0))
                .varint(incoming.epoch.0)
                .varint(incoming.taken())
                .finish()
        });
        let clock = ValueWriter::new(VERSION, 16).u8(CLOCK).varint(self.core.op_id).finish();
        let mut records: Vec<Bytes> = windows.chain([clock]).collect();
        for jid in self.names() {
            let Some(account) = self.accounts.get(&jid) else { continue };
            let Some(generation) = account.generation() else { continue };
            for session in account.sessions() {
                let queue = session.outbound.untaken();
                let queue =
                    queue.map(|r| QueuedRow { log: r.log, stanza: r.stanza.clone() }).collect();
                let snapshot = Snapshot {
                    conn: session.conn.or(session.ghost).unwrap_or(NOWHERE),
                    account: jid.clone(),
                    generation,
                    born: session.born,
                    managed: session.managed,
                    row: crate::turn::session_row(&self.core, account, session, queue),
                };
                let sealed = snapshot.seal(&key);
                records.push(ValueWriter::new(VERSION, 8).u8(SESSION).bytes(&sealed).finish());
            }
        }
        packed(&records)
    }

    /// The hand-over fails, and the shard goes on. If there are pages, they are out of date from
    /// here on, which whoever has them sees by the clock.
    pub fn keep_on(&mut self, pages: bool) {
        self.core.giving = false;
        if pages {
            self.core.commits.prove();
        }
    }

    /// The owner before has handed these pages over. `false`: one of them cannot be read, or they
    /// are out of date, and the shard is to be rebuilt.
    pub fn take_over(&mut self, pages: &[Bytes], env: &mut Env<'_>) -> bool {
        let Some(key) = self.core.config.cluster.as_ref().map(|c| c.snapshot_key) else {
            return false;
        };
        let mut records = Vec::new();
        for page in pages {
            match read(page, &key) {
                Ok(found) => records.extend(found),
                Err(RowError) => return false,
            }
        }
        let op_id = self.core.op_id;
        let last = |record: &Record| matches!(record, Record::Clock(last) if *last == op_id);
        if !records.iter().any(last) {
            return false;
        }
        let clock = self.core.clock;
        for record in records {
            match record {
                Record::Window(source, epoch, taken) => {
                    let incoming = Incoming::taken_over(epoch, taken, clock);
                    self.core.windows.incoming.insert(source, incoming);
                }
                Record::Clock(_) => {}
                Record::Session(snapshot) => {
                    let account = snapshot.account.clone();
                    self.work(account, Work::HandedOver(snapshot), env);
                }
            }
        }
        self.settle(env);
        true
    }
}

/// Records in pages of about the same size.
fn packed(records: &[Bytes]) -> Vec<Bytes> {
    let mut pages = Vec::new();
    let mut page: Vec<&Bytes> = Vec::new();
    let mut bytes = 0;
    let close = |page: &mut Vec<&Bytes>| {
        let mut w = ValueWriter::new(VERSION, 64).varint(page.len() as u64);
        for record in page.drain(..) {
            w = w.bytes(record);
        }
        w.finish()
    };
    for record in records {
        if bytes > 0 && bytes + record.len() > limits::PAGE_BYTES {
            pages.push(close(&mut page));
            bytes = 0;
        }
        bytes += record.len();
        page.push(record);
    }
    pages.push(close(&mut page));
    pages
}

fn read(page: &[u8], key: &[u8; 32]) -> Result<Vec<Record>, RowError> {
    let (version, mut r) = Fields::open(page)?;
    if version != VERSION {
        return Err(RowError);
    }
    let mut records = Vec::new();
    for _ in 0..r.varint()? {
        let (version, mut record) = Fields::open(r.bytes()?)?;
        if version != VERSION {
            return Err(RowError);
        }
        records.push(match record.u8()? {
            WINDOW => {
                let source = u16::try_from(record.varint()?).map_err(|_| RowError)?;
                Record::Window(ShardId(source), Epoch(record.varint()?), record.varint()?)
            }
            CLOCK => Record::Clock(record.varint()?),
            SESSION => {
                let snapshot = Snapshot::open(key, record.bytes()?).ok_or(RowError)?;
                Record::Session(Box::new(snapshot))
            }
            _ => return Err(RowError),
        });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_closed_when_it_has_so_many_bytes() {
        for (more, pages) in [(0, 1), (1, 2)] {
            let half = Bytes::from(vec![7; limits::PAGE_BYTES / 2]);
            let rest = Bytes::from(vec![7; limits::PAGE_BYTES - limits::PAGE_BYTES / 2 + more]);
            assert_eq!(packed(&[half, rest]).len(), pages, "{more}");
        }
        assert_eq!(packed(&[]).len(), 1, "a shard without sessions has a page, too");
    }
}
