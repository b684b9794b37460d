//! What a member does all the time: it takes maps, tells the others that it is there and whom it
//! does not hear, and, where it leads the control plane, what is to be done. The rules are in
//! `peer::control`; this drives them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh::plane::member_change;
use mesh::raft::{MemberChange, Standing};
use peer::control::duties::{Duties, Duty};
use peer::control::{Attempt, Command, Map, Owing, Reply, Suspicions};
use peer::limits::HEARTBEAT_US;
use peer::node::{Heartbeat, LinkSaid, Load, Roles};
use peer::{NodeId, Owner};
use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::member::{Member, roles_of};
use crate::limits::{CLOSE_TIME, FLUSH_LOOK, START_RETRY, WATCH};

/// What other nodes, and this one's own parts, say to the member.
pub(crate) enum Event {
    /// Another node has said something about itself or others.
    Said(NodeId, LinkSaid),
    /// The next owner has all that the owner (of this node) knows.
    Moved(Attempt),
    /// It does not take it.
    NotMoved(Attempt),
    /// A shard of this node panicked.
    Fallen(Owner),
    /// A node takes nothing any more, though it may still speak.
    Stuck(NodeId),
}

/// Drives a member.
pub(crate) struct Watch {
    member: Arc<Member>,
    events: Receiver<Event>,
    /// The map as the control plane last told it. The switch has it too once this node is ready.
    known: Arc<Map>,
    /// The map has had this node as a member.
    seen: bool,
    /// The parts of this node that maps are for are there.
    ready: bool,
    suspicions: Suspicions,
    /// Those who take nothing any more: for this node they are silent.
    stuck: BTreeSet<NodeId>,
    duties: Duties,
    owing: Owing,
    begun: Instant,
    beats: u64,
    beat_at: u64,
}

