//! The control plane on its replicas, and the map on every other node: `peer::control`, run by
//! [`crate::raft`].

use std::time::Duration;

use bytes::Bytes;
use peer::codec;
use peer::control::{
    Command, Duty, Entry, Feed, Fingerprint, Join, Map, MapSaid, Member, Reply, Seen, State,
};
use peer::{Frame, NodeId, NodeSaid, ShardId};

use crate::authority::key_fingerprint;
use crate::join::{Admission, Admitted, Admitting, JoinRefusal, TokenHash, TokenId, Wanted};
use crate::link::Peer;
use crate::raft::{ControlError, Copied, Follower, MemberChange, Replica, Seat, StateMachine};
use crate::{NodeName, Role, Roles};

/// The control plane's state with what has changed of late.
#[derive(Debug, Default)]
pub struct Plane {
    state: State,
    feed: Feed,
}

impl Plane {
    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether this incarnation is up and the node of that name.
    fn is(&self, node: NodeId, name: &str) -> bool {
        self.state.map().up(node).is_some_and(|member| member.name.as_str() == name)
    }

    /// Whether the node of that name owns this shard.
    fn owns(&self, shard: ShardId, name: &str) -> bool {
        self.state.map().slot(shard).owner().is_some_and(|owner| self.is(owner, name))
    }

    /// What a node with this map is told. One that has none gets it whole: changes do not say which
    /// cluster they are of, nor the key of its hashes.
    pub fn since(&self, have: Seen) -> Vec<MapSaid> {
        let map = self.state.map();
        if map.version == 0 {
            return Vec::new();
        }
        if have.version == 0 {
            return vec![MapSaid::Whole(Box::new(map.clone()))];
        }
        self.feed.since(have, self.state.map())
    }
}

impl StateMachine for Plane {
    fn apply(&mut self, index: u64, command: &[u8]) -> Vec<u8> {
        let (reply, delta) = self.state.apply_bytes(index, command);
        if let Some(delta) = delta {
            self.feed.push(delta);
        }
        reply
    }

    fn snapshot(&self) -> Vec<u8> {
        self.state.encode(self.state.version())
    }

    fn restore(&mut self, snapshot: &[u8]) -> bool {
        let Ok(state) = State::decode(snapshot) else { return false };
        *self = Plane { state, feed: Feed::default() };
        true
    }

    fn news(&self, have: Seen) -> Option<Vec<u8>> {
        let said = self.since(have);
        if said.is_empty() {
            return None;
        }
        let mut news = Vec::new();
        for said in said {
            // A map is far below a frame's limit; if one were not, its readers would get nothing.
            let _ = codec::encode(&about_the_map(said), self.state.version(), &mut news);
        }
        Some(news)
    }

    /// A node speaks for itself: that it starts and that it stops. A router also says how the moves
    /// of its shards went.
    fn may_propose(&self, caller: &Peer, asked: &[u8]) -> bool {
        let Ok(Entry { command, .. }) = Entry::decode(asked) else { return false };
        let Peer { identity, key, .. } = caller;
        let name = identity.node.as_str();
        match command {
            Command::Join(join) => {
                join.name.as_str() == name
                    && join.fingerprint == Fingerprint(*key)
                    && identity.roles.to_peer().has(join.roles)
                    && join.token.is_none()
            }
            Command::Leave { node } => self.is(node, name),
            Command::Drain { number } => {
                let member = self.state.map().members.get(&number);
                member.is_some_and(|it| it.name.as_str() == name)
            }
            Command::Regrant { node, .. } => {
                identity.roles.has(Role::Router) && self.is(node, name)
            }
            Command::MoveEnd { moves } | Command::MoveAbort { moves } => {
                identity.roles.has(Role::Router)
                    && moves.iter().all(|it| self.is(it.to, name) || self.owns(it.shard, name))
            }
            _ => false,
        }
    }

    fn stamp(&self, asked: Vec<u8>, now_us: u64) -> Option<Vec<u8>> {
        let entry = Entry::decode(&asked).ok()?;
        Some(Entry { now: now_us, ..entry }.encode(self.state.version()))
    }
}

