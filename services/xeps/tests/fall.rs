//! A panic costs one shard: what was acknowledged stays, others go on, and the shard is opened
//! again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test makes the engine panic and says what came of it"
)]

use std::panic::resume_unwind;
use std::sync::OnceLock;

use kv::Fault;
use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::Spec;
use session::testing::{Happened, Order, Server, play};

/// Panics at a message that has a child `bomb` which names the phase.
struct Bomb;

impl Module for Bomb {
    fn spec(&self) -> Spec {
        Spec::new(0, "a bomb", "0")
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Outbound, Phase::Inbound, Phase::Close]
    }

    fn decide(&self, at: Phase, event: &Event, _cx: &Cx<'_>, _out: &mut Outcome) -> Verdict {
        let body = std::str::from_utf8(event.stanza.body.as_bytes()).unwrap();
        if body.contains(&format!("<bomb xmlns='{at:?}'")) {
            // Not `panic!`: nobody is to read of it.
            resume_unwind(Box::new("the bomb"));
        }
        Verdict::Pass
    }
}

/// The bomb comes last: the archive has written its row by then.
fn modules() -> &'static [&'static dyn Module] {
    static LIST: OnceLock<Vec<&'static dyn Module>> = OnceLock::new();
    LIST.get_or_init(|| [xeps::LIST, &[&Bomb]].concat())
}

#[test]
fn falls() {
    play(modules(), include_str!("dialogues/fall.txt"));
}

fn server() -> Server {
    let mut server = Server::new(modules(), 1, Order::LateStore);
    for name in ["alice", "bob", "carol"] {
        server.add(name);
    }
    for name in ["alice/x", "bob/x", "carol/x"] {
        server.connect_again(name);
        server.run();
    }
    server
}

fn says(server: &mut Server, from: &str, to: &str, text: &str) {
    let body =
        format!("<message to='{to}@a' type='chat' id='{text}'><body>{text}</body></message>");
    server.send(from, &body);
}

fn bomb(server: &mut Server, from: &str) {
    server.send(from, "<message to='carol@a' type='chat'><bomb xmlns='Outbound'/></message>");
}

/// What a client has got of messages with a body.
fn heard(server: &mut Server, name: &str) -> Vec<String> {
    let all = server.client(name).look();
    let ids = all.into_iter().filter_map(|happened| match happened {
        Happened::Stanza(stanza) => stanza.id.map(|id| id.to_string()),
        _ => None,
    });
    ids.collect()
}

/// A shard falls while a commit with its batch and another shard's is under way; whatever becomes
/// of the commit, each message is there once.
#[test]
fn a_commit_under_way_is_settled_before_the_shard_is_opened_again() {
    let fates = [None, Some(Fault::UnknownApplied), Some(Fault::UnknownLost)];
    for fate in fates.into_iter().chain([Some(Fault::Unavailable)]) {
        let mut server = server();
        for name in ["alice/x", "bob/x", "carol/x"] {
            heard(&mut server, name);
        }
        server.store.inject(fate);
        says(&mut server, "alice/x", "bob", "one");
        says(&mut server, "bob/x", "carol", "two");
        // The frames arrive, and the commit is on its way; the store is last.
        for _ in 0..3 {
            server.step();
        }
        bomb(&mut server, "alice/x");
        server.run();
        assert_eq!(server.fallen.len(), 1, "{fate:?}");
        // The bomb is not sent again, so that it does not fall again.
        server.client("alice/x").unconfirmed.retain(|(_, stanza)| stanza.id.is_some());
        for _ in 0..20 {
            server.pass(1_000_000);
            server.connect_again("alice/x");
            server.run();
        }
        assert_eq!(server.fallen.len(), 1, "{fate:?}");
        assert_eq!(heard(&mut server, "bob/x"), ["one"], "{fate:?}");
        assert_eq!(heard(&mut server, "carol/x"), ["two"], "{fate:?}");
        let client = server.client("alice/x");
        assert!(client.managed && client.unconfirmed.is_empty(), "{fate:?}");
    }
}

/// What panics each time it is tried keeps one shard closed for longer and longer, and takes little
/// of the others' time.
#[test]
fn a_shard_that_falls_again_and_again_stays_closed_for_longer() {
    let mut server = server();
    server.send("alice/x", "<message to='bob@a' id='poison'><bomb xmlns='Inbound'/></message>");
    server.run();
    server.pass(600_000_000);
    let falls = server.fallen.len();
    assert!((5..60).contains(&falls), "{falls}");
    heard(&mut server, "carol/x");
    says(&mut server, "alice/x", "carol", "hello");
    server.run();
    assert_eq!(heard(&mut server, "carol/x"), ["hello"]);
}
