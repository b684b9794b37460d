//! A node: one worker of the engine, its mailbox and its clock. This is what the router's driver
//! does, without a thread.

use peer::{Between, ConnId, Down, Epoch, NodeId, SessionId, ShardId, Up};
use session::attachment::orphaned;
use session::shard::Env;
use session::worker::{Input, Output, Worker};

use super::control::Map;
use super::queue::{End, Event, Frame, Proc};
use super::store::name;
use super::tamper::Tamper;
use super::{BEGIN_US, KEY, PLACES, World};
use crate::invariants::{Checked, durable, hold, lease};
use crate::ledger::number;

/// What steady clocks show when a run begins: they begin anywhere.
const STEADY_US: u64 = 5_000_000;

/// A worker and what its node keeps for it.
pub(crate) struct Node {
    pub(crate) worker: Worker,
    inbox: Vec<Input>,
    /// It will empty its mailbox.
    called: bool,
    /// When it is woken, in the time of the run.
    wake_at: Option<u64>,
    /// Its clock, against that of the run.
    ahead: u64,
    /// Whom it takes for the worker of the other place.
    pub(crate) other: Option<Proc>,
    /// Whom it takes for the owner of each shard, in a cluster.
    pub(crate) map: Map,
    /// Until when its process stands still.
    pub(crate) paused_until: u64,
    pub(crate) stopping: bool,
}

impl World {
    /// Starts a worker of a place.
    pub(crate) fn start(&mut self, place: u32) {
        if self.present[place as usize].is_some() {
            return;
        }
        self.launch(place);
    }

    /// Starts a worker of a place, whether or not there is one.
    pub(crate) fn launch(&mut self, place: u32) {
        let proc = self.launch_worker(place, PLACES as u16);
        let at = place as usize;
        if let Some(node) = self.nodes.get_mut(&proc) {
            node.other = self.present[1 - at];
        }
        self.present[at] = Some(proc);
        self.announce(place);
    }

    /// Starts one of `count` workers, between which shards are divided by their numbers.
    pub(crate) fn launch_worker(&mut self, place: u32, count: u16) -> Proc {
        let at = place as usize;
        self.incarnations[at] += 1;
        let proc = NodeId { number: place, incarnation: self.incarnations[at] };
        let ahead = self.rng.below(self.plan.skew_us + 1);
        let begin = BEGIN_US + self.now + self.jumped + ahead;
        let worker = Worker::new(self.config.clone(), place as u16 % count, count, begin);
        let node = Node {
            worker,
            inbox: Vec::new(),
            called: false,
            wake_at: None,
            ahead,
            other: None,
            map: Map::new(),
            paused_until: 0,
            stopping: false,
        };
        self.nodes.insert(proc, node);
        if self.options.cluster {
            // It asks for its lease from the start.
            self.queue.put(self.now, Event::Run(proc));
        }
        self.note(|| format!("{} starts, its clock is {ahead} us ahead", name(proc)));
        proc
    }

    /// Everybody learns of a place's worker, sooner or later.
    pub(crate) fn announce(&mut self, place: u32) {
        let workers: Vec<Proc> = self.nodes.keys().copied().collect();
        let edges = (0..self.edges.len()).map(End::Edge);
        for end in edges.chain(workers.into_iter().map(End::Worker)) {
            let at = self.now + self.rng.about(300_000);
            self.queue.put(at, Event::View(end, place));
        }
    }

    /// Somebody learns who the worker of a place is.
    pub(crate) fn view(&mut self, end: End, place: u32) {
        let present = self.present[place as usize];
        match end {
            End::Control => {}
            End::Edge(edge) => self.edge_view(edge, place, present),
            End::Worker(proc) => {
                if let Some(node) = self.nodes.get_mut(&proc)
                    && proc.number != place
                {
                    node.other = present;
                }
            }
        }
    }

