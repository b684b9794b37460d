//! What one message costs the engine: the sender's step and the recipient's, both archives
//! written, on a store that takes no time.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kv::{Batch, MemStore};
use peer::shard::HashKey;
use peer::{ConnId, Down, NodeId, SessionId, Up, shard_of};
use session::admin::Request;
use session::config::Config;
use session::module::Modules;
use session::shard::Env;
use session::worker::{Input, Output, Worker};
use xmpp::jid::Jid;
use xmpp::limits::ReadLimits;
use xmpp::stanza::Stanza;
use xmpp::xml::{Item, Reader};

const KEY: HashKey = HashKey(1, 2);

/// One worker, its store, and two clients that are logged in.
struct Bench {
    worker: Worker,
    store: MemStore,
    now: u64,
    random: u128,
    /// Whether commits go to the store; otherwise they are taken and forgotten.
    stores: bool,
    downs: Vec<(ConnId, Down)>,
}

impl Bench {
    fn new() -> Self {
        let modules = Modules::new(xeps::LIST);
        let config = Config::new(vec!["localhost".into()], KEY, [7; 32], modules);
        let now = 1_700_000_000_000_000;
        Self {
            worker: Worker::new(Arc::new(config), 0, 1, now),
            store: MemStore::default(),
            now,
            random: 0,
            stores: true,
            downs: Vec::new(),
        }
    }

    fn give(&mut self, input: Input) {
        self.now += 1;
        let random = &mut self.random;
        let mut draw = || {
            *random += 1;
            *random << 64
        };
        let mut env = Env { now: self.now, random: &mut draw };
        self.worker.handle(input, &mut env);
    }

    fn settle(&mut self) {
        while let Some(output) = self.worker.poll() {
            match output {
                Output::Read(number, reads) => {
                    let rows = self.store.read_now(&reads);
                    self.give(Input::Rows(number, rows));
                }
                Output::Commit(batch) => {
                    let op_id = batch.op_id();
                    let result = if self.stores { self.store.commit_now(&batch) } else { Ok(()) };
                    self.give(Input::Committed(op_id, result));
                }
                Output::Down(conn, frame) => self.downs.push((conn, frame)),
                Output::Between(_)
                | Output::Admin(..)
                | Output::Note(_)
                | Output::Fallen(..)
                | Output::Stopped => {}
            }
        }
    }

    fn up(&mut self, frame: Up) {
        let shard = shard_of(&KEY, frame.account());
        self.give(Input::Up(shard, frame));
    }

    fn log_in(&mut self, jid: &str, slot: u64) -> (Jid, SessionId) {
        let account = Jid::parse(jid).unwrap();
        let add = Request::Add { account: account.clone(), verifiers: Vec::new() };
        self.give(Input::Admin(shard_of(&KEY, &account), slot, add));
        self.settle();
        let conn = ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot };
        let generation = self.generation(&account);
        let resource = Some("bench".into());
        self.up(Up::Bind { conn, account: account.clone(), generation, resource, resends: false });
        self.settle();
        let session = self.downs.iter().rev().find_map(|(to, frame)| match frame {
            Down::Bound { session, .. } if *to == conn => Some(*session),
            _ => None,
        });
        let session = session.unwrap();
        self.up(Up::Enable { account: account.clone(), session, resume: true });
        let presence = stanza("<presence/>");
        self.send(&account, session, 1, presence);
        self.settle();
        (account, session)
    }

    fn generation(&self, account: &Jid) -> u64 {
        let shard = self.worker.shards().find(|s| s.id() == shard_of(&KEY, account)).unwrap();
        shard.account(account).unwrap().generation().unwrap()
    }

    fn send(&mut self, account: &Jid, session: SessionId, number: u64, stanza: Stanza) {
        let (account, retry) = (account.clone(), false);
        self.up(Up::Stanza { account, session, attachment: 1, number, retry, stanza });
    }
}

fn stanza(text: &str) -> Stanza {
    let mut reader = Reader::new(ReadLimits::AFTER_AUTH);
    let stream = "<stream:stream xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    let text = format!("{stream}{text}");
    let mut input = text.as_bytes();
    loop {
        if let Item::Element(element) = reader.read(&mut input).unwrap().unwrap() {
            return Stanza::from_element(element, "jabber:client").unwrap();
        }
    }
}

/// Messages of one turn: what a busy worker finds in its mailbox.
const TURN: u64 = 64;

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("message, both archives");
    group.throughput(Throughput::Elements(TURN));
    for (name, stores) in [("engine alone", false), ("with a store in memory", true)] {
        let mut bench = Bench::new();
        let (romeo, from) = bench.log_in("romeo@localhost", 1);
        let (juliet, to) = bench.log_in("juliet@localhost", 2);
        bench.stores = stores;
        let message = stanza(
            "<message to='juliet@localhost/bench' type='chat' id='m1'><body>What&apos;s in a \
             name? That which we call a rose by any other name would smell as sweet.</body>\
             <active xmlns='http://jabber.org/protocol/chatstates'/><request \
             xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='m1'/></message>",
        );
        let mut number = 1;
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..TURN {
                    number += 1;
                    bench.send(&romeo, from, number, message.clone());
                }
                bench.settle();
                let last = bench.downs.iter().rev().find_map(|(_, frame)| match frame {
                    Down::Stanza { number, .. } => Some(*number),
                    _ => None,
                });
                let account = juliet.clone();
                let number = last.unwrap();
                bench.up(Up::Taken { account, session: to, attachment: 1, number });
                bench.settle();
                black_box(bench.downs.drain(..).count());
            });
        });
    }
    group.finish();
}

/// What building a batch of one row costs, as a yardstick.
fn batch(c: &mut Criterion) {
    c.bench_function("batch of one row", |b| {
        b.iter(|| {
            let mut batch = Batch::new(1);
            batch.set(vec![b'e'; 26].into(), vec![1; 400].into());
            black_box(batch.bytes())
        });
    });
}

criterion_group!(benches, messages, batch);
criterion_main!(benches);
