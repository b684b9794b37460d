//! One worker of the engine over a store in memory, and two clients that are logged in.

use std::sync::Arc;

use kv::MemStore;
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

use crate::Failure;

const KEY: HashKey = HashKey(1, 2);

/// The message of all measurements.
pub const CHAT: &str = "<message to='juliet@localhost/bench' type='chat' id='m1'><body>What&apos;s \
    in a name? That which we call a rose by any other name would smell as sweet.</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='m1'/></message>";

/// A session.
#[derive(Clone)]
struct Party {
    account: Jid,
    session: SessionId,
    number: u64,
}

/// One worker, its store, and two clients.
pub struct Rig {
    worker: Worker,
    store: MemStore,
    now: u64,
    random: u128,
    /// Whether commits go to the store; otherwise they are taken and forgotten.
    pub stores: bool,
    downs: Vec<(ConnId, Down)>,
    /// The words of a panic of a shard: what is counted then is worth nothing.
    fallen: Option<String>,
    romeo: Option<Party>,
    juliet: Option<Party>,
}

impl Rig {
    /// Logs two clients in.
    ///
    /// # Errors
    /// If the engine does not answer as it should.
    pub fn new(archive: bool) -> Result<Self, Failure> {
        let modules = Modules::new(xeps::LIST);
        let mut config = Config::new(vec!["localhost".into()], KEY, [7; 32], modules);
        config.archive = archive;
        let now = 1_700_000_000_000_000;
        let mut rig = Self {
            worker: Worker::new(Arc::new(config), 0, 1, now),
            store: MemStore::default(),
            now,
            random: 0,
            stores: true,
            downs: Vec::new(),
            fallen: None,
            romeo: None,
            juliet: None,
        };
        rig.romeo = Some(rig.log_in("romeo@localhost", 1)?);
        rig.juliet = Some(rig.log_in("juliet@localhost", 2)?);
        Ok(rig)
    }

    fn give(&mut self, input: Input) {
        self.now += 1;
        let random = &mut self.random;
        let mut draw = || {
            *random += 1;
            *random << 64
        };
        let mut env = Env { now: self.now, steady: self.now, random: &mut draw };
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
                Output::Down(_, conn, frame) => self.downs.push((conn, frame)),
                Output::Fallen(_, words) => self.fallen = Some(words),
                Output::Page(_) | Output::HandOver(..) => {}
                Output::Between(_) | Output::Admin(..) | Output::Note(_) | Output::Stopped => {}
            }
        }
    }

    fn up(&mut self, frame: Up) {
        let shard = shard_of(&KEY, frame.account());
        self.give(Input::Up(shard, frame));
    }

    fn log_in(&mut self, jid: &str, slot: u64) -> Result<Party, Failure> {
        let account = Jid::parse(jid).map_err(|_| "a JID that is none")?;
        let add = Request::Add { account: account.clone(), verifiers: Vec::new() };
        let shard = shard_of(&KEY, &account);
        self.give(Input::Admin(shard, slot, add));
        self.settle();
        let conn = ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot };
        let shard = self.worker.shards().find(|it| it.id() == shard).ok_or("no such shard")?;
        let state = shard.account(&account).ok_or("no such account")?;
        let generation = state.generation().ok_or("the account has no generation")?;
        let resource = Some("bench".into());
        self.up(Up::Bind { conn, account: account.clone(), generation, resource, resends: false });
        self.settle();
        let session = self.downs.iter().rev().find_map(|(to, frame)| match frame {
            Down::Bound { session, .. } if *to == conn => Some(*session),
            _ => None,
        });
        let session = session.ok_or("the engine did not bind")?;
        self.up(Up::Enable { account: account.clone(), session, resume: true });
        let mut party = Party { account, session, number: 0 };
        self.send(&mut party, stanza("<presence/>")?);
        self.settle();
        Ok(party)
    }

    fn send(&mut self, party: &mut Party, stanza: Stanza) {
        party.number += 1;
        let (account, session, number) = (party.account.clone(), party.session, party.number);
        self.up(Up::Stanza { account, session, attachment: 1, number, retry: false, stanza });
    }

    /// A turn of a busy worker: Romeo sends messages, Juliet takes them.
    ///
    /// # Errors
    /// If nothing reaches Juliet.
    pub fn messages(&mut self, message: &Stanza, count: u64) -> Result<usize, Failure> {
        let mut romeo = self.romeo.take().ok_or("Romeo is not there")?;
        for _ in 0..count {
            self.send(&mut romeo, message.clone());
        }
        self.romeo = Some(romeo);
        self.settle();
        self.taken()
    }

    /// Juliet says that she has what was sent to her.
    fn taken(&mut self) -> Result<usize, Failure> {
        let juliet = self.juliet.clone().ok_or("Juliet is not there")?;
        let last = self.downs.iter().rev().find_map(|(conn, frame)| match frame {
            Down::Stanza { number, .. } if conn.slot == 2 => Some(*number),
            _ => None,
        });
        let (account, session) = (juliet.account, juliet.session);
        let number = last.ok_or("nothing reached Juliet")?;
        self.up(Up::Taken { account, session, attachment: 1, number });
        self.settle();
        match self.fallen.take() {
            Some(words) => Err(format!("a shard fell: {words}").into()),
            None => Ok(self.downs.drain(..).count()),
        }
    }

    /// Juliet asks for a page of her archive.
    ///
    /// # Errors
    /// If nothing reaches Juliet.
    pub fn page(&mut self, query: &Stanza) -> Result<usize, Failure> {
        let mut juliet = self.juliet.take().ok_or("Juliet is not there")?;
        self.send(&mut juliet, query.clone());
        self.juliet = Some(juliet);
        self.settle();
        self.taken()
    }
}

/// A stanza from its text.
///
/// # Errors
/// If it is none.
pub fn stanza(text: &str) -> Result<Stanza, Failure> {
    let mut reader = Reader::new(ReadLimits::AFTER_AUTH);
    let text = format!("{}{text}", super::case::OPEN);
    let mut input = text.as_bytes();
    loop {
        match reader.read(&mut input) {
            Ok(Some(Item::Element(element))) => {
                let stanza = Stanza::from_element(element, "jabber:client");
                return stanza.map_err(|_| "not a stanza".into());
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Err("not a whole element".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_with_and_without_archive() {
        for archive in [false, true] {
            let mut rig = Rig::new(archive).unwrap();
            let message = stanza(CHAT).unwrap();
            assert!(rig.messages(&message, 10).unwrap() >= 10);
            assert!(rig.messages(&message, 10).unwrap() >= 10);
        }
    }
}
