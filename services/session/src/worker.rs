//! One worker: many shards, one mailbox, one commit in flight for all of them (design: "Single
//! writer, group commit").
//!
//! Pure. The driver gives it inputs until its mailbox is empty, then takes outputs until there is
//! none; so a wake-up serves many events, and a batch forms by itself. The rules of commits are
//! here: what a conflict, an unknown result and a store that is away mean, and what a shard must
//! read and write before it serves.

mod claim;
mod cluster;
mod deadlines;
mod fall;
mod giving;
mod group;
mod held;
mod lease;
mod owed;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kv::{Batch, CommitError, ReadError, Reads, Rows};
use peer::moving::HandOver;
use peer::{Between, Complete, ConnId, Down, Epoch, NodeId, Owner, Page, ShardId, Up};

use self::claim::Claim;
use self::cluster::Cluster;
use self::deadlines::Deadlines;
use self::fall::{Fallen, guarded};
use self::giving::Giving;
use self::group::Flight;
use self::lease::Proof;
use self::owed::Owed;
use self::waiting::Waiting;
use crate::admin;
use crate::config::Config;
use crate::shard::{self, Env, Note, Shard};

/// What a worker takes.
#[derive(Debug)]
pub enum Input {
    /// A frame from the edge of this node.
    Up(ShardId, Up),
    /// A frame from an edge of the cluster, for the owner under this epoch.
    Remote(ShardId, Epoch, Up),
    /// A frame from a shard of another worker.
    Between(Between),
    /// Control gives this worker a shard, under this epoch. The edges are those that may have
    /// sessions of it: all that are alive. On a node of its own nobody gives anything: all shards
    /// are this node's.
    Granted(ShardId, Epoch, Vec<NodeId>),
    /// Control has given a shard to another worker, under this epoch.
    Lost(ShardId, Epoch),
    /// An edge has reported all its sessions of a shard.
    Complete(Complete),
    /// Control moves a shard away from this worker: its memory is to go to the next owner.
    GiveUp(ShardId),
    /// Nothing comes of such a move: the shard stays.
    KeepOn(ShardId),
    /// Memory of a shard that control may grant to this worker.
    Page(Page),
    /// The next owner of a shard answers its owner, who has this epoch.
    HandOver(ShardId, Epoch, HandOver),
    /// An edge was declared dead: its connections are gone, and nothing of it is heard any more. A
    /// link to it that breaks is not that: links lose nothing as long as both processes live, so
    /// nobody tells an owner of it.
    Gone(NodeId),
    /// An operator's request for the owner of a shard.
    Admin(ShardId, u64, admin::Request),
    /// The rows of an [`Output::Read`].
    Rows(u64, Result<Rows, ReadError>),
    /// What became of an [`Output::Commit`], by its operation id.
    Committed(u64, Result<(), CommitError>),
    /// The time of [`Worker::deadline`] has come.
    Timeout,
    /// Store what can be resumed, and stop.
    Stop,
}

/// What a worker wants done.
#[derive(Debug)]
pub enum Output {
    /// Read rows and give them back with the number.
    Read(u64, Reads),
    /// Commit a batch and say by its operation id what became of it.
    Commit(Batch),
    /// Hand a frame to a connection, from the owner of this shard.
    Down(Owner, ConnId, Down),
    /// Hand a frame to a shard of another worker.
    Between(Between),
    /// Hand memory of a shard to its next owner.
    Page(Page),
    /// Answer the owner of a shard, who has this epoch, about its pages.
    HandOver(ShardId, Epoch, HandOver),
    /// Answer an operator.
    Admin(u64, admin::Reply),
    /// Say something to the log.
    Note(Note),
    /// A shard panicked with these words, and was dropped; it is opened again from the store. In a
    /// cluster it waits for control to grant it anew.
    Fallen(ShardId, String),
    /// After [`Input::Stop`]: everything of this worker is stored. It goes on serving the shards of
    /// others, which may have to hear from it before they are through, until all have said so.
    Stopped,
}

/// A shard, or what it needs before it is one.
enum Slot {
    Claiming(Claim),
    /// Served; what came while its batch was full waits behind it.
    Owned(Box<Shard>, Waiting),
}

/// Who asked for rows.
enum Asker {
    Shard(ShardId, u64),
    Claim(ShardId),
    Settle,
    Lease(Proof),
}

