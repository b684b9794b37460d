//! Whose lease the leader of the control plane calls fresh.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod plane;

use peer::NodeId;
use peer::control::{Command, Leases};
use peer::limits::{HEARTBEAT_US, LEASE_US};
use peer::node::{Heartbeat, Roles};
use plane::Plane;

fn beat(lease_ms: Option<u32>) -> Heartbeat {
    Heartbeat { lease_ms, ..Heartbeat::default() }
}

/// What is proposed is carried out.
fn poll(leases: &mut Leases, plane: &mut Plane, now: u64) -> Option<Vec<NodeId>> {
    let fresh = leases.poll_seen(&plane.state, now)?;
    plane.done(Command::LeaseSeen { fresh: fresh.clone() });
    Some(fresh)
}

#[test]
fn only_changes_are_said() {
    let mut plane = Plane::new();
    let one = plane.join("one", Roles::ROUTER, "");
    let two = plane.join("two-", Roles::ROUTER, "");
    let edge = plane.join("edge-1", Roles::EDGE, "");
    let mut leases = Leases::default();
    let (start, age) = (10 * LEASE_US, 500 * 1000);
    leases.handle_heartbeat(one, &beat(Some(500)), start);
    leases.handle_heartbeat(two, &beat(Some(0)), start);
    leases.handle_heartbeat(edge, &beat(Some(0)), start);
    assert_eq!(leases.poll_timeout(), Some(start - age + LEASE_US));
    assert_eq!(poll(&mut leases, &mut plane, start), Some(vec![one, two]), "no edge");
    leases.handle_heartbeat(one, &beat(Some(400)), start + 1000);
    assert_eq!(poll(&mut leases, &mut plane, start + 1000), None);
}

#[test]
fn a_lease_runs_out_after_three_seconds_and_at_the_word_of_its_node() {
    let mut plane = Plane::new();
    let one = plane.join("one", Roles::ROUTER, "");
    let two = plane.join("two-", Roles::ROUTER, "");
    let mut leases = Leases::default();
    let start = 10 * LEASE_US;
    leases.handle_heartbeat(one, &beat(Some(1000)), start);
    leases.handle_heartbeat(two, &beat(Some(0)), start);
    assert_eq!(poll(&mut leases, &mut plane, start), Some(vec![one, two]));
    let end = start - 1_000_000 + LEASE_US;
    assert_eq!(poll(&mut leases, &mut plane, end - 1), None);
    assert_eq!(poll(&mut leases, &mut plane, end), Some(vec![two]));
    leases.handle_heartbeat(two, &beat(None), end);
    assert_eq!(poll(&mut leases, &mut plane, end), Some(vec![]));
    assert_eq!(leases.poll_timeout(), None);
}

#[test]
fn what_came_of_nothing_is_said_again_and_the_dead_have_no_lease() {
    let mut plane = Plane::new();
    let one = plane.join("one", Roles::ROUTER, "");
    let mut leases = Leases::default();
    let start = 10 * LEASE_US;
    leases.handle_heartbeat(one, &beat(Some(0)), start);
    assert_eq!(leases.poll_seen(&plane.state, start), Some(vec![one]));
    assert_eq!(leases.poll_seen(&plane.state, start + 1), None);
    assert_eq!(leases.poll_seen(&plane.state, start + HEARTBEAT_US), Some(vec![one]));
    plane.done(Command::LeaseSeen { fresh: vec![one] });
    plane.done(Command::Leave { node: one });
    leases.handle_heartbeat(one, &beat(Some(0)), start + HEARTBEAT_US);
    assert_eq!(leases.poll_seen(&plane.state, start + 2 * HEARTBEAT_US), None);
}