/// In a call it is clear who speaks to whom, so the frame's ends say nothing.
fn about_the_map(said: MapSaid) -> Frame {
    let nobody = NodeId { number: 0, incarnation: 0 };
    Frame::Node { source: nobody, target: nobody, said: NodeSaid::Map(said) }
}

/// The map as a node without a replica has it: none before the first news.
#[derive(Debug, Default)]
pub struct MapCopy(Option<Map>);

impl MapCopy {
    /// The map, once there is one.
    pub fn map(&self) -> Option<&Map> {
        self.0.as_ref()
    }
}

impl Copied for MapCopy {
    fn seen(&self) -> Seen {
        self.0.as_ref().map(Map::seen).unwrap_or_default()
    }

    fn take(&mut self, news: &[u8]) -> bool {
        let mut rest = Bytes::copy_from_slice(news);
        while !rest.is_empty() {
            let Some(length) = rest.first_chunk().copied() else { return false };
            let Ok(length) = codec::length(length) else { return false };
            if rest.len() < codec::LENGTH_BYTES + length {
                return false;
            }
            let frame = rest.split_to(codec::LENGTH_BYTES + length).slice(codec::LENGTH_BYTES..);
            let Ok(Frame::Node { said: NodeSaid::Map(said), .. }) = codec::decode(&frame) else {
                return false;
            };
            let have = self.seen();
            let taken = match said {
                MapSaid::Whole(map) if is_later(map.seen(), have) => {
                    self.0 = Some(*map);
                    true
                }
                MapSaid::Delta(delta) => self.0.as_mut().is_some_and(|map| map.take(delta).is_ok()),
                _ => false,
            };
            if !taken {
                return false;
            }
        }
        true
    }
}

/// Of one lineage the later version counts. Another lineage is that of a control plane that was
/// made anew, or of the one before it, which no longer runs.
fn is_later(said: Seen, have: Seen) -> bool {
    said.lineage != have.lineage || said.version >= have.version
}

fn asked(command: Command, version: u8) -> Vec<u8> {
    // The leader puts its clock in place of this one.
    Entry { now: 0, command }.encode(version)
}

fn reply(bytes: &[u8]) -> Result<Reply, ControlError> {
    Reply::decode(bytes).map_err(|_| ControlError::Unknown)
}

impl Replica<Plane> {
    /// Has a command carried out, by whoever leads.
    ///
    /// # Errors
    /// Nobody leads, or the answer was lost. What the control plane itself refuses is a reply.
    pub async fn command(&self, command: Command) -> Result<Reply, ControlError> {
        let version = self.with(|plane| plane.state().version());
        reply(&self.propose(asked(command, version)).await?)
    }
}

impl Follower<MapCopy> {
    /// Has a command carried out, by way of the replica that this node follows.
    ///
    /// # Errors
    /// As [`Replica::command`].
    pub async fn command(&self, command: Command) -> Result<Reply, ControlError> {
        reply(&self.propose(asked(command, codec::VERSION_MIN)).await?)
    }
}

/// What a node that wants to join says of itself: [`Wanted::about`]. Its name and roles, its key
/// and its token are known from the exchange, and what stands here of them is not looked at.
pub fn about(join: Join) -> Vec<u8> {
    asked(Command::Join(Box::new(join)), codec::VERSION_MIN)
}

/// Number and incarnation that a node has joined with: in [`crate::join::Joined::about`].
pub fn joined(about: &[u8]) -> Option<NodeId> {
    match Reply::decode(about) {
        Ok(Reply::Joined(node)) => Some(node),
        _ => None,
    }
}

/// Lets nodes join, on a node with a replica.
#[derive(Clone, Debug)]
pub struct Gate(pub Replica<Plane>);