    /// A worker is gone, with all that it had in memory.
    pub(crate) fn kill(&mut self, proc: Proc, why: &str) {
        if self.nodes.remove(&proc).is_none() {
            return;
        }
        self.note(|| format!("{} {why}", name(proc)));
        self.links.forget(End::Worker(proc));
        self.away.remove(&proc);
        if self.options.cluster {
            // Edges keep their connections, and wait for the next owner.
            return;
        }
        let at = proc.number as usize;
        if self.present[at] == Some(proc) {
            self.present[at] = None;
            self.announce(proc.number);
        }
        // Whoever held a connection to it sees it break.
        for edge in 0..self.edges.len() {
            self.edge_lost_worker(edge, proc);
        }
    }

    /// Puts something into a worker's mailbox.
    pub(crate) fn tell(&mut self, proc: Proc, input: Input) {
        let Some(node) = self.nodes.get_mut(&proc) else { return };
        node.inbox.push(input);
        if !node.called {
            node.called = true;
            let at = self.now + self.rng.below(self.plan.wake_us + 1);
            self.queue.put(at, Event::Run(proc));
        }
    }

    /// A frame of an edge arrives.
    pub(crate) fn up_arrives(&mut self, proc: Proc, shard: ShardId, frame: Up) {
        self.tell(proc, Input::Up(shard, frame));
    }

