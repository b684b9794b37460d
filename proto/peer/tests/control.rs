//! The control plane, one situation after the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod plane;

use peer::control::{Behind, Bound, Command, Feed, Fingerprint, Hold, Join, MapSaid, Move};
use peer::control::{Refusal, Reply, Standing};
use peer::control::{State, TextOf, TokenHash, voters};
use peer::limits::{CLOCK_OFF_MAX_US, DOMAINS_MAX, FIRST_EPOCH_MAX, MOVING_MAX};
use peer::limits::{SETTINGS_MAX, TOKEN_KEPT_US, TOKENS_KEPT_MAX, TOKENS_MAX};
use peer::node::{ClusterId, Features, Roles, Versions};
use peer::shard::HashKey;
use peer::{Epoch, NodeId, SHARDS, ShardId};
use plane::{CLUSTER, NOW, Plane};

#[test]
fn the_first_router_gets_every_shard_when_its_lease_is_fresh() {
    let mut plane = Plane::new();
    let node = plane.join("one", Roles::ROUTER.with(Roles::EDGE), "");
    assert_eq!(node, NodeId { number: 1, incarnation: 1 });
    assert!(plane.map().slots().all(|(_, slot)| slot.hold == Hold::Free));
    plane.all_fresh();
    assert!(plane.map().slots().all(|(_, slot)| slot.hold == Hold::Serving(node)));
    assert!(plane.map().slots().all(|(_, slot)| slot.epoch == Epoch(1)));
}

#[test]
fn epochs_of_a_cluster_that_is_made_anew_begin_above_the_old_ones() {
    let mut state = State::default();
    let init = Command::Init { cluster: CLUSTER, key: HashKey(1, 2), epochs_above: Epoch(900) };
    assert_eq!(state.apply(1, init, NOW).reply, Reply::Done);
    assert!(state.map().slots().all(|(_, slot)| slot.epoch == Epoch(900)));
    for (above, holds) in [(FIRST_EPOCH_MAX, true), (FIRST_EPOCH_MAX + 1, false)] {
        let (cluster, key, epochs_above) = (CLUSTER, HashKey(1, 2), Epoch(above));
        let reply = State::default().apply(1, Command::Init { cluster, key, epochs_above }, NOW);
        let refused = Reply::Refused(Refusal::EpochTooHigh);
        assert_eq!(reply.reply, if holds { Reply::Done } else { refused });
    }
}

#[test]
fn a_new_router_gets_its_share_and_nothing_else_moves() {
    for count in 1..9 {
        let mut plane = Plane::new();
        plane.routers(count);
        plane.settle();
        let new = plane.join("new", Roles::ROUTER, "a");
        assert!(plane.settle().is_empty(), "its lease is not fresh yet");
        plane.all_fresh();
        let moves = plane.settle();
        assert!(moves.iter().all(|step| step.to == new));
        let share = usize::from(SHARDS) / (count + 1);
        assert!(moves.len() <= share + 1 && moves.len() * 10 >= share * 9 - 10, "{}", moves.len());
        let (fewest, most) = bounds(&plane);
        assert!(fewest * 10 >= share * 9 - 10 && most * 10 <= (share + 1) * 11, "{fewest} {most}");
        plane.done(Command::Rebalance);
        plane.settle();
        let (fewest, most) = bounds(&plane);
        assert!(most - fewest <= 1, "as even as can be: {fewest} {most}");
        plane.done(Command::Rebalance);
        assert!(plane.settle().is_empty());
    }
}

fn bounds(plane: &Plane) -> (usize, usize) {
    let counts = plane.counts();
    (*counts.values().min().unwrap(), *counts.values().max().unwrap())
}

