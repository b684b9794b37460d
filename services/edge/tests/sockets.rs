//! An edge on real sockets, against an owner that answers everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{AUTH, BIND, Client, HEADER, Node, STARTTLS, connect, wait_until};
use edge::{Drain, Limits, SourceLimits};
use peer::{Down, Up};
use xmpp::stanza::{Kind, MessageType, Stanza};

const MESSAGE: &str = "<message to='romeo@a.example'><body>hi</body></message>";

#[test]
fn starttls_login_talk_and_goodbye() {
    let node = Node::start(Limits::default());
    let mut clear = Client::new(connect(node.starttls));
    clear.say(HEADER);
    let features = clear.hear("</stream:features>");
    assert!(features.contains("<starttls") && !features.contains("PLAIN"), "{features}");
    clear.say(STARTTLS);
    clear.hear("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    let mut client = Client::new(node.wrap(clear.into_io()));
    client.login();
    client.say(MESSAGE);
    client.hear("</message>");
    let metrics = node.edge.metrics();
    assert_eq!(metrics.sessions.value(), 1);
    assert_eq!((metrics.stanzas_in.value(), metrics.stanzas_out.value()), (1, 1));
    client.say("</stream:stream>");
    client.hear("</stream:stream>");
    assert_eq!(client.hear_all(), "", "nothing follows");
    drop(client);
    wait_until("the end", || node.edge.connections() == 0);
    assert_eq!(node.owner.count(|up| matches!(up, Up::Ended { .. })), 1);
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 0);
    assert_eq!(metrics.sessions.value(), 0);
    assert_eq!(metrics.in_flight_bytes.value(), 0);
}

#[test]
fn direct_tls_and_a_lost_socket() {
    let node = Node::start(Limits::default());
    let client = node.session();
    assert_eq!(node.edge.metrics().tls_full.value(), 1);
    drop(client);
    wait_until("the loss", || node.owner.count(|up| matches!(up, Up::Lost { .. })) == 1);
    assert_eq!(node.owner.count(|up| matches!(up, Up::Ended { .. })), 0);
    wait_until("the end", || node.edge.connections() == 0);
}

/// The kernel gives sockets to either core; sessions end up with their owner, inside TLS and with
/// whatever is on its way, and stop with the edge.
#[test]
fn a_session_goes_to_the_core_of_its_owner() {
    let mut node = Node::start_on(2, Limits::default());
    let metrics = std::sync::Arc::clone(node.edge.metrics());
    let mut clients = Vec::new();
    while metrics.moved.value() < 3 {
        assert!(clients.len() < 64, "nobody moved");
        let mut client = node.session();
        client.say(&MESSAGE.repeat(20));
        clients.push(client);
    }
    let sessions = clients.len() as u64;
    for client in &mut clients {
        (0..20).for_each(|_| drop(client.hear("</message>")));
        client.say(MESSAGE);
        client.hear("</message>");
    }
    assert_eq!((metrics.sessions.value(), node.edge.connections()), (sessions, sessions));
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 0);
    node.edge.drain(Duration::from_secs(5));
    for mut client in clients {
        client.hear("<system-shutdown");
    }
    node.join();
    assert_eq!((metrics.sessions.value(), node.edge.connections()), (0, 0));
}

/// Security case 55: what is sent behind `<starttls/>` in the clear is never read as if it came
/// inside TLS.
#[test]
fn words_behind_starttls_end_the_connection() {
    let node = Node::start(Limits::default());
    let mut clear = Client::new(connect(node.starttls));
    clear.say(HEADER);
    clear.hear("</stream:features>");
    clear.say(&format!("{STARTTLS}{HEADER}{AUTH}"));
    let rest = clear.hear_all();
    assert!(!rest.contains("mechanisms"), "{rest}");
    wait_until("the end", || node.edge.connections() == 0);
    assert!(node.owner.said.lock().expect("said").is_empty());
}

#[test]
fn a_source_has_its_number_of_connections() {
    let source = SourceLimits { connections_max: 3, rate: 1000, burst: 1000 };
    let node = Node::start(Limits { source, ..Limits::default() });
    let mut held: Vec<TcpStream> = (0..3).map(|_| connect(node.starttls)).collect();
    wait_until("three", || node.edge.connections() == 3);
    let refused = || matches!(connect(node.starttls).read(&mut [0]), Ok(0) | Err(_));
    assert!(refused());
    assert_eq!(node.edge.metrics().refused_source_count.value(), 1);
    held.pop();
    wait_until("two", || node.edge.connections() == 2);
    let mut client = Client::new(connect(node.starttls));
    client.say(HEADER);
    client.hear("</stream:features>");
}

