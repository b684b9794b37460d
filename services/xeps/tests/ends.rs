//! Sessions that end, fall behind, or give way to others, in the midst of what is under way.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should stop")]

use kv::Reads;
use session::admin::Request;
use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::Spec;
use session::testing::{Happened, Order, Server};
use xmpp::stanza::{Kind, PresenceType};

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

fn not_resumed(server: &mut Server, name: &str) -> bool {
    let happened = server.client(name).look();
    happened.iter().any(|happened| matches!(happened, Happened::NotResumed(..)))
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

#[test]
fn a_session_that_is_lost_gives_way_and_one_that_is_there_does_not() {
    let mut server = server(Order::Prompt, &["alice"], &[]);
    let count = server.config().resources_max;
    let names: Vec<String> = (0..=count).map(|n| format!("alice/r{n}")).collect();
    for name in &names[..count] {
        server.login(name);
    }
    server.bind(&names[count]);
    let refused = server.client(&names[count]).look();
    assert!(matches!(refused[..], [Happened::BindRefused(_)]), "{refused:?}");
    for name in [&names[3], &names[1]] {
        server.lose(name);
        server.run();
    }
    server.login(&names[count]);
    server.resume(&names[3]);
    assert!(not_resumed(&mut server, &names[3]), "it was lost first");
    server.resume(&names[1]);
    assert!(!not_resumed(&mut server, &names[1]));
}

#[test]
fn who_waits_to_resume_a_session_that_ends_is_told() {
    let mut server = server(Order::LateStore, &["alice", "bob"], &["alice/x"]);
    // What it handed over is not durable when it resumes and while the account is disabled.
    server.send("alice/x", &message("bob@a", 1, "hi"));
    server.step();
    server.lose("alice/x");
    server.resume_with("alice/x", 0);
    server.admin(Request::Disable { account: Server::jid("alice") });
    assert!(not_resumed(&mut server, "alice/x"));
}

#[test]
fn a_session_does_not_expire_while_it_is_resumed() {
    let mut server = server(Order::Prompt, &["alice"], &["alice/x"]);
    server.stop();
    // Its account is in memory.
    server.login("alice/y");
    server.pass(290_000_000);
    let client = server.client("alice/x");
    client.happened.clear();
    let h = client.received as u32;
    server.resume_with("alice/x", h);
    // It goes on when the row that was stored of it is deleted, and that takes long.
    server.step();
    server.tick(20_000_000);
    server.run();
    let happened = server.client("alice/x").look();
    assert!(matches!(happened[..], [Happened::Resumed(_)]), "{happened:?}");
}

/// Whoever sends again, or pretends to, has the tails of two logs read once in a while: its own and
/// its addressee's.
#[test]
fn what_may_come_again_is_not_looked_for_each_time() {
    let mut server = server(Order::Prompt, &["alice", "bob"], &["alice/x", "bob/x"]);
    for id in 0..50 {
        server.send("alice/x", &message("bob@a", id, "before"));
    }
    server.run();
    let session = server.client("alice/x").session;
    server.close("alice/x");
    server.client("alice/x").session = session;
    let before = server.reads;
    server.resume("alice/x");
    assert!(not_resumed(&mut server, "alice/x"));
    server.login_instead("alice/x");
    for id in 50..100 {
        server.send("alice/x", &message("bob@a", id, "after"));
        server.run();
    }
    assert_eq!(server.reads - before, 3, "how far it came, and two tails");
    assert_eq!(bodies(&mut server, "bob/x").len(), 100);
    // What did come before is found, and read: one row each.
    for id in [3, 3, 70, 4] {
        server.send("alice/x", &message("bob@a", id, "before"));
        server.run();
    }
    assert_eq!(bodies(&mut server, "bob/x"), ["before", "before"], "3 again, and 70 anew");
    assert_eq!(server.reads - before, 3 + 4);
    server.pass(3 * 60_000_000);
    server.send("alice/x", &message("bob@a", 100, "much later"));
    server.run();
    assert_eq!(server.reads - before, 3 + 4);
}

#[test]
fn contacts_of_an_account_that_is_deleted_are_told() {
    let mut server = server(Order::Prompt, &["alice", "bob", "carol"], &["alice/x", "bob/x"]);
    for (from, to) in [("alice", "bob"), ("bob", "alice"), ("carol", "alice")] {
        server.login(&format!("{from}/y"));
        let asks = format!("<presence to='{to}@a' type='subscribe'/>");
        server.send(&format!("{from}/y"), &asks);
        server.run();
        if from != "carol" {
            server
                .send(&format!("{to}/x"), &format!("<presence to='{from}@a' type='subscribed'/>"));
            server.run();
        }
    }
    server.send("bob/x", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    server.run();
    server.client("bob/x").happened.clear();
    let account = Server::jid("alice");
    server.admin(Request::Delete { account });
    let told = |server: &mut Server, name: &str| -> Vec<_> {
        let kinds = |happened: Happened| match happened {
            Happened::Stanza(stanza) => match stanza.kind {
                Kind::Presence(kind) => Some(kind),
                _ => None,
            },
            _ => None,
        };
        server.client(name).look().into_iter().filter_map(kinds).collect()
    };
    let bob = told(&mut server, "bob/x");
    assert!(bob.contains(&PresenceType::Unsubscribe), "{bob:?}");
    assert!(bob.contains(&PresenceType::Unsubscribed), "{bob:?}");
    // Somebody else of that name is a stranger.
    server.add("alice");
    server.client("alice/x").happened.clear();
    server.login("alice/x");
    server.send("alice/x", "<presence/>");
    server.send("bob/x", "<presence><show>away</show></presence>");
    server.login("carol/z");
    server.send("carol/z", "<presence/>");
    server.run();
    assert_eq!(told(&mut server, "alice/x"), [PresenceType::Available], "her own");
    assert_eq!(told(&mut server, "bob/x"), [PresenceType::Available], "his own");
}

/// Looks into the store, and then has nothing to say.
struct Late;

impl Module for Late {
    fn spec(&self) -> Spec {
        Spec { iqs: &["urn:late"], ..Spec::new(0, "Late", "1") }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Iq]
    }

    fn decide(&self, _: Phase, _: &Event, cx: &Cx<'_>, _: &mut Outcome) -> Verdict {
        match cx.rows {
            [] => Verdict::Again(Reads::get(kv::Key::from_static(b"late"))),
            _ => Verdict::Pass,
        }
    }
}

#[test]
fn a_request_that_nobody_answers_after_a_look_is_refused() {
    session::testing::play(
        &[&Late],
        "
## whoever passes, and when
given alice
given alice/x logs in
alice/x sends <iq type='get' id='1'><query xmlns='urn:late'/></iq>
alice/x gets error service-unavailable
",
    );
}
