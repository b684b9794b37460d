//! The small server: workers, a store, clients, and everything under way between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kv::MemStore;
use peer::shard::HashKey;
use peer::{ConnId, Down, NodeId, ShardId, shard_of};
use xmpp::jid::Jid;
use xmpp::scram::Hash;

use super::client::{Client, Happened};
use super::order::{Action, Lane, Order, UnderWay, next};
use super::pattern::stanza;
use crate::admin::{Reply, Request};
use crate::attachment::{Addressed, Attachment};
use crate::config::Config;
use crate::keys::{Entity, tag};
use crate::module::{Module, Modules};
use crate::rows::AccountRow;
use crate::shard::{Env, Note};
use crate::stored::SessionRow;
use crate::worker::{Input, Output, Worker};

/// When the first server is started, in microseconds since 1970: 2026-01-01.
const BEGIN_US: u64 = 1_767_225_600_000_000;

/// How long each step takes, in microseconds.
const STEP_US: u64 = 10;

/// Steps after which something goes round in circles.
const STEPS_MAX: usize = 200_000;

/// A server with one domain, `a`.
pub struct Server {
    modules: &'static [&'static dyn Module],
    config: Arc<Config>,
    workers: Vec<Worker>,
    under_way: UnderWay,
    /// The rows; they outlive the server.
    pub store: MemStore,
    /// The time in microseconds since 1970.
    pub now: u64,
    seed: u64,
    clients: BTreeMap<String, Client>,
    slots: u64,
    replies: Vec<Reply>,
    /// What it wanted logged.
    pub notes: Vec<Note>,
    stopped: usize,
    /// How many reads the store was asked for.
    pub reads: usize,
    /// Shards that panicked.
    pub fallen: Vec<ShardId>,
    /// Print what happens, for looking at one seed.
    pub trace: bool,
}

