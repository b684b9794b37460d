//! Inputs that wait in front of a shard: until control names this worker its owner, until its claim
//! is done, until its batch has room, until there is a lease.
//!
//! What somebody asks again or sends again is bounded by bytes, and refused beyond them. What edges
//! say of sessions is never left out, for nobody says it twice to one owner: it is bounded by what
//! sessions may hold. Where even that is too much, the shard falls, and is granted anew: edges
//! then report to its next owner, under the next epoch.

use std::collections::VecDeque;

use peer::{Between, ConnId, Down, Epoch, Owner, ShardId, Up};
use xmpp::error::StreamCondition;

use super::{Output, Worker};
use crate::admin;
use crate::limits::{BACKLOG_BYTES_MAX, CLAIM_BYTES_MAX};
use crate::shard;

/// What waits, in order.
#[derive(Default)]
pub(super) struct Waiting {
    queue: VecDeque<shard::Input>,
    bytes: usize,
}

impl Waiting {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts something behind what waits. Given back if there is no room for it.
    pub(super) fn push(&mut self, input: shard::Input) -> Option<shard::Input> {
        if self.bytes + input.bytes() > BACKLOG_BYTES_MAX && comes_again(&input) {
            return Some(input);
        }
        self.bytes += input.bytes();
        self.queue.push_back(input);
        None
    }

    /// Takes what is next.
    pub(super) fn pop(&mut self) -> Option<shard::Input> {
        let input = self.queue.pop_front()?;
        self.bytes -= input.bytes();
        if self.queue.is_empty() {
            // A shard at rest holds no queue.
            self.queue = VecDeque::new();
        }
        Some(input)
    }

    /// Whether so much waits that the shard is not to be served with it.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes > CLAIM_BYTES_MAX
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Whether whoever is refused comes again: other shards with their windows, clients, operators.
fn comes_again(input: &shard::Input) -> bool {
    match input {
        shard::Input::Up(frame) => asks(frame).is_some(),
        shard::Input::Between(Between::Pass(_)) | shard::Input::Admin(..) => true,
        _ => false,
    }
}

/// The connection that waits for an answer to a frame, where no session is bound.
fn asks(frame: &Up) -> Option<ConnId> {
    match frame {
        Up::Challenge { conn, .. }
        | Up::Verify { conn, .. }
        | Up::Bind { conn, .. }
        | Up::Resume { conn, .. } => Some(*conn),
        _ => None,
    }
}

impl Worker {
    /// Answers what finds no room before a shard. A parcel is not answered, but sent again.
    pub(super) fn refuse(&mut self, id: ShardId, epoch: Epoch, input: shard::Input) {
        match input {
            shard::Input::Up(frame) => {
                if let Some(conn) = asks(&frame) {
                    self.owed.told(conn);
                    let owner = Owner { shard: id, epoch };
                    let condition = StreamCondition::ResourceConstraint;
                    self.out.push_back(Output::Down(owner, conn, Down::Close { condition }));
                }
            }
            shard::Input::Admin(ticket, _) => {
                self.owed.answered(ticket);
                let reply = admin::Reply::Failed(admin::Failure::Store);
                self.out.push_back(Output::Admin(ticket, reply));
            }
            _ => {}
        }
    }
}
