//! What an idle session costs an edge (design §9): everything but the kernel's socket and the
//! owner's half.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::net::TcpStream;
use std::time::Duration;

use common::{Client, Node, wait_until};
use edge::Limits;
use tikv_jemalloc_ctl::{epoch, stats};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn heap_bytes() -> usize {
    epoch::advance().expect("jemalloc");
    stats::allocated::read().expect("jemalloc")
}

/// Logs in and forgets the client's half of TLS; the socket stays.
fn session(node: &Node) -> TcpStream {
    node.session().into_io().sock
}

fn settle(node: &Node, sessions: u64) -> usize {
    wait_until("sessions", || node.edge.metrics().sessions.value() == sessions);
    // Longer than the streams need to be told that it is quiet, and the wheel to come by.
    std::thread::sleep(Duration::from_secs(2));
    *node.owner.said.lock().expect("said") = Vec::new();
    heap_bytes()
}

#[test]
fn an_idle_session_is_small_and_leaves_nothing() {
    let node = Node::start(Limits::default());
    let mut held: Vec<TcpStream> = Vec::with_capacity(200);
    // Security cases 111 and 112: connections that come and go, at every step, leave nothing.
    let round = || {
        for _ in 0..20 {
            drop(common::connect(node.starttls));
            drop(common::connect(node.direct));
            let mut client = node.tls();
            client.say(common::HEADER);
            client.hear("</stream:features>");
            let mut clear = Client::new(common::connect(node.starttls));
            clear.say(&common::HEADER[..40]);
            drop(session(&node));
        }
        wait_until("the end", || node.edge.connections() == 0);
        settle(&node, 0)
    };
    let (_, first, second) = (round(), round(), round());
    let slope = second.saturating_sub(first) / 100;
    println!("a connection that is gone: {slope} bytes");
    assert!(slope < 100, "{first} bytes, then {second}");

    held.extend((0..50).map(|_| session(&node)));
    let before = settle(&node, 50);
    held.extend((0..150).map(|_| session(&node)));
    let each = (settle(&node, 200) - before) / 150;
    println!("an idle session by TLS: {each} bytes of our heap");
    assert!(each <= 4500, "{each} bytes");
}