impl Gate {
    async fn ask(
        self,
        token: TokenHash,
        wanted: Wanted,
        certificate: Vec<u8>,
    ) -> Result<Admitted, JoinRefusal> {
        let Ok(Entry { command: Command::Join(said), .. }) = Entry::decode(&wanted.about) else {
            return Err(JoinRefusal::Malformed);
        };
        let key = key_fingerprint(&certificate).map_err(|_| JoinRefusal::Malformed)?;
        let join = Join {
            // The token names the authority, so the two mean the same cluster.
            cluster: self.0.with(|plane| plane.state().map().cluster),
            name: wanted.node.as_str().into(),
            roles: wanted.roles.to_peer(),
            fingerprint: Fingerprint(key),
            token: Some(peer::control::TokenHash(token.0)),
            ..*said
        };
        let asked = self.0.command(Command::Join(Box::new(join))).await;
        let reply = asked.map_err(|_| JoinRefusal::NotReady)?;
        let node = match &reply {
            Reply::Joined(node) => *node,
            Reply::Refused(why) => return Err(JoinRefusal::Cluster(why.to_string())),
            Reply::Done | Reply::Moves(_) => return Err(JoinRefusal::NotReady),
        };
        let control = wanted.roles.has(Role::Control).then_some(u64::from(node.number));
        Ok(self.0.with(|plane| Admitted {
            replica: control,
            control: control_nodes(plane.state().map()),
            about: reply.encode(plane.state().version()),
        }))
    }
}

impl Admission for Gate {
    fn token(&self, token: TokenId, now: Duration) -> Option<TokenHash> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        self.0.with(|plane| {
            let mut tokens = plane.state().tokens(now_us).map(|it| TokenHash(it.0));
            tokens.find(|it| it.id() == token)
        })
    }

    fn admit(&self, token: TokenHash, wanted: Wanted, certificate: Vec<u8>) -> Admitting {
        Box::pin(self.clone().ask(token, wanted, certificate))
    }
}

/// What a duty of the leader is for Raft, if it is about a replica.
pub fn member_change(map: &Map, duty: &Duty) -> Option<MemberChange> {
    match duty {
        Duty::Propose(_) => None,
        Duty::AddReplica(number) => {
            let seat = seat(map.members.get(number)?)?;
            Some(MemberChange::AddLearner((*number).into(), seat))
        }
        Duty::PromoteReplica(number) => Some(MemberChange::Promote((*number).into())),
        Duty::DemoteReplica(number) => Some(MemberChange::Demote((*number).into())),
        Duty::RemoveReplica(number) => Some(MemberChange::Remove((*number).into())),
    }
}

/// Where a member's replica is.
fn seat(member: &Member) -> Option<Seat> {
    let node = NodeName::parse(member.name.as_str())?.as_str().to_owned();
    Some(Seat { node, address: member.address.as_str().to_owned() })
}

/// The control nodes of a map: where replicas are, for those that follow.
pub fn control_nodes(map: &Map) -> Vec<Seat> {
    let control = Roles::of(&[Role::Control]).to_peer();
    let nodes = map.members.values().filter(|it| it.roles.has(control));
    nodes.filter_map(seat).collect()
}

#[cfg(test)]
mod tests {
    use peer::Epoch;
    use peer::node::ClusterId;
    use peer::shard::HashKey;

    use super::*;

    fn init() -> Command {
        Command::Init { cluster: ClusterId(7), key: HashKey(1, 2), epochs_above: Epoch(0) }
    }

    fn domain(name: &str) -> Command {
        Command::AddDomain { domain: name.into() }
    }

    fn apply(plane: &mut Plane, index: u64, command: Command) -> Reply {
        let entry = plane.stamp(asked(command, codec::VERSION), 1_000_000 + index).unwrap();
        assert_eq!(Entry::decode(&entry).unwrap().now, 1_000_000 + index, "the leader's clock");
        Reply::decode(&plane.apply(index, &entry)).unwrap()
    }