/// Many shards.
pub struct Worker {
    config: Arc<Config>,
    /// Which of how many workers of this node this is: shard `s` is at worker `s mod count`.
    index: u16,
    count: u16,
    /// What a worker of a cluster knows of ownership.
    cluster: Option<Box<Cluster>>,
    /// It has no lease: nothing is delivered or accepted.
    lapsed: bool,
    slots: BTreeMap<ShardId, Slot>,
    /// Shards that are being given up.
    giving: BTreeMap<ShardId, Giving>,
    /// Shards that may have something to commit.
    dirty: BTreeSet<ShardId>,
    flight: Option<Flight>,
    /// Shards of a group that the store did not take: each is offered alone.
    alone: VecDeque<ShardId>,
    claims: BTreeMap<u64, ShardId>,
    askers: BTreeMap<u64, Asker>,
    asked: u64,
    /// Operation ids are above those of all earlier runs: they begin at the time of the start.
    op_id: u64,
    deadlines: Deadlines,
    /// The last shard whose batch went into a group: the next group begins behind it.
    turn: ShardId,
    /// Shards that panicked.
    fallen: BTreeMap<ShardId, Fallen>,
    /// Who waits for an answer of which shard.
    owed: Owed,
    /// The steady time of the last input.
    now: u64,
    /// Frames between shards of this worker.
    inside: VecDeque<Between>,
    out: VecDeque<Output>,
    stop: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Asked,
    Done,
}

