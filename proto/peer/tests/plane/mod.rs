//! A control plane of one replica, with short words for what tests say to it.

use std::collections::BTreeMap;

use peer::control::{
    Command, Delta, Entry, Fingerprint, Hold, Join, Map, Move, Reply, Slot, State, TokenHash,
};
use peer::node::{ClusterId, Features, Roles, Versions};
use peer::shard::HashKey;
use peer::{Epoch, NodeId, ShardId};

pub(crate) const CLUSTER: ClusterId = ClusterId(7);
pub(crate) const NOW: u64 = 1_700_000_000_000_000;

pub(crate) struct Plane {
    pub(crate) state: State,
    pub(crate) index: u64,
    pub(crate) now: u64,
    /// Every entry, as the log has it.
    pub(crate) log: Vec<Vec<u8>>,
    pub(crate) deltas: Vec<Delta>,
    tokens: u8,
}

impl Plane {
    /// A cluster without nodes.
    pub(crate) fn new() -> Self {
        Self::again(NOW)
    }

    /// One that is made at that time.
    pub(crate) fn again(now: u64) -> Self {
        let mut plane = Self {
            state: State::default(),
            index: 0,
            now,
            log: Vec::new(),
            deltas: Vec::new(),
            tokens: 0,
        };
        let (key, epochs_above) = (HashKey(1, 2), Epoch(0));
        plane.done(Command::Init { cluster: CLUSTER, key, epochs_above });
        plane
    }

    pub(crate) fn say(&mut self, command: Command) -> Reply {
        self.index += 1;
        let entry = Entry { now: self.now, command };
        let bytes = entry.encode(1);
        assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry), "entries come back");
        let (reply, delta) = self.state.apply_bytes(self.index, &bytes);
        self.log.push(bytes);
        self.deltas.extend(delta);
        Reply::decode(&reply).unwrap()
    }

    pub(crate) fn done(&mut self, command: Command) {
        assert_eq!(self.say(command), Reply::Done);
    }

    pub(crate) fn token(&mut self) -> TokenHash {
        self.tokens += 1;
        let token = TokenHash([self.tokens; 32]);
        let roles = Roles::EDGE.with(Roles::ROUTER).with(Roles::CONTROL);
        let roles = roles.with(Roles::FEDERATION).with(Roles::WEB);
        let expires_us = self.now + 3_600_000_000;
        self.done(Command::AddToken { token, roles, expires_us });
        token
    }

    /// A join of a node of that name, which a token or an earlier join lets in.
    pub(crate) fn request(&mut self, name: &str, roles: Roles, zone: &str) -> Join {
        let known = self.state.map().named(name).is_some();
        Join {
            cluster: CLUSTER,
            name: name.into(),
            roles,
            address: format!("{name}:5270").into(),
            zone: zone.into(),
            versions: Versions { min: 1, max: 1 },
            features: Features(1),
            program: "0.1.0".into(),
            fingerprint: Fingerprint([name.len() as u8; 32]),
            clock_us: self.now,
            token: (!known).then(|| self.token()),
        }
    }

    pub(crate) fn join(&mut self, name: &str, roles: Roles, zone: &str) -> NodeId {
        let join = self.request(name, roles, zone);
        match self.say(Command::Join(Box::new(join))) {
            Reply::Joined(node) => node,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// So many routers that are control nodes too, in zones a, b and c in turn, all fresh.
    pub(crate) fn routers(&mut self, count: usize) -> Vec<NodeId> {
        let roles = Roles::ROUTER.with(Roles::CONTROL);
        let join = |at: usize| {
            let name = format!("r{at}");
            self.join(&name, roles, ["a", "b", "c"][at % 3])
        };
        let nodes: Vec<NodeId> = (0..count).map(join).collect();
        self.all_fresh();
        nodes
    }

    /// All routers that are up have a fresh lease, and no shard stays free.
    pub(crate) fn all_fresh(&mut self) {
        self.all_seen();
        self.say(Command::GrantFree);
    }

    /// All routers that are up have a fresh lease.
    pub(crate) fn all_seen(&mut self) {
        let members = self.state.map().members.values();
        let up = members.filter(|member| member.is_up() && member.roles.has(Roles::ROUTER));
        let fresh = up.map(|member| member.id).collect();
        self.done(Command::LeaseSeen { fresh });
    }

    pub(crate) fn moves(&mut self, command: Command) -> u32 {
        match self.say(command) {
            Reply::Moves(count) => count,
            other => panic!("{other:?}"),
        }
    }

    /// Carries all planned moves out, and says how many there were.
    pub(crate) fn settle(&mut self) -> Vec<Move> {
        let mut all = Vec::new();
        loop {
            let moves = self.state.next_moves();
            if moves.is_empty() {
                return all;
            }
            assert!(all.len() < 10 * 4096, "moves come to an end");
            let begun = self.moves(Command::MoveBegin { moves: moves.clone() });
            assert_eq!(begun as usize, moves.len(), "what is planned can begin");
            assert!(self.moving() <= peer::limits::MOVING_MAX);
            let shards = moves.iter().map(|step| step.shard);
            let attempts = shards.filter_map(|shard| self.map().attempt(shard)).collect();
            let ended = self.moves(Command::MoveEnd { moves: attempts });
            assert_eq!(ended as usize, moves.len());
            all.extend(moves);
        }
    }

    pub(crate) fn moving(&self) -> usize {
        let moving = |slot: Slot| matches!(slot.hold, Hold::Moving(..));
        self.map().slots().filter(|it| moving(it.1)).count()
    }

    pub(crate) fn map(&self) -> &Map {
        self.state.map()
    }

    /// Shards of each router that is up.
    pub(crate) fn counts(&self) -> BTreeMap<NodeId, usize> {
        let members = self.map().members.values();
        let up = members.filter(|member| member.is_up() && member.roles.has(Roles::ROUTER));
        let mut counts: BTreeMap<NodeId, usize> = up.map(|member| (member.id, 0)).collect();
        for (_, slot) in self.map().slots() {
            if let Some(owner) = slot.owner() {
                *counts.entry(owner).or_default() += 1;
            }
        }
        counts
    }

    pub(crate) fn owners(&self) -> Vec<(ShardId, Slot)> {
        self.map().slots().collect()
    }
}
