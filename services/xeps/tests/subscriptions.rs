//! What was acknowledged of subscriptions is known to both sides, whenever the server is killed;
//! and what is sent again after a resumption that failed is recognised.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says what it found"
)]

use session::subscription::Subscription;
use session::testing::{Happened, Order, Server};

const ALICE: &str = "alice/phone";
const BOB: &str = "bob/phone";

/// Something that alice does, what came before it, and what both sides must know of it.
struct Case {
    before: &'static [(&'static str, &'static str)],
    does: &'static str,
    bob_knows: fn(Subscription) -> bool,
    alice_knows: fn(Subscription) -> bool,
}

const ASKS: (&str, &str) = (ALICE, "<presence to='bob@a' type='subscribe'/>");
const IS_ASKED: (&str, &str) = (BOB, "<presence to='alice@a' type='subscribe'/>");
const MAY: (&str, &str) = (BOB, "<presence to='alice@a' type='subscribed'/>");
const LETS: (&str, &str) = (ALICE, "<presence to='bob@a' type='subscribed'/>");

const CASES: [Case; 6] = [
    Case {
        before: &[],
        does: ASKS.1,
        bob_knows: Subscription::pending_in,
        alice_knows: Subscription::pending_out,
    },
    Case {
        before: &[IS_ASKED],
        does: LETS.1,
        bob_knows: Subscription::to,
        alice_knows: Subscription::from,
    },
    Case {
        before: &[IS_ASKED],
        does: "<presence to='bob@a' type='unsubscribed'/>",
        bob_knows: |state| !state.to() && !state.pending_out(),
        alice_knows: |state| !state.from() && !state.pending_in(),
    },
    Case {
        before: &[ASKS, MAY],
        does: "<presence to='bob@a' type='unsubscribe'/>",
        bob_knows: |state| !state.from(),
        alice_knows: |state| !state.to(),
    },
    Case {
        before: &[IS_ASKED, LETS],
        does: "<presence to='bob@a' type='unsubscribed'/>",
        bob_knows: |state| !state.to(),
        alice_knows: |state| !state.from(),
    },
    Case {
        before: &[ASKS, MAY, IS_ASKED, LETS],
        does: "<iq type='set' id='r'><query xmlns='jabber:iq:roster'>\
            <item jid='bob@a' subscription='remove'/></query></iq>",
        bob_knows: |state| !state.to() && !state.from(),
        alice_knows: Subscription::is_none,
    },
];

fn state(server: &Server, of: &str, contact: &str) -> Subscription {
    let jid = Server::jid(of);
    let mut shards = server.workers().iter().flat_map(|worker| worker.shards());
    let account = shards.find_map(|shard| shard.account(&jid)).expect("the account");
    account.roster.state(Server::jid(contact).as_str())
}

fn connect(server: &mut Server) {
    for name in [ALICE, BOB] {
        server.connect_again(name);
    }
    server.run();
}

/// Alice does it and writes something after it; the server is killed after `steps` steps of what
/// follows. `false` if by then there was nothing more to do.
fn killed_after(case: &Case, steps: usize, workers: u16, order: Order) -> bool {
    let mut server = Server::new(xeps::LIST, workers, order);
    server.add("alice");
    server.add("bob");
    connect(&mut server);
    for (who, does) in case.before {
        server.send(who, does);
        server.run();
    }
    server.send(ALICE, case.does);
    server.send(ALICE, "<message to='bob@a' type='chat' id='m'><body>so</body></message>");
    let more = (0..steps).all(|_| server.step());
    server.kill();
    // What the server still does by itself may need its time.
    for _ in 0..3 {
        connect(&mut server);
        server.pass(6_000_000);
    }
    let (bob, alice) = (state(&server, "bob", "alice"), state(&server, "alice", "bob"));
    let holds = (case.bob_knows)(bob) && (case.alice_knows)(alice);
    assert!(holds, "{} killed after {steps}: bob {bob}, alice {alice}", case.does);
    let left = &server.client(ALICE).unconfirmed;
    assert!(left.is_empty(), "{} killed after {steps}: {left:?}", case.does);
    more
}

#[test]
fn both_sides_know_of_what_was_acknowledged() {
    for case in &CASES {
        for (workers, order) in [(1, Order::Prompt), (2, Order::LateStore), (2, Order::Random(3))] {
            let mut steps = 0;
            while killed_after(case, steps, workers, order) {
                steps += 1;
                assert!(steps < 500, "it never ends");
            }
            assert!(steps > 5, "{steps}");
        }
    }
}

/// How often a client got the message.
fn times(server: &mut Server, name: &str) -> usize {
    let all = server.client(name).look().into_iter();
    let is_it = |happened: &Happened| match happened {
        Happened::Stanza(stanza) => stanza.id.as_deref() == Some("m"),
        _ => false,
    };
    all.filter(is_it).count()
}

#[test]
fn a_client_that_does_not_try_again_to_resume_is_recognised() {
    let mut server = Server::new(xeps::LIST, 2, Order::Prompt);
    server.add("alice");
    server.add("bob");
    server.login(ALICE);
    // What is acknowledged is not heard.
    server.client(ALICE).deaf = true;
    let message = "<message to='bob@a' type='chat' id='m'><body>so</body></message>";
    server.send(ALICE, message);
    server.run();
    server.kill();
    server.resume(ALICE);
    let last = server.client(ALICE).look().pop();
    assert!(matches!(last, Some(Happened::NotResumed(..))), "{last:?}");
    // The answer comes, and the connection is lost with it.
    server.lose(ALICE);
    server.run();
    server.login(ALICE);
    server.send(ALICE, message);
    server.run();
    server.login(BOB);
    server.send(BOB, "<presence/>");
    server.run();
    assert_eq!(times(&mut server, BOB), 1);
}
