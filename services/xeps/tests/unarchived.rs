//! Messages that no archive keeps: they need a row only while nobody has taken them (design: "One
//! log per account and per room").
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it found"
)]

use session::keys::Entity;
use session::limits;
use session::testing::{Happened, Order, Server};

const SECOND: u64 = 1_000_000;

/// A server without archives, with alice and bob on it.
fn server() -> Server {
    let mut server = Server::new(xeps::LIST, 2, Order::Prompt);
    server.configure(|config| config.archive = false);
    server.kill();
    for name in ["alice", "bob"] {
        server.add(name);
    }
    login(&mut server, "alice/phone");
    login(&mut server, "bob/desk");
    server
}

fn login(server: &mut Server, name: &str) {
    server.login(name);
    server.send(name, "<presence/>");
    server.run();
    server.client(name).look();
}

fn say(server: &mut Server, text: &str) {
    let id = text.get(..64).unwrap_or(text);
    let xml = format!("<message to='bob@a' type='chat' id='{id}'><body>{text}</body></message>");
    server.send("alice/phone", &xml);
    server.run();
}

/// What a client has heard since it was last asked.
fn heard(server: &mut Server, name: &str) -> Vec<String> {
    let happened = server.client(name).look().into_iter();
    let bodies = happened.filter_map(|happened| match happened {
        Happened::Stanza(stanza) => {
            let body = stanza.body.child("body", "jabber:client")?;
            Some(body.tree().expect("XML").root().text())
        }
        _ => None,
    });
    bodies.collect()
}

/// Rows in bob's log.
fn rows(server: &Server) -> usize {
    let entity = Entity::of(&server.config().hash, &Server::jid("bob"));
    let (start, end) = entity.span(session::keys::tag::LOG);
    let found = server.store.read_now(&kv::Reads::range(kv::RangeRead::new(start, end)));
    found.expect("the store").rows(0).len()
}

fn unconfirmed(server: &mut Server) -> usize {
    server.client("alice/phone").unconfirmed.len()
}

#[test]
fn what_is_taken_at_once_is_never_written() {
    let mut server = server();
    say(&mut server, "1");
    assert_eq!(heard(&mut server, "bob/desk"), ["1"]);
    assert_eq!((rows(&server), unconfirmed(&mut server)), (0, 0));
    server.pass(10 * SECOND);
    assert_eq!(rows(&server), 0);
    // Nothing waits for the next resource.
    login(&mut server, "bob/phone");
    assert!(heard(&mut server, "bob/phone").is_empty());
}

#[test]
fn the_sender_waits_for_the_reader_or_for_the_row() {
    let mut server = server();
    server.client("bob/desk").confirms = false;
    say(&mut server, "1");
    assert_eq!(heard(&mut server, "bob/desk"), ["1"]);
    assert_eq!((rows(&server), unconfirmed(&mut server)), (0, 1));
    server.pass(limits::UNWRITTEN_US / 2);
    assert_eq!((rows(&server), unconfirmed(&mut server)), (0, 1));
    server.pass(limits::UNWRITTEN_US);
    assert_eq!((rows(&server), unconfirmed(&mut server)), (1, 0));
}

#[test]
fn a_lost_session_leaves_its_messages_in_the_log() {
    let mut server = server();
    server.client("bob/desk").confirms = false;
    server.client("bob/desk").deaf = true;
    say(&mut server, "1");
    assert_eq!((rows(&server), unconfirmed(&mut server)), (0, 1));
    server.lose("bob/desk");
    server.run();
    assert_eq!((rows(&server), unconfirmed(&mut server)), (1, 0), "at once");
    // It has nobody's acknowledgement: killed or not, the next resource gets it.
    server.kill();
    login(&mut server, "bob/phone");
    server.pass(2 * SECOND);
    login(&mut server, "bob/phone");
    server.kill();
    login(&mut server, "bob/third");
    assert!(heard(&mut server, "bob/third").is_empty(), "the second one has taken it");
}

#[test]
fn a_killed_server_was_not_believed() {
    let mut server = server();
    server.client("bob/desk").deaf = true;
    say(&mut server, "1");
    assert_eq!(unconfirmed(&mut server), 1);
    server.kill();
    assert_eq!(rows(&server), 0);
    server.resume("alice/phone");
    server.login_instead("alice/phone");
    server.run();
    assert_eq!((rows(&server), unconfirmed(&mut server)), (1, 0), "alice has sent it again");
}

#[test]
fn a_cursor_that_was_written_meanwhile_does_not_pass_over_it() {
    let mut server = server();
    // One that is taken from the log moves the cursor...
    server.client("bob/desk").confirms = false;
    say(&mut server, "1");
    server.pass(SECOND);
    assert_eq!(rows(&server), 1);
    server.client("bob/desk").confirms = true;
    say(&mut server, "2");
    server.pass(limits::CURSOR_US - limits::UNWRITTEN_US / 2);
    // ... and its row is written while another one has no row yet.
    server.client("bob/desk").confirms = false;
    say(&mut server, "3");
    server.pass(limits::UNWRITTEN_US / 2 + 1000);
    assert_eq!(rows(&server), 1);
    server.pass(limits::UNWRITTEN_US);
    assert_eq!(rows(&server), 2);
    server.kill();
    server.login("bob/phone");
    server.send("bob/phone", "<presence/>");
    server.run();
    assert_eq!(heard(&mut server, "bob/phone"), ["3"]);
}

#[test]
fn a_row_that_was_taken_goes_when_no_retry_can_come() {
    let mut server = server();
    server.client("bob/desk").confirms = false;
    say(&mut server, "1");
    server.pass(SECOND);
    server.client("bob/desk").confirms = true;
    say(&mut server, "2");
    server.pass(2 * SECOND);
    assert_eq!(rows(&server), 1, "a retry is looked for in the log");
    // Its owner may change in between: how long ago that was is not known to the new one.
    server.kill();
    login(&mut server, "bob/desk");
    server.close("bob/desk");
    for _ in 0..15 {
        server.pass(60 * SECOND);
    }
    login(&mut server, "bob/desk");
    server.pass(2 * SECOND);
    assert_eq!(rows(&server), 0);
}

#[test]
fn a_reader_that_falls_behind_reads_the_log() {
    let mut server = server();
    server.client("bob/desk").confirms = false;
    let long = "x".repeat(10_000);
    for _ in 0..10 {
        say(&mut server, &long);
    }
    // What found no room in the session's window had to be written.
    assert!(rows(&server) >= 3, "{}", rows(&server));
    server.pass(SECOND);
    assert_eq!((rows(&server), unconfirmed(&mut server)), (10, 0));
    let first = heard(&mut server, "bob/desk").len();
    assert!(first < 10);
    server.client("bob/desk").confirms = true;
    server.resume("bob/desk");
    server.run();
    assert_eq!(first + heard(&mut server, "bob/desk").len(), 10);
}
