//! No early data: what a client sends before the handshake is over could be sent again by others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write as _;

use common::{Client, Node, connect};
use edge::Limits;
use rustls::HandshakeKind;

/// Security case 48: a client that comes back with a ticket, and would like to, is not let.
#[test]
fn a_ticket_allows_no_early_data() {
    let node = Node::start(Limits::default());
    for round in 0..3 {
        let mut io = node.wrap_early(connect(node.direct));
        assert!(io.conn.early_data().is_none(), "early data in round {round}");
        io.flush().expect("a handshake");
        let mut client = Client::new(io);
        client.login();
        client.say("</stream:stream>");
        client.hear("</stream:stream>");
        let kind = client.into_io().conn.handshake_kind();
        // Without a ticket there would be nothing to refuse.
        let wanted = if round == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
        assert_eq!(kind, Some(wanted), "round {round}");
    }
}