#[test]
fn what_a_dead_node_had_is_spread_over_all_zones_and_nothing_else_moves() {
    let mut plane = Plane::new();
    let nodes = plane.routers(6);
    plane.done(Command::Rebalance);
    plane.settle();
    let (before, had) = (plane.owners(), plane.counts());
    let (dead, by) = (nodes[2], vec![nodes[0], nodes[1]]);
    plane.done(Command::DeclareDead { node: dead, by });
    for ((shard, old), (_, new)) in before.into_iter().zip(plane.owners()) {
        match old.owner() {
            Some(owner) if owner == dead => {
                assert_ne!(new.owner(), Some(dead));
                assert_eq!(new.epoch, Epoch(old.epoch.0 + 1), "{shard:?}");
            }
            _ => assert_eq!(new, old, "{shard:?}"),
        }
    }
    let share = had[&dead] / 5;
    for (node, now) in plane.counts() {
        let gained = now - had[&node];
        assert!(gained.abs_diff(share) <= 2, "{node:?} gained {gained} of {share}");
    }
    assert!(plane.settle().is_empty(), "it is even without a move");
}

#[test]
fn of_equals_the_zone_with_fewest_takes_the_next() {
    let mut plane = Plane::new();
    for (name, zone) in [("a", "left"), ("bb", "left"), ("ccc", "left"), ("dddd", "right")] {
        plane.join(name, Roles::ROUTER, zone);
    }
    plane.all_fresh();
    let owner = |shard| plane.map().slot(ShardId(shard)).owner().unwrap().number;
    assert_eq!((owner(0), owner(1)), (1, 4), "first left, then right");
}

#[test]
fn nothing_moves_while_no_lease_is_fresh() {
    let mut plane = Plane::new();
    let nodes = plane.routers(3);
    plane.done(Command::LeaseSeen { fresh: Vec::new() });
    let before = plane.owners();
    plane.done(Command::DeclareDead { node: nodes[2], by: vec![nodes[0], nodes[1]] });
    for ((_, old), (_, new)) in before.into_iter().zip(plane.owners()) {
        match old.owner() {
            Some(owner) if owner == nodes[2] => assert_eq!(new.hold, Hold::Free),
            _ => assert_eq!(new, old),
        }
        assert_eq!(new.epoch, old.epoch);
    }
    let refused = Reply::Refused(Refusal::NobodyFresh);
    assert_eq!(plane.say(Command::GrantFree), refused);
    plane.done(Command::LeaseSeen { fresh: vec![nodes[1]] });
    assert_eq!(plane.counts()[&nodes[1]], 2048, "no more than its share of two");
    plane.done(Command::GrantFree);
    assert!(plane.map().slots().all(|(_, slot)| slot.hold != Hold::Free));
    assert!(plane.counts()[&nodes[1]] > plane.counts()[&nodes[0]]);
}

#[test]
fn a_restart_of_all_gives_each_router_its_share_again_without_a_wait() {
    let mut plane = Plane::new();
    plane.routers(3);
    let mut fresh = Vec::new();
    for name in ["r0", "r1", "r2"] {
        fresh.push(plane.join(name, Roles::ROUTER.with(Roles::CONTROL), "a"));
        plane.done(Command::LeaseSeen { fresh: fresh.clone() });
    }
    let (fewest, most) = bounds(&plane);
    assert!(fewest >= 1364 && most <= 1366, "{fewest} {most}");
    assert!(plane.map().slots().all(|(_, slot)| slot.hold != Hold::Free));
    assert!(plane.state.next_moves().is_empty());
}

#[test]
fn routers_that_start_together_get_a_share_each_and_wait_for_it() {
    let mut plane = Plane::new();
    for (at, name) in ["one", "two-", "three"].into_iter().enumerate() {
        plane.join(name, Roles::ROUTER, "");
        plane.all_seen();
        assert_eq!(plane.counts().len(), at + 1);
        assert!(plane.map().slots().all(|(_, slot)| slot.hold == Hold::Free));
    }
    plane.done(Command::GrantFree);
    let (fewest, most) = bounds(&plane);
    assert!(fewest >= 1365 && most <= 1366, "{fewest} {most}");
    assert!(plane.state.next_moves().is_empty());
}

