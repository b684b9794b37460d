//! What the leader of the control plane does: it looks at what nodes say of themselves and of each
//! other, and says what is to be done next. Whoever drives it has no rule of its own.
//!
//! A [`Duty`] is given once; the next is given when something came of it, and after a heartbeat's
//! time in any case, so that one that takes long does not keep a death waiting. What nothing came
//! of is given again, not before a heartbeat has passed.
//!
//! All times are microseconds of a clock that only goes forward.

use std::collections::{BTreeMap, BTreeSet};

use super::command::Command;
use super::leases::Leases;
use super::map::{Hold, Map};
use super::plan::voters;
use super::state::State;
use super::suspicions::Verdicts;
use crate::NodeId;
use crate::limits::{
    FREE_WAIT_US, HEARTBEAT_US, LEASE_LOST_US, MAP_BEHIND_MAX, REPLICA_US, SUSPICION_US,
};
use crate::node::{Heartbeat, Roles, Silence};

/// What is to be done. Replicas have the numbers of their members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// To propose a command.
    Propose(Command),
    /// To let this member follow the log, without a vote.
    AddReplica(u32),
    /// To give this one, which follows, a vote.
    PromoteReplica(u32),
    /// To take the vote of this one: it follows from then on.
    DemoteReplica(u32),
    /// To end this one: it is no member of the control plane any more.
    RemoveReplica(u32),
}

/// What the leader of the control plane knows and has said.
#[derive(Clone, Debug, Default)]
pub struct Duties {
    /// When this node began to lead, if it does.
    since: Option<u64>,
    polled: Option<u64>,
    leases: Leases,
    verdicts: Verdicts,
    /// When each node's last heartbeat came, and the version of the map that it has.
    beats: BTreeMap<NodeId, (u64, u64)>,
    /// Since when each router that is up has had no fresh lease while another had one: after the
    /// store was away for all, the first that it answers again has nobody's shards.
    lost: BTreeMap<NodeId, u64>,
    /// Since when there are free shards and routers that could take them.
    chance: Option<u64>,
    under_way: Option<UnderWay>,
    /// Replicas as they were when a change of them was given, and until when it may take.
    changing: Option<(u64, Replicas)>,
    /// Commands that were given, and until when they are not given again.
    given: Vec<(Command, u64)>,
}

/// A duty that was given, and what the control plane was like: it is over when that has changed.
#[derive(Clone, Debug)]
struct UnderWay {
    until: u64,
    applied: u64,
    replicas: Replicas,
}

/// The replicas that Raft knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replicas {
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
}

impl Duties {
    /// A node has said how it is.
    pub fn handle_heartbeat(&mut self, from: NodeId, heartbeat: &Heartbeat, now: u64) {
        if self.since.is_some() {
            self.leases.handle_heartbeat(from, heartbeat, now);
            self.beats.insert(from, (now, heartbeat.map));
        }
    }

    /// A node has said whom it does not hear: all of them. The leader's own suspicions too.
    pub fn handle_silent(&mut self, observer: NodeId, list: &[Silence], now: u64) {
        if self.since.is_some() {
            self.verdicts.handle_silent(observer, list, now);
        }
    }

    /// This node leads, or does so no more. A new leader begins with nothing, and accuses nobody
    /// before all could have been heard.
    pub fn handle_leading(&mut self, leads: bool, now: u64) {
        if leads != self.since.is_some() {
            *self = Self { since: leads.then_some(now), ..Self::default() };
        }
    }

    /// Nodes that are suspected, and by whom: for people.
    pub fn suspected(&self) -> impl Iterator<Item = (NodeId, Vec<NodeId>)> {
        self.verdicts.suspected()
    }

    /// Routers whose lease is fresh: for people.
    pub fn fresh(&self) -> impl Iterator<Item = NodeId> {
        self.leases.fresh()
    }

    /// When to look again if nothing is heard before.
    pub fn poll_timeout(&self) -> Option<u64> {
        let since = self.since?;
        let polled = self.polled.unwrap_or(since);
        let lost = self.lost.values().map(|at| at + LEASE_LOST_US);
        let chance = self.chance.map(|at| at + FREE_WAIT_US);
        let all = lost.chain(chance).chain(self.leases.poll_timeout());
        let next = all.filter(|at| *at > polled).min();
        Some(next.unwrap_or(u64::MAX).min(polled + HEARTBEAT_US))
    }

    /// What is to be done next. `voters` and `learners` are the replicas that Raft knows of.
    pub fn poll(
        &mut self,
        state: &State,
        voters: &BTreeSet<u64>,
        learners: &BTreeSet<u64>,
        now: u64,
    ) -> Option<Duty> {
        let since = self.since?;
        self.note(state, since, now);
        let replicas = Replicas { voters: voters.clone(), learners: learners.clone() };
        let is_over = |it: &UnderWay| {
            now >= it.until || it.applied != state.applied() || it.replicas != replicas
        };
        if self.under_way.as_ref().is_some_and(|it| !is_over(it)) {
            return None;
        }
        let duty = match self.command(state, since, now) {
            Some(command) => {
                self.given.push((command.clone(), now + HEARTBEAT_US));
                Duty::Propose(command)
            }
            None => {
                let duty = self.replica(state.map(), &replicas, now)?;
                self.changing = Some((now + REPLICA_US, replicas.clone()));
                duty
            }
        };
        let (until, applied) = (now + HEARTBEAT_US, state.applied());
        self.under_way = Some(UnderWay { until, applied, replicas });
        Some(duty)
    }

