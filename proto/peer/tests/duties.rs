//! What the leader of the control plane does, told as what happens and what it then says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod plane;

use std::collections::{BTreeMap, BTreeSet};

use peer::NodeId;
use peer::control::{Command, Duties, Duty, Hold};
use peer::limits::{FREE_WAIT_US, HEARTBEAT_US, LEASE_LOST_US, LEASE_US, SUSPICION_US};
use peer::node::{Heartbeat, Roles, Silence};
use plane::Plane;

const MS: u64 = 1000;
const START: u64 = 100 * LEASE_US;
const BOTH: Roles = Roles::ROUTER.with(Roles::CONTROL);

/// A cluster that the duties are done for, as soon as they are said.
struct World {
    plane: Plane,
    duties: Duties,
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
    /// Since it began to lead.
    ms: u64,
    /// Those that are heard, and whether the store answers them.
    alive: BTreeMap<NodeId, bool>,
    /// Nothing comes of what is said.
    deaf: bool,
    said: Vec<String>,
}

fn numbers(nodes: &[NodeId]) -> String {
    let each: Vec<String> = nodes.iter().map(|node| node.number.to_string()).collect();
    each.join(" ")
}

impl World {
    fn new() -> Self {
        let mut duties = Duties::default();
        duties.handle_leading(true, START);
        Self {
            plane: Plane::new(),
            duties,
            voters: BTreeSet::from([1]),
            learners: BTreeSet::new(),
            ms: 0,
            alive: BTreeMap::new(),
            deaf: false,
            said: Vec::new(),
        }
    }

    /// Routers that are fresh and have all shards.
    fn settled(count: usize) -> (Self, Vec<NodeId>) {
        let mut world = Self::new();
        let nodes: Vec<NodeId> = (1..=count).map(|at| world.join(&"n".repeat(at), BOTH)).collect();
        world.run(20_000);
        world.said.clear();
        (world, nodes)
    }

    fn join(&mut self, name: &str, roles: Roles) -> NodeId {
        let node = self.plane.join(name, roles, "");
        self.alive.insert(node, roles.has(Roles::ROUTER));
        node
    }

    fn now(&self) -> u64 {
        START + self.ms * MS
    }

    /// Time goes on until then; what is said meanwhile is kept.
    fn run(&mut self, until: u64) {
        while self.ms < until {
            self.ms += 100;
            if self.ms.is_multiple_of(500) {
                self.beat();
            }
            self.poll();
        }
    }

    /// All that live say so, and whom they do not hear.
    fn beat(&mut self) {
        let now = self.now();
        let map = self.plane.map().version;
        let members = self.plane.map().members.values().filter(|it| it.is_up());
        let dead = members.map(|it| it.id).filter(|id| !self.alive.contains_key(id));
        let dead: Vec<Silence> = dead.map(|node| Silence { node, silent_ms: 1500 }).collect();
        for (node, answered) in &self.alive {
            let lease_ms = answered.then_some(0);
            let beat = Heartbeat { map, lease_ms, ..Heartbeat::default() };
            self.duties.handle_heartbeat(*node, &beat, now);
            self.duties.handle_silent(*node, &dead, now);
        }
    }

    fn poll(&mut self) {
        let now = self.now();
        let next = |world: &mut Self| {
            world.duties.poll(&world.plane.state, &world.voters, &world.learners, now)
        };
        while let Some(duty) = next(self) {
            self.said.push(format!("{} {}", self.ms, text(&duty)));
            if !self.deaf {
                self.carry_out(duty);
            }
        }
    }

    fn carry_out(&mut self, duty: Duty) {
        match duty {
            Duty::Propose(Command::MoveBegin { moves }) => {
                self.plane.moves(Command::MoveBegin { moves: moves.clone() });
                let shards = moves.iter().map(|step| step.shard);
                let moves = shards.filter_map(|it| self.plane.map().attempt(it)).collect();
                self.plane.moves(Command::MoveEnd { moves });
            }
            Duty::Propose(command) => self.plane.done(command),
            Duty::AddReplica(number) => assert!(self.learners.insert(number.into())),
            Duty::PromoteReplica(number) => {
                assert!(self.learners.remove(&number.into()), "a learner first");
                assert!(self.voters.insert(number.into()));
            }
            Duty::DemoteReplica(number) => {
                assert!(self.voters.remove(&number.into()));
                self.learners.insert(number.into());
            }
            Duty::RemoveReplica(number) => {
                assert!(self.voters.remove(&number.into()) | self.learners.remove(&number.into()));
            }
        }
    }

