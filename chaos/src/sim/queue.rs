//! What happens next, in the order of its time.

use std::collections::BTreeMap;

use kv::{Batch, CommitError, ReadError, Reads, Rows};
use peer::moving::HandOver;
use peer::{Between, Complete, ConnId, Down, Epoch, NodeId, Page, ShardId, Up};
use session::worker::Input;

use super::control::Decision;

/// A worker in one incarnation: the number is that of its place.
pub type Proc = NodeId;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The edge of this index.
    Edge(usize),
    /// A worker.
    Worker(Proc),
    /// Control, in a cluster.
    Control,
}

/// What goes over a link.
#[derive(Clone, Debug)]
pub enum Frame {
    /// From an edge.
    Up(ShardId, Up),
    /// To an edge.
    Down(ConnId, Epoch, Down),
    /// From a worker to a worker.
    Between(Between),
    /// From an edge, to the owner under an epoch.
    Remote(ShardId, Epoch, Up),
    /// An edge has reported a shard.
    Complete(Complete),
    /// Memory of a shard, from its owner to the next one.
    Page(Page),
    /// The next owner answers.
    HandOver(ShardId, Epoch, HandOver),
    /// From control.
    Control(Decision),
}

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// A frame arrives, if its link is still the one it was sent on.
    Frame { from: End, to: End, link: u64, frame: Frame },
    /// A worker is told something by its own node.
    Tell(Proc, Input),
    /// A worker empties its mailbox.
    Run(Proc),
    /// A worker's deadline has come.
    Wake(Proc),
    /// The store makes a read.
    Read(Proc, u64, Reads),
    /// The store's answer to a read arrives.
    Rows(Proc, u64, Result<Rows, ReadError>),
    /// The store carries out a commit.
    Commit(Proc, Batch),
    /// The store's answer to a commit arrives.
    Committed(Proc, u64, Result<(), CommitError>),
    /// An edge or a worker's node learns who the worker of a place is.
    View(End, u32),
    /// A worker of this place is started.
    Start(u32),
    /// An old worker is dropped.
    Drop(Proc),
    /// A dead edge is back.
    Edge(usize),
    /// A link is whole again.
    Link(End, End),
    /// The store answers again.
    Store,
    /// A client does something, if it is still in the state it was in.
    Client(usize, u64),
    /// Control takes a router for dead.
    Dead(Proc),
    /// Control takes an edge for dead.
    EdgeDead(NodeId),
    /// A router gets shards.
    Rebalance(Proc),
    /// A router that cannot reach the store has lost its lease.
    LeaseEnds(Proc),
    /// A router reaches the store again.
    Back(Proc),
    /// Control gives a planned move up that has not come to its end.
    MoveEnds(ShardId, Epoch),
    /// Something goes wrong.
    Fault,
}

/// Events to come.
#[derive(Debug, Default)]
pub struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
}

impl Queue {
    /// Adds an event at a time.
    pub fn put(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    /// Takes the next event and its time.
    pub fn take(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }

    /// When the next event is.
    pub fn next_at(&self) -> Option<u64> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }
}