impl Watch {
    /// For a member that has just joined. It tells the others that it is there from now on, and
    /// takes maps to its own parts when these are ready.
    pub(crate) fn new(member: Arc<Member>, events: Receiver<Event>) -> Self {
        Self {
            known: member.switch.map(),
            seen: false,
            ready: false,
            member,
            events,
            suspicions: Suspicions::default(),
            stuck: BTreeSet::new(),
            duties: Duties::default(),
            owing: Owing::default(),
            begun: Instant::now(),
            beats: 0,
            beat_at: 0,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Runs until this member is none any more, and says why.
    pub(crate) async fn run(mut self) -> String {
        let mut changes = self.member.control.changes();
        let mut ticks = interval(WATCH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let replica = self.member.control.replica().cloned();
        let ending = async move {
            match replica {
                Some(replica) => replica.ended().await.to_string(),
                None => std::future::pending().await,
            }
        };
        tokio::pin!(ending);
        self.take_map();
        loop {
            tokio::select! {
                biased;
                why = &mut ending => return why,
                () = self.member.is_ready(), if !self.ready => self.serve(),
                is_there = changes.next() => {
                    if !is_there {
                        return "the control plane has ended".to_owned();
                    }
                    self.take_map();
                }
                Some(event) = self.events.recv() => {
                    self.hear(event);
                    self.pay();
                }
                _ = ticks.tick() => self.tick(),
            }
            if self.is_over() {
                return "the cluster has declared this node dead, or it was started elsewhere; a \
                    new start makes it a member again"
                    .to_owned();
            }
        }
    }

    /// Whether the map says that this incarnation is gone.
    fn is_over(&self) -> bool {
        let me = self.member.me;
        match self.known.members.get(&me.number) {
            Some(it) => it.id.incarnation > me.incarnation || (it.id == me && !it.is_up()),
            None => self.seen,
        }
    }

    /// The parts of this node are ready: they hear how things are.
    fn serve(&mut self) {
        self.ready = true;
        if self.known.version > 0 {
            self.member.switch.take_map(self.known.clone());
        }
    }

    fn take_map(&mut self) {
        let Some(after) = self.member.control.map() else { return };
        // A replica that comes back may have less than this node has seen; a control plane that was
        // made anew begins again.
        let is_older = after.version <= self.known.version;
        if after.lineage == self.known.lineage && is_older {
            return;
        }
        let (before, after) = (self.known.clone(), Arc::new(after));
        self.seen |= after.up(self.member.me).is_some();
        self.known = after.clone();
        self.owing.handle_map(&after, self.member.me, self.now());
        self.member.follow(&before, &after);
        if self.ready {
            self.member.switch.take_map(after);
        } else {
            self.member.switch.complete_early(&before, &after);
        }
    }

    /// Those that this node should hear: all that it has something to say to.
    fn peers(&self, map: &Map) -> Vec<NodeId> {
        let ours = self.member.mesh.identity().roles;
        let up = map.members.values().filter(|it| it.is_up() && it.id != self.member.me);
        up.filter(|it| ours.may_link(roles_of(it.roles))).map(|it| it.id).collect()
    }

    fn hear(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Said(from, said) => {
                if !self.stuck.contains(&from) {
                    self.suspicions.handle_heard(from, now);
                }
                match said {
                    LinkSaid::Heartbeat(beat) => self.duties.handle_heartbeat(from, &beat, now),
                    LinkSaid::Silent(list) => self.duties.handle_silent(from, &list, now),
                    LinkSaid::Hello(_) | LinkSaid::Refused(_) => {}
                }
            }
            Event::Stuck(node) => {
                if self.stuck.insert(node) {
                    warn!(node = node.number, "a node takes nothing any more, and is suspected");
                }
            }
            Event::Moved(attempt) => self.owing.handle_end(attempt, true),
            Event::NotMoved(attempt) => self.owing.handle_end(attempt, false),
            Event::Fallen(owner) => self.owing.handle_fallen(owner),
        }
    }

    /// Has a command carried out, in its own time.
    fn propose(&self, command: Command) {
        let member = self.member.clone();
        tokio::spawn(async move {
            debug!(?command, "proposed");
            match member.control.command(command.clone()).await {
                Ok(Reply::Refused(why)) => debug!(?command, %why, "the control plane says no"),
                Ok(_) => {}
                Err(why) => debug!(?command, %why, "the control plane has not answered"),
            }
        });
    }

    fn tick(&mut self) {
        let now = self.now();
        let map = self.known.clone();
        let peers = self.peers(&map);
        self.stuck.retain(|node| peers.contains(node));
        self.suspicions.handle_peers(&peers, now);
        self.suspicions.handle_time(now);
        if now >= self.beat_at {
            self.beat_at = now + HEARTBEAT_US - HEARTBEAT_US / 8;
            self.beat(&peers, &map, now);
        }
        if let Some(silent) = self.suspicions.poll_silent(now) {
            self.member.suspect(silent.iter().map(|it| it.node).collect());
            self.duties.handle_silent(self.member.me, &silent, now);
            let control = peers
                .iter()
                .filter(|it| map.up(**it).is_some_and(|it| it.roles.has(Roles::CONTROL)));
            for node in control {
                self.member.switch.send_now(*node, LinkSaid::Silent(silent.clone()));
            }
        }
        self.pay();
        self.lead(now);
    }

    /// Says what this node owes to the control plane.
    fn pay(&mut self) {
        for command in self.owing.poll(self.member.me, self.now()) {
            self.propose(command);
        }
    }

    fn beat(&mut self, peers: &[NodeId], map: &Map, now: u64) {
        self.beats += 1;
        let beat = Heartbeat {
            number: self.beats,
            map: map.version,
            lease_ms: self.member.lease_ms(),
            load: Load::default(),
        };
        self.duties.handle_heartbeat(self.member.me, &beat, now);
        for node in peers {
            self.member.switch.send_now(*node, LinkSaid::Heartbeat(beat));
        }
        if self.beats.is_multiple_of(7200) {
            let member = self.member.clone();
            tokio::spawn(async move { member.renew().await });
        }
    }

    /// What the leader of the control plane does.
    fn lead(&mut self, now: u64) {
        let Some(replica) = self.member.control.replica() else { return };
        let status = replica.status();
        self.duties.handle_leading(status.standing == Standing::Leader, now);
        let voters = status.voters.keys().copied().collect();
        let learners = status.learners.keys().copied().collect();
        loop {
            let duties = &mut self.duties;
            let duty = replica.with(|plane| duties.poll(plane.state(), &voters, &learners, now));
            match duty {
                None => return,
                Some(Duty::Propose(command)) => {
                    if let Command::DeclareDead { node, by } = &command {
                        warn!(node = node.number, by = by.len(), "a node is declared dead");
                    }
                    self.propose(command);
                }
                Some(duty) => match member_change(&self.known, &duty) {
                    Some(change) => self.change(change),
                    None => return,
                },
            }
        }
    }

    fn change(&self, change: MemberChange) {
        let Some(replica) = self.member.control.replica().cloned() else { return };
        tokio::spawn(async move {
            info!(?change, "the control plane changes who holds replicas");
            if let Err(why) = replica.change_members(change).await {
                warn!(%why, "who holds replicas was not changed");
            }
        });
    }
}

/// This node stops in order: the shards that it owns move away, with what their owner knows. If no
/// other router is there to take them, or they do not within that time, they stay until it leaves.
pub(crate) async fn give_up(member: &Member, within: Duration) {
    let owns = |map: &Map| map.slots().any(|(_, slot)| slot.owner() == Some(member.me));
    let has_heirs = |map: &Map| {
        let others = map.members.values().filter(|it| it.id != member.me);
        others.clone().any(|it| it.is_up() && it.takes_shards())
    };
    let moves = async {
        let number = member.me.number;
        loop {
            match member.control.command(Command::Drain { number }).await {
                Ok(Reply::Refused(why)) => {
                    return warn!(%why, "this node's shards do not move away");
                }
                Ok(_) => break,
                Err(_) => sleep(START_RETRY).await,
            }
        }
        loop {
            let map = member.switch.map();
            if !owns(&map) || !has_heirs(&map) {
                return;
            }
            sleep(START_RETRY).await;
        }
    };
    let map = member.switch.map();
    if owns(&map) && has_heirs(&map) && timeout(within, moves).await.is_err() {
        warn!("this node stops before all its shards have moved away");
    }
}

/// Says goodbye: control gives to others what this node still has, and suspects nobody.
pub(crate) async fn leave(member: &Member) {
    let flushed = async {
        while !member.switch.is_flushed() {
            sleep(FLUSH_LOOK).await;
        }
    };
    // What its connections said last is for their owners, who may be gone.
    let _ = timeout(CLOSE_TIME, flushed).await;
    let goodbye = member.control.command(Command::Leave { node: member.me });
    if !matches!(timeout(CLOSE_TIME, goodbye).await, Ok(Ok(_))) {
        warn!("the cluster did not hear this node's goodbye, and will find it dead");
    }
}