    /// What was said since it was last asked.
    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn free(&self) -> usize {
        self.plane.map().slots().filter(|(_, slot)| slot.hold == Hold::Free).count()
    }
}

fn text(duty: &Duty) -> String {
    match duty {
        Duty::Propose(Command::DeclareDead { node, by }) => {
            format!("dead {} by {}", node.number, numbers(by))
        }
        Duty::Propose(Command::LeaseSeen { fresh }) => format!("fresh {}", numbers(fresh)),
        Duty::Propose(Command::GrantFree) => "grant".to_owned(),
        Duty::Propose(Command::Release { node }) => format!("release {}", node.number),
        Duty::Propose(Command::MoveBegin { moves }) => format!("move {}", moves.len()),
        Duty::Propose(other) => panic!("{other:?}"),
        Duty::AddReplica(number) => format!("add {number}"),
        Duty::PromoteReplica(number) => format!("promote {number}"),
        Duty::DemoteReplica(number) => format!("demote {number}"),
        Duty::RemoveReplica(number) => format!("remove {number}"),
    }
}

#[test]
fn three_routers_that_start_together_get_a_third_each_without_a_move() {
    let mut world = World::new();
    world.join("n", Roles::ROUTER);
    world.run(1000);
    world.join("nn", Roles::ROUTER);
    world.run(2000);
    world.join("nnn", Roles::ROUTER);
    world.run(60_000);
    let want = ["500 fresh 1", "1500 fresh 1 2", "2500 fresh 1 2 3", "3500 grant"];
    assert_eq!(world.heard(), want);
    let shares: Vec<usize> = world.plane.counts().into_values().collect();
    assert_eq!(shares, [1366, 1365, 1365]);
}

#[test]
fn one_router_alone_gets_all_after_a_wait() {
    let mut world = World::new();
    world.join("n", BOTH);
    world.run(3400);
    assert_eq!((world.heard(), world.free()), (vec!["500 fresh 1".to_owned()], 4096));
    world.run(60_000);
    assert_eq!((world.heard(), world.free()), (vec!["3500 grant".to_owned()], 0));
    assert_eq!(FREE_WAIT_US, 3000 * MS);
}

#[test]
fn a_late_router_gets_its_share_by_moves() {
    let (mut world, _) = World::settled(1);
    world.join("late", Roles::ROUTER);
    world.run(60_000);
    let heard = world.heard();
    assert_eq!(heard[0], "20500 fresh 1 2");
    assert!(heard[1..].iter().all(|it| it.contains("move")), "{heard:?}");
    assert!(world.plane.counts().into_values().all(|count| count > 1800));
}

#[test]
fn a_dead_node_is_said_to_be_so_and_its_shards_go_on_at_once() {
    let (mut world, nodes) = World::settled(3);
    world.alive.remove(&nodes[2]);
    world.run(25_000);
    assert_eq!(world.heard(), ["20500 dead 3 by 1 2"]);
    assert_eq!(world.free(), 0);
}

#[test]
fn a_router_whose_lease_stays_lost_loses_its_shards_while_another_is_fresh() {
    let (mut world, nodes) = World::settled(3);
    world.alive.insert(nodes[0], false);
    world.run(60_000);
    assert_eq!(world.heard(), ["20500 fresh 2 3", "30500 release 1"]);
    assert_eq!(world.plane.counts()[&nodes[0]], 0);
    assert_eq!(LEASE_LOST_US, 10_000 * MS);
    // The store answers again: it takes its part.
    world.alive.insert(nodes[0], true);
    world.run(70_000);
    let heard = world.heard();
    assert_eq!(heard[0], "60500 fresh 1 2 3");
    assert!(heard[1].ends_with("move 40"), "{heard:?}");
}