#[test]
fn a_router_whose_lease_is_lost_gives_its_shards_to_the_fresh() {
    let mut plane = Plane::new();
    let nodes = plane.routers(3);
    let release = |plane: &mut Plane, node| plane.say(Command::Release { node });
    let refused = Reply::Refused;
    assert_eq!(release(&mut plane, nodes[0]), refused(Refusal::StillFresh(nodes[0])));
    plane.done(Command::LeaseSeen { fresh: Vec::new() });
    let before = plane.owners();
    assert_eq!(release(&mut plane, nodes[0]), refused(Refusal::NobodyFresh));
    let bygone = NodeId { incarnation: 9, ..nodes[0] };
    assert_eq!(release(&mut plane, bygone), refused(Refusal::NotUp(bygone)));
    assert!(plane.owners() == before, "if none is fresh nothing moves");
    plane.done(Command::LeaseSeen { fresh: vec![nodes[1], nodes[2]] });
    let shard = before.iter().find(|it| it.1.owner() == Some(nodes[0])).unwrap().0;
    let moves = vec![Move { shard, to: nodes[2] }];
    assert_eq!(plane.moves(Command::MoveBegin { moves }), 1);
    assert_eq!(release(&mut plane, nodes[0]), Reply::Done);
    assert_eq!(plane.map().slot(shard).hold, Hold::Serving(nodes[2]), "it was on its way there");
    assert_eq!(plane.counts()[&nodes[0]], 0);
    assert_eq!((plane.counts()[&nodes[1]], plane.counts()[&nodes[2]]), (2048, 2048));
    for ((shard, old), (_, new)) in before.into_iter().zip(plane.owners()) {
        let was_lost = old.owner() == Some(nodes[0]);
        assert_eq!(new.epoch.0, old.epoch.0 + u64::from(was_lost), "{shard:?}");
    }
    assert_eq!(plane.map().members[&nodes[0].number].standing, Standing::Active);
    plane.all_fresh();
    assert!(!plane.settle().is_empty(), "it takes its part again");
}

#[test]
fn an_owner_that_wants_a_shard_anew_gets_it_under_the_next_epoch() {
    let mut plane = Plane::new();
    let nodes = plane.routers(2);
    let slot = plane.map().slot(ShardId(7));
    let (owner, other) = match slot.owner() {
        Some(node) if node == nodes[0] => (nodes[0], nodes[1]),
        _ => (nodes[1], nodes[0]),
    };
    let shard = ShardId(7);
    let regrant = |epoch, node| Command::Regrant { shard, epoch, node };
    let refused = |epoch| Reply::Refused(Refusal::NotOwner { shard, epoch });
    assert_eq!(plane.say(regrant(slot.epoch, other)), refused(slot.epoch));
    let bygone = NodeId { incarnation: 9, ..owner };
    assert_eq!(plane.say(regrant(slot.epoch, bygone)), refused(slot.epoch));
    plane.done(regrant(slot.epoch, owner));
    let next = Epoch(slot.epoch.0 + 1);
    assert_eq!(plane.map().slot(shard).hold, Hold::Serving(owner));
    assert_eq!(plane.map().slot(shard).epoch, next);
    assert_eq!(plane.say(regrant(slot.epoch, owner)), refused(slot.epoch), "said twice");
    // While it was about to be handed over: there is nothing left to hand over.
    let moves = vec![Move { shard, to: other }];
    assert_eq!(plane.moves(Command::MoveBegin { moves }), 1);
    let moves = vec![plane.map().attempt(shard).unwrap()];
    plane.done(regrant(next, owner));
    assert_eq!(plane.map().slot(shard).hold, Hold::Serving(owner));
    assert_eq!(plane.moves(Command::MoveEnd { moves }), 0);
}

