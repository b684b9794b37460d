//! The edge of a cluster on real sockets: owners of shards come and go, and clients notice nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Client, HEADER, Node, Told, connect, wait_until};
use edge::{Drain, Limits};
use peer::{Down, Epoch, SessionId, Up};
use xmpp::error::StreamCondition;
use xmpp::stanza::{Kind, MessageType, Stanza};

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
const MESSAGE: &str = "<message to='romeo@a.example'><body>hi</body></message>";
const FIRST: SessionId = SessionId(1);

fn chat(number: u64, body: &str) -> Down {
    let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
    stanza.add(format!("<body>{body}</body>").as_bytes());
    Down::Stanza { number, log: 100 + number, stanza }
}

/// A client with stream management.
fn managed(node: &Node) -> Client<impl Read + Write + use<>> {
    let mut client = node.session();
    client.say(ENABLE);
    client.hear("<enabled");
    client
}

#[test]
fn a_client_does_not_notice_that_its_owner_is_another_one() {
    let node = Node::start_in_cluster(Limits::default());
    let owner = &node.owner;
    let mut client = managed(&node);
    let conn = owner.conn(FIRST);
    owner.confirms.store(false, Ordering::SeqCst);
    owner.down(conn, Down::Snapshot { snapshot: Bytes::from_static(b"sealed") });
    owner.down(conn, chat(1, "one"));
    client.hear("one</body></message>");
    client.say(MESSAGE);
    wait_until("the message", || owner.count(|up| matches!(up, Up::Stanza { .. })) == 1);

    let told = owner.moves();
    let [
        Told::Up(Epoch(2), Up::Kept { number: 1, log: 101, .. }),
        Told::Up(Epoch(2), Up::Report(report)),
        Told::Up(Epoch(2), Up::Stanza { number: 1, retry: true, .. }),
        Told::Complete(Epoch(2)),
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((report.conn, report.session, report.attachment), (conn, FIRST, 1));
    assert_eq!((report.handled, report.taken, report.received), (0, 0, 1));
    assert_eq!((&report.snapshot[..], report.lost), (&b"sealed"[..], false));

    // The owner before goes on talking for a while.
    owner.down_from(1, conn, Down::Handled { number: 1 });
    owner.down_from(1, conn, chat(2, "stale"));
    owner.down_from(1, conn, Down::Close { condition: StreamCondition::Reset });
    owner.down(conn, Down::Handled { number: 1 });
    owner.down(conn, chat(2, "two"));
    let heard = client.hear("two</body></message>");
    assert!(!heard.contains("stale") && !heard.contains("stream"), "{heard}");
    client.say(MESSAGE);
    let is_second = |told: &Told| {
        matches!(told, Told::Up(Epoch(2), Up::Stanza { number: 2, retry: false, .. }))
    };
    let metrics = node.edge.metrics();
    wait_until("the next", || owner.told.lock().expect("told").iter().any(is_second));
    owner.down(conn, Down::Handled { number: 2 });
    wait_until("rest", || metrics.in_flight_bytes.value() == 0);
    assert_eq!(metrics.stale_frames.value(), 3);
    assert_eq!((metrics.reports.value(), metrics.shards_moved.value()), (1, 1));
    assert_eq!(metrics.sessions.value(), 1);
}

#[test]
fn a_lost_session_is_reported_until_its_owner_ends_it() {
    let node = Node::start_in_cluster(Limits::default());
    let (owner, metrics) = (&node.owner, node.edge.metrics());
    let client = managed(&node);
    let conn = owner.conn(FIRST);
    drop(client);
    wait_until("the loss", || metrics.lost_kept.value() == 1);
    wait_until("the end", || node.edge.connections() == 0);
    assert_eq!(owner.count(|up| matches!(up, Up::Lost { .. })), 1);

    let told = owner.moves();
    let [
        Told::Up(Epoch(2), Up::Report(report)),
        Told::Up(Epoch(2), Up::Lost { session: FIRST, attachment: 1, .. }),
        Told::Complete(Epoch(2)),
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert!(report.lost && report.conn == conn);

    owner.down(conn, Down::Close { condition: StreamCondition::Conflict });
    assert_eq!(metrics.lost_kept.value(), 0);
    assert_eq!(owner.moves(), [Told::Complete(Epoch(3))]);
}

#[test]
fn a_session_that_its_client_ended_is_not_reported() {
    let node = Node::start_in_cluster(Limits::default());
    let mut client = managed(&node);
    client.say("</stream:stream>");
    client.hear("</stream:stream>");
    drop(client);
    wait_until("the end", || node.edge.connections() == 0);
    assert_eq!(node.edge.metrics().lost_kept.value(), 0);
    assert_eq!(node.owner.moves(), [Told::Complete(Epoch(2))]);
}

/// What waits in front of a client that does not read was not heard: the next owner says it again.
#[test]
fn what_waits_for_a_slow_client_reaches_it_once() {
    const ALL: u64 = 400;
    let node = Node::start_in_cluster(Limits::default());
    let owner = &node.owner;
    let mut client = managed(&node);
    let conn = owner.conn(FIRST);
    let body = "x".repeat(2000);
    let stanza = |number: u64| chat(number, &format!("{number}.{body}"));
    (1..=ALL).for_each(|number| owner.down(conn, stanza(number)));
    let told = owner.moves();
    let is_report = |told: &Told| match told {
        Told::Up(_, Up::Report(report)) => Some(report.received),
        _ => None,
    };
    let received = told.iter().find_map(is_report).expect("a report");
    let kept = told.iter().filter(|told| matches!(told, Told::Up(_, Up::Kept { .. })));
    assert_eq!(kept.count() as u64, received);
    (received + 1..=ALL).for_each(|number| owner.down(conn, stanza(number)));
    for number in 1..=ALL {
        let heard = client.hear("</body></message>");
        assert!(heard.contains(&format!("<body>{number}.")), "{number}: {}", &heard[..200]);
    }
    assert_eq!(node.edge.metrics().stale_frames.value(), ALL - received);
}

/// So many in a second, and each session can be resumed elsewhere.
#[test]
fn clients_are_sent_elsewhere_at_a_rate() {
    let mut node = Node::start_in_cluster(Limits::default());
    // Who has lost his socket needs no turn.
    drop((0..3).map(|_| managed(&node)).collect::<Vec<_>>());
    wait_until("the losses", || node.edge.metrics().lost_kept.value() == 3);
    let clients: Vec<_> = (0..6).map(|_| managed(&node)).collect();
    let mut clear = Client::new(connect(node.starttls));
    clear.say(HEADER);
    clear.hear("</stream:features>");
    let started = Instant::now();
    node.edge.hand_off(5, Some("[2001:db8::1]:5222".to_owned()));
    node.edge.hand_off(1000, None);
    assert_eq!(node.edge.drain_state(), Drain::HandingOff);
    let sessions = || node.edge.metrics().sessions.value();
    wait_until("the first", || sessions() < 6);
    assert!(sessions() > 2, "all at once");
    for mut client in clients {
        let told = client.hear_all();
        let place =
            "<see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[2001:db8::1]:5222</";
        assert!(told.contains(place) && told.ends_with("</stream:stream>"), "{told}");
        client.say("</stream:stream>");
    }
    let elapsed_ms = started.elapsed().as_millis();
    assert!((1200..1900).contains(&elapsed_ms), "{elapsed_ms} ms");
    let told = clear.hear_all();
    assert!(told.contains("<system-shutdown") && !told.contains("2001"), "{told}");
    drop(clear);
    node.join();
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 9);
    assert_eq!(node.owner.count(|up| matches!(up, Up::Ended { .. })), 0);
    assert_eq!(node.edge.metrics().lost_kept.value(), 9);
}

#[test]
fn who_is_sent_away_without_a_place_finds_one_by_the_domain() {
    let mut node = Node::start_in_cluster(Limits::default());
    let mut client = managed(&node);
    node.edge.hand_off(1000, None);
    assert!(client.hear_all().contains("<system-shutdown"));
    drop(client);
    node.join();
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 1);
}

#[test]
fn a_drain_ends_a_hand_off() {
    let mut node = Node::start_in_cluster(Limits::default());
    let mut clients: Vec<_> = (0..5).map(|_| managed(&node)).collect();
    node.edge.hand_off(1, Some("b.example".to_owned()));
    node.edge.drain(Duration::from_secs(60));
    assert_eq!(node.edge.drain_state(), Drain::Closing);
    for client in &mut clients {
        assert!(client.hear_all().contains("<system-shutdown"));
    }
    drop(clients);
    node.join();
}
