//! Nothing that was sent is lost or doubled, whatever breaks: sockets are lost, the server is
//! killed and stopped in the midst of its work, the store fails and does not say whether it has
//! written.
//!
//! Each seed is a world of its own, and the same one each time.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test says what it found, and is told which seed to play"
)]

use std::collections::{BTreeMap, BTreeSet};

use kv::Fault;
use session::keys::Entity;
use session::rows::LogRow;
use session::testing::{Happened, Order, Server};

const CLIENTS: [&str; 5] = ["alice/x", "alice/y", "bob/x", "bob/y", "carol/x"];
const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];

struct World {
    server: Server,
    seed: u64,
    archive: bool,
    /// Sent messages: who to whom, by what they say.
    sent: BTreeMap<u64, (&'static str, &'static str)>,
    /// What each account has heard on any device.
    heard: BTreeMap<&'static str, BTreeSet<u64>>,
    /// What each device has heard in its present session.
    in_session: BTreeMap<&'static str, BTreeSet<String>>,
}

impl World {
    fn new(seed: u64, archive: bool) -> Self {
        let mut server = Server::new(xeps::LIST, 1 + (seed % 3) as u16, Order::Random(seed));
        server.configure(|config| config.archive = archive);
        server.kill();
        for name in ACCOUNTS {
            server.add(name);
        }
        for name in CLIENTS {
            server.connect_again(name);
        }
        server.run();
        let (sent, heard, in_session) = Default::default();
        Self { server, seed, archive, sent, heard, in_session }
    }

    fn choose(&mut self, bound: u64) -> u64 {
        // xorshift64*: good enough to choose.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }

    fn one(&mut self) -> &'static str {
        CLIENTS[self.choose(CLIENTS.len() as u64) as usize]
    }

    fn tell(&self, what: &str) {
        if self.server.trace {
            println!("== {what}");
        }
    }

    fn steps(&mut self, most: u64) {
        for _ in 0..self.choose(most) {
            self.server.step();
        }
        self.listen();
    }

    fn sends(&mut self) {
        let from = self.one();
        let to = match self.choose(4) {
            0 => self.one(),
            _ => ACCOUNTS[self.choose(3) as usize],
        };
        let text = self.sent.len() as u64 + 1;
        self.sent.insert(text, (from, to));
        let to = Server::jid(to);
        let xml =
            format!("<message to='{to}' type='chat' id='m{text}'><body>{text}</body></message>");
        self.server.send(from, &xml);
    }

    fn something(&mut self) {
        match self.choose(100) {
            0..50 => self.sends(),
            50..75 => self.steps(30),
            75..80 => {
                let name = self.one();
                self.tell(&format!("{name} loses"));
                self.server.lose(name);
            }
            80..82 => {
                let name = self.one();
                let client = self.server.client(name);
                (client.deaf, client.mute) = (true, true);
                self.tell(&format!("{name} is cut off"));
            }
            82..92 => {
                let name = self.one();
                if self.server.client(name).deaf {
                    self.server.lose(name);
                }
                self.tell(&format!("{name} connects"));
                self.server.connect_again(name);
            }
            92..95 => {
                let us = self.choose(3_000_000);
                self.server.tick(us);
            }
            95..98 => {
                let faults = [Fault::UnknownApplied, Fault::UnknownLost, Fault::Unavailable];
                let fault = faults[self.choose(3) as usize];
                self.server.store.inject([fault]);
            }
            98 => {
                self.tell("kill");
                self.server.kill();
            }
            _ if self.choose(3) == 0 => {
                self.tell("stop");
                // A stop waits for the store; time must pass for it.
                self.heal_store();
                self.server.stop();
            }
            _ => {}
        }
        self.listen();
    }

    fn heal_store(&mut self) {
        for _ in 0..20 {
            self.server.run();
            self.server.tick(200_000);
        }
        self.listen();
    }