impl Server {
    /// A server with this many workers that has just been started for the first time.
    pub fn new(modules: &'static [&'static dyn Module], workers: u16, order: Order) -> Self {
        let config = config(modules);
        let mut server = Self {
            modules,
            config: Arc::new(config),
            workers: Vec::new(),
            under_way: UnderWay::new(order),
            store: MemStore::new(),
            now: BEGIN_US,
            seed: 1,
            clients: BTreeMap::new(),
            slots: 0,
            replies: Vec::new(),
            notes: Vec::new(),
            stopped: 0,
            reads: 0,
            fallen: Vec::new(),
            trace: false,
        };
        server.start(workers);
        server
    }

    fn start(&mut self, workers: u16) {
        let (config, now) = (&self.config, self.now);
        let all = 0..workers;
        self.workers = all.map(|index| Worker::new(config.clone(), index, workers, now)).collect();
        self.stopped = 0;
    }

    /// Changes what the operator chose. It counts from the next start on, so do it first.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = config(self.modules);
        change(&mut config);
        self.config = Arc::new(config);
        self.start(self.workers.len() as u16);
    }

    /// What the operator chose.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn worker_of(&self, shard: ShardId) -> u16 {
        shard.0 % self.workers.len() as u16
    }

    /// The shard of an account.
    pub fn shard(&self, name: &str) -> u16 {
        shard_of(&self.config.hash, &Self::jid(name)).0
    }

    /// A full or bare JID of a name such as `alice/phone`.
    pub fn jid(name: &str) -> Jid {
        let (local, resource) = name.split_once('/').unwrap_or((name, ""));
        let bare = Jid::parse(&format!("{local}@a")).expect("a name");
        if resource.is_empty() { bare } else { bare.with_resource(resource).expect("a resource") }
    }

    /// A client by its name, `alice/phone`.
    ///
    /// # Panics
    /// If there was no such client yet.
    pub fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap_or_else(|| panic!("{name} never logged in"))
    }

    /// All clients, by name.
    pub fn clients(&mut self) -> impl Iterator<Item = (&String, &mut Client)> {
        self.clients.iter_mut()
    }

    /// One step of what is under way; `false` if there is nothing.
    pub fn step(&mut self) -> bool {
        let Some((lane, action)) = self.under_way.pop() else { return false };
        self.now += STEP_US;
        if self.trace {
            println!("{} {lane:?} {action:?}", self.now - BEGIN_US);
        }
        match action {
            Action::Input(worker, input) => self.handle(worker, input),
            Action::Down(conn, frame) => self.down(conn, frame),
            Action::Read(worker, number, reads) => {
                self.reads += 1;
                let input = Input::Rows(number, self.store.read_now(&reads));
                self.under_way.push(lane, Action::Input(worker, input));
            }
            Action::Commit(worker, batch) => {
                let input = Input::Committed(batch.op_id(), self.store.commit_now(&batch));
                self.under_way.push(lane, Action::Input(worker, input));
            }
        }
        true
    }

    /// Everything that is under way, to its end.
    pub fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    fn handle(&mut self, index: u16, input: Input) {
        let seed = &mut self.seed;
        let mut random = || u128::from(next(seed)) << 64 | u128::from(next(seed));
        let mut env = Env { now: self.now, steady: self.now, random: &mut random };
        let Some(worker) = self.workers.get_mut(usize::from(index)) else { return };
        worker.handle(input, &mut env);
        let mut outputs = Vec::new();
        while let Some(output) = worker.poll() {
            outputs.push(output);
        }
        for output in outputs {
            self.take(index, output);
        }
    }

    fn take(&mut self, worker: u16, output: Output) {
        let (lane, action) = match output {
            Output::Read(number, reads) => {
                (Lane::Read(worker, number), Action::Read(worker, number, reads))
            }
            Output::Commit(batch) => (Lane::Commit(worker), Action::Commit(worker, batch)),
            Output::Down(_, conn, frame) => (Lane::Down(conn), Action::Down(conn, frame)),
            Output::Between(frame) => {
                let to = self.worker_of(frame.target());
                (Lane::Between(worker, to), Action::Input(to, Input::Between(frame)))
            }
            Output::Page(_) | Output::HandOver(..) => return,
            Output::Admin(_, reply) => return self.replies.push(reply),
            Output::Note(note) => return self.notes.push(note),
            Output::Fallen(shard, _) => return self.fallen.push(shard),
            Output::Stopped => {
                self.stopped += 1;
                return;
            }
        };
        self.under_way.push(lane, action);
    }

    fn down(&mut self, conn: ConnId, frame: Down) {
        let holder = self.clients.values_mut().find(|client| client.conn() == Some(conn));
        let Some(client) = holder else {
            // As an edge does for a connection that is gone.
            if let Some(orphan) = crate::attachment::orphaned(&self.config.hash, &frame) {
                self.up(conn, orphan);
            }
            return;
        };
        let closed = matches!(frame, Down::Close { .. });
        for answer in client.hear(frame) {
            self.up(conn, answer);
        }
        if closed {
            self.under_way.lose(Lane::Up(conn));
        }
    }

    fn up(&mut self, conn: ConnId, (shard, frame): Addressed) {
        let worker = self.worker_of(shard);
        self.under_way.push(Lane::Up(conn), Action::Input(worker, Input::Up(shard, frame)));
    }

    /// Carries out a request of an operator.
    pub fn admin(&mut self, request: Request) -> Reply {
        self.ask(request);
        self.run();
        self.replies.pop().expect("an answer for the operator")
    }

    /// What operators were answered and nobody has looked at.
    pub fn replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// An operator asks for something; nothing comes of it before [`Server::run`].
    pub fn ask(&mut self, request: Request) {
        let of = |account| shard_of(&self.config.hash, account);
        let shard = request.account().map_or(ShardId(0), of);
        let worker = self.worker_of(shard);
        let input = Input::Admin(shard, 0, request);
        self.under_way.push(Lane::Admin, Action::Input(worker, input));
    }

    /// Makes an account.
    pub fn add(&mut self, name: &str) {
        let request = Request::Add { account: Self::jid(name), verifiers: Vec::new() };
        assert_eq!(self.admin(request), Reply::Done, "{name}");
    }

    /// The session generation of an account, as a login would be told it.
    fn generation(&self, account: &Jid) -> u64 {
        let key = Entity::of(&self.config.hash, account).key(tag::ACCOUNT, &[]);
        let rows = self.store.read_now(&kv::Reads::get(key)).expect("the store");
        let row = rows.value(0).map(|value| AccountRow::decode(value).expect("a row"));
        row.map_or(0, |row| row.generation)
    }

    /// Opens a connection on which somebody has logged in.
    fn connect(&mut self, name: &str) -> ConnId {
        self.slots += 1;
        let edge = NodeId { number: 1, incarnation: 1 };
        let conn = ConnId { edge, slot: self.slots };
        let jid = Self::jid(name);
        let mut half = Attachment::new(conn);
        // The login itself is the tests' of the stream; its result is all that counts here.
        let _ = half.challenge(&self.config.hash, jid.to_bare(), Hash::Sha256);
        let generation = self.generation(&jid.to_bare());
        half.hear(&Down::Verified { signature: Bytes::new(), generation });
        let client = self.clients.entry(name.to_owned()).or_insert_with(|| Client::new(jid));
        client.half = Some(half);
        (client.deaf, client.mute) = (false, false);
        conn
    }

    /// Asks for a resource. Whether it is bound is in `happened`.
    pub fn bind(&mut self, name: &str) {
        let conn = self.connect(name);
        self.bind_on(name, conn);
    }

    fn bind_on(&mut self, name: &str, conn: ConnId) {
        let jid = Self::jid(name);
        let client = self.client(name);
        client.received = 0;
        client.sent = 0;
        client.managed = false;
        client.resumable = false;
        client.unconfirmed.clear();
        let resource = jid.resource().map(xmpp::text::Text::from);
        let frame = client.half.as_mut().and_then(|half| half.bind(resource));
        self.up(conn, frame.expect("a login"));
        self.run();
    }

    /// Binds a resource and turns stream management on.
    ///
    /// # Panics
    /// If the server does not let it.
    pub fn login(&mut self, name: &str) {
        self.bind_bound(name);
        self.enable(name, true);
    }

    /// Binds a resource; stream management stays off.
    ///
    /// # Panics
    /// If the server does not let it.
    pub fn bind_bound(&mut self, name: &str) {
        self.bind(name);
        self.expect(name, |happened| matches!(happened, Happened::Bound(_)));
    }

    /// Turns stream management on.
    pub fn enable(&mut self, name: &str, resume: bool) {
        let client = self.client(name);
        let conn = client.conn().expect("a connection");
        let frame = client.enable(resume).expect("a session");
        self.up(conn, frame);
        self.run();
        self.expect(name, |happened| matches!(happened, Happened::Enabled));
    }

    fn expect(&mut self, name: &str, is_it: impl Fn(&Happened) -> bool) {
        let happened = self.client(name).happened.pop_back();
        assert!(happened.as_ref().is_some_and(is_it), "{name}: {happened:?}");
    }

    /// A client sends a stanza; nothing comes of it before [`Server::run`].
    pub fn send(&mut self, name: &str, xml: &str) {
        let stanza = stanza(xml);
        let client = self.client(name);
        let conn = client.conn();
        if let (Some(frame), Some(conn)) = (client.send(stanza), conn) {
            self.up(conn, frame);
        }
    }

    /// A client's socket is lost, with all that was on its way.
    pub fn lose(&mut self, name: &str) {
        let client = self.client(name);
        let Some(conn) = client.conn() else { return };
        let lost = client.lose();
        self.under_way.lose(Lane::Down(conn));
        if let Some(frame) = lost {
            self.up(conn, frame);
        }
    }

    /// A client closes its stream.
    pub fn close(&mut self, name: &str) {
        let client = self.client(name);
        let Some(conn) = client.conn() else { return };
        let ended = client.half.take().and_then(|mut half| half.ended());
        client.session = None;
        if let Some(frame) = ended {
            self.up(conn, frame);
        }
        self.run();
    }

    /// A client resumes its session on a new connection. What comes of it is in its `happened`.
    pub fn resume(&mut self, name: &str) {
        let h = self.client(name).received as u32;
        self.resume_with(name, h);
        self.run();
    }

    /// As [`Server::resume`], with any `h`, and not yet carried out.
    pub fn resume_with(&mut self, name: &str, h: u32) {
        let session = self.client(name).session.expect("a session to resume");
        let conn = self.connect(name);
        let half = self.client(name).half.as_mut();
        let frame = half.and_then(|half| half.resume(&session.to_sm_id(), h)).expect("a login");
        self.up(conn, frame);
    }

    /// A client asks for a session by its id, be it its own, somebody else's or nobody's. Nothing
    /// comes of it before [`Server::run`].
    pub fn resume_id(&mut self, name: &str, sm_id: &str, h: u32) {
        let conn = self.connect(name);
        let half = self.client(name).half.as_mut();
        let frame = half.and_then(|half| half.resume(sm_id, h)).expect("a login");
        self.up(conn, frame);
    }

    /// A client resumes on a new connection while its older one stands; only then is that one found
    /// to be gone.
    pub fn resume_over(&mut self, name: &str) {
        let mut older = self.client(name).half.take().expect("a connection");
        self.resume(name);
        for late in [older.lost(), older.ended()].into_iter().flatten() {
            self.up(older.conn(), late);
        }
        self.run();
    }

    /// Between a stop and what comes next: the counters of a stored session, and of its client,
    /// stand where they would be after so many stanzas.
    ///
    /// # Panics
    /// If no session was stored, or something in it is under way.
    pub fn preset_counters(&mut self, name: &str, both: u64) {
        let jid = Self::jid(name).to_bare();
        let client = self.client(name);
        assert!(client.unconfirmed.is_empty(), "{name} waits for an answer");
        (client.sent, client.received) = (both, both);
        let id = client.session.expect("a session");
        let key = Entity::of(&self.config.hash, &jid).session(id);
        let rows = self.store.read_now(&kv::Reads::get(key.clone())).expect("the store");
        let mut row = SessionRow::decode(rows.value(0).expect("a stored session")).expect("a row");
        assert!(row.queue.is_empty(), "{name} has not taken everything");
        (row.handled, row.taken) = (both, both);
        let mut batch = kv::Batch::new(next(&mut self.seed));
        batch.set(key, row.encode());
        self.store.commit_now(&batch).expect("a commit");
    }

    /// How many rows of an account there are.
    pub fn rows_of(&self, account: &str) -> usize {
        let (start, end) = Entity::of(&self.config.hash, &Self::jid(account)).all();
        let reads = kv::Reads::range(kv::RangeRead::new(start, end).rows(1000));
        self.store.read_now(&reads).expect("the store").rows(0).len()
    }

    /// A client whose resumption failed binds on the same connection, and sends again what the
    /// server has not confirmed.
    pub fn login_instead(&mut self, name: &str) {
        let conn = self.client(name).conn().expect("a connection");
        let rest = self.client(name).take_unconfirmed();
        self.bind_on(name, conn);
        self.expect(name, |happened| matches!(happened, Happened::Bound(_)));
        self.enable(name, true);
        for stanza in rest {
            let frame = self.client(name).send(stanza).expect("a session");
            self.up(conn, frame);
        }
        self.run();
    }

    /// A client that persists connects, if it is not connected, and resumes or binds. Nothing comes
    /// of it before [`Server::step`].
    pub fn connect_again(&mut self, name: &str) {
        if self.clients.get(name).is_some_and(|client| client.half.is_some()) {
            return;
        }
        let conn = self.connect(name);
        let client = self.client(name);
        client.persists = true;
        let (session, h) = (client.session, client.received as u32);
        let frame = match session {
            Some(session) => {
                client.half.as_mut().and_then(|half| half.resume(&session.to_sm_id(), h))
            }
            None => client.bind(),
        };
        self.up(conn, frame.expect("a login"));
    }

    /// A little time passes, in the midst of what is under way.
    pub fn tick(&mut self, us: u64) {
        self.now += us;
        let now = self.now;
        let due = self.workers.iter().map(|worker| worker.deadline().is_some_and(|at| at <= now));
        let due: Vec<bool> = due.collect();
        for (index, _) in (0..).zip(due).filter(|(_, due)| *due) {
            self.handle(index, Input::Timeout);
        }
    }

    /// Time passes; what falls due in it happens in its time.
    pub fn pass(&mut self, us: u64) {
        let until = self.now + us;
        self.run();
        while let Some((at, index)) = self.due().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.handle(index, Input::Timeout);
            self.run();
        }
        self.now = self.now.max(until);
    }

    fn due(&self) -> Option<(u64, u16)> {
        let deadlines =
            self.workers.iter().zip(0..).filter_map(|(w, at)| Some((w.deadline()?, at)));
        deadlines.min()
    }

    /// The server is killed in the midst of what it does, and started again. Clients lose their
    /// sockets.
    pub fn kill(&mut self) {
        self.under_way.clear();
        self.restart();
    }

    /// The server stores what can be resumed, stops, and is started again.
    pub fn stop(&mut self) {
        for worker in 0..self.workers.len() as u16 {
            self.under_way.push(Lane::Commit(worker), Action::Input(worker, Input::Stop));
        }
        // A store that is away, or a frame that was lost, needs time.
        for _ in 0..100 {
            self.run();
            if self.stopped == self.workers.len() {
                break;
            }
            self.tick(100_000);
        }
        assert_eq!(self.stopped, self.workers.len(), "the server does not stop");
        self.under_way.clear();
        self.restart();
    }

    fn restart(&mut self) {
        self.now += 1_000_000;
        self.slots += 1000;
        for client in self.clients.values_mut() {
            // Nobody is there to hear of it.
            let _ = client.lose();
        }
        self.start(self.workers.len() as u16);
    }

    /// Its workers.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }
}

fn config(modules: &'static [&'static dyn Module]) -> Config {
    let domains = vec!["a".to_owned()];
    Config::new(domains, HashKey(1, 2), [7; 32], Modules::new(modules))
}
