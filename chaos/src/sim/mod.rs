//! The simulated cluster: workers of the engine in two places, edges, clients, a store, and links
//! that fail.

pub mod accounts;
mod bomb;
mod client;
pub mod control;
mod edge;
mod faults;
pub mod links;
mod node;
pub mod plan;
pub mod queue;
pub mod rng;
mod store;
pub mod tamper;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peer::shard::HashKey;
use peer::{ConnId, SessionId};
use session::config::Config;
use session::module::Modules;

use self::client::Client;
use self::control::Control;
use self::edge::Edge;
use self::links::Links;
use self::node::Node;
use self::plan::{Fault, Plan, SECOND};
use self::queue::{End, Event, Frame, Proc, Queue};
use self::rng::Rng;
use self::tamper::Tamper;
use crate::invariants::{Checked, Violation, arrives, leaks, model, presence, storm};
use crate::ledger::Ledger;

/// The key of the cluster's hashes: fixed, so that accounts lie in the same shards in every run.
pub const KEY: HashKey = HashKey(0x6361_7269_6c6c_6f6e, 0x7365_6564);

/// When a run begins, in microseconds since 1970.
const BEGIN_US: u64 = 1_800_000_000_000_000;

/// Places of workers: the shards of even numbers and those of odd ones.
pub const PLACES: u32 = 2;

/// Routers of a cluster. Each may own any shard.
pub const ROUTERS: u32 = 3;

/// How long after healing all must have arrived. A window is sent again after 5 s at the latest,
/// and a client gives a silent connection up after 20 s; the rest is for chains of such waits.
const HEALED_US: u64 = 150 * SECOND;

/// How one seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A defect that is made on purpose.
    pub tamper: Option<Tamper>,
    /// Whether it is a cluster, with routers that own what control gives them. Else it is two
    /// workers, each of which owns half of the shards.
    pub cluster: bool,
    /// Whether shards panic now and then, on top of what the seed says.
    pub panics: bool,
    /// Whether what happens is written down.
    pub trace: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// The invariant that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
    /// Messages that clients sent.
    pub messages: usize,
    /// Shards that panicked.
    pub fallen: u64,
    /// Shards that were handed over.
    pub moved: u64,
    /// Events of the run.
    pub events: u64,
    /// A hash over all that was said: the same for the same seed.
    pub fingerprint: u64,
}

