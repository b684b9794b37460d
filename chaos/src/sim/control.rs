//! Control in a run with a cluster: who owns what, who is alive, and everybody hearing of it in its
//! own time. Control itself does not fail here; what it decides is in order.

use std::collections::{BTreeMap, BTreeSet};

use peer::moving::HandOver;
use peer::{Complete, Epoch, NodeId, ShardId, Up};
use session::worker::Input;

use super::node::conn_text;
use super::plan::{Fault, SECOND};
use super::queue::{End, Event, Frame, Proc};
use super::store::name;
use super::tamper::Tamper;
use super::{ROUTERS, World};

/// What control says.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A shard has an owner under an epoch; these edges may have sessions of it.
    Owner(ShardId, Proc, Epoch, Vec<NodeId>),
    /// An edge is dead.
    Gone(NodeId),
    /// To an owner: a shard is to move away.
    GiveUp(ShardId),
    /// To an owner: it stays.
    KeepOn(ShardId),
}

/// Who owns what: the highest epoch counts.
pub type Map = BTreeMap<ShardId, (Proc, Epoch)>;

/// What control knows.
#[derive(Debug, Default)]
pub struct Control {
    pub(crate) map: Map,
    /// Routers that it takes for alive.
    alive: BTreeSet<Proc>,
    /// Edges that it takes for alive.
    edges: BTreeSet<NodeId>,
    /// Planned moves: from whom, and to whom.
    pub(crate) moves: BTreeMap<ShardId, (Proc, Proc)>,
}

impl World {
    /// A cluster begins: routers, edges, and an owner for each shard.
    pub(crate) fn begin_cluster(&mut self) {
        let edges = self.edges.iter().map(|edge| edge.id);
        self.control.edges = edges.collect();
        for place in 0..ROUTERS {
            self.start_router(place);
        }
    }

    /// A router starts, in a new incarnation.
    pub(crate) fn start_router(&mut self, place: u32) {
        let running = |proc: &Proc| proc.number == place && self.control.alive.contains(proc);
        if self.nodes.keys().any(running) {
            return;
        }
        let proc = self.launch_worker(place, 1);
        self.control.alive.insert(proc);
        let map = self.control.map.clone();
        for (shard, (_, epoch)) in &map {
            self.tell(proc, Input::Lost(*shard, *epoch));
        }
        if let Some(node) = self.nodes.get_mut(&proc) {
            node.map = map;
        }
        self.adopt();
        // It has its share, sooner or later.
        let at = self.now + self.rng.about(SECOND);
        self.queue.put(at, Event::Rebalance(proc));
    }

    /// Shards whose owner is dead, or that never had one, are given to those that are alive.
    pub(crate) fn adopt(&mut self) {
        let shards: BTreeSet<ShardId> = self.ledger.accounts.iter().map(|a| a.shard).collect();
        for shard in shards {
            let owner = self.control.map.get(&shard).map(|(owner, _)| *owner);
            if owner.is_none_or(|owner| !self.control.alive.contains(&owner)) {
                self.grant_to_any(shard, None);
            }
        }
    }

    /// A shard is given to any router that is alive, but not to one.
    pub(crate) fn grant_to_any(&mut self, shard: ShardId, but: Option<Proc>) {
        let fresh = |proc: &Proc| Some(*proc) != but && self.may_own(*proc);
        let alive: Vec<Proc> = self.control.alive.iter().copied().filter(fresh).collect();
        if let Some(to) = self.rng.pick(&alive) {
            self.grant(shard, to);
        }
    }

    /// Whether control gives shards to a router: it reaches the store, and does not stop.
    fn may_own(&self, proc: Proc) -> bool {
        let stopping = self.nodes.get(&proc).is_some_and(|node| node.stopping);
        self.control.alive.contains(&proc) && !self.away.contains(&proc) && !stopping
    }