    /// A worker's deadline has come.
    pub(crate) fn wake(&mut self, proc: Proc) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&proc) else { return };
        if node.wake_at.is_some_and(|at| at <= now) {
            node.wake_at = None;
            if !node.called {
                node.called = true;
                self.queue.put(now, Event::Run(proc));
            }
        }
    }

    /// A worker empties its mailbox and does all that follows.
    pub(crate) fn run_worker(&mut self, proc: Proc) -> Checked {
        let paused = self.nodes.get(&proc).map_or(0, |node| node.paused_until);
        if paused > self.now {
            self.queue.put(paused, Event::Run(proc));
            return Ok(());
        }
        let Some(mut node) = self.nodes.remove(&proc) else { return Ok(()) };
        node.called = false;
        let now = BEGIN_US + self.now + self.jumped + node.ahead;
        let steady = self.now + STEADY_US;
        let mut outputs = Vec::new();
        {
            let rng = &mut self.rng;
            let mut random = || rng.wide();
            let mut env = Env { now, steady, random: &mut random };
            if node.worker.deadline().is_some_and(|at| at <= steady) {
                node.worker.handle(Input::Timeout, &mut env);
            }
            for input in node.inbox.drain(..) {
                let stopping = node.stopping || !self.ledger.fence.owns(proc, shard_of(&input));
                if let Some((shard, session, number)) = takes(&node.worker, &input)
                    && !stopping
                {
                    self.ledger.taken.told(shard, session, number);
                }
                node.worker.handle(input, &mut env);
            }
            while let Some(output) = node.worker.poll() {
                outputs.push(output);
            }
        }
        let deadline = node.worker.deadline();
        if let Some(at) = deadline {
            // A deadline that has passed is looked at again soon, not in the same moment for ever.
            let at = (self.now + at.saturating_sub(steady)).max(self.now + 1);
            if node.wake_at.is_none_or(|before| at < before) {
                node.wake_at = Some(at);
                self.queue.put(at, Event::Wake(proc));
            }
        }
        let other = node.other;
        self.nodes.insert(proc, node);
        for output in outputs {
            self.carry_out(proc, other, output)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, proc: Proc, other: Option<Proc>, output: Output) -> Checked {
        match output {
            Output::Read(number, reads) => self.ask_read(proc, number, reads),
            Output::Commit(batch) => self.ask_commit(proc, batch),
            Output::Down(owner, conn, frame) => {
                return self.down(proc, conn, owner.epoch, frame);
            }
            Output::Between(frame) => self.between(proc, other, frame),
            Output::Page(page) => {
                if let Some((_, to)) = self.control.moves.get(&page.shard).copied() {
                    self.send(End::Worker(proc), End::Worker(to), Frame::Page(page));
                }
            }
            Output::HandOver(shard, epoch, said) => self.hand_over(proc, shard, epoch, said),
            Output::Admin(..) | Output::Note(_) => {}
            Output::Fallen(shard, panic) => {
                self.note(|| format!("{} loses shard {}: {panic}", name(proc), shard.0));
                self.ledger.taken.fell(shard);
                if self.options.panics {
                    self.fallen += 1;
                    if self.control.map.get(&shard).is_some_and(|(owner, _)| *owner == proc) {
                        self.grant(shard, proc);
                    }
                } else {
                    return hold(false, "panic", || format!("shard {}: {panic}", shard.0));
                }
            }
            Output::Stopped => {
                self.ledger.stored(proc);
                self.kill(proc, "has stored its sessions and stopped");
                if self.options.cluster {
                    self.router_dies(proc);
                }
                let at = self.now + self.rng.about(500_000);
                self.queue.put(at, Event::Start(proc.number));
            }
        }
        Ok(())
    }

    fn between(&mut self, proc: Proc, other: Option<Proc>, mut frame: Between) {
        self.note(|| format!("{} says {}", name(proc), between_text(&frame)));
        match (self.options.tamper, &mut frame) {
            (Some(Tamper::ForgetRetry), Between::Pass(pass)) => pass.retry = false,
            (Some(Tamper::ForgetEpoch), Between::Pass(pass)) => {
                pass.source_epoch = Epoch(u64::from(u32::MAX));
            }
            (Some(Tamper::ConfirmAtOnce), Between::Pass(pass)) => {
                let ack = Between::Ack(peer::Ack {
                    source: pass.target,
                    source_epoch: Epoch(1),
                    target: pass.source,
                    target_epoch: pass.source_epoch,
                    number: pass.number,
                });
                self.queue.put(self.now + 1, Event::Tell(proc, Input::Between(ack)));
            }
            _ => {}
        }
        let map = self.nodes.get(&proc).map(|node| &node.map).filter(|_| self.options.cluster);
        let to = match map {
            Some(map) => map.get(&frame.target()).map(|(owner, _)| *owner),
            None => other,
        };
        if to == Some(proc) {
            self.queue.put(self.now + 1, Event::Tell(proc, Input::Between(frame)));
        } else if let Some(to) = to {
            self.send(End::Worker(proc), End::Worker(to), Frame::Between(frame));
        }
    }

    /// A worker's frame for a connection: checked, and handed to the connection's edge. Where that
    /// is not there any more, the node itself says that the session has no socket.
    fn down(&mut self, proc: Proc, conn: ConnId, epoch: Epoch, mut frame: Down) -> Checked {
        self.released(proc, conn, &frame)?;
        self.leased(proc, conn, &frame)?;
        let conn = self.tampered(conn, &mut frame);
        let Some(conn) = conn else { return Ok(()) };
        self.note(|| format!("{} to {}: {}", name(proc), conn_text(conn), down_text(&frame)));
        let edge = self.edges.iter().position(|edge| edge.id == conn.edge && edge.up);
        let sent = edge.is_some_and(|edge| {
            let frame = Frame::Down(conn, epoch, frame.clone());
            self.send(End::Worker(proc), End::Edge(edge), frame)
        });
        if !sent
            && let Some((shard, up)) = orphaned(&KEY, &frame)
            && self.options.tamper != Some(Tamper::ForgetLost)
        {
            self.queue.put(self.now + 1, Event::Tell(proc, Input::Up(shard, up)));
        }
        Ok(())
    }

    /// What an owner hands out is checked at the moment in which it does.
    fn released(&mut self, proc: Proc, conn: ConnId, frame: &Down) -> Checked {
        match frame {
            Down::Bound { session, .. } | Down::Resumed { session, .. } => {
                self.given.insert(conn, *session);
            }
            Down::Enabled { session, .. } => self.ledger.taken.restarted(*session),
            Down::Stanza { number: place, stanza, .. } => {
                let Some(message) = super::client::message_of(stanza) else { return Ok(()) };
                let account = self.ledger.messages.get(message).map(|message| message.to);
                if let (Some(account), Some(log)) = (account, super::client::log_of(stanza)) {
                    durable::released(&self.ledger, account, log, message)?;
                }
                if let Some(session) = self.given.get(&conn) {
                    // With several clients one of them may have its own copy waiting.
                    let clients = self.clients.iter().filter(|c| Some(c.account) == account);
                    let late = super::client::is_late(stanza) && clients.count() == 1;
                    let shard = account.and_then(|at| self.ledger.accounts.get(at));
                    let shard = shard.map_or(ShardId(0), |account| account.shard);
                    // Who owned the shard once, and has not learned that this is over, cannot know
                    // what was taken since.
                    let late = late && self.ledger.fence.owns(proc, shard);
                    self.ledger.taken.handed(shard, *session, *place, message, late)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Who speaks for a shard is its owner, or was within the time of a lease.
    fn leased(&self, proc: Proc, conn: ConnId, frame: &Down) -> Checked {
        let edge = self.edges.iter().find(|edge| edge.id == conn.edge);
        let client = edge.and_then(|edge| edge.conns.get(&conn.slot)).map(|conn| conn.client);
        let (Some(client), true) = (client, self.options.cluster) else { return Ok(()) };
        let shard = self.ledger.accounts[self.clients[client].account].shard;
        lease::speaks(&self.ledger.fence, proc, shard, self.now, frame)
    }

    fn tampered(&mut self, conn: ConnId, frame: &mut Down) -> Option<ConnId> {
        match (self.options.tamper, frame) {
            (Some(Tamper::HandledTooHigh), Down::Handled { number }) => *number += 1,
            (Some(Tamper::HandledGoesBack), Down::Resumed { handled, .. }) => {
                *handled = handled.saturating_sub(1);
            }
            (Some(Tamper::LoseQueue), Down::Resumed { taken, .. }) => {
                *taken += 1;
            }
            (Some(Tamper::WrongConnection), Down::Stanza { .. }) if self.rng.chance(10) => {
                let all: Vec<ConnId> = self.given.keys().copied().collect();
                return self.rng.pick(&all);
            }
            _ => {}
        }
        Some(conn)
    }
}

/// The shard that a frame of an edge is for; of other inputs, none that there is.
fn shard_of(input: &Input) -> ShardId {
    match input {
        Input::Up(shard, _) | Input::Remote(shard, ..) => *shard,
        _ => ShardId(u16::MAX),
    }
}

/// What a worker is told to have been taken, if it still knows the session.
fn takes(worker: &Worker, input: &Input) -> Option<(ShardId, SessionId, u64)> {
    let (Input::Up(id, frame) | Input::Remote(id, _, frame)) = input else { return None };
    let Up::Taken { account, session, number, .. } = frame else { return None };
    let shard = worker.shards().find(|shard| shard.id() == *id)?;
    shard.account(account)?.session(*session)?;
    Some((*id, *session, *number))
}

/// A connection in a trace.
pub(crate) fn conn_text(conn: ConnId) -> String {
    format!("conn {}.{}/{}", conn.edge.number, conn.edge.incarnation, conn.slot)
}

fn down_text(frame: &Down) -> String {
    match frame {
        Down::Stanza { number: place, stanza, .. } => {
            let what = stanza.id.as_deref().filter(|id| number(id).is_some());
            let log = super::client::log_of(stanza);
            format!("stanza {place} {} {} row {log:?}", stanza.kind.name(), what.unwrap_or("-"))
        }
        frame => format!("{frame:?}"),
    }
}

fn between_text(frame: &Between) -> String {
    match frame {
        Between::Pass(pass) => format!(
            "pass {}->{} epoch {} number {} prev {} retry {} {:?} of {:?} {:?}",
            pass.source.0,
            pass.target.0,
            pass.source_epoch.0,
            pass.number,
            pass.prev,
            pass.retry,
            pass.parcel.stanza.id.as_deref(),
            pass.parcel.ingest.map(|key| (key.session, key.attachment, key.number)),
            pass.parcel.retried,
        ),
        frame => format!("{frame:?}"),
    }
}