    #[test]
    fn copies_of_the_map_follow_by_deltas_or_as_a_whole_and_never_go_back() {
        let mut plane = Plane::default();
        let mut copy = MapCopy::default();
        assert_eq!(plane.news(Seen::default()), None);
        assert_eq!(apply(&mut plane, 1, init()), Reply::Done);
        assert_eq!(apply(&mut plane, 2, domain("first.example")), Reply::Done);
        let early = plane.news(Seen::default()).unwrap();
        assert!(copy.take(&early));
        for (index, name) in (3..).zip(["a.example", "b.example", "c.example"]) {
            assert_eq!(apply(&mut plane, index, domain(name)), Reply::Done);
        }
        assert!(copy.take(&plane.news(copy.seen()).unwrap()));
        assert_eq!(copy.seen().version, 4);
        assert_eq!(copy.map().map(|it| &it.domains), Some(&plane.state().map().domains));
        assert_eq!(plane.news(copy.seen()), None);

        // A replica that was restored has no deltas: the map comes whole.
        let mut restored = Plane::default();
        assert!(restored.restore(&plane.snapshot()) && !restored.restore(b"no"));
        assert_eq!(restored.state(), plane.state());
        let mut late = MapCopy::default();
        assert!(late.take(&early));
        assert!(late.take(&restored.news(late.seen()).unwrap()));
        assert_eq!(late.map(), Some(plane.state().map()));
        // One that lags says what is older.
        let mut behind = Plane::default();
        apply(&mut behind, 1, init());
        apply(&mut behind, 2, domain("first.example"));
        assert!(!late.take(&behind.news(late.seen()).unwrap()));
        assert_eq!(late.map(), Some(plane.state().map()));
        for cut in 1..early.len() {
            assert!(!MapCopy::default().take(&early[..cut]), "{cut}");
        }
    }

    #[test]
    fn a_copy_takes_the_map_of_a_control_plane_that_was_made_anew() {
        let mut before = Plane::default();
        apply(&mut before, 1, init());
        for (index, name) in (2..).zip(["a.example", "b.example", "c.example"]) {
            apply(&mut before, index, domain(name));
        }
        let mut copy = MapCopy::default();
        assert!(copy.take(&before.news(copy.seen()).unwrap()));
        let mut anew = Plane::default();
        // Later by the clock, which goes into the log with the entry.
        apply(&mut anew, 50, init());
        apply(&mut anew, 51, domain("first.example"));
        let news = anew.news(copy.seen()).unwrap();
        assert!(copy.take(&news), "although it has a lower version");
        assert_eq!(copy.map(), Some(anew.state().map()));
        apply(&mut anew, 52, domain("second.example"));
        assert!(copy.take(&anew.news(copy.seen()).unwrap()), "and goes on from there");
        assert_eq!(copy.map(), Some(anew.state().map()));
    }

    fn caller(node: &str, roles: &str) -> Peer {
        let identity = crate::Identity {
            cluster: crate::ClusterId(7),
            node: NodeName::parse(node).unwrap(),
            roles: Roles::parse(roles).unwrap(),
        };
        Peer { identity, key: [5; 32], address: "192.0.2.1:1".parse().unwrap(), boot: 1 }
    }

    fn said(name: &str, roles: &str, key: u8) -> Join {
        Join {
            cluster: ClusterId(7),
            name: name.into(),
            roles: Roles::parse(roles).unwrap().to_peer(),
            address: "192.0.2.9:5270".into(),
            zone: "".into(),
            versions: peer::node::Versions::OURS,
            features: peer::node::Features::OURS,
            program: "0.1.0".into(),
            fingerprint: Fingerprint([key; 32]),
            clock_us: 1_000_003,
            token: None,
        }
    }