    /// A shard is given to a router.
    pub(crate) fn grant(&mut self, shard: ShardId, to: Proc) {
        let next = u64::from(self.options.tamper != Some(Tamper::SameEpoch));
        let before = self.control.map.get(&shard);
        let epoch = before.map_or(Epoch(1), |(_, epoch)| Epoch(epoch.0 + next));
        self.control.map.insert(shard, (to, epoch));
        self.control.moves.remove(&shard);
        self.note(|| format!("control gives shard {} to {} under {epoch:?}", shard.0, name(to)));
        let edges = self.control.edges.iter().copied().collect();
        self.decide(&Decision::Owner(shard, to, epoch, edges));
    }

    fn decide(&mut self, decision: &Decision) {
        let workers: Vec<Proc> = self.nodes.keys().copied().collect();
        let edges = (0..self.edges.len()).filter(|edge| self.edges[*edge].up).map(End::Edge);
        let ends: Vec<End> = edges.chain(workers.into_iter().map(End::Worker)).collect();
        for end in ends {
            self.decide_for(end, decision.clone());
        }
    }

    fn decide_for(&mut self, end: End, decision: Decision) {
        let delay = self.rng.within(self.plan.control_us);
        if let Some((at, link)) = self.links.send(End::Control, end, self.now, delay) {
            let frame = Frame::Control(decision);
            self.queue.put(at, Event::Frame { from: End::Control, to: end, link, frame });
        }
    }

    /// A shard is to move with its memory.
    fn plan_move(&mut self, to: Proc) {
        let shards: Vec<ShardId> = self.control.map.keys().copied().collect();
        let Some(shard) = self.rng.pick(&shards) else { return };
        let Some((owner, epoch)) = self.control.map.get(&shard).copied() else { return };
        let stopping = self.nodes.get(&to).is_some_and(|node| node.stopping);
        let alive = self.control.alive.contains(&owner) && self.control.alive.contains(&to);
        let alive = alive && !stopping;
        if owner == to || !alive || self.control.moves.contains_key(&shard) {
            return;
        }
        self.note(|| format!("shard {} is to move from {} to {}", shard.0, name(owner), name(to)));
        self.control.moves.insert(shard, (owner, to));
        self.decide_for(End::Worker(owner), Decision::GiveUp(shard));
        self.queue.put(self.now + 5 * SECOND, Event::MoveEnds(shard, epoch));
    }

    /// The next owner of a shard answers.
    pub(crate) fn hand_over(&mut self, by: Proc, shard: ShardId, epoch: Epoch, said: HandOver) {
        self.note(|| format!("{} of shard {}: {said:?}", name(by), shard.0));
        let Some((from, to)) = self.control.moves.get(&shard).copied() else { return };
        if matches!(said, HandOver::Complete)
            && self.control.map.get(&shard) == Some(&(from, epoch))
            && self.control.alive.contains(&to)
        {
            self.control.moves.remove(&shard);
            self.moved += 1;
            return self.grant(shard, to);
        }
        self.send(End::Worker(by), End::Worker(from), Frame::HandOver(shard, epoch, said));
    }

    /// A planned move has had its time.
    pub(crate) fn move_ends(&mut self, shard: ShardId, epoch: Epoch) {
        let Some((from, _)) = self.control.moves.get(&shard).copied() else { return };
        if self.control.map.get(&shard) == Some(&(from, epoch)) {
            self.control.moves.remove(&shard);
            self.note(|| format!("shard {} does not move", shard.0));
            self.decide_for(End::Worker(from), Decision::KeepOn(shard));
        }
    }