#[test]
fn a_drained_router_ends_with_no_shard_and_may_come_back() {
    let mut plane = Plane::new();
    let nodes = plane.routers(3);
    let had = plane.counts()[&nodes[1]];
    plane.done(Command::Drain { number: nodes[1].number });
    assert_eq!(plane.state.next_moves().len(), MOVING_MAX);
    let moves = plane.settle();
    assert_eq!(moves.len(), had, "only what it had");
    assert_eq!(plane.counts()[&nodes[1]], 0);
    plane.done(Command::Undrain { number: nodes[1].number });
    assert!(!plane.settle().is_empty());
    assert!(bounds(&plane).0 > 1000);
}

#[test]
fn the_last_router_is_not_drained() {
    let mut plane = Plane::new();
    let node = plane.routers(1)[0];
    plane.join("an-edge", Roles::EDGE, "");
    let refused = Reply::Refused(Refusal::LastRouter);
    assert_eq!(plane.say(Command::Drain { number: node.number }), refused);
}

#[test]
fn a_hand_over_ends_or_is_aborted_or_loses_one_of_its_ends() {
    let mut plane = Plane::new();
    let nodes = plane.routers(3);
    let shard = |plane: &Plane, node| {
        plane.map().slots().find(|it| it.1.hold == Hold::Serving(node)).unwrap().0
    };
    let begin = |plane: &mut Plane, from: NodeId, to: NodeId| {
        let step = Move { shard: shard(plane, from), to };
        assert_eq!(plane.moves(Command::MoveBegin { moves: vec![step] }), 1);
        let attempt = plane.map().attempt(step.shard).unwrap();
        let hold = Hold::Moving(from, to, attempt.begun);
        assert_eq!(plane.map().slot(step.shard).hold, hold);
        attempt
    };
    let step = begin(&mut plane, nodes[0], nodes[1]);
    let epoch = plane.map().slot(step.shard).epoch;
    assert_eq!(plane.moves(Command::MoveAbort { moves: vec![step] }), 1);
    assert_eq!(plane.map().slot(step.shard).hold, Hold::Serving(nodes[0]));
    assert_eq!(plane.map().slot(step.shard).epoch, epoch);
    assert_eq!(plane.moves(Command::MoveEnd { moves: vec![step] }), 0, "it is over");

    let step = begin(&mut plane, nodes[0], nodes[1]);
    plane.done(Command::LeaseSeen { fresh: vec![nodes[0]] });
    assert_eq!(plane.moves(Command::MoveEnd { moves: vec![step] }), 0, "its lease is not fresh");
    plane.all_fresh();
    assert_eq!(plane.moves(Command::MoveEnd { moves: vec![step] }), 1);
    assert_eq!(plane.map().slot(step.shard).hold, Hold::Serving(nodes[1]));
    assert_eq!(plane.map().slot(step.shard).epoch, Epoch(epoch.0 + 1));

    let to_the_dead = begin(&mut plane, nodes[0], nodes[2]);
    let from_the_dead = begin(&mut plane, nodes[2], nodes[1]);
    plane.done(Command::DeclareDead { node: nodes[2], by: vec![nodes[0], nodes[1]] });
    assert_eq!(plane.map().slot(to_the_dead.shard).hold, Hold::Serving(nodes[0]));
    assert_eq!(plane.map().slot(from_the_dead.shard).hold, Hold::Serving(nodes[1]));
}

#[test]
fn what_is_said_late_of_a_move_that_failed_does_nothing_to_the_next() {
    let mut plane = Plane::new();
    let nodes = plane.routers(2);
    let mine = plane.map().slots().find(|it| it.1.hold == Hold::Serving(nodes[0])).unwrap().0;
    let begin = |plane: &mut Plane| {
        let moves = vec![Move { shard: mine, to: nodes[1] }];
        assert_eq!(plane.moves(Command::MoveBegin { moves }), 1);
        plane.map().attempt(mine).unwrap()
    };
    let first = begin(&mut plane);
    assert_eq!(plane.moves(Command::MoveAbort { moves: vec![first] }), 1);
    let second = begin(&mut plane);
    assert_ne!(first, second);
    let before = plane.map().slot(mine);
    assert_eq!(plane.moves(Command::MoveEnd { moves: vec![first] }), 0, "it was on its way");
    assert_eq!(plane.moves(Command::MoveAbort { moves: vec![first] }), 0);
    assert_eq!(plane.map().slot(mine), before);
    assert_eq!(plane.moves(Command::MoveEnd { moves: vec![second] }), 1);
    assert_eq!(plane.map().slot(mine).hold, Hold::Serving(nodes[1]));
}

