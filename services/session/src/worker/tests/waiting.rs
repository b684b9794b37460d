//! What waits in front of a shard, and behind one that has no lease: how much of it.

use peer::{Between, Parcel, Pass, Report, SessionId};
use xmpp::stanza::{Kind, MessageType, Stanza};
use xmpp::xml::Body;

use super::*;
use crate::limits::{BACKLOG_BYTES_MAX, CLAIM_BYTES_MAX};

fn challenge() -> Up {
    let account = Jid::parse("juliet@a").expect("a JID");
    let conn = ConnId { edge: EDGE, slot: 1 };
    Up::Challenge { conn, account, hash: Hash::Sha256 }
}

/// What an edge says of a session, with so many bytes of its meaning.
fn report(bytes: usize) -> Up {
    Up::Report(Box::new(Report {
        conn: ConnId { edge: EDGE, slot: 1 },
        account: Jid::parse("juliet@a").expect("a JID"),
        session: SessionId(9),
        attachment: 1,
        snapshot: vec![0; bytes].into(),
        handled: 0,
        taken: 0,
        received: 0,
        read_to: 0,
        recent: Vec::new(),
        lost: false,
    }))
}

fn parcel(number: u64, bytes: usize) -> Pass {
    let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
    let body = format!("<body>{}</body>", "x".repeat(bytes));
    stanza.body = Body::parse(body.as_bytes()).expect("a body");
    let to = Jid::parse("juliet@a").expect("a JID");
    Pass {
        source: ShardId((shard().0 + 1) % peer::SHARDS),
        source_epoch: Epoch(1),
        target: shard(),
        target_epoch: Epoch(7),
        number,
        prev: number - 1,
        retry: false,
        parcel: Parcel::new(to, stanza),
    }
}

/// Connections that were closed, and those that were answered.
fn told(rig: &mut Rig) -> (usize, usize) {
    let (mut closed, mut answered) = (0, 0);
    for output in rig.out.drain(..) {
        match output {
            Output::Down(_, _, Down::Close { .. }) => closed += 1,
            Output::Down(..) => answered += 1,
            _ => {}
        }
    }
    (closed, answered)
}

#[test]
fn so_many_bytes_of_logins_wait_and_the_rest_is_refused() {
    let each = shard::Input::Up(challenge()).bytes();
    let most = BACKLOG_BYTES_MAX / each;
    // For a grant, for a claim, for a lease.
    for case in 0..3 {
        let mut rig = if case == 2 { served(7) } else { Rig::new(MemStore::new()) };
        rig.run();
        rig.away = case != 0;
        if case == 1 {
            rig.give(Input::Granted(shard(), Epoch(7), Vec::new()));
        }
        rig.pass(LEASE_US);
        rig.out.clear();
        for _ in 0..most {
            rig.ask(7);
        }
        assert_eq!(told(&mut rig), (0, 0), "{case}");
        rig.ask(7);
        assert_eq!(told(&mut rig), (1, 0), "{case}: it is told");
        rig.away = false;
        if case == 0 {
            rig.give(Input::Granted(shard(), Epoch(7), Vec::new()));
        }
        rig.pass(STORE_RETRY_US);
        rig.run();
        assert_eq!(told(&mut rig), (0, most), "{case}");
    }
}

#[test]
fn what_edges_report_is_never_left_out() {
    let each = shard::Input::Up(report(1 << 20)).bytes();
    let most = CLAIM_BYTES_MAX / each;
    for (claiming, more) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let mut rig = Rig::new(MemStore::new());
        rig.run();
        rig.away = true;
        if claiming {
            rig.give(Input::Granted(shard(), Epoch(7), vec![EDGE]));
        }
        for _ in 0..most + more {
            rig.give(Input::Remote(shard(), Epoch(7), report(1 << 20)));
        }
        rig.away = false;
        if !claiming {
            rig.give(Input::Granted(shard(), Epoch(7), vec![EDGE]));
        }
        rig.pass(STORE_RETRY_US);
        rig.run();
        let fallen = rig.out.iter().any(|output| matches!(output, Output::Fallen(..)));
        // It is granted anew then, and its edges report again, under the next epoch.
        assert_eq!((fallen, rig.worker.shards().count()), (more == 1, 1 - more), "{claiming}");
        rig.give(Input::Granted(shard(), Epoch(8), vec![EDGE]));
        rig.pass(LEASE_REFRESH_US);
        rig.run();
        assert_eq!(rig.worker.shards().map(Shard::epoch).collect::<Vec<_>>(), [Epoch(8)]);
    }
}

#[test]
fn parcels_that_find_no_room_are_left_to_be_sent_again() {
    let mut rig = served(7);
    rig.away = true;
    rig.pass(LEASE_US);
    let each = shard::Input::Between(Between::Pass(parcel(1, 100 << 10))).bytes();
    let most = (BACKLOG_BYTES_MAX / each) as u64;
    for number in 1..=most + 1 {
        rig.give(Input::Between(Between::Pass(parcel(number, 100 << 10))));
    }
    rig.away = false;
    rig.pass(STORE_RETRY_US);
    rig.run();
    let confirmed = rig.out.iter().filter_map(|output| match output {
        Output::Between(Between::Ack(ack)) => Some(ack.number),
        _ => None,
    });
    assert_eq!(confirmed.max(), Some(most));
}