    /// Somebody hears of a decision.
    pub(crate) fn hears_control(&mut self, end: End, decision: Decision) {
        if let End::Worker(proc) = end
            && let Some(until) = self.deaf.get(&proc).copied().filter(|until| *until > self.now)
        {
            let (from, frame) = (End::Control, Frame::Control(decision));
            if let Some((at, link)) = self.links.send(from, end, until, 1) {
                self.queue.put(at, Event::Frame { from, to: end, link, frame });
            }
            return;
        }
        match (end, decision) {
            (End::Edge(edge), Decision::Owner(shard, owner, epoch, _)) => {
                self.edge_moved(edge, shard, owner, epoch);
            }
            (End::Worker(proc), Decision::Owner(shard, owner, epoch, edges)) => {
                let Some(node) = self.nodes.get_mut(&proc) else { return };
                let known = node.map.get(&shard).map_or(Epoch(0), |(_, epoch)| *epoch);
                if known < epoch {
                    node.map.insert(shard, (owner, epoch));
                }
                let waits = self.options.tamper != Some(Tamper::LeaveRebuildEarly);
                let edges = if waits { edges } else { Vec::new() };
                let input = if owner == proc {
                    Input::Granted(shard, epoch, edges)
                } else {
                    Input::Lost(shard, epoch)
                };
                self.tell(proc, input);
            }
            (End::Worker(proc), Decision::Gone(edge)) => self.tell(proc, Input::Gone(edge)),
            (End::Worker(proc), Decision::GiveUp(shard)) => self.tell(proc, Input::GiveUp(shard)),
            (End::Worker(proc), Decision::KeepOn(shard)) => self.tell(proc, Input::KeepOn(shard)),
            (End::Edge(_) | End::Control, _) => {}
        }
    }

    /// An edge learns of a shard's owner: it says what sessions of the shard it has.
    pub(crate) fn edge_moved(&mut self, edge: usize, shard: ShardId, owner: Proc, epoch: Epoch) {
        let at = &mut self.edges[edge];
        if !at.up || at.map.get(&shard).is_some_and(|(_, known)| *known >= epoch) {
            return;
        }
        at.map.insert(shard, (owner, epoch));
        let now = self.now;
        at.ghosts.retain(|(until, _)| *until > now);
        let mut frames = Vec::new();
        let halves = at.conns.values_mut().map(|conn| &mut conn.half);
        for half in halves.chain(at.ghosts.iter_mut().map(|(_, half)| half)) {
            if half.shard() == Some(shard) {
                frames.extend(half.moved(epoch));
            }
        }
        let complete = Complete { edge: at.id, shard, epoch };
        for (_, frame) in &frames {
            self.note(|| format!("edge {edge} to {}: {}", name(owner), up_text(frame)));
        }
        self.note(|| format!("edge {edge} has reported shard {} {epoch:?}", shard.0));
        let (from, to) = (End::Edge(edge), End::Worker(owner));
        let early = self.options.tamper == Some(Tamper::CompleteTooEarly);
        if early {
            self.send(from, to, Frame::Complete(complete));
        }
        for (shard, mut frame) in frames {
            if tampered(self.options.tamper, &mut frame) {
                self.send(from, to, Frame::Remote(shard, epoch, frame));
            }
        }
        if !early {
            self.send(from, to, Frame::Complete(complete));
        }
    }

    /// A router does not answer control any more.
    pub(crate) fn router_dies(&mut self, proc: Proc) {
        if self.control.alive.remove(&proc) {
            self.note(|| format!("control declares {} dead", name(proc)));
            self.adopt();
        }
        // It does not come back as itself.
        if self.nodes.contains_key(&proc) {
            let at = self.now + self.rng.about(6 * SECOND);
            self.queue.put(at, Event::Drop(proc));
            self.queue.put(at + 1, Event::Start(proc.number));
        }
    }

    /// An edge does not answer control any more.
    pub(crate) fn edge_dies(&mut self, edge: NodeId) {
        if self.control.edges.remove(&edge) {
            self.decide(&Decision::Gone(edge));
        }
    }

    /// An edge starts again, as another one.
    pub(crate) fn edge_starts(&mut self, edge: usize) {
        if self.edges[edge].up {
            return;
        }
        self.edges[edge].up = true;
        self.edges[edge].map = self.control.map.clone();
        self.control.edges.insert(self.edges[edge].id);
    }