    #[test]
    fn a_node_speaks_only_for_itself() {
        let mut plane = Plane::default();
        apply(&mut plane, 1, init());
        let token = peer::control::TokenHash([1; 32]);
        let roles = Roles::parse("edge").unwrap().to_peer();
        let add = Command::AddToken { token, roles, expires_us: 2_000_000 };
        assert_eq!(apply(&mut plane, 2, add.clone()), Reply::Done);
        let first = Join { token: Some(token), ..said("e1", "edge", 5) };
        let joined = apply(&mut plane, 3, Command::Join(Box::new(first.clone())));
        let Reply::Joined(node) = joined else { panic!("{joined:?}") };

        let e1 = caller("e1", "edge");
        let may = |caller: &Peer, command| plane.may_propose(caller, &asked(command, 1));
        let join = |join| Command::Join(Box::new(join));
        assert!(may(&e1, join(said("e1", "edge", 5))));
        assert!(!may(&e1, join(said("e2", "edge", 5))));
        assert!(!may(&e1, join(said("e1", "edge", 6))));
        assert!(!may(&e1, join(said("e1", "edge+control", 5))));
        assert!(!may(&e1, join(first)));
        assert!(may(&e1, Command::Leave { node }));
        let drain = |number| Command::Drain { number };
        assert!(may(&e1, drain(node.number)) && !may(&e1, drain(node.number + 1)));
        assert!(!may(&caller("e2", "edge"), drain(node.number)));
        assert!(!may(&caller("e2", "edge"), Command::Leave { node }));
        assert!(!may(&e1, add) && !may(&e1, domain("a.example")) && !may(&e1, init()));
        let regrant = |node| Command::Regrant { shard: ShardId(7), epoch: Epoch(1), node };
        assert!(!may(&e1, regrant(node)), "it is no router");
        assert!(may(&caller("e1", "router"), regrant(node)));
        assert!(!may(&caller("e2", "router"), regrant(node)));
        assert!(!may(&caller("e1", "router"), regrant(NodeId { incarnation: 9, ..node })));
        assert!(!plane.may_propose(&e1, b"no"));
        assert_eq!(plane.stamp(b"no".to_vec(), 1), None, "what is no command is not logged");
    }

    #[test]
    fn a_router_ends_only_moves_that_it_has_a_part_in() {
        let mut plane = Plane::default();
        apply(&mut plane, 1, init());
        let mut nodes = Vec::new();
        for (number, name) in (1..).zip(["r1", "r2", "r3"]) {
            let token = peer::control::TokenHash([number; 32]);
            let roles = Roles::parse("router").unwrap().to_peer();
            let add = Command::AddToken { token, roles, expires_us: 2_000_000 };
            apply(&mut plane, u64::from(number) * 2, add);
            let join = Join { token: Some(token), ..said(name, "router", number) };
            let join = Command::Join(Box::new(join));
            match apply(&mut plane, u64::from(number) * 2 + 1, join) {
                Reply::Joined(node) => nodes.push(node),
                other => panic!("{other:?}"),
            }
        }
        let begin = |plane: &mut Plane, index, fresh: &[NodeId], to| {
            apply(plane, index, Command::LeaseSeen { fresh: fresh.to_vec() });
            apply(plane, index + 1, Command::GrantFree);
            let moves = vec![peer::control::Move { shard: ShardId(0), to }];
            apply(plane, index + 2, Command::MoveBegin { moves })
        };
        begin(&mut plane, 10, &nodes[..1], nodes[0]);
        let begun = begin(&mut plane, 20, &nodes, nodes[1]);
        assert_eq!(begun, Reply::Moves(1));
        let moves = vec![plane.state().map().attempt(ShardId(0)).unwrap()];
        let elsewhere = peer::control::Attempt { to: nodes[2], shard: ShardId(1), begun: 1 };
        let both = vec![moves[0], elsewhere];
        for (name, roles, may_one, may_both) in [
            ("r1", "router", true, true),
            ("r2", "router", true, false),
            ("r3", "router", false, false),
            ("r1", "edge", false, false),
        ] {
            let who = caller(name, roles);
            for (moves, may) in [(&moves, may_one), (&both, may_both)] {
                let end = Command::MoveEnd { moves: moves.clone() };
                let abort = Command::MoveAbort { moves: moves.clone() };
                assert_eq!(plane.may_propose(&who, &asked(end, 1)), may, "{name} {roles}");
                assert_eq!(plane.may_propose(&who, &asked(abort, 1)), may, "{name} {roles}");
            }
        }
    }