    /// Looks at what takes time.
    fn note(&mut self, state: &State, since: u64, now: u64) {
        let map = state.map();
        if self.polled.is_none() {
            // What the leader before knew as fresh was so when it ended, as far as is known here.
            self.leases.handle_known(state.fresh(), since);
        }
        self.polled = Some(now);
        self.leases.forget(map, now);
        self.beats.retain(|node, _| map.up(*node).is_some());
        self.given.retain(|(_, until)| now < *until);
        let routers = map.members.values().filter(|it| it.is_up() && it.roles.has(Roles::ROUTER));
        let somebody = self.leases.fresh().next().is_some();
        let is_stale = |id: &NodeId| somebody && !self.leases.is_fresh(*id);
        let stale: BTreeSet<NodeId> = routers.map(|it| it.id).filter(is_stale).collect();
        self.lost.retain(|node, _| stale.contains(node));
        for node in stale {
            self.lost.entry(node).or_insert(now);
        }
        let chance = is_free(map) && state.somebody_may_take();
        self.chance = chance.then(|| self.chance.unwrap_or(now));
    }

    fn command(&mut self, state: &State, since: u64, now: u64) -> Option<Command> {
        if let Some(death) = self.death(state.map(), since, now) {
            return Some(death);
        }
        if let Some(fresh) = self.leases.poll_seen(state, now) {
            return Some(Command::LeaseSeen { fresh });
        }
        let grant = self.chance.filter(|at| now >= at + FREE_WAIT_US);
        let next = [grant.map(|_| Command::GrantFree), self.release(state, now), moves(state)];
        let is_new = |it: &Command| self.given.iter().all(|(given, _)| given != it);
        next.into_iter().flatten().find(is_new)
    }

    fn death(&mut self, map: &Map, since: u64, now: u64) -> Option<Command> {
        // Whoever is silent was found so by nodes that have watched it all the time. But of one
        // that is heard again they say so with their next heartbeat.
        if now < since + HEARTBEAT_US {
            return None;
        }
        let (node, by) = self.verdicts.poll_dead(map, now)?;
        Some(Command::DeclareDead { node, by })
    }

    fn release(&self, state: &State, now: u64) -> Option<Command> {
        let has = |node: NodeId| {
            let mut slots = state.map().slots();
            slots.any(|(_, slot)| slot.owner() == Some(node) || slot.heir() == Some(node))
        };
        let is_lost = |(node, at): &(&NodeId, &u64)| {
            now >= **at + LEASE_LOST_US && !state.is_fresh(**node) && has(**node)
        };
        let node = self.lost.iter().find(is_lost).map(|(node, _)| *node)?;
        state.somebody_may_take().then_some(Command::Release { node })
    }

    /// The next change of replicas, one at a time. Every control node follows. Those that are to
    /// vote follow first, all of them, so that the time with an even number of votes is short;
    /// nobody gets a vote that is not heard or lags; and a vote is taken back only when all that
    /// should have one have it.
    fn replica(&self, map: &Map, there: &Replicas, now: u64) -> Option<Duty> {
        if self.changing.as_ref().is_some_and(|(until, was)| now < *until && was == there) {
            return None;
        }
        let Replicas { voters: votes, learners } = there;
        let is_heard = |node: NodeId| {
            let beat = self.beats.get(&node);
            beat.is_some_and(|(at, _)| now < at + SUSPICION_US) && map.up(node).is_some()
        };
        let lags = |node: NodeId| {
            self.beats.get(&node).is_none_or(|(_, has)| has + MAP_BEHIND_MAX < map.version)
        };
        let control = map.members.values().filter(|it| it.roles.has(Roles::CONTROL));
        let control: BTreeMap<u64, NodeId> =
            control.map(|it| (u64::from(it.id.number), it.id)).collect();
        let wanted: BTreeSet<u64> = voters(map).into_iter().map(u64::from).collect();
        let new = control.values().find(|node| {
            let number = u64::from(node.number);
            !votes.contains(&number) && !learners.contains(&number) && is_heard(**node)
        });
        if let Some(node) = new {
            return Some(Duty::AddReplica(node.number));
        }
        let ready = |number: &u64| {
            learners.contains(number)
                && control.get(number).is_some_and(|node| is_heard(*node) && !lags(*node))
        };
        let number = |number: u64| u32::try_from(number).ok();
        if let Some(next) = wanted.iter().copied().find(ready).and_then(number) {
            return Some(Duty::PromoteReplica(next));
        }
        let others = |gone: &u64| votes.iter().any(|vote| vote != gone);
        let mut gone = learners.iter().chain(votes).copied();
        if let Some(gone) = gone.find(|it| !control.contains_key(it) && others(it)) {
            return number(gone).map(Duty::RemoveReplica);
        }
        let surplus = votes.difference(&wanted).copied().next().and_then(number);
        let all_vote = !wanted.is_empty() && wanted.is_subset(votes);
        surplus.filter(|_| all_vote).map(Duty::DemoteReplica)
    }
}

fn is_free(map: &Map) -> bool {
    map.slots().any(|(_, slot)| slot.hold == Hold::Free)
}

/// While shards are free nothing is evened out: they may do that alone.
fn moves(state: &State) -> Option<Command> {
    if is_free(state.map()) {
        return None;
    }
    let moves = state.next_moves();
    (!moves.is_empty()).then_some(Command::MoveBegin { moves })
}
