//! What stays true of the control plane, whatever is said to it and in which order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod plane;

use std::collections::{BTreeMap, BTreeSet};

use peer::control::{
    Attempt, Command, Feed, Hold, Join, Map, MapSaid, Reply, Slot, Standing, State,
};
use peer::node::{Features, Roles};
use peer::{Epoch, NodeId, ShardId};
use plane::Plane;
use proptest::collection::vec;
use proptest::prelude::*;

/// What happens to a cluster. Numbers name one of the nodes there are.
#[derive(Clone, Debug)]
enum Event {
    Join { roles: u8, zone: u8, features: u8 },
    Restart(u8),
    Leave(u8),
    Die { node: u8, by: (u8, u8) },
    Drain(u8),
    Undrain(u8),
    Remove(u8),
    Fresh { but: u8 },
    NoneFresh,
    GrantFree,
    Release(u8),
    Regrant { shard: u8, node: u8, stale: bool },
    Rebalance,
    Begin,
    End { of: u8 },
    Abort { of: u8 },
    Domain(bool),
    Set(Option<u8>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (any::<u8>(), any::<u8>(), any::<u8>())
            .prop_map(|(roles, zone, features)| Event::Join { roles, zone, features }),
        2 => any::<u8>().prop_map(Event::Restart),
        1 => any::<u8>().prop_map(Event::Leave),
        3 => any::<(u8, (u8, u8))>().prop_map(|(node, by)| Event::Die { node, by }),
        1 => any::<u8>().prop_map(Event::Drain),
        1 => any::<u8>().prop_map(Event::Undrain),
        1 => any::<u8>().prop_map(Event::Remove),
        5 => any::<u8>().prop_map(|but| Event::Fresh { but }),
        1 => Just(Event::NoneFresh),
        3 => Just(Event::GrantFree),
        1 => any::<u8>().prop_map(Event::Release),
        2 => any::<(u8, u8, bool)>()
            .prop_map(|(shard, node, stale)| Event::Regrant { shard, node, stale }),
        1 => Just(Event::Rebalance),
        5 => Just(Event::Begin),
        5 => any::<u8>().prop_map(|of| Event::End { of }),
        1 => any::<u8>().prop_map(|of| Event::Abort { of }),
        1 => any::<bool>().prop_map(Event::Domain),
        1 => proptest::option::of(any::<u8>()).prop_map(Event::Set),
    ]
}

/// A cluster to which things happen, and what was seen of it.
struct World {
    plane: Plane,
    names: usize,
    /// Whom each epoch of a shard was given to.
    given: BTreeMap<(ShardId, Epoch), NodeId>,
    buried: BTreeSet<NodeId>,
    gates: Features,
}

impl World {
    fn new() -> Self {
        let plane = Plane::new();
        let given = BTreeMap::new();
        Self { plane, names: 0, given, buried: BTreeSet::new(), gates: Features(0) }
    }

    fn node(&self, which: u8) -> Option<NodeId> {
        let members = &self.plane.map().members;
        let at = usize::from(which).checked_rem(members.len())?;
        members.values().nth(at).map(|member| member.id)
    }