#[test]
fn no_more_than_one_percent_moves_at_a_time() {
    let mut plane = Plane::new();
    let nodes = plane.routers(2);
    let of_first = plane.map().slots().filter(|it| it.1.hold == Hold::Serving(nodes[0]));
    let moves: Vec<Move> = of_first.map(|(shard, _)| Move { shard, to: nodes[1] }).collect();
    assert_eq!(plane.moves(Command::MoveBegin { moves }) as usize, MOVING_MAX);
    assert!(plane.state.next_moves().is_empty());
}

#[test]
fn a_node_that_was_declared_dead_comes_back_as_another() {
    let mut plane = Plane::new();
    let nodes = plane.routers(3);
    let dead = nodes[0];
    plane.done(Command::DeclareDead { node: dead, by: vec![nodes[1], nodes[2]] });
    assert_eq!(plane.map().members[&dead.number].standing, Standing::Down);
    assert_eq!(plane.say(Command::Leave { node: dead }), Reply::Refused(Refusal::NotUp(dead)));
    plane.done(Command::LeaseSeen { fresh: vec![dead, nodes[1]] });
    assert!(!plane.state.is_fresh(dead));
    let back = plane.join("r0", Roles::ROUTER, "a");
    assert_eq!(back, NodeId { number: dead.number, incarnation: 2 });
    let by = vec![nodes[1], nodes[2]];
    let late = Command::DeclareDead { node: dead, by };
    assert_eq!(plane.say(late), Reply::Refused(Refusal::NotUp(dead)), "that was the one before");
}

#[test]
fn a_restart_takes_the_shards_from_the_incarnation_before() {
    let mut plane = Plane::new();
    let node = plane.routers(1)[0];
    let again = plane.join("r0", Roles::ROUTER, "a");
    assert!(plane.map().slots().all(|(_, slot)| slot.hold == Hold::Free));
    plane.all_fresh();
    assert!(plane.map().slots().all(|(_, slot)| slot.hold == Hold::Serving(again)));
    assert!(plane.map().slots().all(|(_, slot)| slot.epoch == Epoch(2)));
    assert_ne!(node, again);
}

#[test]
fn a_death_needs_two_observers_one_of_them_a_control_node() {
    let mut plane = Plane::new();
    let control = plane.join("c", Roles::CONTROL, "");
    let edges = ["e1", "e22", "e333"].map(|name| plane.join(name, Roles::EDGE, ""));
    let [dead, one, two] = edges;
    for (by, is_enough) in [
        (vec![], false),
        (vec![control], false),
        (vec![control, control], false),
        (vec![one, two], false),
        (vec![control, dead], false),
        (vec![control, NodeId { incarnation: 9, ..one }], false),
        (vec![control, one], true),
    ] {
        let reply = plane.say(Command::DeclareDead { node: dead, by: by.clone() });
        let refused = Reply::Refused(Refusal::TooFewObservers);
        assert_eq!(reply, if is_enough { Reply::Done } else { refused }, "{by:?}");
    }
    plane.done(Command::Leave { node: two });
    plane.done(Command::DeclareDead { node: one, by: vec![control] });
}