    /// A router gets shards of others.
    pub(crate) fn rebalance(&mut self, to: Proc) {
        if !self.may_own(to) {
            return;
        }
        let others: Vec<ShardId> = self.control.map.keys().copied().collect();
        if let Some(shard) = self.rng.pick(&others)
            && self.control.map.get(&shard).is_some_and(|(owner, _)| *owner != to)
        {
            self.grant(shard, to);
        }
    }

    /// Everybody knows who owns what, and owners know what sessions they have.
    pub(crate) fn is_settled(&self) -> bool {
        self.control.map.iter().all(|(shard, (owner, epoch))| {
            let knows = |edge: &super::edge::Edge| edge.map.get(shard) == Some(&(*owner, *epoch));
            let node = self.nodes.get(owner);
            let mut shards = node.into_iter().flat_map(|node| node.worker.shards());
            let whole = shards.any(|s| s.id() == *shard && !s.is_rebuilding());
            whole && self.edges.iter().all(knows)
        })
    }

    /// A router's lease is over: it cannot reach the store, and others can.
    pub(crate) fn lease_ends(&mut self, proc: Proc) {
        if !self.away.contains(&proc) || self.outage {
            return;
        }
        let of = self.control.map.iter().filter(|(_, (owner, _))| *owner == proc);
        for shard in of.map(|(shard, _)| *shard).collect::<Vec<_>>() {
            self.grant_to_any(shard, Some(proc));
        }
    }

    /// Something goes wrong in a cluster.
    pub(crate) fn cluster_fault(&mut self, fault: Fault) {
        let running: Vec<Proc> = self.nodes.keys().copied().collect();
        let Some(proc) = self.rng.pick(&running) else { return };
        let edge = self.rng.below(self.edges.len() as u64) as usize;
        match fault {
            Fault::Kill => self.kill_router(proc),
            Fault::KillEdge => self.kill_edge(edge),
            Fault::KillAll => {
                running.iter().for_each(|proc| self.kill_router(*proc));
                (0..self.edges.len()).for_each(|edge| self.kill_edge(edge));
            }
            Fault::KillBoth => {
                self.kill_router(proc);
                self.kill_edge(edge);
            }
            Fault::Stop => self.pause(proc),
            Fault::TakeOver => self.rebalance(proc),
            Fault::Move => self.plan_move(proc),
            Fault::Away => {
                self.note(|| format!("{} cannot reach the store", name(proc)));
                self.away.insert(proc);
                self.queue.put(self.now + 4 * SECOND, Event::LeaseEnds(proc));
                let at = self.now + self.rng.about(5 * SECOND);
                self.queue.put(at, Event::Back(proc));
            }
            Fault::WorkerLink | Fault::EdgeLink => {
                if let Some(other) = self.rng.pick(&running).filter(|other| *other != proc) {
                    let (a, b) = (End::Worker(proc), End::Worker(other));
                    self.links.cut(a, b);
                    let at = self.now + self.rng.about(2 * SECOND);
                    self.queue.put(at, Event::Link(a, b));
                }
            }
            Fault::Stall => {
                let until = self.now + self.rng.about(2 * SECOND);
                self.note(|| format!("edge {edge} and {} hear nothing of each other", name(proc)));
                self.links.stall(End::Edge(edge), End::Worker(proc), until);
            }
            Fault::Halt => self.halt(proc),
            Fault::Jump | Fault::Panic | Fault::Outage => {}
        }
    }

    /// A router is told to stop. Control gives its shards to others when it has.
    fn halt(&mut self, proc: Proc) {
        let Some(node) = self.nodes.get_mut(&proc) else { return };
        if std::mem::replace(&mut node.stopping, true) {
            return;
        }
        self.note(|| format!("{} is told to stop", name(proc)));
        self.tell(proc, Input::Stop);
        // A stop that takes too long is cut short.
        let late = self.now + 12 * SECOND;
        self.queue.put(late, Event::Drop(proc));
        self.queue.put(late + 1, Event::Dead(proc));
        self.queue.put(late + SECOND, Event::Start(proc.number));
    }

