//! Accounts with more rows than one batch may delete are deleted whole, whatever comes between.
#![allow(clippy::expect_used, clippy::panic, reason = "a test says what it found")]

use kv::{Batch, RangeRead, Reads, Value};
use session::admin::{Failure, Reply, Request};
use session::keys::{self, Entity};
use session::testing::{Happened, Order, Server};

const ROWS: u64 = kv::limits::DELETE_RANGE_ROWS_MAX as u64 + 1;

/// A server whose alice has so many rows.
fn server(rows: u64) -> Server {
    let mut server = Server::new(xeps::LIST, 2, Order::Prompt);
    for name in ["alice", "bob"] {
        server.add(name);
    }
    let alice = Entity::of(&server.config().hash, &Server::jid("alice"));
    for from in (0..rows).step_by(10_000) {
        let mut batch = Batch::new(1);
        for id in from..rows.min(from + 10_000) {
            batch.set(alice.log(id), Value::new());
        }
        server.store.commit_now(&batch).expect("the store");
    }
    server
}

fn delete() -> Request {
    Request::Delete { account: Server::jid("alice") }
}

fn add() -> Request {
    Request::Add { account: Server::jid("alice"), verifiers: Vec::new() }
}

/// How many rows alice has, with her entry in the directory; as many as one page holds.
fn left(server: &Server) -> usize {
    let jid = Server::jid("alice");
    let (start, end) = Entity::of(&server.config().hash, &jid).all();
    let mut reads = Reads::range(RangeRead::new(start, end).key_only());
    reads.add_get(keys::directory(&jid));
    let rows = server.store.read_now(&reads).expect("the store");
    rows.rows(0).len() + rows.rows(1).len()
}

/// Lets the server go on until some of alice's rows are gone and some are not.
fn halfway(server: &mut Server) {
    let whole = left(server);
    server.ask(delete());
    while left(server) == whole {
        assert!(server.step(), "the server came to rest");
    }
    for _ in 0..4 {
        server.step();
    }
    assert!(left(server) > 1000);
}

fn is_refused(server: &mut Server) {
    server.bind("alice/x");
    let happened = server.client("alice/x").look();
    let refused = matches!(happened[..], [.., Happened::BindRefused(_)]);
    assert!(refused, "{happened:?}");
}

#[test]
fn an_account_with_more_rows_than_a_batch_may_delete_is_deleted() {
    let mut server = server(ROWS);
    server.login("alice/x");
    assert_eq!(server.admin(delete()), Reply::Done);
    assert_eq!(left(&server), 0);
    is_refused(&mut server);
    assert_eq!(server.admin(delete()), Reply::Failed(Failure::NotFound));
    assert_eq!(server.admin(add()), Reply::Done);
    server.login("alice/x");
}

#[test]
fn while_an_account_is_deleted_it_is_gone_for_everybody() {
    let mut server = server(5000);
    server.login("bob/x");
    halfway(&mut server);
    server.send("bob/x", "<message to='alice@a' type='chat'><body>hi</body></message>");
    server.ask(add());
    server.ask(delete());
    server.run();
    let failed = Reply::Failed(Failure::Deleting);
    assert_eq!(server.replies(), [failed, Reply::Done, Reply::Done]);
    let heard = server.client("bob/x").look();
    assert!(
        matches!(&heard[..], [Happened::Stanza(answer)] if answer.kind.is_error()),
        "{heard:?}"
    );
    assert_eq!(left(&server), 0);
    assert_eq!(server.admin(add()), Reply::Done);
}

#[test]
fn a_deletion_that_was_cut_short_goes_on_when_somebody_asks() {
    for orderly in [false, true] {
        let mut server = server(5000);
        halfway(&mut server);
        if orderly {
            server.stop();
            assert_eq!(server.replies(), [Reply::Failed(Failure::Deleting)]);
        } else {
            server.kill();
        }
        assert!(left(&server) > 1000);
        is_refused(&mut server);
        // That has loaded the account.
        server.run();
        assert_eq!(left(&server), 0, "orderly: {orderly}");
        assert_eq!(server.admin(add()), Reply::Done);
        assert_eq!(server.admin(delete()), Reply::Done);
    }
}

#[test]
fn a_new_account_waits_for_the_end_of_the_one_before() {
    let mut server = server(5000);
    halfway(&mut server);
    server.kill();
    assert_eq!(server.admin(add()), Reply::Failed(Failure::Deleting));
    assert_eq!(server.admin(add()), Reply::Done, "all was deleted meanwhile");
    assert!(left(&server) < 5);
}