#[test]
fn gates_open_when_every_member_can_and_stay_open() {
    let mut plane = Plane::new();
    let with = |plane: &mut Plane, name: &str, features| {
        let join = plane.request(name, Roles::EDGE, "");
        plane.say(Command::Join(Box::new(Join { features: Features(features), ..join })))
    };
    with(&mut plane, "a", 0b11);
    assert_eq!(plane.map().gates, Features(0b11), "alone it is all there are");
    let refused = Reply::Refused(Refusal::ProgramTooOld(Features(0b10)));
    assert_eq!(with(&mut plane, "bb", 0b01), refused);
    with(&mut plane, "bb", 0b11);
    with(&mut plane, "a", 0b111);
    assert_eq!(plane.map().gates, Features(0b11));
    let node = plane.map().named("bb").unwrap().id;
    plane.done(Command::Leave { node });
    assert_eq!(plane.map().gates, Features(0b11), "who is down may come back as it was");
    plane.done(Command::Remove { number: node.number });
    assert_eq!(plane.map().gates, Features(0b111));
}

#[test]
fn tokens_are_good_for_one_node_and_for_their_time() {
    let mut plane = Plane::new();
    let token = TokenHash([9; 32]);
    let expires_us = NOW + 60_000_000;
    plane.done(Command::AddToken { token, roles: Roles::EDGE, expires_us });
    let join = |plane: &mut Plane, name: &str, roles, token| {
        let join = Join { token, ..plane.request(name, roles, "") };
        plane.say(Command::Join(Box::new(join)))
    };
    let refused = Reply::Refused;
    assert_eq!(join(&mut plane, "a", Roles::EDGE, None), refused(Refusal::TokenMissing));
    let unknown = Some(TokenHash([8; 32]));
    assert_eq!(join(&mut plane, "a", Roles::EDGE, unknown), refused(Refusal::TokenUnknown));
    let reply = join(&mut plane, "a", Roles::ROUTER, Some(token));
    assert_eq!(reply, refused(Refusal::RolesNotAllowed(Roles::EDGE)));
    let one = NodeId { number: 1, incarnation: 1 };
    assert_eq!(join(&mut plane, "a", Roles::EDGE, Some(token)), Reply::Joined(one));
    let reply = join(&mut plane, "bb", Roles::EDGE, Some(token));
    assert_eq!(reply, refused(Refusal::TokenUsed { by: 1 }));
    let again = NodeId { number: 1, incarnation: 2 };
    let reply = join(&mut plane, "a", Roles::EDGE, Some(token));
    assert_eq!(reply, Reply::Joined(again), "the answer to the first join was lost");
    let reply = join(&mut plane, "a", Roles::EDGE.with(Roles::CONTROL), Some(token));
    assert_eq!(reply, refused(Refusal::RolesNotAllowed(Roles::EDGE)), "no more than it had");
    assert_eq!(plane.map().named("a").unwrap().id, again, "and nothing has happened to it");
    let token = TokenHash([10; 32]);
    plane.done(Command::AddToken { token, roles: Roles::EDGE, expires_us });
    plane.done(Command::DropToken { token });
    let reply = join(&mut plane, "bb", Roles::EDGE, Some(token));
    assert_eq!(reply, refused(Refusal::TokenUnknown));
    plane.done(Command::AddToken { token, roles: Roles::EDGE, expires_us });
    plane.now = expires_us;
    let reply = join(&mut plane, "bb", Roles::EDGE, Some(token));
    assert_eq!(reply, refused(Refusal::TokenExpired));
    plane.now = expires_us + TOKEN_KEPT_US;
    let reply = join(&mut plane, "bb", Roles::EDGE, Some(token));
    assert_eq!(reply, refused(Refusal::TokenUnknown));
}

#[test]
fn tokens_are_bounded_those_that_are_no_good_too() {
    let mut plane = Plane::new();
    let token = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
        TokenHash(hash)
    };
    let roles = Roles::EDGE;
    for number in 0..TOKENS_KEPT_MAX + 10 {
        if number % TOKENS_MAX == 0 {
            plane.now += 10;
        }
        let expires_us = plane.now + 5;
        plane.done(Command::AddToken { token: token(number), roles, expires_us });
        if number == TOKENS_MAX - 1 {
            let more = Command::AddToken { token: token(usize::MAX), roles, expires_us };
            let refused = Reply::Refused(Refusal::TooMany(Bound::Tokens));
            assert_eq!(plane.say(more), refused, "so many that are good");
        }
    }
    let kept: Vec<TokenHash> = plane.state.tokens(0).collect();
    assert_eq!(kept.len(), TOKENS_KEPT_MAX);
    assert_eq!(kept[0], token(10), "the oldest are forgotten");
}

