//! The log and the snapshots of the control plane as committed bytes: they outlive the program that
//! wrote them, so every later one must read them. `UPDATE_GOLDEN=1` adds what is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod hex;
mod plane;

use std::collections::BTreeSet;

use peer::codec::{BadFrame, VERSION};
use peer::control::{
    Attempt, Bound, Command, Entry, Hold, Move, Refusal, Reply, State, TextOf, TokenHash,
};
use peer::node::{ClusterId, Features, Roles, Versions};
use peer::shard::HashKey;
use peer::{Epoch, NodeId, ShardId};
use plane::{CLUSTER, NOW, Plane};

fn node(number: u32) -> NodeId {
    NodeId { number, incarnation: number + 1 }
}

fn commands() -> Vec<(&'static str, Command)> {
    let token = TokenHash([9; 32]);
    let moves = || vec![Move { shard: ShardId(1700), to: node(4) }];
    let attempts = || vec![Attempt { shard: ShardId(1700), to: node(4), begun: 900 }];
    let join = Plane::new().request("edge-1", Roles::EDGE, "hall-b");
    let again = peer::control::Join { token: None, zone: "".into(), ..join.clone() };
    let (key, epochs_above) = (HashKey(1, 2), Epoch(900));
    vec![
        ("init", Command::Init { cluster: CLUSTER, key, epochs_above }),
        ("add-token", Command::AddToken { token, roles: Roles::EDGE, expires_us: NOW }),
        ("drop-token", Command::DropToken { token }),
        ("join", Command::Join(Box::new(join))),
        ("join-again", Command::Join(Box::new(again))),
        ("leave", Command::Leave { node: node(4) }),
        ("declare-dead", Command::DeclareDead { node: node(4), by: vec![node(1), node(2)] }),
        ("drain", Command::Drain { number: 4 }),
        ("undrain", Command::Undrain { number: 4 }),
        ("remove", Command::Remove { number: 4 }),
        ("lease-seen", Command::LeaseSeen { fresh: vec![node(1), node(2)] }),
        ("grant-free", Command::GrantFree),
        ("release", Command::Release { node: node(4) }),
        ("regrant", Command::Regrant { shard: ShardId(1700), epoch: Epoch(5), node: node(4) }),
        ("rebalance", Command::Rebalance),
        ("move-begin", Command::MoveBegin { moves: moves() }),
        ("move-end", Command::MoveEnd { moves: attempts() }),
        ("move-abort", Command::MoveAbort { moves: attempts() }),
        ("add-domain", Command::AddDomain { domain: "capulet.example".into() }),
        ("remove-domain", Command::RemoveDomain { domain: "capulet.example".into() }),
        ("set", Command::Set { name: "name".into(), value: Some("value".into()) }),
        ("unset", Command::Set { name: "name".into(), value: None }),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let versions = Versions { min: 1, max: 2 };
    let with = "edge-1".into();
    let refusals = [
        ("not-initialised", Refusal::NotInitialised),
        ("initialised", Refusal::Initialised(CLUSTER)),
        ("wrong-cluster", Refusal::WrongCluster(ClusterId(8))),
        ("clock-off", Refusal::ClockOff { off_ms: 31_000, ahead: true }),
        ("token-missing", Refusal::TokenMissing),
        ("token-unknown", Refusal::TokenUnknown),
        ("token-used", Refusal::TokenUsed { by: 4 }),
        ("token-expired", Refusal::TokenExpired),
        ("roles-not-allowed", Refusal::RolesNotAllowed(Roles::EDGE)),
        ("name-taken", Refusal::NameTaken { by: 4 }),
        ("no-role", Refusal::NoRole),
        ("bad-name", Refusal::BadText(TextOf::Name)),
        ("bad-address", Refusal::BadText(TextOf::Address)),
        ("bad-zone", Refusal::BadText(TextOf::Zone)),
        ("bad-program", Refusal::BadText(TextOf::Program)),
        ("bad-domain", Refusal::BadText(TextOf::Domain)),
        ("bad-setting", Refusal::BadText(TextOf::Setting)),
        ("bad-value", Refusal::BadText(TextOf::Value)),
        ("no-shared-version", Refusal::NoSharedVersion { with, versions }),
        ("program-too-old", Refusal::ProgramTooOld(Features(5))),
        ("unknown-node", Refusal::UnknownNode(4)),
        ("not-up", Refusal::NotUp(node(4))),
        ("too-few-observers", Refusal::TooFewObservers),
        ("still-up", Refusal::StillUp(4)),
        ("last-router", Refusal::LastRouter),
        ("domain-served", Refusal::DomainServed),
        ("domain-not-served", Refusal::DomainNotServed),
        ("token-there", Refusal::TokenThere),
        ("too-many-members", Refusal::TooMany(Bound::Members)),
        ("too-many-tokens", Refusal::TooMany(Bound::Tokens)),
        ("too-many-domains", Refusal::TooMany(Bound::Domains)),
        ("too-many-settings", Refusal::TooMany(Bound::Settings)),
        ("already-applied", Refusal::AlreadyApplied(1000)),
        ("unreadable", Refusal::Unreadable),
        ("epoch-too-high", Refusal::EpochTooHigh),
        ("not-owner", Refusal::NotOwner { shard: ShardId(1700), epoch: Epoch(5) }),
        ("nobody-fresh", Refusal::NobodyFresh),
        ("still-fresh", Refusal::StillFresh(node(4))),
    ];
    let done =
        [("done", Reply::Done), ("joined", Reply::Joined(node(4))), ("moves", Reply::Moves(40))];
    done.into_iter().chain(refusals.map(|(name, why)| (name, Reply::Refused(why)))).collect()
}

/// A cluster in which there is one of each.
fn state() -> State {
    let mut plane = Plane::new();
    let nodes = plane.routers(2);
    plane.join("edge-1", Roles::EDGE, "");
    plane.token();
    plane.done(Command::AddDomain { domain: "capulet.example".into() });
    plane.done(Command::Set { name: "name".into(), value: Some("value".into()) });
    let begin = Command::MoveBegin { moves: vec![Move { shard: ShardId(0), to: nodes[1] }] };
    assert_eq!(plane.moves(begin), 1);
    plane.done(Command::Rebalance);
    plane.state
}

#[test]
fn entries_are_written_as_ever_and_read_as_ever() {
    let entry = |command: Command| Entry { now: NOW, command };
    let new = || commands().into_iter().map(|(name, command)| (name, entry(command)));
    let bytes = new().map(|(name, entry)| (name.to_owned(), entry.encode(VERSION)));
    let golden = hex::committed("log-v1/entry.hex", bytes);
    assert_eq!(golden.len(), new().count());
    for (name, entry) in new() {
        assert_eq!(entry.encode(1), golden[name], "{name} is written anew");
        assert_eq!(Entry::decode(&golden[name]).as_ref(), Ok(&entry), "{name} is read anew");
    }
}

#[test]
fn replies_are_written_as_ever_and_read_as_ever() {
    let bytes = replies().into_iter().map(|(name, reply)| (name.to_owned(), reply.encode(VERSION)));
    let golden = hex::committed("log-v1/reply.hex", bytes);
    assert_eq!(golden.len(), replies().len());
    let mut sentences = BTreeSet::new();
    for (name, reply) in replies() {
        assert_eq!(reply.encode(1), golden[name], "{name} is written anew");
        assert_eq!(Reply::decode(&golden[name]).as_ref(), Ok(&reply), "{name} is read anew");
        if let Reply::Refused(refusal) = reply {
            assert!(sentences.insert(refusal.to_string()), "{name}: a sentence of its own");
        }
    }
}

#[test]
fn snapshots_are_written_as_ever_and_read_as_ever() {
    let state = state();
    let new = [("state".to_owned(), state.encode(VERSION))].into_iter();
    let golden = hex::committed("log-v1/snapshot.hex", new);
    assert_eq!(state.encode(1), golden["state"]);
    assert_eq!(State::decode(&golden["state"]).as_ref(), Ok(&state));
}

/// A life of a cluster, with each command in it, and refusals.
fn life() -> Vec<Vec<u8>> {
    let mut plane = Plane::new();
    let nodes = plane.routers(3);
    let [edge, other] = ["edge-1", "edge-22"].map(|name| plane.join(name, Roles::EDGE, "b"));
    plane.done(Command::AddDomain { domain: "capulet.example".into() });
    plane.done(Command::AddDomain { domain: "montague.example".into() });
    plane.done(Command::RemoveDomain { domain: "montague.example".into() });
    plane.done(Command::Set { name: "name".into(), value: Some("value".into()) });
    plane.done(Command::Set { name: "other".into(), value: Some("value".into()) });
    plane.done(Command::Set { name: "other".into(), value: None });
    let token = plane.token();
    plane.done(Command::DropToken { token });
    plane.now += 1_000_000;
    // Hand-overs that end, that are aborted, and that lose an end.
    plane.done(Command::Drain { number: nodes[0].number });
    let moves = plane.state.next_moves();
    plane.moves(Command::MoveBegin { moves: moves.clone() });
    let under_way: Vec<Attempt> =
        moves.iter().filter_map(|step| plane.map().attempt(step.shard)).collect();
    plane.moves(Command::MoveEnd { moves: under_way[..10].to_vec() });
    plane.moves(Command::MoveAbort { moves: under_way[10..20].to_vec() });
    plane.moves(Command::MoveEnd { moves: under_way[10..20].to_vec() });
    plane.done(Command::Undrain { number: nodes[0].number });
    plane.done(Command::Rebalance);
    plane.done(Command::Leave { node: edge });
    plane.done(Command::Remove { number: edge.number });
    plane.say(Command::Remove { number: other.number });
    // A router that the store does not answer, one that dies, one that begins anew.
    plane.done(Command::LeaseSeen { fresh: nodes[1..].to_vec() });
    plane.done(Command::Release { node: nodes[0] });
    let (shard, slot) =
        plane.map().slots().find(|it| it.1.hold == Hold::Serving(nodes[1])).unwrap();
    let regrant = Command::Regrant { shard, epoch: slot.epoch, node: nodes[1] };
    plane.done(regrant.clone());
    plane.say(regrant);
    plane.done(Command::DeclareDead { node: nodes[2], by: vec![nodes[0], nodes[1]] });
    plane.join("r0", Roles::ROUTER.with(Roles::CONTROL), "c");
    plane.all_fresh();
    plane.log.push(b"\x01\xff".to_vec());
    plane.log
}

/// What `apply` decides is as much of the log as its bytes: a replica of the next release that
/// replays it must come to the same state. A decision that is to be another waits for a gate.
#[test]
fn a_log_leads_to_the_state_that_it_always_led_to() {
    let apply = |log: &[Vec<u8>]| {
        let mut state = State::default();
        for (index, entry) in (1..).zip(log) {
            state.apply_bytes(index, entry);
        }
        state.hash().to_be_bytes().to_vec()
    };
    let log = life();
    let lines =
        (1..).zip(&log).map(|(index, entry): (u32, _)| (format!("{index:04}"), entry.clone()));
    let hash = ("hash".to_owned(), apply(&log));
    let mut golden = hex::committed("log-v1/replay.hex", lines.chain([hash]));
    let hash = golden.remove("hash").unwrap();
    let committed: Vec<Vec<u8>> = golden.into_values().collect();
    assert_eq!(apply(&committed), hash, "another state than the replicas have that did apply it");
    let kinds: BTreeSet<u8> =
        committed.iter().filter_map(|entry| Entry::decode(entry).ok()).map(kind).collect();
    assert_eq!(
        kinds,
        commands().into_iter().map(|(_, it)| kind(Entry { now: 0, command: it })).collect()
    );
}

/// Which command it is: the byte behind version and clock.
fn kind(entry: Entry) -> u8 {
    Entry { now: 0, ..entry }.encode(VERSION)[2]
}

#[test]
fn damaged_and_strange_bytes_are_refused() {
    let bytes = state().encode(VERSION);
    for end in (0..bytes.len()).step_by(97) {
        assert!(State::decode(&bytes[..end]).is_err(), "{end}");
    }
    let entry = Entry { now: NOW, command: Command::Rebalance }.encode(VERSION);
    let with = |at: usize, byte: u8| {
        let mut entry = entry.clone();
        entry[at] = byte;
        Entry::decode(&entry)
    };
    assert_eq!(with(0, VERSION + 2), Err(BadFrame::Version(VERSION + 2)));
    assert_eq!(with(entry.len() - 1, 0xEE), Err(BadFrame::Choice));
    let longer = [&entry[..], b"x"].concat();
    assert_eq!(Entry::decode(&longer), Err(BadFrame::Trailing));
    let mut next = longer.clone();
    next[0] = VERSION + 1;
    assert!(Entry::decode(&next).is_ok(), "what the next version added is not looked at");
}
