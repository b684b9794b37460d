//! Sessions that end, fall behind, or give way to others, in the midst of what is under way.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should stop")]

use session::testing::{Happened, Order, Server};

/// A server with these devices; all but those with a minus want messages.
fn server(order: Order, accounts: &[&str], devices: &[&str]) -> Server {
    let mut server = Server::new(xeps::LIST, 1, order);
    for account in accounts {
        server.add(account);
    }
    for device in devices {
        let (name, shy) = device.strip_prefix('-').map_or((*device, false), |name| (name, true));
        server.login(name);
        let priority = if shy { "<priority>-1</priority>" } else { "" };
        server.send(name, &format!("<presence>{priority}</presence>"));
        server.run();
    }
    server
}

/// The bodies of the messages that a client got.
fn bodies(server: &mut Server, name: &str) -> Vec<String> {
    let body = |happened: Happened| match happened {
        Happened::Stanza(stanza) => {
            let body = stanza.body.child("body", "jabber:client")?;
            Some(body.tree().expect("XML").root().text())
        }
        _ => None,
    };
    server.client(name).look().into_iter().filter_map(body).collect()
}

fn message(to: &str, id: u32, text: &str) -> String {
    format!("<message to='{to}' type='chat' id='m{id}'><body>{text}</body></message>")
}

#[test]
fn a_message_under_way_to_a_session_that_ends_reaches_the_others() {
    let devices = ["-alice/shy", "alice/phone", "alice/tablet"];
    let mut server = server(Order::LateStore, &["alice"], &devices);
    // Its row is not durable when the session ends, so the session has not been given it.
    server.send("alice/shy", &message("alice@a/phone", 1, "hi"));
    server.close("alice/phone");
    server.run();
    assert_eq!(bodies(&mut server, "alice/tablet"), ["hi"]);
}

#[test]
fn who_is_behind_gets_its_own_copy_of_what_others_have_taken() {
    let devices = ["bob/x", "alice/quick", "alice/slow", "-alice/third"];
    let mut server = server(Order::Prompt, &["alice", "bob"], &devices);
    for name in ["alice/slow", "alice/third"] {
        server.client(name).confirms = false;
    }
    let mut sent = Vec::new();
    for id in 0..20 {
        sent.push(format!("{id} {}", "x".repeat(8000)));
        server.send("bob/x", &message("alice@a", id, &sent[id as usize]));
        server.run();
    }
    server.send("bob/x", &message("alice@a/third", 20, "for the third"));
    server.run();
    server.client("alice/slow").confirms = true;
    // It leaves a message that nobody has taken, and those who are there look for it.
    server.close("alice/third");
    let mut got = bodies(&mut server, "alice/slow");
    got.retain(|body| body != "for the third");
    assert!(got == sent, "{} of {}", got.len(), sent.len());
    let quick = bodies(&mut server, "alice/quick");
    assert_eq!(quick.iter().filter(|body| sent.contains(body)).count(), sent.len());
}