    fn kill_router(&mut self, proc: Proc) {
        self.kill(proc, "is killed");
        let dead = self.now + self.rng.within((SECOND * 3 / 2, 3 * SECOND));
        self.queue.put(dead, Event::Dead(proc));
        let back = dead + self.rng.about(SECOND);
        self.queue.put(back, Event::Start(proc.number));
    }

    /// A process stands still for a while and then goes on, knowing nothing of it.
    fn pause(&mut self, proc: Proc) {
        let until = self.now + self.rng.about(5 * SECOND);
        let Some(node) = self.nodes.get_mut(&proc) else { return };
        node.paused_until = until;
        if self.rng.chance(500) {
            // What control has said meanwhile comes later.
            self.deaf.insert(proc, until + self.rng.about(4 * SECOND));
        }
        self.note(|| format!("{} stands still until {until}", name(proc)));
        let dead = self.now + self.rng.within((SECOND * 3 / 2, 3 * SECOND));
        if dead < until {
            self.queue.put(dead, Event::Dead(proc));
        }
    }

    /// Nothing goes wrong in the cluster any more.
    pub(crate) fn heal_cluster(&mut self) {
        self.away.clear();
        self.deaf.clear();
        let now = self.now;
        self.nodes.values_mut().for_each(|node| node.paused_until = now);
        let all: Vec<Proc> = self.control.alive.iter().copied().collect();
        for proc in all.into_iter().filter(|proc| !self.nodes.contains_key(proc)) {
            self.queue.put(self.now + 2 * SECOND, Event::Dead(proc));
        }
        let stale = self.nodes.keys().filter(|proc| !self.control.alive.contains(proc));
        for proc in stale.copied().collect::<Vec<_>>() {
            self.kill(proc, "is dropped");
        }
        for proc in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.queue.put(self.now, Event::Run(proc));
        }
        for edge in 0..self.edges.len() {
            self.edge_starts(edge);
        }
        for place in 0..ROUTERS {
            self.queue.put(self.now + 3 * SECOND, Event::Start(place));
        }
    }
}

/// What an edge with a defect reports; `false`: nothing.
fn tampered(tamper: Option<Tamper>, frame: &mut Up) -> bool {
    match (tamper, frame) {
        (Some(Tamper::ForgetKept), Up::Kept { .. }) => return false,
        (Some(Tamper::ForgetKept), Up::Report(report)) => report.received = report.taken,
        (Some(Tamper::ForgetUnconfirmed), Up::Stanza { .. }) => return false,
        (Some(Tamper::ForgetMark), Up::Stanza { retry, .. }) => *retry = false,
        (Some(Tamper::ForgetTaken), Up::Report(report)) => report.recent.clear(),
        _ => {}
    }
    true
}

/// A frame of an edge in a trace.
pub(crate) fn up_text(frame: &Up) -> String {
    match frame {
        Up::Report(report) => format!(
            "report {} {:?} attachment {} handled {} taken {} got {} read to {} recent {:?} {}",
            conn_text(report.conn),
            report.session,
            report.attachment,
            report.handled,
            report.taken,
            report.received,
            report.read_to,
            report.recent,
            report.lost,
        ),
        Up::Kept { session, number, log, .. } => format!("kept {session:?} {number} row {log}"),
        Up::Stanza { session, attachment, number, retry, stanza, .. } => {
            let (id, kind) = (stanza.id.as_deref().unwrap_or("-"), stanza.kind.name());
            format!("stanza {session:?} {attachment}/{number} {kind} {id} retry {retry}")
        }
        frame => format!("{frame:?}"),
    }
}