    fn command(&mut self, event: &Event) -> Option<Command> {
        let node = |which| self.node(which);
        Some(match *event {
            Event::Join { roles, zone, features } => {
                self.names += 1;
                let name = format!("n{}", "x".repeat(self.names % 20)) + &self.names.to_string();
                let roles = match roles % 4 {
                    0 => Roles::EDGE,
                    1 => Roles::CONTROL.with(Roles::ROUTER),
                    _ => Roles::ROUTER,
                };
                let join = self.plane.request(&name, roles, ["a", "b", "c"][zone as usize % 3]);
                let features = Features(u64::from(features) | 1);
                Command::Join(Box::new(Join { features, ..join }))
            }
            Event::Restart(which) => {
                let member = self.plane.map().members[&node(which)?.number].clone();
                let (name, features) = (member.name.clone(), member.features);
                let join = self.plane.request(&name, member.roles, &member.zone);
                Command::Join(Box::new(Join { features, ..join }))
            }
            Event::Leave(which) => Command::Leave { node: node(which)? },
            Event::Die { node: which, by: (one, two) } => {
                Command::DeclareDead { node: node(which)?, by: vec![node(one)?, node(two)?] }
            }
            Event::Drain(which) => Command::Drain { number: node(which)?.number },
            Event::Undrain(which) => Command::Undrain { number: node(which)?.number },
            Event::Remove(which) => Command::Remove { number: node(which)?.number },
            Event::Fresh { but } => {
                let but = if but < 128 { node(but) } else { None };
                let all = self.plane.map().members.values().map(|member| member.id);
                Command::LeaseSeen { fresh: all.filter(|id| Some(*id) != but).collect() }
            }
            Event::NoneFresh => Command::LeaseSeen { fresh: Vec::new() },
            Event::GrantFree => Command::GrantFree,
            Event::Release(which) => Command::Release { node: node(which)? },
            Event::Regrant { shard, node: which, stale } => {
                let slot = self.plane.map().slot(ShardId(shard.into()));
                let epoch = Epoch(slot.epoch.0.saturating_sub(u64::from(stale)));
                let owner = slot.owner().filter(|_| which < 128).or(node(which))?;
                Command::Regrant { shard: ShardId(shard.into()), epoch, node: owner }
            }
            Event::Rebalance => Command::Rebalance,
            Event::Begin => Command::MoveBegin { moves: self.plane.state.next_moves() },
            Event::End { of } => Command::MoveEnd { moves: self.under_way(of) },
            Event::Abort { of } => Command::MoveAbort { moves: self.under_way(of) },
            Event::Domain(true) => Command::AddDomain { domain: "a.example".into() },
            Event::Domain(false) => Command::RemoveDomain { domain: "a.example".into() },
            Event::Set(value) => {
                let value = value.map(|value| value.to_string().as_str().into());
                Command::Set { name: "setting".into(), value }
            }
        })
    }

    /// Some of the moves that are under way, or one that is not.
    fn under_way(&self, of: u8) -> Vec<Attempt> {
        let map = self.plane.map();
        let moving = map.slots().filter_map(|(shard, _)| map.attempt(shard));
        let mut moves: Vec<Attempt> = moving.take(usize::from(of)).collect();
        let (shard, begun) = (ShardId(u16::from(of)), u64::from(of));
        moves.extend(self.node(of).map(|to| Attempt { shard, to, begun }));
        moves
    }

    fn happen(&mut self, event: &Event) {
        let before = self.plane.map().clone();
        let Some(command) = self.command(event) else { return };
        let reply = self.plane.say(command.clone());
        self.check(&before);
        if reply == Reply::Done && matches!(command, Command::GrantFree | Command::Release { .. }) {
            let free = |slot: Slot| slot.hold == Hold::Free;
            assert!(!self.plane.map().slots().any(|(_, slot)| free(slot)), "all have an owner");
        }
    }

    fn check(&mut self, before: &Map) {
        let state = &self.plane.state;
        let map = state.map();
        for ((shard, old), (_, new)) in before.slots().zip(map.slots()) {
            assert!(new.epoch >= old.epoch, "{shard:?}: epochs only grow");
            if let Some(owner) = new.owner() {
                let first = self.given.entry((shard, new.epoch)).or_insert(owner);
                assert_eq!(*first, owner, "{shard:?} {:?}: an epoch has one owner", new.epoch);
                assert!(map.up(owner).is_some_and(|it| it.roles.has(Roles::ROUTER)));
                if new.epoch > old.epoch && old.owner() != Some(owner) {
                    assert!(state.is_fresh(owner), "{shard:?} goes to a fresh lease");
                }
            }
            if let Hold::Moving(owner, heir, _) = new.hold {
                assert!(owner != heir && map.up(heir).is_some());
            }
        }
        self.check_shares();
        assert!(self.plane.moving() <= peer::limits::MOVING_MAX);
        assert!(map.gates.has(self.gates), "gates stay open");
        self.gates = map.gates;
        let mut names = BTreeSet::new();
        for member in map.members.values() {
            assert!(names.insert(member.name.clone()), "names are unique");
            assert!(member.features.has(map.gates), "what is open every member can");
            match member.standing {
                Standing::Down => {
                    self.buried.insert(member.id);
                }
                _ => assert!(!self.buried.contains(&member.id), "the dead stay dead"),
            }
        }
        assert_eq!(map.version, before.version + u64::from(map != before));
    }

    /// After the first grant a shard is free only where each that could take it has its share.
    fn check_shares(&self) {
        let map = self.plane.map();
        let free = map.slots().any(|(_, slot)| slot.hold == Hold::Free);
        if !free || !map.slots().any(|(_, slot)| slot.owner().is_some()) {
            return;
        }
        let counts = self.plane.counts();
        let active: Vec<NodeId> =
            map.members.values().filter(|it| it.takes_shards()).map(|it| it.id).collect();
        for node in active.iter().filter(|node| self.plane.state.is_fresh(**node)) {
            let heir = map.slots().filter(|it| it.1.heir() == Some(*node)).count();
            assert!(heir * active.len() >= 4096, "{node:?} has {} of {counts:?}", counts[node]);
        }
    }