/// Security case 114: the limiter refuses before anything is allocated for a connection.
#[test]
fn a_source_has_its_rate() {
    let source = SourceLimits { connections_max: 1000, rate: 1, burst: 5 };
    let node = Node::start(Limits { source, ..Limits::default() });
    let _held: Vec<_> = (0..20).map(|_| connect(node.starttls)).collect();
    let metrics = node.edge.metrics();
    wait_until("all", || metrics.accepted.value() + metrics.refused_source_rate.value() == 20);
    assert!((5..=8).contains(&metrics.accepted.value()), "{}", metrics.accepted.value());
}

#[test]
fn a_full_node_refuses() {
    let node = Node::start(Limits { connections_max: 2, ..Limits::default() });
    let _held: Vec<_> = (0..5).map(|_| connect(node.starttls)).collect();
    wait_until("refusals", || node.edge.metrics().refused_full.value() == 3);
    assert_eq!(node.edge.connections(), 2);
}

/// Security case 126: a byte now and then does not move the deadline, at any step of the
/// negotiation.
#[test]
fn the_time_to_log_in_is_absolute() {
    let node = Node::start(Limits { handshake_us: 1_500_000, ..Limits::default() });
    let started = Instant::now();
    let mut in_tls = node.tls();
    in_tls.say(HEADER);
    in_tls.hear("</stream:features>");
    let mut silent = connect(node.direct);
    let mut clear = Client::new(connect(node.starttls));
    let mut crumbs = HEADER.bytes();
    let told = loop {
        let byte = [crumbs.next().unwrap_or(b' ')];
        if clear.io.write_all(&byte).is_err() || node.edge.connections() == 0 {
            break clear.hear_all();
        }
        std::thread::sleep(Duration::from_millis(50));
        assert!(started.elapsed() < Duration::from_secs(10), "still there");
    };
    assert!(started.elapsed() >= Duration::from_secs(1), "too early");
    assert!(told.is_empty() || told.contains("<connection-timeout"), "{told}");
    let told = in_tls.hear_all();
    assert!(told.contains("<connection-timeout"), "{told}");
    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
    drop((in_tls, clear, silent));
    wait_until("the end", || node.edge.connections() == 0);
    assert_eq!(node.edge.metrics().handshake_timeouts.value(), 3);
    // Who is in does not have this deadline.
    let mut client = node.session();
    std::thread::sleep(Duration::from_millis(2500));
    client.say(MESSAGE);
    client.hear("</message>");
}

/// Security cases 44 and 107: while the owner confirms nothing, the socket is not read.
#[test]
fn a_fast_sender_is_held_back_by_its_owner() {
    let node = Node::start(Limits::default());
    let client = node.session();
    node.owner.confirms.store(false, Ordering::SeqCst);
    let metrics = std::sync::Arc::clone(node.edge.metrics());
    let before = metrics.bytes_in.value();
    let body = "x".repeat(4000);
    let text = format!("<message to='romeo@a.example'><body>{body}</body></message>");
    let mut io = client.into_io();
    // A megabyte is what the kernel takes of it.
    let mut sent = 0;
    while sent < 1024 * 1024 {
        io.write_all(text.as_bytes()).expect("taken");
        sent += text.len();
    }
    std::thread::sleep(Duration::from_millis(300));
    let read = metrics.bytes_in.value() - before;
    assert!(read < 300 * 1024, "{read} bytes were read");
    assert!(metrics.in_flight_bytes.value() < 300 * 1024);
    // The owner confirms, and it goes on.
    node.owner.confirms.store(true, Ordering::SeqCst);
    let conn = node.owner.bound.lock().expect("bound")[0];
    let number = node.owner.count(|up| matches!(up, Up::Stanza { .. })) as u64;
    node.owner.down(conn, Down::Handled { number });
    wait_until("reading", || metrics.bytes_in.value() - before > read);
}

/// Security case 106: a client that takes nothing costs a bounded number of bytes, and is lost in
/// the end.
#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let node = Node::start(Limits::default());
    let client = node.session();
    let conn = node.owner.bound.lock().expect("bound")[0];
    let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
    stanza.add(format!("<body>{}</body>", "x".repeat(4000)).as_bytes());
    let metrics = node.edge.metrics();
    let mut number = 0;
    while metrics.slow_readers.value() == 0 {
        number += 1;
        node.owner.down(conn, Down::Stanza { number, log: 0, stanza: stanza.clone() });
        // What the kernel takes is the kernel's; then our bound holds.
        assert!(number < 10_000, "40 MB for a client that takes nothing");
        std::thread::sleep(Duration::from_micros(200));
    }
    wait_until("the end", || node.edge.connections() == 0);
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 1);
    drop(client);
}