/// The cluster and its surroundings.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) options: Options,
    pub(crate) now: u64,
    pub(crate) queue: Queue,
    pub(crate) links: Links,
    pub(crate) table: kv::MemTable,
    /// The store does not answer.
    pub(crate) outage: bool,
    pub(crate) config: Arc<Config>,
    pub(crate) nodes: BTreeMap<Proc, Node>,
    /// The present worker of each place, if there is one.
    pub(crate) present: [Option<Proc>; PLACES as usize],
    pub(crate) incarnations: [u32; ROUTERS as usize],
    pub(crate) control: Control,
    /// Workers that cannot reach the store.
    pub(crate) away: BTreeSet<Proc>,
    /// Workers that hear of nothing that control decides, until then.
    pub(crate) deaf: BTreeMap<Proc, u64>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) clients: Vec<Client>,
    pub(crate) ledger: Ledger,
    /// Which session a connection was given.
    pub(crate) given: BTreeMap<ConnId, SessionId>,
    pub(crate) lost_commits: BTreeSet<u64>,
    /// Microseconds by which all clocks have jumped.
    pub(crate) jumped: u64,
    /// Nothing goes wrong any more.
    pub(crate) healed: bool,
    /// Clients leave and stay away.
    pub(crate) leaving: bool,
    /// When an edge last died.
    pub(crate) edge_died_us: u64,
    /// Shards that panicked.
    pub(crate) fallen: u64,
    /// Shards that were handed over.
    pub(crate) moved: u64,
    pub(crate) trace: Vec<String>,
    pub(crate) events: u64,
    pub(crate) fingerprint: u64,
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    let violation = world.live().err();
    if let Some(violation) = &violation {
        let text = format!("VIOLATION {}: {}", violation.invariant, violation.what);
        world.note(|| text);
    }
    Outcome {
        violation,
        messages: world.ledger.messages.len(),
        fallen: world.fallen,
        moved: world.moved,
        trace: world.trace,
        events: world.events,
        fingerprint: world.fingerprint,
    }
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::new(&mut rng, options.cluster);
        if options.panics {
            plan.faults.extend([Fault::Panic; 2]);
        }
        bomb::arm(None);
        let modules = Modules::new(if options.panics { bomb::list() } else { xeps::LIST });
        let domains = vec![accounts::DOMAIN.to_owned()];
        let mut config = Config::new(domains, KEY, [7; 32], modules);
        config.resume_s = plan.resume_s;
        config.cluster =
            options.cluster.then_some(session::config::Cluster { snapshot_key: [9; 32] });
        let accounts = accounts::all();
        let clients = client::all(&mut rng, &plan, accounts.len());
        let mut world = Self {
            rng,
            options,
            now: 0,
            queue: Queue::default(),
            links: Links::default(),
            table: accounts::table(&accounts, BEGIN_US),
            outage: false,
            config: Arc::new(config),
            nodes: BTreeMap::new(),
            present: [None; PLACES as usize],
            incarnations: [0; ROUTERS as usize],
            control: Control::default(),
            away: BTreeSet::new(),
            deaf: BTreeMap::new(),
            edges: (0..2).map(Edge::new).collect(),
            clients,
            ledger: Ledger::new(accounts),
            given: BTreeMap::new(),
            lost_commits: BTreeSet::new(),
            jumped: 0,
            healed: false,
            leaving: false,
            edge_died_us: 0,
            fallen: 0,
            moved: 0,
            trace: Vec::new(),
            events: 0,
            fingerprint: 0,
            plan,
        };
        let plan = format!("{:?}", world.plan);
        world.note(|| plan);
        if options.cluster {
            world.begin_cluster();
        } else {
            for place in 0..PLACES {
                world.start(place);
                for edge in 0..world.edges.len() {
                    world.view(End::Edge(edge), place);
                }
            }
        }
        for client in 0..world.clients.len() {
            let at = world.rng.below(SECOND);
            world.queue.put(at, Event::Client(client, 0));
        }
        if !world.plan.faults.is_empty() {
            let at = world.rng.about(world.plan.fault_every_us);
            world.queue.put(at, Event::Fault);
        }
        world
    }

    /// The whole run: trouble, healing, farewell.
    fn live(&mut self) -> Checked {
        let trouble = self.plan.chaos_us;
        self.until(trouble, |_| false)?;
        self.heal()?;
        self.until(trouble + HEALED_US, |world| world.is_quiet())?;
        arrives::arrived(&self.ledger)?;
        let waits = self.clients.iter().position(|client| !client.is_content());
        arrives::settled(waits)?;
        model::agrees(&self.table, &self.ledger)?;
        self.present()?;
        self.leaving = true;
        self.note(|| "everybody leaves".to_owned());
        for client in 0..self.clients.len() {
            self.lose_socket(client, "leaves");
        }
        let rest = u64::from(self.plan.resume_s) * SECOND + 400 * SECOND;
        self.until(self.now + rest, |_| false)?;
        self.nodes.values().try_for_each(|node| leaks::empty(&node.worker))
    }

    fn until(&mut self, end: u64, quiet: impl Fn(&Self) -> bool) -> Checked {
        let mut look_at = self.now;
        while self.queue.next_at().is_some_and(|at| at <= end) {
            if self.now >= look_at {
                look_at = self.now + SECOND / 2;
                if quiet(self) {
                    return Ok(());
                }
            }
            let Some((at, event)) = self.queue.take() else { break };
            self.now = at;
            self.events += 1;
            storm::ends(self.events)?;
            self.happen(event)?;
        }
        self.now = self.now.max(end);
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let clients = self.clients.iter().all(Client::is_content);
        clients && arrives::is_done(&self.ledger) && self.is_settled()
    }

    /// Whoever is online is so for its owner too.
    fn present(&self) -> Checked {
        for (index, client) in self.clients.iter().enumerate() {
            let account = &self.ledger.accounts[client.account];
            let owners =
                self.nodes.iter().filter(|(proc, _)| self.ledger.fence.owns(**proc, account.shard));
            let mut shards = owners.flat_map(|(_, node)| node.worker.shards());
            let shard = shards.find(|shard| shard.id() == account.shard);
            let owned = shard.and_then(|shard| shard.account(&account.jid));
            let Some(session) = client.presence() else { continue };
            match owned {
                // Its rows may be on their way.
                Some(account) if !account.exists() => {}
                Some(account) => presence::kept(index, account.session(session))?,
                // What has sessions is in memory, in a cluster: edges have reported them.
                None if self.options.cluster => presence::kept(index, None)?,
                None => {}
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Frame { from, to, link, frame } => {
                if self.links.carries(from, to, link) {
                    return self.arrive(from, to, frame);
                }
            }
            Event::Tell(proc, input) => self.tell(proc, input),
            Event::Run(proc) => return self.run_worker(proc),
            Event::Wake(proc) => self.wake(proc),
            Event::Read(proc, number, reads) => self.read(proc, number, &reads),
            Event::Rows(proc, number, rows) => {
                self.tell(proc, session::worker::Input::Rows(number, rows));
            }
            Event::Commit(proc, batch) => return self.commit(proc, batch),
            Event::Committed(proc, op_id, result) => {
                self.tell(proc, session::worker::Input::Committed(op_id, result));
            }
            Event::View(end, place) => self.view(end, place),
            Event::Start(place) if self.options.cluster => self.start_router(place),
            Event::Start(place) => self.start(place),
            Event::Dead(proc) => self.router_dies(proc),
            Event::EdgeDead(edge) => self.edge_dies(edge),
            Event::Rebalance(proc) => self.rebalance(proc),
            Event::MoveEnds(shard, epoch) => self.move_ends(shard, epoch),
            Event::LeaseEnds(proc) => self.lease_ends(proc),
            Event::Back(proc) => {
                self.away.remove(&proc);
            }
            Event::Edge(edge) if self.options.cluster => self.edge_starts(edge),
            Event::Drop(proc) => self.kill(proc, "is dropped"),
            Event::Edge(edge) => self.edges[edge].up = true,
            Event::Link(a, b) => self.links.mend(a, b),
            Event::Store => self.outage = false,
            Event::Client(client, token) => return self.client_acts(client, token),
            Event::Fault => self.fault(),
        }
        Ok(())
    }

    fn arrive(&mut self, from: End, to: End, frame: Frame) -> Checked {
        match (to, frame) {
            (End::Worker(proc), Frame::Up(shard, frame)) => self.up_arrives(proc, shard, frame),
            (End::Worker(proc), Frame::Between(frame)) => {
                self.tell(proc, session::worker::Input::Between(frame));
            }
            (End::Worker(proc), Frame::Remote(shard, epoch, frame)) => {
                self.tell(proc, session::worker::Input::Remote(shard, epoch, frame));
            }
            (End::Worker(proc), Frame::Complete(complete)) => {
                self.tell(proc, session::worker::Input::Complete(complete));
            }
            (End::Worker(proc), Frame::Page(page)) => {
                self.tell(proc, session::worker::Input::Page(page));
            }
            (End::Worker(proc), Frame::HandOver(shard, epoch, said)) => {
                self.tell(proc, session::worker::Input::HandOver(shard, epoch, said));
            }
            (end, Frame::Control(decision)) => self.hears_control(end, decision),
            (End::Edge(edge), Frame::Down(conn, epoch, frame)) => {
                return self.down_arrives(from, edge, conn, epoch, frame);
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends a frame; it is lost if the link is down.
    pub(crate) fn send(&mut self, from: End, to: End, frame: Frame) -> bool {
        let delay = self.rng.within(self.plan.link_us);
        match self.links.send(from, to, self.now, delay) {
            Some((at, link)) => {
                self.queue.put(at, Event::Frame { from, to, link, frame });
                true
            }
            None => false,
        }
    }

    /// Writes down what happens.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.options.trace {
            let text = text();
            for byte in text.bytes() {
                self.fingerprint =
                    (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            let line = format!("{:>10.6} {text}", self.now as f64 / 1e6);
            self.trace.push(line);
        }
    }
}
