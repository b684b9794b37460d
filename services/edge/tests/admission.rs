//! Logins at an edge whose owners do not keep up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use common::{AUTH, BIND, Client, HEADER, Node, connect, wait_until};
use edge::Limits;
use peer::Up;

/// Asks for its salt.
fn begin<S: Read + Write>(mut client: Client<S>) -> Client<S> {
    client.say(HEADER);
    client.hear("</stream:features>");
    client.say(AUTH);
    client
}

/// It is told why, and is gone.
fn is_refused<S: Read + Write>(node: &Node, client: Client<S>) {
    let before = node.edge.metrics().refused_logins.value();
    let told = begin(client).hear_all();
    assert!(told.contains("<resource-constraint"), "{told}");
    assert!(told.ends_with("</stream:stream>") && !told.contains("failure"), "{told}");
    assert_eq!(node.edge.metrics().refused_logins.value(), before + 1);
}

#[test]
fn a_busy_node_lets_those_in_that_return_and_then_nobody() {
    let node = Node::start(Limits { logins_max: 4, ..Limits::default() });
    let metrics = node.edge.metrics();
    // Leaves tickets for those who return.
    let inside = node.session();
    wait_until("a session", || metrics.sessions.value() == 1);
    node.owner.said.lock().expect("said").clear();
    node.owner.silent.store(true, Ordering::SeqCst);
    let asked = || node.owner.count(|up| matches!(up, Up::Challenge { .. }));

    let mut waiting: Vec<_> = (0..3).map(|_| begin(node.tls_anew())).collect();
    wait_until("three", || asked() == 3);
    is_refused(&node, node.tls_anew());
    wait_until("the end", || node.edge.connections() == 4);
    waiting.push(begin(node.tls()));
    wait_until("four", || asked() == 4);
    assert_eq!(metrics.tls_resumed.value(), 1);
    // As many as may ask are there: nobody else is let in.
    assert!(matches!(connect(node.starttls).read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!((metrics.refused_busy.value(), asked()), (1, 4));

    node.owner.speaks_again();
    for client in &mut waiting {
        client.hear("<success");
        client.say(&format!("{HEADER}{BIND}"));
        client.hear("</iq>");
    }
    let _later = node.session();
    wait_until("all", || metrics.sessions.value() == 6);
    drop(inside);
}
