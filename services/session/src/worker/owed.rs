//! Answers that shards owe: to connections that wait for one, and to operators. A shard that is
//! dropped does not give them any more, and its own memory cannot be asked.

use std::collections::BTreeMap;

use peer::{ConnId, Down, Epoch, Owner, ShardId, Up};
use xmpp::error::StreamCondition;

use super::Output;
use crate::admin;

/// Who waits for which shard.
#[derive(Default)]
pub(super) struct Owed {
    conns: BTreeMap<ConnId, ShardId>,
    admins: BTreeMap<u64, ShardId>,
}

impl Owed {
    /// A frame goes to a shard: whoever asks waits from here on.
    pub(super) fn asks(&mut self, id: ShardId, frame: &Up) {
        if let Up::Challenge { conn, .. }
        | Up::Verify { conn, .. }
        | Up::Bind { conn, .. }
        | Up::Resume { conn, .. } = frame
        {
            self.conns.insert(*conn, id);
        }
    }

    /// An operator asks.
    pub(super) fn admin(&mut self, id: ShardId, ticket: u64) {
        self.admins.insert(ticket, id);
    }

    /// A connection is told something: all but stanzas is an answer, or the end.
    pub(super) fn tells(&mut self, conn: ConnId, frame: &Down) {
        if !self.conns.is_empty() && !matches!(frame, Down::Stanza { .. } | Down::Handled { .. }) {
            self.told(conn);
        }
    }

    /// A connection has its answer.
    pub(super) fn told(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// An operator has an answer.
    pub(super) fn answered(&mut self, ticket: u64) {
        self.admins.remove(&ticket);
    }

    /// A shard will not answer: what to tell instead.
    pub(super) fn settle(&mut self, id: ShardId) -> Vec<Output> {
        let condition = StreamCondition::Reset;
        let conns = self.conns.extract_if(.., |_, of| *of == id);
        let owner = Owner { shard: id, epoch: Epoch(0) };
        let mut all: Vec<Output> =
            conns.map(|(conn, _)| Output::Down(owner, conn, Down::Close { condition })).collect();
        let failed = admin::Reply::Failed(admin::Failure::Store);
        let admins = self.admins.extract_if(.., |_, of| *of == id);
        all.extend(admins.map(|(ticket, _)| Output::Admin(ticket, failed.clone())));
        all
    }
}
