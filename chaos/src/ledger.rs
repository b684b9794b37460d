//! What clients did and what the store holds: the facts that invariants are checked against. It is
//! kept outside of the engine, from what clients see and from what commits write.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kv::{Batch, Mutation};
use peer::{SessionId, ShardId};
use session::keys::{self, Entity};
use session::rows::{Cursor, LogRow};
use xmpp::jid::Jid;

use crate::invariants::{self, Checked};
use crate::sim::queue::Proc;

/// An account of the simulation.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its bare JID.
    pub jid: Jid,
    /// What its keys begin with.
    pub entity: Entity,
    /// Who owns it.
    pub shard: ShardId,
}

/// How far a message is for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The sender will send it until it is acknowledged.
    Trying,
    /// It was acknowledged.
    Acknowledged,
    /// The sender has gone without waiting for that.
    GivenUp,
}

/// A message with a body, by its number.
#[derive(Clone, Debug)]
pub struct Message {
    /// The client that sends it.
    pub client: usize,
    /// Its account.
    pub from: usize,
    /// The account that it is for.
    pub to: usize,
    /// It is sent to a resource of that account.
    pub full: bool,
    /// How far it is.
    pub fate: Fate,
    /// The rows of the sender's log that hold it.
    pub sent_rows: BTreeSet<u64>,
    /// The rows of the recipient's log that hold it.
    pub kept_rows: BTreeSet<u64>,
    /// Which clients of the recipient got it, and in which session.
    pub received: Vec<(usize, SessionId)>,
    /// An error came back for it.
    pub bounced: bool,
}

/// One row of a log.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which message it holds.
    pub message: usize,
    /// It is in the sender's log because it was sent.
    pub outgoing: bool,
    /// The row without how its message came in.
    what: Bytes,
}

/// All facts.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The messages.
    pub messages: Vec<Message>,
    /// The log of each account as the store holds it.
    pub logs: Vec<BTreeMap<u64, Row>>,
    /// Who owned what.
    pub fence: invariants::fence::Fence,
    /// What each session got.
    pub sessions: BTreeMap<SessionId, invariants::durable::Live>,
    /// What owners know to have been taken.
    pub taken: invariants::repeats::Taken,
    /// Up to which entry of its log each account's cursor was written.
    cursors: BTreeMap<usize, u64>,
}

impl Ledger {
    /// No facts about these accounts.
    pub fn new(accounts: Vec<Account>) -> Self {
        let logs = accounts.iter().map(|_| BTreeMap::new()).collect();
        Self { accounts, logs, ..Self::default() }
    }

    /// A client begins to send a message; its number.
    pub fn send(&mut self, client: usize, from: usize, to: usize, full: bool) -> usize {
        self.messages.push(Message {
            client,
            from,
            to,
            full,
            fate: Fate::Trying,
            sent_rows: BTreeSet::new(),
            kept_rows: BTreeSet::new(),
            received: Vec::new(),
            bounced: false,
        });
        self.messages.len() - 1
    }

    /// The store has applied a batch of a worker.
    ///
    /// # Errors
    /// What the batch breaks.
    pub fn applied(&mut self, by: Proc, batch: &Batch) -> Checked {
        self.fence.applied(by, batch, &self.accounts)?;
        for mutation in batch.mutations() {
            if let Mutation::Set(key, _) = mutation
                && let Some(shard) = invariants::fence::epoch_of(key)
            {
                self.taken.claimed(shard);
            }
            if let Mutation::Set(key, value) = mutation
                && key.get(17) == Some(&keys::tag::CURSOR)
                && let Some(account) = self.account_of(key)
                && let Ok(cursor) = Cursor::decode(value)
            {
                self.cursors.insert(account, cursor.head);
            }
            if let Mutation::Set(key, value) = mutation
                && let Some(id) = keys::log_id(key)
                && let Some(account) = self.account_of(key)
                && let Ok(row) = LogRow::decode(value)
                && let Some(message) = row.id.and_then(number)
            {
                // How it came may change: it may be sent again in another session.
                let what = LogRow { ingest: None, confirmed: 0, ..row.clone() }.encode();
                let row = Row { message, outgoing: row.outgoing, what };
                self.row(account, id, row)?;
            }
        }
        Ok(())
    }

    fn account_of(&self, key: &[u8]) -> Option<usize> {
        self.accounts.iter().position(|a| key.get(1..17) == Some(a.entity.bytes()))
    }

    /// A worker stored what it knew and stopped.
    pub fn stored(&mut self, by: Proc) {
        let (messages, logs, cursors) = (&self.messages, &self.logs, &self.cursors);
        let whole = |message: usize| {
            let Some(account) = messages.get(message).map(|message| message.to) else {
                return false;
            };
            let last = logs[account].last_key_value().map(|(id, _)| *id);
            last <= cursors.get(&account).copied()
        };
        self.taken.stored(|shard| self.fence.owns(by, shard), whole);
    }

    fn row(&mut self, account: usize, id: u64, row: Row) -> Checked {
        if let Some(there) = self.logs[account].get(&id) {
            return invariants::once::rewritten(there.what == row.what, account, id, &row);
        }
        invariants::once::row(self, account, id, &row)?;
        invariants::order::row(self, account, id, &row)?;
        let message = &mut self.messages[row.message];
        if row.outgoing { &mut message.sent_rows } else { &mut message.kept_rows }.insert(id);
        self.logs[account].insert(id, row);
        Ok(())
    }
}

/// The number of a message whose stanza has this id.
pub fn number(id: &str) -> Option<usize> {
    id.strip_prefix('m')?.parse().ok()
}
