//! What waits, waits within bounds, and nothing that must not be lost is refused.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it found"
)]

use session::shard::Shard;
use session::testing::{Happened, Order, Server};

fn server(names: &[&str]) -> Server {
    let mut server = Server::new(xeps::LIST, 2, Order::Prompt);
    for name in names {
        server.add(name);
    }
    server
}

fn bodies(server: &mut Server, name: &str) -> usize {
    let happened = server.client(name).look().into_iter();
    let is_message = |happened: &Happened| match happened {
        Happened::Stanza(stanza) => stanza.body.has_child("body", "jabber:client"),
        _ => false,
    };
    happened.filter(is_message).count()
}

fn errors(server: &mut Server, name: &str) -> usize {
    let happened = server.client(name).look().into_iter();
    let is_error = |happened: &Happened| matches!(happened, Happened::Stanza(s) if s.kind.type_attr() == Some("error"));
    happened.filter(is_error).count()
}

/// How many accounts the shards have in memory.
fn accounts(server: &Server) -> usize {
    server.workers().iter().flat_map(|worker| worker.shards()).map(Shard::accounts).sum()
}

#[test]
fn what_waited_for_an_account_does_not_go_into_one_batch() {
    let senders = ["alice", "carol", "dave", "erin", "frank", "grace"];
    // The store answers when nothing else is left to do: bob's rows come late.
    let mut server = Server::new(xeps::LIST, 2, Order::LateStore);
    for name in senders.into_iter().chain(["bob"]) {
        server.add(name);
    }
    server.kill();
    let devices = || senders.iter().flat_map(|name| (0..12).map(move |n| format!("{name}/{n}")));
    for name in devices() {
        server.login(&name);
    }
    let long = "x".repeat(200 * 1024);
    for name in devices() {
        let xml = format!("<message to='bob@a' type='chat'><body>{long}</body></message>");
        server.send(&name, &xml);
    }
    server.run();
    server.login("bob/desk");
    server.send("bob/desk", "<presence/>");
    // What found no room before bob's shard was claimed is sent again.
    server.pass(30_000_000);
    let refused: usize = devices().map(|name| errors(&mut server, &name)).sum();
    let came = bodies(&mut server, "bob/desk");
    assert_eq!((came + refused, came * 200 * 1024 > kv::limits::BATCH_BYTES_MAX), (72, true));
}

#[test]
fn names_that_do_not_exist_fill_no_memory() {
    let mut server = server(&["alice"]);
    server.login("alice/phone");
    let before = accounts(&server);
    for n in 0..200 {
        server.send("alice/phone", &format!("<iq type='get' to='nobody{n}@a' id='{n}'><q/></iq>"));
        server.send("alice/phone", &format!("<presence to='none{n}@a' type='subscribe'/>"));
        server.run();
    }
    assert_eq!(accounts(&server), before);
}