    /// Looks at what the clients got.
    fn listen(&mut self) {
        for (name, client) in self.server.clients() {
            let name = CLIENTS.into_iter().find(|one| one == name).expect("a client");
            let account = name.split_once('/').expect("a resource").0;
            for happened in client.look() {
                match happened {
                    Happened::Bound(_) => {
                        self.in_session.remove(name);
                    }
                    Happened::Stanza(stanza) => {
                        let Some(body) = stanza.body.child("body", "jabber:client") else {
                            continue;
                        };
                        let text = body.tree().expect("XML").root().text();
                        let first = self.in_session.entry(name).or_default().insert(text.clone());
                        let again = !first && self.archive;
                        assert!(!again, "{name} got {text} twice in one session");
                        let number = text.parse().expect("a number");
                        self.heard.entry(account).or_default().insert(number);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Everything works again, until all is said.
    fn heal(&mut self) {
        for _ in 0..60 {
            for name in CLIENTS {
                if self.server.client(name).deaf {
                    self.server.lose(name);
                }
                self.server.connect_again(name);
            }
            self.server.run();
            self.listen();
            self.server.tick(1_000_000);
        }
        for (name, client) in self.server.clients() {
            assert!(client.unconfirmed.is_empty(), "{name}: {:?}", client.unconfirmed);
            assert!(client.rest.is_empty(), "{name}: {:?}", client.rest);
        }
    }

    /// What an account's log says was sent (`outgoing`) or received, in order.
    fn logged(&self, account: &str, outgoing: bool) -> Vec<u64> {
        let entity = Entity::of(&self.server.config().hash, &Server::jid(account));
        let (start, end) = entity.span(session::keys::tag::LOG);
        let range = kv::RangeRead::new(start, end);
        let rows = self.server.store.read_now(&kv::Reads::range(range)).expect("the store");
        let bodies = rows.rows(0).iter().filter_map(|row| {
            let row = LogRow::decode(&row.value).expect("a row");
            let stanza = row.stanza().expect("a stanza");
            let body = stanza.body.child("body", "jabber:client")?;
            let text = body.tree().expect("XML").root().text();
            (row.outgoing == outgoing).then(|| text.parse().expect("a number"))
        });
        bodies.collect()
    }

    fn check(&self) {
        for account in ACCOUNTS {
            let is_of = |name: &str| name.split('/').next() == Some(account);
            let (sent, received) = (self.logged(account, true), self.logged(account, false));
            let none = BTreeSet::new();
            let heard = self.heard.get(account).unwrap_or(&none);
            for (text, (from, to)) in &self.sent {
                let own = is_of(from) && is_of(to);
                let count = |list: &[u64]| list.iter().filter(|one| *one == text).count();
                let expected = (usize::from(is_of(from) && !own), usize::from(is_of(to)));
                let found = (count(&sent), count(&received));
                if self.archive {
                    assert_eq!(found, expected, "{account} has {text} from {from} to {to}");
                }
                // What comes to a resource before its stream is managed is covered by nothing but
                // the archive (XEP-0198 §4); what comes to the account waits for its presence.
                let waits = is_of(to) && !to.contains('/');
                assert!(!waits || heard.contains(text), "{account} never heard {text}");
            }
            // What one device sent to the account is in the order in which it was sent.
            for from in CLIENTS {
                let of: Vec<&u64> = received.iter().filter(|t| self.sent[t].0 == from).collect();
                let sorted = !self.archive || of.is_sorted();
                assert!(sorted, "{account} has {of:?} of {from}");
            }
        }
    }
}

fn play(seed: u64, archive: bool, events: usize) {
    let mut world = World::new(seed, archive);
    world.server.trace = std::env::var_os("TRACE").is_some();
    for _ in 0..events {
        world.something();
    }
    world.heal();
    world.check();
}

/// `SEED` picks one, `SEEDS` plays that many times as many.
fn seeds(first: u64, count: u64, archive: bool, events: usize) {
    let times = std::env::var("SEEDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let seeds = first..first + count * times;
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in seeds.filter(|seed| only.is_none_or(|only| only == *seed)) {
        let result = std::panic::catch_unwind(|| play(seed, archive, events));
        assert!(result.is_ok(), "SEED={seed}, {events} events");
    }
}

#[test]
fn nothing_is_lost_or_doubled() {
    seeds(1, 60, true, 300);
}

#[test]
fn short_stories() {
    seeds(100_001, 300, true, 40);
}

/// Where nothing is archived, a client may hear again what its sender was not told to have arrived,
/// and sends again in another session. Nobody misses anything.
#[test]
fn without_an_archive_nothing_is_lost() {
    seeds(200_001, 60, false, 300);
    seeds(300_001, 300, false, 40);
}