/// Stanzas of about this many bytes in all.
fn stanzas(bytes: usize) -> Vec<Stanza> {
    let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
    stanza.add(format!("<body>{}</body>", "x".repeat(4000)).as_bytes());
    vec![stanza; bytes / 4000]
}

/// All that an owner may keep for a session comes at once when it is resumed.
#[test]
fn a_full_queue_reaches_its_client() {
    let node = Node::start(Limits::default());
    let mut queue = stanzas(session::limits::SESSION_QUEUE_BYTES_MAX);
    queue.push(Stanza::new(Kind::Message(MessageType::Headline)));
    *node.owner.waiting.lock().expect("waiting") = queue;
    let mut client = node.session();
    client.hear("headline");
    assert_eq!(node.edge.metrics().slow_readers.value(), 0);
}

/// A connection that ends before it looks at its mail: the owner learns that the session which it
/// gave it there has lost its socket.
#[test]
fn a_session_that_is_bound_in_an_overrun_is_lost() {
    let node = Node::start(Limits::default());
    *node.owner.waiting.lock().expect("waiting") =
        stanzas(4 * session::limits::SESSION_QUEUE_BYTES_MAX);
    let mut client = node.tls();
    client.say(HEADER);
    client.hear("</stream:features>");
    client.say(AUTH);
    client.hear("<success");
    client.say(&format!("{HEADER}{BIND}"));
    client.hear_all();
    wait_until("the end", || node.edge.connections() == 0);
    assert_eq!(node.edge.metrics().slow_readers.value(), 1);
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 1);
}

#[test]
fn a_panic_costs_one_connection() {
    let node = Node::start(Limits::default());
    let mut unlucky = node.session();
    let mut lucky = node.session();
    unlucky.say("<message to='romeo@a.example'><body>PANIC</body></message>");
    unlucky.hear_all();
    wait_until("one less", || node.edge.connections() == 1);
    assert_eq!(node.edge.metrics().panics.value(), 1);
    lucky.say(MESSAGE);
    lucky.hear("</message>");
    let mut later = node.session();
    later.say(MESSAGE);
    later.hear("</message>");
    assert_eq!(node.edge.metrics().sessions.value(), 2);
}

#[test]
fn a_drain_says_goodbye_and_ends() {
    let mut node = Node::start(Limits::default());
    let mut client = node.session();
    let mut early = Client::new(connect(node.starttls));
    early.say(HEADER);
    early.hear("</stream:features>");
    node.edge.drain(Duration::from_secs(60));
    assert_eq!(node.edge.drain_state(), Drain::Closing);
    for told in [client.hear_all(), early.hear_all()] {
        assert!(told.contains("<system-shutdown"), "{told}");
        assert!(told.ends_with("</stream:stream>"), "{told}");
    }
    drop((client, early));
    node.join();
    assert_eq!(node.edge.connections(), 0);
    assert!(TcpStream::connect(node.direct).is_err(), "still accepting");
    // The session can be resumed at another node or after the restart.
    assert_eq!(node.owner.count(|up| matches!(up, Up::Lost { .. })), 1);
}

#[test]
fn the_second_drain_and_the_end_of_patience_cut() {
    for patience in [Duration::from_secs(60), Duration::from_millis(300)] {
        let mut node = Node::start(Limits::default());
        // A client that never hangs up.
        let mut client = node.tls();
        client.say(HEADER);
        client.hear("</stream:features>");
        let started = Instant::now();
        node.edge.drain(patience);
        if patience > Duration::from_secs(1) {
            node.edge.drain(patience);
        }
        node.join();
        assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
        assert_eq!(node.edge.drain_state(), Drain::Ending);
    }
}

#[test]
fn a_wrong_password_is_refused_and_the_next_try_counts() {
    let node = Node::start(Limits::default());
    let mut client = node.tls();
    client.say(HEADER);
    client.hear("</stream:features>");
    client.say(&AUTH.replace("AGp1bGlldABzZWNyZXQ=", "AGp1bGlldABzZWNyZVQ="));
    assert!(client.hear("</failure>").contains("<not-authorized/>"));
    client.say(AUTH);
    client.hear("<success");
    client.hear(">");
    client.say(HEADER);
    client.hear("</stream:features>");
    client.say(BIND);
    assert!(client.hear("</iq>").contains("juliet@a.example/r1"));
    assert_eq!(node.edge.metrics().derivations.value(), 2);
}