#[test]
fn a_lease_that_is_lost_for_less_loses_nothing() {
    let (mut world, nodes) = World::settled(3);
    world.alive.insert(nodes[0], false);
    world.run(30_400);
    world.alive.insert(nodes[0], true);
    world.beat();
    world.run(60_000);
    assert_eq!(world.heard(), ["20500 fresh 2 3", "30500 fresh 1 2 3"]);
}

#[test]
fn if_no_router_is_fresh_nothing_moves() {
    let (mut world, nodes) = World::settled(3);
    let before = world.plane.owners();
    nodes.iter().for_each(|node| {
        world.alive.insert(*node, false);
    });
    world.run(60_000);
    assert_eq!(world.heard(), ["20500 fresh "]);
    // The first that is back does not get what the others have before they could be back.
    world.alive.insert(nodes[0], true);
    world.run(61_000);
    world.alive.insert(nodes[1], true);
    world.alive.insert(nodes[2], true);
    world.run(80_000);
    assert!(world.plane.owners() == before, "nothing has moved");
    assert_eq!(world.heard(), ["60500 fresh 1", "61500 fresh 1 2 3"]);
}

#[test]
fn a_new_leader_accuses_nobody_before_suspicions_could_be_taken_back() {
    let (mut world, nodes) = World::settled(3);
    let began = world.now();
    world.duties.handle_leading(false, began);
    world.duties.handle_leading(true, began);
    // Nobody is heard at first, and two say at once that the third is silent.
    let silent = [Silence { node: nodes[2], silent_ms: 1500 }];
    world.duties.handle_silent(nodes[0], &silent, began);
    world.duties.handle_silent(nodes[1], &silent, began);
    assert_eq!(world.duties.suspected().count(), 1);
    let early = began + HEARTBEAT_US - 1;
    let poll = |world: &mut World, now| {
        world.duties.poll(&world.plane.state, &world.voters, &world.learners, now)
    };
    assert_eq!(poll(&mut world, early), None);
    assert_eq!(world.duties.fresh().count(), 3, "as the leader before knew");
    world.duties.handle_silent(nodes[0], &silent, early);
    world.duties.handle_silent(nodes[1], &silent, early);
    let dead = poll(&mut world, early + 1).unwrap();
    assert_eq!(text(&dead), "dead 3 by 1 2");
    assert_eq!(poll(&mut world, began + LEASE_US - 1), None);
    let stale = poll(&mut world, began + LEASE_US).unwrap();
    assert_eq!(text(&stale), "fresh ");
    assert!(world.duties.poll_timeout().is_some_and(|at| at > began + LEASE_US));
}

#[test]
fn who_does_not_lead_says_nothing() {
    let (mut world, nodes) = World::settled(2);
    world.duties.handle_leading(false, world.now());
    world.alive.remove(&nodes[1]);
    world.run(60_000);
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.duties.poll_timeout(), None);
    assert_eq!((world.duties.fresh().count(), world.duties.suspected().count()), (0, 0));
}

#[test]
fn what_nothing_came_of_is_said_again_after_a_heartbeat() {
    let mut world = World::new();
    world.join("n", Roles::ROUTER);
    world.deaf = true;
    world.run(2000);
    assert_eq!(HEARTBEAT_US, 500 * MS);
    assert_eq!(world.heard(), ["500 fresh 1", "1000 fresh 1", "1500 fresh 1", "2000 fresh 1"]);
    let (mut world, nodes) = World::settled(3);
    world.deaf = true;
    world.alive.remove(&nodes[2]);
    world.run(24_000);
    let heard = world.heard();
    let deaths: Vec<&String> = heard.iter().filter(|it| it.contains("dead")).collect();
    assert_eq!(deaths, ["20500 dead 3 by 1 2", "22000 dead 3 by 1 2", "23500 dead 3 by 1 2"]);
}