    #[test]
    fn duties_about_replicas_name_seats() {
        let mut plane = Plane::default();
        apply(&mut plane, 1, init());
        let token = peer::control::TokenHash([1; 32]);
        let roles = Roles::parse("control").unwrap().to_peer();
        apply(&mut plane, 2, Command::AddToken { token, roles, expires_us: 2_000_000 });
        let join = Join { token: Some(token), ..said("c1", "control", 5) };
        apply(&mut plane, 3, Command::Join(Box::new(join)));
        let map = plane.state().map();
        let seat = Seat { node: "c1".into(), address: "192.0.2.9:5270".into() };
        assert_eq!(control_nodes(map).first(), Some(&seat));
        for (duty, change) in [
            (Duty::AddReplica(1), Some(MemberChange::AddLearner(1, seat))),
            (Duty::AddReplica(2), None),
            (Duty::PromoteReplica(1), Some(MemberChange::Promote(1))),
            (Duty::DemoteReplica(1), Some(MemberChange::Demote(1))),
            (Duty::RemoveReplica(2), Some(MemberChange::Remove(2))),
            (Duty::Propose(Command::GrantFree), None),
        ] {
            assert_eq!(member_change(map, &duty), change, "{duty:?}");
        }
    }

    /// A control node with a replica of its own, and one token.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_joins_through_the_control_plane_and_everyone_sees_it() {
        use std::sync::Arc;

        use crate::join::{Door, JoinError, Token, join};
        use crate::link::Settings;
        use crate::raft::{Opening, Starts, Timing};
        use crate::testing::{Maker, name, now, start};
        use crate::{ClusterId, NodeKey};

        let maker = Maker::new(7);
        let (mesh, _) = start(maker.credentials("c1", "control"), Settings::default());
        let folder = tempfile::tempdir().unwrap();
        let opening = Opening {
            replica: 1,
            cluster: ClusterId(7),
            folder: folder.path().join("raft"),
            starts: Starts::First,
            carrier: Arc::new(mesh.clone()),
            machine: Plane::default(),
            timing: Timing::default(),
        };
        let replica = Replica::open(opening).await.unwrap();
        let seat = Seat { node: "c1".into(), address: mesh.address().unwrap().to_string() };
        replica.initialize(seat).await.unwrap();
        assert_eq!(replica.command(init()).await, Ok(Reply::Done));
        let token = Token::new([3; 16], maker.authority.certificate());
        let expires_us = u64::try_from(now().as_micros()).unwrap() + 60_000_000;
        let roles = Roles::parse("edge+router").unwrap().to_peer();
        let add = Command::AddToken {
            token: peer::control::TokenHash(token.hash().0),
            roles,
            expires_us,
        };
        assert_eq!(replica.command(add).await, Ok(Reply::Done));
        let gate = Arc::new(Gate(replica.clone()));
        let door = Door::new(maker.cluster, Arc::new(maker.again()), gate, Arc::new(now));
        mesh.serve_joins(Arc::new(door));

        let wanted = |node: &str, roles: &str| {
            let said = Join {
                cluster: ClusterId(7).to_peer(),
                name: "whoever".into(),
                roles: peer::node::Roles::NONE,
                address: "192.0.2.9:5270".into(),
                zone: "".into(),
                versions: peer::node::Versions::OURS,
                features: peer::node::Features::OURS,
                program: "0.1.0".into(),
                fingerprint: Fingerprint([0; 32]),
                clock_us: u64::try_from(now().as_micros()).unwrap(),
                token: None,
            };
            let roles = Roles::parse(roles).unwrap();
            Wanted { node: name(node), roles, about: about(said) }
        };
        let address = mesh.address().unwrap();
        let key = NodeKey::create().unwrap();
        let why = join(address, &token, &wanted("r1", "control"), &key, now()).await.unwrap_err();
        assert!(matches!(why, JoinError::Refused(JoinRefusal::Cluster(_))), "{why}");
        for incarnation in [1, 2] {
            // Twice: the first answer may have been lost.
            let made = join(address, &token, &wanted("r1", "router"), &key, now()).await.unwrap();
            let node = joined(&made.about).unwrap();
            assert_eq!((node.number, node.incarnation), (1, incarnation));
        }
        let other = NodeKey::create().unwrap();
        let why = join(address, &token, &wanted("r2", "router"), &other, now()).await.unwrap_err();
        assert!(why.to_string().contains("token"), "{why}");
        replica.with(|plane| {
            let member = plane.state().map().named("r1").unwrap();
            assert_eq!(member.address.as_str(), "192.0.2.9:5270");
            assert_eq!(member.roles, Roles::parse("router").unwrap().to_peer());
        });
    }
}
