//! What a session may be resumed by and what not, and what is left of an account that is deleted:
//! in each of the ways in which dialogues are held.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

use session::admin::{Reply, Request};
use session::testing::{Happened, Order, Server};

/// A server with alice and bob in it, in each of the ways in which things may come in order.
fn ways(act: impl Fn(Server)) {
    let mut ways = vec![(1, Order::Prompt), (3, Order::Prompt), (2, Order::LateStore)];
    ways.extend((0..20).map(|seed| (1 + (seed % 3) as u16, Order::Random(seed))));
    for (workers, order) in ways {
        let mut server = Server::new(xeps::LIST, workers, order);
        for name in ["alice", "bob"] {
            server.add(name);
        }
        act(server);
    }
}

/// Logs in with presence, and forgets what came of it.
fn online(server: &mut Server, name: &str) {
    server.login(name);
    server.send(name, "<presence/>");
    server.run();
    server.client(name).look();
}

fn say(server: &mut Server, from: &str, to: &str, text: &str) {
    let xml = format!("<message to='{to}' type='chat'><body>{text}</body></message>");
    server.send(from, &xml);
}

/// The bodies of the messages that a client got since it was last looked at.
fn bodies(server: &mut Server, name: &str) -> Vec<String> {
    let stanzas = server.client(name).look().into_iter().filter_map(|happened| match happened {
        Happened::Stanza(stanza) => Some(stanza),
        _ => None,
    });
    let body = |text: String| {
        let (_, rest) = text.split_once("<body>")?;
        rest.split_once("</body>").map(|(body, _)| body.to_owned())
    };
    stanzas
        .filter_map(|stanza| {
            let mut bytes = Vec::new();
            stanza.write(&mut bytes);
            body(String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

fn sm_id(server: &mut Server, name: &str) -> String {
    server.client(name).session.expect("a session").to_sm_id()
}

/// Security case 50: a session of somebody else is refused in the same words as one that nobody
/// has (nothing of it is stored), and its own client notices nothing.
#[test]
fn a_session_of_somebody_else_is_one_that_is_not_there() {
    ways(|mut server| {
        online(&mut server, "alice/phone");
        online(&mut server, "bob/laptop");
        let other = sm_id(&mut server, "bob/laptop");
        let unknown = "00112233445566778899aabbccddeeff";
        let mut answers = Vec::new();
        for id in [other.as_str(), unknown, "no id at all", ""] {
            server.resume_id("alice/thief", id, 0);
            server.run();
            answers.push(format!("{:?}", server.client("alice/thief").look()));
        }
        assert_eq!(answers, ["[NotResumed(ItemNotFound, None)]"; 4]);
        say(&mut server, "alice/phone", "bob@a", "1");
        server.run();
        assert_eq!(bodies(&mut server, "bob/laptop"), ["1"]);
    });
}

/// Security case 51: who says that it has more than was ever sent, or less than it had, is refused,
/// and the session waits for a client that can count.
#[test]
fn counts_that_cannot_be_are_refused() {
    ways(|mut server| {
        online(&mut server, "alice/phone");
        online(&mut server, "bob/laptop");
        say(&mut server, "alice/phone", "bob@a", "1");
        server.run();
        assert_eq!(bodies(&mut server, "bob/laptop"), ["1"]);
        let (id, has) = (sm_id(&mut server, "bob/laptop"), server.client("bob/laptop").received);
        server.lose("bob/laptop");
        let has = u32::try_from(has).expect("few stanzas");
        for wrong in [has + 1, has - 1, u32::MAX, 1 << 31] {
            server.resume_id("bob/miscounts", &id, wrong);
            server.run();
            let got = server.client("bob/miscounts").look();
            let want = format!("[NotResumed(HandledCountTooHigh {{ sent: {has} }}, None)]");
            assert_eq!(format!("{got:?}"), want, "h={wrong}");
            server.lose("bob/miscounts");
        }
        server.resume("bob/laptop");
        assert!(matches!(server.client("bob/laptop").look()[..], [Happened::Resumed(_)]));
        say(&mut server, "alice/phone", "bob@a", "2");
        server.run();
        assert_eq!(bodies(&mut server, "bob/laptop"), ["2"]);
    });
}

/// Security case 51: numbers go on over 2^32, where `h` begins again at 0.
#[test]
fn counters_go_over_the_end_of_h() {
    ways(|mut server| {
        let names = ["alice/phone", "bob/laptop"];
        for name in names {
            online(&mut server, name);
        }
        server.stop();
        for name in names {
            server.preset_counters(name, (1 << 32) - 3);
        }
        let mut said = 0;
        for round in 0..3 {
            for name in names {
                server.resume(name);
                let got = server.client(name).look();
                assert!(matches!(got.first(), Some(Happened::Resumed(_))), "{round}: {got:?}");
            }
            let mut want = Vec::new();
            for _ in 0..4 {
                said += 1;
                want.push(said.to_string());
                say(&mut server, names[0], "bob@a", &said.to_string());
                say(&mut server, names[1], "alice@a", &said.to_string());
            }
            server.run();
            for name in names {
                assert_eq!(bodies(&mut server, name), want, "{name}");
                assert!(server.client(name).unconfirmed.is_empty(), "{name}: not all is confirmed");
                server.lose(name);
            }
        }
        for name in names {
            let client = server.client(name);
            assert_eq!((client.sent, client.received), ((1 << 32) + 9, (1 << 32) + 9), "{name}");
        }
    });
}

/// Security case 52: of two that resume the same session at once, one goes on with it.
#[test]
fn one_of_two_resumptions_wins() {
    ways(|mut server| {
        online(&mut server, "alice/phone");
        online(&mut server, "bob/laptop");
        server.client("bob/laptop").deaf = true;
        say(&mut server, "alice/phone", "bob@a", "1");
        server.run();
        let id = sm_id(&mut server, "bob/laptop");
        let (h, sent) = (server.client("bob/laptop").received, server.client("bob/laptop").sent);
        server.lose("bob/laptop");
        let both = ["bob/one", "bob/other"];
        for name in both {
            server.resume_id(name, &id, u32::try_from(h).expect("few stanzas"));
            (server.client(name).received, server.client(name).sent) = (h, sent);
        }
        say(&mut server, "alice/phone", "bob@a", "2");
        server.run();
        let mut wins = 0;
        let (mut got, mut told) = (Vec::new(), Vec::new());
        for name in both {
            let happened = server.client(name).happened.clone();
            told.push(happened.clone());
            // Who was first and was then pushed out has been told so.
            let (mut resumed, mut closed) = (false, false);
            for one in &happened {
                resumed |= matches!(one, Happened::Resumed(_));
                closed |= matches!(one, Happened::Closed(_) | Happened::NotResumed(..));
            }
            wins += usize::from(resumed && !closed);
            assert!(resumed || closed, "{name} got no answer: {happened:?}");
            if !closed {
                got = bodies(&mut server, name);
            }
        }
        assert_eq!((wins, got), (1, vec!["1".to_owned(), "2".to_owned()]), "{told:?}");
    });
}

/// Security case 53: what comes late from the connection before, or falls due that was set for it,
/// does not end a session that goes on elsewhere.
#[test]
fn what_is_left_of_the_connection_before_ends_nothing() {
    ways(|mut server| {
        online(&mut server, "alice/phone");
        online(&mut server, "bob/laptop");
        // Its timer was set when the socket was lost, and runs out after the resumption.
        server.lose("bob/laptop");
        server.pass(200_000_000);
        server.resume("bob/laptop");
        server.resume_over("bob/laptop");
        server.pass(400_000_000);
        server.client("bob/laptop").look();
        say(&mut server, "alice/phone", "bob@a/laptop", "1");
        server.run();
        assert_eq!(bodies(&mut server, "bob/laptop"), ["1"]);
        server.lose("bob/laptop");
        server.resume("bob/laptop");
        assert!(matches!(server.client("bob/laptop").look()[..], [Happened::Resumed(_)]));
    });
}

/// Deleting an account leaves no row of it, whatever it had.
#[test]
fn nothing_is_left_of_a_deleted_account() {
    ways(|mut server| {
        online(&mut server, "alice/phone");
        online(&mut server, "bob/laptop");
        server.send(
            "bob/laptop",
            "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='c@a'/></query></iq>",
        );
        say(&mut server, "bob/laptop", "alice@a", "1");
        server.run();
        server.lose("bob/laptop");
        say(&mut server, "alice/phone", "bob@a", "2");
        server.run();
        // With a stored session too.
        server.stop();
        assert!(server.rows_of("bob") >= 7, "{} rows of bob", server.rows_of("bob"));
        let others = server.rows_of("alice");
        let reply = server.admin(Request::Delete { account: Server::jid("bob") });
        assert_eq!((reply, server.rows_of("bob")), (Reply::Done, 0));
        assert_eq!(server.rows_of("alice"), others, "the other's rows are the other's");
        server.pass(5_000_000);
        assert_eq!(server.rows_of("bob"), 0, "and nothing is written after");
    });
}
