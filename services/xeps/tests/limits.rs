//! Limits of the engine and of the extensions, from both sides, as clients meet them; and what does
//! not fit into one batch of the store.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it found")]

use kv::Fault;
use session::limits;
use session::shard::Note;
use session::testing::{Happened, Order, Server};
use xmpp::error::StreamCondition;
use xmpp::stanza::Stanza;
use xmpp::xml::Tree;

/// What `limits.rs` of the extensions says.
const PAGE_MAX: usize = 100;
const QUEUED_BYTES: usize = 512 * 1024;

fn server(accounts: &[&str], workers: u16, order: Order) -> Server {
    let mut server = Server::new(xeps::LIST, workers, order);
    for name in accounts {
        server.add(name);
    }
    server
}

/// A message of a type, with so many bytes in its body; headlines are never stored.
fn message(to: &str, kind: &str, bytes: usize) -> String {
    let text = "x".repeat(bytes);
    let to = Server::jid(to);
    format!("<message to='{to}' type='{kind}'><body>{text}</body></message>")
}

fn stanzas(server: &mut Server, name: &str) -> Vec<Stanza> {
    let all = server.client(name).look().into_iter();
    all.filter_map(|it| if let Happened::Stanza(stanza) = it { Some(stanza) } else { None })
        .collect()
}

fn queue_bytes(server: &Server) -> usize {
    server
        .workers()
        .iter()
        .flat_map(|worker| worker.shards())
        .map(|shard| shard.queue_bytes())
        .sum()
}

fn sessions(server: &Server) -> usize {
    server.workers().iter().flat_map(|worker| worker.shards()).map(|shard| shard.sessions()).sum()
}

/// Has bob send headlines to alice/x, who takes none, until exactly so many bytes are queued.
fn fill(server: &mut Server, bytes: usize) {
    let send = |server: &mut Server, body: usize| {
        server.send("bob/x", &message("alice/x", "headline", body));
        server.run();
    };
    let before = queue_bytes(server);
    send(server, 1);
    let base = queue_bytes(server) - before - 1;
    while bytes - queue_bytes(server) > 200_000 + 2 * base {
        send(server, 200_000);
    }
    let left = bytes - queue_bytes(server) - base;
    send(server, left);
    assert_eq!(queue_bytes(server), bytes);
}

/// Alice and bob, of whom alice takes nothing.
fn alice_takes_nothing() -> Server {
    let mut server = server(&["alice", "bob"], 1, Order::Prompt);
    for name in ["alice/x", "bob/x"] {
        server.login(name);
        server.send(name, "<presence/>");
    }
    server.run();
    let _ = server.client("alice/x").look();
    server.client("alice/x").confirms = false;
    server
}

#[test]
fn an_account_has_so_many_resources_and_no_more() {
    let mut server = server(&["alice"], 1, Order::Prompt);
    for n in 0..limits::RESOURCES_MAX {
        server.bind_bound(&format!("alice/{n}"));
    }
    server.bind("alice/more");
    let happened = server.client("alice/more").look();
    assert!(matches!(happened[..], [Happened::BindRefused(_)]), "{happened:?}");
    // One that takes the place of another is none more.
    server.bind_bound("alice/3");
    assert_eq!(sessions(&server), limits::RESOURCES_MAX);
}

#[test]
fn beyond_its_window_a_session_takes_messages_from_the_log() {
    let mut server = alice_takes_nothing();
    server.client("alice/x").deaf = true;
    for _ in 0..200 {
        server.send("bob/x", &message("alice", "chat", 1000));
        server.run();
    }
    let queued = queue_bytes(&server);
    let window = limits::SESSION_WINDOW_BYTES..limits::SESSION_WINDOW_BYTES + 2000;
    assert!(window.contains(&queued), "{queued}");
    server.lose("alice/x");
    server.client("alice/x").confirms = true;
    server.resume("alice/x");
    assert_eq!(stanzas(&mut server, "alice/x").len(), 200);
    assert_eq!(queue_bytes(&server), 0);
}