impl Worker {
    /// Worker `index` of `count`, started at `now` (microseconds since 1970).
    pub fn new(config: Arc<Config>, index: u16, count: u16, now: u64) -> Self {
        let cluster = config.cluster.as_ref().map(|_| Box::default());
        Self {
            config,
            index,
            count,
            lapsed: cluster.is_some(),
            cluster,
            slots: BTreeMap::new(),
            giving: BTreeMap::new(),
            dirty: BTreeSet::new(),
            flight: None,
            alone: VecDeque::new(),
            claims: BTreeMap::new(),
            askers: BTreeMap::new(),
            asked: 0,
            op_id: now,
            deadlines: Deadlines::default(),
            turn: ShardId(0),
            fallen: BTreeMap::new(),
            owed: Owed::default(),
            now: 0,
            inside: VecDeque::new(),
            out: VecDeque::new(),
            stop: Stop::No,
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, env: &mut Env<'_>) {
        self.now = env.steady;
        self.look_at_lease(env);
        match input {
            Input::Up(shard, frame) => {
                self.owed.asks(shard, &frame);
                self.give(shard, shard::Input::Up(frame), env);
            }
            Input::Between(frame) => self.take_between(frame, env),
            Input::Remote(shard, epoch, frame) => {
                self.give_to(shard, epoch, shard::Input::Up(frame), env);
            }
            Input::Granted(shard, epoch, edges) => self.granted(shard, epoch, edges, env),
            Input::Lost(shard, epoch) => self.lost(shard, epoch, env),
            Input::Complete(complete) => self.complete(complete, env),
            Input::GiveUp(shard) => self.give_up(shard, env),
            Input::KeepOn(shard) => self.keep_on(shard, env),
            Input::Page(page) => self.page(page),
            Input::HandOver(shard, epoch, said) => self.handed_over(shard, epoch, said, env),
            Input::Admin(shard, ticket, request) => {
                self.owed.admin(shard, ticket);
                self.give(shard, shard::Input::Admin(ticket, request), env);
            }
            Input::Gone(edge) => {
                let all: Vec<ShardId> = self.slots.keys().copied().collect();
                for shard in all {
                    self.give(shard, shard::Input::Gone(edge), env);
                }
            }
            Input::Rows(number, rows) => self.rows(number, rows, env),
            Input::Committed(op_id, result) => self.committed(op_id, result, env),
            Input::Timeout => self.timeout(env),
            Input::Stop => {
                self.stop = Stop::Asked;
                for shard in self.owned() {
                    self.give(shard, shard::Input::Stop, env);
                }
            }
        }
        while let Some(frame) = self.inside.pop_front() {
            self.take_between(frame, env);
        }
    }

    /// The next thing to do; call it until it gives nothing, after the mailbox was emptied.
    pub fn poll(&mut self) -> Option<Output> {
        if self.out.is_empty() {
            self.commit();
            self.check_stop();
        }
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due, by the steady clock.
    pub fn deadline(&self) -> Option<u64> {
        let retry = self.flight.as_ref().and_then(Flight::retry_at);
        let lease = self.cluster.as_ref().map(|cluster| cluster.lease.next);
        self.deadlines.next().into_iter().chain(retry).chain(lease).chain(self.giving_until()).min()
    }

    /// The shards that it serves.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.slots.values().filter_map(|slot| match slot {
            Slot::Owned(shard, _) => Some(&**shard),
            Slot::Claiming(_) => None,
        })
    }

    /// Whether frames for a shard come to this worker.
    fn is_here(&self, id: ShardId) -> bool {
        self.cluster.is_some() || id.0 % self.count == self.index
    }

    fn owned(&self) -> Vec<ShardId> {
        self.shards().map(Shard::id).collect()
    }

    /// Gives an input to a shard, which is claimed first if it is not served yet.
    fn give(&mut self, id: ShardId, input: shard::Input, env: &mut Env<'_>) {
        debug_assert!(self.is_here(id), "a frame came to the wrong worker");
        if !self.giving.is_empty() && self.giving.contains_key(&id) {
            return self.give_given(id, input, env);
        }
        match self.slots.get_mut(&id) {
            Some(Slot::Owned(shard, backlog)) => {
                // What brings new work waits while the batch is full, or while it is not known
                // whose the shard is; what ends work never does.
                if input.is_work() && (self.lapsed || shard.is_full() || !backlog.is_empty()) {
                    if let Some(input) = backlog.push(input) {
                        let epoch = shard.epoch();
                        self.refuse(id, epoch, input);
                    }
                    return;
                }
                match guarded(shard, |shard| shard.handle(input, env)) {
                    Ok(()) => self.collect(id),
                    Err(panic) => self.fall(id, panic.as_ref()),
                }
            }
            Some(Slot::Claiming(_)) => self.wait(id, input),
            // After a stop nothing new is begun, but what other workers have begun is ended.
            None if self.cluster.is_some() => {
                if let shard::Input::Admin(ticket, _) = input {
                    let moved = admin::Reply::Failed(admin::Failure::Moved);
                    self.owed.answered(ticket);
                    self.out.push_back(Output::Admin(ticket, moved));
                }
            }
            None if self.stop == Stop::No || matches!(input, shard::Input::Between(_)) => {
                self.slots.insert(id, Slot::Claiming(Claim::new(id)));
                self.wait(id, input);
                self.read_claim(id);
            }
            None => {}
        }
    }

    /// Takes what a shard wants done.
    fn collect(&mut self, id: ShardId) {
        let Some(Slot::Owned(shard, _)) = self.slots.get_mut(&id) else { return };
        while let Some(output) = shard.poll() {
            match output {
                shard::Output::Read(ticket, reads) => {
                    self.asked += 1;
                    self.askers.insert(self.asked, Asker::Shard(id, ticket));
                    self.out.push_back(Output::Read(self.asked, reads));
                }
                shard::Output::Down(conn, frame) => {
                    self.owed.tells(conn, &frame);
                    let owner = Owner { shard: id, epoch: shard.epoch() };
                    let output = Output::Down(owner, conn, frame);
                    match &mut self.cluster {
                        Some(cluster) if self.lapsed => cluster.held.push(id, output),
                        _ => self.out.push_back(output),
                    }
                }
                shard::Output::Between(mut frame) => match &mut self.cluster {
                    None if frame.target().0 % self.count == self.index => {
                        self.inside.push_back(frame);
                    }
                    None => self.out.push_back(Output::Between(frame)),
                    Some(cluster) if self.lapsed => cluster.held.push(id, Output::Between(frame)),
                    Some(cluster) => {
                        cluster.address(&mut frame);
                        self.out.push_back(Output::Between(frame));
                    }
                },
                shard::Output::Admin(ticket, reply) => {
                    self.owed.answered(ticket);
                    self.out.push_back(Output::Admin(ticket, reply));
                }
                shard::Output::Note(note) => self.out.push_back(Output::Note(note)),
            }
        }
        if shard.has_batch() {
            self.dirty.insert(id);
        }
        self.deadlines.set(id, shard.deadline());
        if !self.giving.is_empty() {
            self.give_pages(id);
        }
    }

    /// Lets a shard decide what waited while its batch was full.
    fn go_on(&mut self, id: ShardId, env: &mut Env<'_>) {
        while !self.lapsed
            && !self.giving.contains_key(&id)
            && let Some(Slot::Owned(shard, backlog)) = self.slots.get_mut(&id)
            && !shard.is_full()
            && let Some(input) = backlog.pop()
        {
            self.step(id, |shard| shard.handle(input, env));
        }
        self.collect(id);
    }

    fn rows(&mut self, number: u64, rows: Result<Rows, ReadError>, env: &mut Env<'_>) {
        match self.askers.remove(&number) {
            Some(Asker::Shard(id, ticket)) => {
                self.give(id, shard::Input::Rows(ticket, rows), env);
            }
            Some(Asker::Claim(id)) => self.claim_read(id, rows, env),
            Some(Asker::Settle) => self.settled(rows, env),
            Some(Asker::Lease(proof)) => self.refreshed(&proof, rows, env),
            None => {}
        }
    }

    fn timeout(&mut self, env: &mut Env<'_>) {
        let now = env.steady;
        for id in self.deadlines.due(now) {
            match self.slots.get(&id) {
                Some(Slot::Claiming(_)) => self.retry_claim(id),
                Some(Slot::Owned(..)) => self.give(id, shard::Input::Timeout, env),
                None => self.deadlines.set(id, None),
            }
        }
        self.begin_claims();
        self.end_giving(env);
        self.retry_flight(now);
        self.refresh(env);
    }

    fn check_stop(&mut self) {
        let settled = self.stop == Stop::Asked
            && self.flight.is_none()
            && self.alone.is_empty()
            && self.dirty.is_empty()
            && self.shards().all(Shard::is_stopped);
        if settled && self.out.is_empty() {
            self.stop = Stop::Done;
            self.out.push_back(Output::Stopped);
        }
    }
}
