//! Who is suspected, and when that is a death.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod plane;

use peer::NodeId;
use peer::control::{Suspicions, Verdicts};
use peer::limits::{HEARTBEAT_US, SUSPICION_US, VERDICT_US};
use peer::node::{Roles, Silence};
use plane::Plane;

const MS: u64 = 1000;

fn node(number: u32) -> NodeId {
    NodeId { number, incarnation: 1 }
}

fn silent(numbers: &[u32]) -> Vec<Silence> {
    numbers.iter().map(|number| Silence { node: node(*number), silent_ms: 1500 }).collect()
}

fn told(suspicions: &mut Suspicions, now: u64) -> Option<Vec<u32>> {
    let list = suspicions.poll_silent(now)?;
    Some(list.into_iter().map(|silence| silence.node.number).collect())
}

#[test]
fn a_silence_of_a_second_and_a_half_is_told_again_and_again_until_it_ends() {
    let mut here = Suspicions::default();
    here.handle_peers(&[node(1), node(2)], 0);
    let mut now = 0;
    let mut all = Vec::new();
    while now < 4000 * MS {
        now += HEARTBEAT_US / 5;
        here.handle_heard(node(1), now);
        if now > 3300 * MS {
            here.handle_heard(node(2), now);
        }
        if now % HEARTBEAT_US == 0 {
            here.handle_time(now);
            assert_eq!(here.poll_timeout(), Some(now + HEARTBEAT_US));
        }
        all.extend(told(&mut here, now).map(|list| (now / MS, list)));
    }
    let two = || vec![2];
    let want = [(1500, two()), (2000, two()), (2500, two()), (3000, two()), (3400, vec![])];
    assert_eq!(all, want);
}

#[test]
fn a_blip_below_the_bound_is_nothing() {
    let mut here = Suspicions::default();
    here.handle_peers(&[node(1)], 0);
    for (at, is_told) in [(SUSPICION_US - 1, false), (SUSPICION_US, true)] {
        assert_eq!(told(&mut here.clone(), at).is_some(), is_told);
    }
    here.handle_peers(&[], SUSPICION_US);
    assert_eq!(told(&mut here, SUSPICION_US), None, "who is no peer is not missed");
}

#[test]
fn a_node_that_slept_does_not_accuse_others() {
    let mut here = Suspicions::default();
    here.handle_peers(&[node(1)], 0);
    for at in 0..4 {
        here.handle_time(at * HEARTBEAT_US);
        here.handle_heard(node(1), at * HEARTBEAT_US);
    }
    let awake = 60_000 * MS;
    assert_eq!(told(&mut here, awake), None, "asked before it looked at the clock");
    here.handle_time(awake);
    assert_eq!(told(&mut here, awake), None, "the process was stopped for a minute");
    here.handle_time(awake + HEARTBEAT_US);
    assert_eq!(told(&mut here, awake + HEARTBEAT_US), Some(vec![1]), "and still nothing came");
}

/// Two control nodes, 1 and 2, and two edges, 3 and 4.
fn cluster() -> Plane {
    let mut plane = Plane::new();
    for (name, roles) in
        [("c", Roles::CONTROL), ("cc", Roles::CONTROL), ("edg", Roles::EDGE), ("edge", Roles::EDGE)]
    {
        plane.join(name, roles, "");
    }
    plane
}

#[test]
fn two_observers_are_a_verdict_if_one_is_a_control_node() {
    let plane = cluster();
    for (observers, is_dead) in [
        (&[1][..], false),
        (&[4][..], false),
        (&[1, 4][..], true),
        (&[1, 2][..], true),
        (&[1, 2, 4][..], true),
    ] {
        let mut verdicts = Verdicts::default();
        for observer in observers {
            verdicts.handle_silent(node(*observer), &silent(&[3]), 0);
        }
        assert_eq!(verdicts.suspected().count(), 1);
        let dead = verdicts.poll_dead(plane.map(), 1);
        let by = observers.iter().map(|number| node(*number)).collect();
        assert_eq!(dead, is_dead.then_some((node(3), by)), "{observers:?}");
        assert_eq!(verdicts.poll_dead(plane.map(), 2), None, "once");
    }
}

#[test]
fn edges_alone_are_no_verdict() {
    let mut plane = cluster();
    plane.join("edge-5", Roles::EDGE, "");
    let mut verdicts = Verdicts::default();
    for observer in [3, 4] {
        verdicts.handle_silent(node(observer), &silent(&[5]), 0);
    }
    assert_eq!(verdicts.poll_dead(plane.map(), 1), None);
}

#[test]
fn suspicions_are_taken_back_and_run_out() {
    let plane = cluster();
    let mut verdicts = Verdicts::default();
    verdicts.handle_silent(node(1), &silent(&[3]), 0);
    verdicts.handle_silent(node(1), &[], 1);
    verdicts.handle_silent(node(4), &silent(&[3]), 2);
    assert_eq!(verdicts.poll_dead(plane.map(), 3), None, "taken back");
    verdicts.handle_silent(node(1), &silent(&[3]), VERDICT_US + 1);
    assert_eq!(verdicts.poll_dead(plane.map(), VERDICT_US + 2), None, "run out");
    verdicts.handle_silent(node(4), &silent(&[3]), VERDICT_US + 3);
    assert!(verdicts.poll_dead(plane.map(), VERDICT_US + 4).is_some());
}

#[test]
fn one_who_hears_nobody_kills_nobody() {
    let plane = cluster();
    let mut verdicts = Verdicts::default();
    verdicts.handle_silent(node(1), &silent(&[2, 3, 4]), 0);
    assert_eq!(verdicts.poll_dead(plane.map(), 1), None);
    // The others do not hear it either, and are two.
    verdicts.handle_silent(node(2), &silent(&[1]), 2);
    verdicts.handle_silent(node(3), &silent(&[1]), 3);
    let dead = verdicts.poll_dead(plane.map(), 4);
    assert_eq!(dead, Some((node(1), vec![node(2), node(3)])));
}

#[test]
fn what_came_of_nothing_is_proposed_again_and_the_dead_are_forgotten() {
    let mut plane = cluster();
    let mut verdicts = Verdicts::default();
    let say = |verdicts: &mut Verdicts, now| {
        verdicts.handle_silent(node(1), &silent(&[3]), now);
        verdicts.handle_silent(node(4), &silent(&[3]), now);
    };
    say(&mut verdicts, 0);
    let (dead, by) = verdicts.poll_dead(plane.map(), 0).unwrap();
    say(&mut verdicts, VERDICT_US - 1);
    assert_eq!(verdicts.poll_dead(plane.map(), VERDICT_US - 1), None);
    assert!(verdicts.poll_dead(plane.map(), VERDICT_US).is_some());
    plane.done(peer::control::Command::DeclareDead { node: dead, by });
    say(&mut verdicts, 2 * VERDICT_US);
    assert_eq!(verdicts.poll_dead(plane.map(), 2 * VERDICT_US), None);
    assert_eq!(verdicts.suspected().count(), 0);
}