#[test]
fn a_session_that_takes_nothing_ends_beyond_its_queue() {
    let mut server = alice_takes_nothing();
    fill(&mut server, limits::SESSION_QUEUE_BYTES_MAX);
    assert_eq!(sessions(&server), 2);
    let _ = server.client("alice/x").look();
    server.send("bob/x", &message("alice/x", "headline", 1));
    server.run();
    assert_eq!(sessions(&server), 1);
    let happened = server.client("alice/x").look();
    let closed = Happened::Closed(StreamCondition::ResourceConstraint);
    let last = happened.last().map(|it| format!("{it:?}"));
    assert_eq!(last, Some(format!("{closed:?}")));
}

#[test]
fn an_id_counts_in_the_queue_as_what_it_is() {
    let mut server = alice_takes_nothing();
    let mut sizes = Vec::new();
    for (id, body) in [(1, 1000), (1000, 1)] {
        let before = queue_bytes(&server);
        let (id, body) = ("i".repeat(id), "b".repeat(body));
        let xml = format!(
            "<message to='alice@a/x' type='headline' id='{id}'><body>{body}</body></message>"
        );
        server.send("bob/x", &xml);
        server.run();
        sizes.push(queue_bytes(&server) - before);
    }
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn what_waits_for_an_account_comes_once_however_much_it_is() {
    for count in [limits::OPEN_MAX, limits::OPEN_MAX + 1, 2 * limits::OPEN_MAX + 7] {
        let mut server = server(&["alice", "bob"], 1, Order::Prompt);
        server.login("bob/x");
        for _ in 0..count {
            server.send("bob/x", &message("alice", "chat", 1));
        }
        server.run();
        for expected in [count, 0] {
            server.login("alice/x");
            server.send("alice/x", "<presence/>");
            server.run();
            let all = stanzas(&mut server, "alice/x");
            let got = all.iter().filter(|it| it.kind.name() == "message").count();
            assert_eq!(got, expected, "of {count}");
            server.pass(2_000_000);
            server.kill();
        }
    }
}

#[test]
fn a_page_of_the_archive_has_so_many_messages_and_no_more() {
    let mut server = server(&["alice"], 1, Order::Prompt);
    server.login("alice/x");
    for _ in 0..=PAGE_MAX {
        server.send("alice/x", &message("alice", "chat", 1));
    }
    server.run();
    for max in [PAGE_MAX - 1, PAGE_MAX, PAGE_MAX + 1] {
        let _ = server.client("alice/x").look();
        let query = format!(
            "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{max}</max></set></query></iq>"
        );
        server.send("alice/x", &query);
        server.run();
        let got = stanzas(&mut server, "alice/x").len();
        assert_eq!(got, max.min(PAGE_MAX) + 1, "with the answer");
    }
}

#[test]
fn a_page_is_refused_to_a_session_that_has_enough_to_take() {
    for more in [0, 1] {
        let mut server = alice_takes_nothing();
        fill(&mut server, QUEUED_BYTES + more);
        let _ = server.client("alice/x").look();
        server.send("alice/x", "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>");
        server.run();
        let answer = stanzas(&mut server, "alice/x").pop().expect("an answer");
        let mut bytes = Vec::new();
        answer.write(&mut bytes);
        let tree = Tree::parse(&bytes).expect("XML");
        assert_eq!(tree.root().child("error", "jabber:client").is_some(), more > 0, "{tree:?}");
        if more > 0 {
            let text = String::from_utf8(bytes).expect("UTF-8");
            assert!(text.contains("<resource-constraint "), "{text}");
        }
    }
}

#[test]
fn a_stop_stores_sixteen_full_sessions_of_one_account() {
    let mut server = server(&["alice", "bob"], 2, Order::Prompt);
    server.login("bob/x");
    let names: Vec<String> = (0..limits::RESOURCES_MAX).map(|n| format!("alice/{n}")).collect();
    for name in &names {
        server.login(name);
        server.client(name).deaf = true;
        for _ in 0..5 {
            server.send("bob/x", &message(name, "headline", 200_000));
            server.run();
        }
    }
    assert!(queue_bytes(&server) > 15_000_000);
    server.stop();
    assert_eq!(server.notes, []);
    for name in &names {
        server.resume(name);
        assert_eq!(stanzas(&mut server, name).len(), 5, "{name}");
    }
}

#[test]
fn a_stop_stores_the_sessions_of_many_accounts_of_a_shard() {
    let mut server = server(&["bob"], 1, Order::Prompt);
    server.login("bob/x");
    let shard = server.shard("alice");
    let all = (0..).map(|n| format!("alice{n}"));
    let names: Vec<String> = all.filter(|name| server.shard(name) == shard).take(30).collect();
    for name in &names {
        server.add(name);
        let name = format!("{name}/x");
        server.login(&name);
        server.client(&name).deaf = true;
        server.send("bob/x", &message(&name, "headline", 200_000));
        server.run();
    }
    server.stop();
    for name in &names {
        let name = format!("{name}/x");
        server.resume(&name);
        assert_eq!(stanzas(&mut server, &name).len(), 1, "{name}");
    }
}

#[test]
fn a_session_is_stored_up_to_the_size_of_a_row_and_not_beyond() {
    for (presence, is_stored) in [(200_000, true), (255_000, false)] {
        let mut server = server(&["alice", "bob"], 1, Order::Prompt);
        server.login("alice/x");
        server.login("bob/x");
        let status = "s".repeat(presence);
        server.send("alice/x", &format!("<presence><status>{status}</status></presence>"));
        server.run();
        let _ = server.client("alice/x").look();
        server.client("alice/x").deaf = true;
        for _ in 0..4 {
            server.send("bob/x", &message("alice/x", "headline", 200_000));
        }
        server.send("bob/x", &message("alice", "chat", 1000));
        server.run();
        // Twice: what an earlier stop has stored is not taken for what a later one has not.
        for _ in 0..2 {
            server.stop();
        }
        server.resume("alice/x");
        let happened = server.client("alice/x").look();
        if is_stored {
            assert_eq!(server.notes, []);
            assert!(matches!(happened[0], Happened::Resumed(_)), "{:?}", happened[0]);
            assert_eq!(happened.len(), 6);
        } else {
            assert_eq!(server.notes, [Note::SessionNotStored(Server::jid("alice/x"))]);
            assert!(matches!(happened[..], [Happened::NotResumed(..)]), "{happened:?}");
            server.login_instead("alice/x");
            server.send("alice/x", "<presence/>");
            server.run();
            let heard = stanzas(&mut server, "alice/x");
            let messages = heard.iter().filter(|it| it.kind.name() == "message").count();
            assert_eq!(messages, 1, "what was in the log is there");
        }
    }
}

#[test]
fn a_batch_that_the_store_does_not_take_costs_its_shard_and_nothing_else() {
    for (refusals, dropped) in [(1, 0), (2, 1), (3, 2)] {
        let mut server = server(&["alice", "bob"], 1, Order::LateStore);
        assert_ne!(server.shard("alice"), server.shard("bob"));
        let names = ["alice/x", "bob/x"];
        for name in names {
            server.login(name);
        }
        // What comes while the first commit is under way becomes one group of both shards.
        server.store.inject([Fault::None]);
        server.store.inject(vec![Fault::TooLarge; refusals]);
        for (name, to) in [("alice/x", "alice"), ("bob/x", "bob"), ("alice/x", "alice")] {
            server.send(name, &message(to, "chat", 10));
        }
        server.run();
        assert_eq!(server.fallen.len(), dropped);
        let mut closed = 0;
        for name in names {
            let client = server.client(name);
            let happened = client.look();
            let is_closed = matches!(happened[..], [.., Happened::Closed(StreamCondition::Reset)]);
            assert_eq!(client.unconfirmed.is_empty(), !is_closed, "{name}: {happened:?}");
            closed += usize::from(is_closed);
            if is_closed {
                // Its owner comes back, and knows nothing of what it did not store.
                server.pass(session::limits::FALL_WAIT_US);
                server.resume(name);
                server.login_instead(name);
                assert!(server.client(name).unconfirmed.is_empty());
            }
        }
        assert_eq!(closed, dropped);
        server.stop();
    }
}