#[test]
fn joins_that_do_not_fit_are_refused_with_a_sentence() {
    let mut plane = Plane::new();
    plane.join("taken", Roles::EDGE.with(Roles::ROUTER), "");
    let new = plane.request("new-one", Roles::EDGE, "");
    let known = plane.request("taken", Roles::EDGE, "");
    let off = CLOCK_OFF_MAX_US + 1;
    let off_ms = off / 1000;
    let versions = Versions { min: 1, max: 1 };
    for (join, refusal, word) in [
        (
            Join { cluster: ClusterId(8), ..new.clone() },
            Refusal::WrongCluster(CLUSTER),
            "belongs to another",
        ),
        (
            Join { clock_us: NOW + off, ..new.clone() },
            Refusal::ClockOff { off_ms, ahead: true },
            "30.000 s ahead of",
        ),
        (
            Join { clock_us: NOW - off, ..new.clone() },
            Refusal::ClockOff { off_ms, ahead: false },
            "NTP",
        ),
        (
            Join { fingerprint: Fingerprint([1; 32]), ..known.clone() },
            Refusal::NameTaken { by: 1 },
            "a name of its own",
        ),
        (
            Join { roles: Roles::CONTROL, ..known },
            Refusal::RolesNotAllowed(Roles::EDGE.with(Roles::ROUTER)),
            "edge, router",
        ),
        (Join { roles: Roles::NONE, ..new.clone() }, Refusal::NoRole, "configuration"),
        (Join { name: "A b".into(), ..new.clone() }, Refusal::BadText(TextOf::Name), "a-z"),
        (Join { address: "x".into(), ..new.clone() }, Refusal::BadText(TextOf::Address), "port"),
        (Join { zone: "Ü".into(), ..new.clone() }, Refusal::BadText(TextOf::Zone), "zone"),
        (
            Join { versions: Versions { min: 2, max: 3 }, ..new.clone() },
            Refusal::NoSharedVersion { with: "taken".into(), versions },
            "one release at a time",
        ),
        (
            Join { features: Features(0), ..new.clone() },
            Refusal::ProgramTooOld(Features(1)),
            "going back",
        ),
    ] {
        let before = plane.state.map().clone();
        let reply = plane.say(Command::Join(Box::new(join)));
        assert_eq!(reply, Reply::Refused(refusal.clone()));
        assert!(refusal.to_string().contains(word), "{refusal}");
        assert_eq!(plane.map(), &before);
    }
    let edge = Join { clock_us: NOW + CLOCK_OFF_MAX_US, ..new };
    assert!(matches!(plane.say(Command::Join(Box::new(edge))), Reply::Joined(_)));
}

#[test]
fn members_are_removed_when_they_are_down() {
    let mut plane = Plane::new();
    let nodes = plane.routers(2);
    let number = nodes[1].number;
    assert_eq!(plane.say(Command::Remove { number }), Reply::Refused(Refusal::StillUp(number)));
    plane.done(Command::Leave { node: nodes[1] });
    plane.done(Command::Remove { number });
    let unknown = Reply::Refused(Refusal::UnknownNode(number));
    assert_eq!(plane.say(Command::Remove { number }), unknown);
    let again = plane.join("r1", Roles::ROUTER, "a");
    assert_eq!(again.number, number + 1, "a number is never used again");
}