#[test]
fn new_control_nodes_follow_first_and_then_vote() {
    let mut world = World::new();
    for name in ["n", "nn", "nnn"] {
        world.join(name, Roles::CONTROL);
    }
    world.run(1000);
    assert_eq!(world.heard(), ["500 add 2", "500 add 3", "500 promote 2", "500 promote 3"]);
    world.join("nnnn", Roles::CONTROL);
    world.join("edge-1", Roles::EDGE);
    world.run(60_000);
    assert_eq!(world.heard(), ["1500 add 4"], "of four, three vote");
    assert_eq!(world.voters, BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_control_node_that_is_removed_is_no_replica_any_more() {
    let mut world = World::new();
    let nodes = ["n", "nn", "nnn", "nnnn"].map(|name| world.join(name, Roles::CONTROL));
    world.run(1000);
    world.heard();
    world.alive.remove(&nodes[1]);
    world.run(3000);
    assert_eq!(world.heard(), ["1500 dead 2 by 1 3 4"]);
    world.plane.done(Command::Remove { number: 2 });
    world.run(60_000);
    assert_eq!(world.heard(), ["3100 promote 4", "3100 remove 2"]);
    // With two left, one of them votes.
    world.alive.remove(&nodes[3]);
    world.run(61_000);
    world.plane.done(Command::Remove { number: 4 });
    world.run(90_000);
    assert_eq!(world.heard(), ["60500 dead 4 by 1 3", "61100 remove 4", "61100 demote 3"]);
    assert_eq!((world.voters, world.learners), (BTreeSet::from([1]), BTreeSet::from([3])));
}

#[test]
fn who_is_not_heard_or_lags_gets_no_vote() {
    let mut world = World::new();
    let node = world.join("n", Roles::CONTROL);
    let two = world.join("nn", Roles::CONTROL);
    let three = world.join("nnn", Roles::CONTROL);
    world.alive.retain(|it, _| *it == node);
    world.learners = BTreeSet::from([2, 3]);
    for number in 0..100 {
        let name = format!("d{number}");
        world.plane.done(Command::AddDomain { domain: name.as_str().into() });
    }
    let map = world.plane.map().version;
    let poll = |world: &mut World, node: NodeId, map, after| {
        let beat = Heartbeat { map, ..Heartbeat::default() };
        let now = world.now();
        world.duties.handle_heartbeat(node, &beat, now);
        world.duties.poll(&world.plane.state, &world.voters, &world.learners, now + after)
    };
    assert_eq!(poll(&mut world, two, map - 65, 0), None);
    assert_eq!(poll(&mut world, three, map, SUSPICION_US), None);
    assert_eq!(poll(&mut world, three, map - 64, SUSPICION_US - 1), Some(Duty::PromoteReplica(3)));
}

#[test]
fn the_first_replica_keeps_its_vote_before_it_is_a_member() {
    let mut world = World::new();
    world.join("edge-1", Roles::EDGE);
    world.run(20_000);
    assert_eq!((world.heard(), world.voters), (vec![], BTreeSet::from([1])));
}

#[test]
fn a_change_of_replicas_that_takes_long_keeps_nothing_waiting() {
    let (mut world, nodes) = World::settled(3);
    world.join("nnnn", Roles::CONTROL);
    world.beat();
    let now = world.now();
    let poll = |world: &mut World, now| {
        world.duties.poll(&world.plane.state, &world.voters, &world.learners, now)
    };
    assert_eq!(poll(&mut world, now), Some(Duty::AddReplica(4)));
    assert_eq!(poll(&mut world, now), None, "one at a time");
    world.alive.remove(&nodes[2]);
    world.ms += 500;
    world.beat();
    let dead = poll(&mut world, now + HEARTBEAT_US).unwrap();
    assert_eq!(text(&dead), "dead 3 by 1 2 4");
    for at in 2..20 {
        assert_eq!(poll(&mut world, now + at * HEARTBEAT_US), None, "{at}");
        world.ms += 500;
        let beat = Heartbeat { lease_ms: Some(0), ..Heartbeat::default() };
        let later = now + at * HEARTBEAT_US;
        nodes.iter().for_each(|node| world.duties.handle_heartbeat(*node, &beat, later));
        world.duties.handle_heartbeat(NodeId { number: 4, incarnation: 1 }, &beat, later);
    }
    assert_eq!(poll(&mut world, now + 20 * HEARTBEAT_US), Some(Duty::AddReplica(4)), "anew");
}