    /// All leases are fresh and all moves end.
    fn come_to_rest(&mut self) {
        self.plane.all_fresh();
        let under_way = self.under_way(u8::MAX);
        self.plane.moves(Command::MoveEnd { moves: under_way });
        self.plane.settle();
    }

    fn check_evenness(&self) {
        let map = self.plane.map();
        let counts = self.plane.counts();
        let active: Vec<usize> = counts
            .iter()
            .filter(|(id, _)| map.members[&id.number].standing == Standing::Active)
            .map(|(_, count)| *count)
            .collect();
        let all: usize = active.iter().sum();
        if active.is_empty() {
            return;
        }
        assert_eq!(all, 4096, "nothing is left at a draining router");
        let mean = all as f64 / active.len() as f64;
        for count in active {
            let (least, most) = ((mean * 0.9).floor(), (mean * 1.1).ceil());
            assert!((least..=most).contains(&(count as f64)), "{count} of {mean}");
        }
    }
}

/// The map of a node that has followed the feed.
fn follow(mut map: Map, feed: &Feed, whole: &Map) -> Map {
    for said in feed.since(map.seen(), whole) {
        match said {
            MapSaid::Whole(whole) => map = *whole,
            MapSaid::Delta(delta) => map.take(delta).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    map
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn promises_hold_whatever_happens(events in vec(event(), 1..60)) {
        let mut world = World::new();
        for event in &events {
            world.happen(event);
        }
        world.come_to_rest();
        world.check_evenness();
        let state = &world.plane.state;
        let restored = State::decode(&state.encode(1));
        prop_assert_eq!(restored.as_ref(), Ok(state));
        let mut replica = State::default();
        for (index, entry) in (1..).zip(&world.plane.log) {
            replica.apply_bytes(index, entry);
        }
        prop_assert_eq!(replica.hash(), state.hash());
        prop_assert_eq!(&replica, state);
    }

    #[test]
    fn a_replica_may_start_from_any_snapshot(events in vec(event(), 1..40), cut: u8) {
        let mut world = World::new();
        let cut = usize::from(cut) % events.len();
        for event in &events[..cut] {
            world.happen(event);
        }
        let mut replica = State::decode(&world.plane.state.encode(1)).unwrap();
        for event in &events[cut..] {
            world.happen(event);
        }
        for (index, entry) in (1..).zip(&world.plane.log) {
            // What it has already is refused and changes nothing.
            replica.apply_bytes(index, entry);
        }
        prop_assert_eq!(replica.hash(), world.plane.state.hash());
    }

    #[test]
    fn who_follows_has_the_map(events in vec(event(), 1..40), joins: u8) {
        let mut world = World::new();
        let (mut feed, mut seen) = (Feed::default(), 0);
        let mut maps = vec![world.plane.map().clone()];
        for (at, event) in events.iter().enumerate() {
            world.happen(event);
            for delta in &world.plane.deltas[seen..] {
                feed.push(delta.clone());
            }
            seen = world.plane.deltas.len();
            if at % 7 == usize::from(joins) % 7 {
                maps.push(world.plane.map().clone());
            }
        }
        for map in maps {
            prop_assert_eq!(&follow(map, &feed, world.plane.map()), world.plane.map());
        }
    }

    #[test]
    fn moves_are_no_more_than_evenness_needs(count in 2usize..12, dies: u8) {
        let mut world = World::new();
        world.plane.routers(count);
        world.plane.done(Command::Rebalance);
        world.plane.settle();
        let nodes: Vec<NodeId> = world.plane.counts().into_keys().collect();
        let dead = nodes[usize::from(dies) % count];
        world.plane.done(Command::Leave { node: dead });
        prop_assert!(world.plane.settle().is_empty(), "what a dead node had makes the rest even");
        world.plane.done(Command::Rebalance);
        prop_assert!(world.plane.settle().is_empty());
        let new = world.plane.join("new", Roles::ROUTER, "b");
        world.plane.all_fresh();
        let had = world.plane.counts();
        let moves = world.plane.settle();
        prop_assert!(moves.iter().all(|step| step.to == new), "no shard moves between others");
        let least = (4096.0 / count as f64 * 0.9).ceil() as usize;
        prop_assert!(moves.len() <= least + 1, "{} for {least} of {had:?}", moves.len());
    }
}