#[test]
fn domains_and_settings_are_set_and_bounded() {
    let mut plane = Plane::new();
    let domain = || "capulet.example".into();
    plane.done(Command::AddDomain { domain: domain() });
    let refused = |refusal| Reply::Refused(refusal);
    let served = refused(Refusal::DomainServed);
    assert_eq!(plane.say(Command::AddDomain { domain: domain() }), served);
    plane.done(Command::RemoveDomain { domain: domain() });
    let not = refused(Refusal::DomainNotServed);
    assert_eq!(plane.say(Command::RemoveDomain { domain: domain() }), not);
    for number in 0..DOMAINS_MAX {
        plane.done(Command::AddDomain { domain: format!("d{number}").into() });
    }
    let full = refused(Refusal::TooMany(Bound::Domains));
    assert_eq!(plane.say(Command::AddDomain { domain: domain() }), full);
    let set = |name: String, value: Option<&str>| Command::Set {
        name: name.as_str().into(),
        value: value.map(Into::into),
    };
    for number in 0..SETTINGS_MAX {
        plane.done(set(format!("s{number}"), Some("1")));
    }
    let full = refused(Refusal::TooMany(Bound::Settings));
    assert_eq!(plane.say(set("more".into(), Some("1"))), full);
    plane.done(set("s1".into(), Some("2")));
    plane.done(set("s2".into(), None));
    plane.done(set("more".into(), Some("1")));
    assert_eq!(plane.map().settings.get("s1").map(|value| value.as_str()), Some("2"));
}

#[test]
fn who_follows_takes_the_map_of_a_control_plane_that_was_made_anew() {
    let mut before = Plane::new();
    before.routers(2);
    let mut copy = before.map().clone();
    // Of the next there are fewer versions, or as many.
    for routers in 0..3 {
        let mut anew = Plane::again(NOW + 5_000_000);
        anew.routers(routers);
        while anew.map().version < copy.version && routers == 2 {
            let name = format!("d{}", anew.map().version);
            anew.done(Command::AddDomain { domain: name.into() });
        }
        assert!(anew.map().version <= copy.version);
        let mut feed = Feed::default();
        anew.deltas.iter().for_each(|delta| feed.push(delta.clone()));
        for delta in &anew.deltas {
            assert_eq!(copy.take(delta.clone()), Err(Behind), "of another lineage");
        }
        match &feed.since(copy.seen(), anew.map())[..] {
            [MapSaid::Whole(map)] => assert!(**map == *anew.map()),
            other => panic!("{} said", other.len()),
        }
        assert!(feed.since(anew.map().seen(), anew.map()).is_empty());
    }
}

#[test]
fn an_entry_counts_once_and_what_is_no_entry_changes_nothing() {
    let mut plane = Plane::new();
    let domain = || Command::AddDomain { domain: "capulet.example".into() };
    plane.done(domain());
    let (before, index) = (plane.state.clone(), plane.index);
    let reply = plane.state.apply(index, domain(), NOW).reply;
    assert_eq!(reply, Reply::Refused(Refusal::AlreadyApplied(index)));
    assert_eq!(plane.state, before);
    let (reply, delta) = plane.state.apply_bytes(index + 1, b"\x01\xff");
    assert_eq!(Reply::decode(&reply), Ok(Reply::Refused(Refusal::Unreadable)));
    assert_eq!((plane.state.map(), plane.state.applied(), delta), (before.map(), index + 1, None));
    let mut empty = State::default();
    assert_eq!(empty.apply(1, domain(), NOW).reply, Reply::Refused(Refusal::NotInitialised));
}

#[test]
fn voters_are_odd_in_number_and_in_many_zones() {
    for (zones, want) in [
        ("a", vec![1]),
        ("ab", vec![1]),
        ("aab", vec![1, 2, 3]),
        ("aaab", vec![1, 2, 4]),
        ("aaabc", vec![1, 2, 3, 4, 5]),
        ("aaaabbc", vec![1, 2, 5, 6, 7]),
    ] {
        let mut plane = Plane::new();
        for (at, zone) in zones.char_indices() {
            plane.join(&"n".repeat(at + 1), Roles::CONTROL, &zone.to_string());
        }
        plane.join("an-edge-node", Roles::EDGE, "z");
        assert_eq!(voters(plane.map()), want, "{zones}");
    }
}
