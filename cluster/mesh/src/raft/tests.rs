//! Replicas of one process, over loopback QUIC: elections, losses, restarts, damage.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::testing::Lines;
use super::{
    Carrier, ControlError, Failure, Follower, MemberChange, OpenError, Opening, Replica, Seat,
    Standing, Starts, Timing,
};
use crate::link::{Answer, CallRefusal, Digest, Peer, Service, Settings};
use crate::testing::{LOCALHOST, Maker, until};
use crate::{Frame, Handler, Link, LinkError, Mesh};

/// Hands calls to the replica, once there is one.
#[derive(Default)]
struct Desk(Mutex<Option<Replica<Lines>>>);

impl Handler for Desk {
    fn up(&self, _: &Link) {}
    fn frame(&self, _: &Link, _: Frame, _: Option<Digest>) {}
    fn room(&self, _: &Link) {}
    fn down(&self, _: &Link, _: LinkError) {}

    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        let (replica, peer) = (self.0.lock().clone(), peer.clone());
        Box::pin(
            async move { replica.ok_or(CallRefusal::Busy)?.answer(&peer, service, body).await },
        )
    }
}

/// A node that is up.
struct Node {
    mesh: Mesh,
    replica: Replica<Lines>,
    desk: Arc<Desk>,
}

/// Nodes by number; their folders and addresses outlive them.
struct Cluster {
    maker: Maker,
    folder: TempDir,
    timing: Timing,
    addresses: BTreeMap<u64, SocketAddr>,
    nodes: BTreeMap<u64, Node>,
}

fn timing() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(100),
        election: (Duration::from_millis(400), Duration::from_millis(800)),
        ..Timing::default()
    }
}

impl Cluster {
    fn new(timing: Timing) -> Cluster {
        Cluster {
            maker: Maker::new(1),
            folder: tempfile::tempdir().unwrap(),
            timing,
            addresses: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("c{number}"))
    }

    fn seat(&self, number: u64) -> Seat {
        let address = self.addresses[&number].to_string();
        Seat { node: format!("c{number}"), address }
    }

    /// Starts a node at the address that it had, if it had one.
    async fn up(&mut self, number: u64) {
        let desk = Arc::new(Desk::default());
        let known = self.addresses.get(&number).copied();
        let address = known.unwrap_or_else(|| LOCALHOST.parse().unwrap());
        // The port is free when the last task of the node's former self has ended.
        let mut mesh = None;
        until("the port", || {
            let credentials = self.maker.credentials(&format!("c{number}"), "control");
            mesh = Mesh::start(credentials, address, Settings::default(), desk.clone()).ok();
            mesh.is_some()
        })
        .await;
        let mesh = mesh.unwrap();
        self.addresses.insert(number, mesh.address().unwrap());
        let opening = || Opening {
            replica: number,
            cluster: self.maker.cluster,
            folder: self.path(number),
            starts: if self.path(number).exists() { Starts::Again } else { Starts::First },
            carrier: Arc::new(mesh.clone()),
            machine: Lines::default(),
            timing: self.timing,
        };
        let mut replica = Replica::open(opening()).await;
        for _ in 0..200 {
            if !matches!(replica, Err(OpenError::InUse(_))) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            replica = Replica::open(opening()).await;
        }
        let replica = replica.unwrap();
        *desk.0.lock() = Some(replica.clone());
        self.nodes.insert(number, Node { mesh, replica, desk });
    }

    /// Stops a node: the others hear no more of it than that its links end.
    async fn down(&mut self, number: u64) {
        let node = self.nodes.remove(&number).unwrap();
        *node.desk.0.lock() = None;
        node.replica.stop().await;
        node.mesh.close().await;
    }

    /// Three nodes, one after the other.
    async fn three(timing: Timing) -> Cluster {
        let mut cluster = Cluster::new(timing);
        cluster.up(1).await;
        assert!(cluster.replica(1).initialize(cluster.seat(1)).await.unwrap());
        assert!(!cluster.replica(1).initialize(cluster.seat(1)).await.unwrap());
        for number in [2, 3] {
            cluster.up(number).await;
            let add = MemberChange::AddLearner(number, cluster.seat(number));
            cluster.replica(1).change_members(add).await.unwrap();
            cluster.replica(1).change_members(MemberChange::Promote(number)).await.unwrap();
        }
        cluster
    }

    fn replica(&self, number: u64) -> Replica<Lines> {
        self.nodes[&number].replica.clone()
    }

    /// Waits until all that are up agree on a leader among them.
    async fn leader(&self) -> u64 {
        let agreed = || {
            let mut leaders = self.nodes.values().map(|it| it.replica.status().leader);
            let first = leaders.next()??;
            let one = leaders.all(|it| it == Some(first)) && self.nodes.contains_key(&first);
            let leads = |it: &Node| it.replica.status().standing == Standing::Leader;
            (one && self.nodes.get(&first).is_some_and(leads)).then_some(first)
        };
        until("a leader", || agreed().is_some()).await;
        agreed().unwrap()
    }

    fn any(&self) -> Replica<Lines> {
        self.nodes.values().next().unwrap().replica.clone()
    }

    async fn propose(&self, lines: std::ops::Range<usize>) {
        for line in lines {
            let answer = self.any().propose(format!("line {line}").into_bytes()).await.unwrap();
            assert_eq!(answer, (line + 1).to_string().into_bytes());
        }
    }

    /// Waits until all that are up have these lines.
    async fn same(&self, count: usize) {
        let want: Vec<String> = (0..count).map(|it| format!("line {it}")).collect();
        for (number, node) in &self.nodes {
            let what = format!("{count} lines at {number}");
            until(&what, || node.replica.with(|it| it.0 == want)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_is_replaced_and_comes_back() {
    let mut cluster = Cluster::three(timing()).await;
    cluster.propose(0..5).await;
    cluster.same(5).await;
    let leader = cluster.leader().await;
    let status = cluster.replica(leader).status();
    assert_eq!(status.voters.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    assert!(status.learners.is_empty() && !status.rebuilding);
    let follower = *cluster.nodes.keys().find(|it| **it != leader).unwrap();
    // A follower that reads sees what was proposed elsewhere.
    cluster.replica(leader).propose(b"line 5".to_vec()).await.unwrap();
    cluster.replica(follower).read_linearizable().await.unwrap();
    assert_eq!(cluster.replica(follower).with(|it| it.0.len()), 6);

    let ended = cluster.replica(leader);
    let ended = tokio::spawn(async move { ended.ended().await });
    let since = Instant::now();
    cluster.down(leader).await;
    assert_eq!(ended.await.unwrap(), Failure::Stopped);
    let new = cluster.leader().await;
    assert_ne!(new, leader);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    cluster.propose(6..10).await;
    cluster.up(leader).await;
    cluster.same(10).await;
    cluster.propose(10..12).await;
    cluster.same(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_granted_and_all_come_back_in_any_order() {
    let mut cluster = Cluster::three(timing()).await;
    cluster.propose(0..3).await;
    cluster.same(3).await;
    cluster.down(1).await;
    cluster.down(2).await;
    let alone = cluster.replica(3);
    let refused = [
        alone.propose(b"no".to_vec()).await.unwrap_err(),
        alone.read_linearizable().await.unwrap_err(),
    ];
    // What a leader took before it knew that it is alone may or may not be done later; what nobody
    // took was not done. Neither is ever said to be done.
    assert!(refused.iter().all(|it| matches!(it, ControlError::NoLeader | ControlError::Unknown)));
    assert_eq!(alone.with(|it| it.0.len()), 3, "what was applied can be read meanwhile");
    drop(alone);
    cluster.down(3).await;

    for order in [[2, 3, 1], [3, 1, 2]] {
        for number in order {
            cluster.up(number).await;
        }
        cluster.leader().await;
        let lines = cluster.any().read_linearizable().await.map(|_| ());
        assert_eq!(lines, Ok(()));
        for number in order {
            let kept = cluster.replica(number);
            until("the lines", || {
                kept.with(|it| it.0.iter().filter(|it| it.starts_with("line")).count() == 3)
            })
            .await;
        }
        for number in order {
            cluster.down(number).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_long_catches_up_by_a_snapshot() {
    let few = Timing { log_per_snapshot: 20, log_kept: 4, ..timing() };
    let mut cluster = Cluster::three(few).await;
    cluster.propose(0..2).await;
    cluster.same(2).await;
    cluster.down(3).await;
    cluster.propose(2..80).await;
    let behind = |it: &Node| it.replica.status().purged;
    until("a purge", || cluster.nodes.values().all(|it| behind(it) > 40)).await;
    cluster.up(3).await;
    cluster.same(80).await;
    assert!(cluster.replica(3).status().snapshot > 20);
    // And after a restart of all, from snapshots and what is behind them.
    for number in [1, 2, 3] {
        cluster.down(number).await;
    }
    for number in [3, 2, 1] {
        cluster.up(number).await;
    }
    cluster.leader().await;
    cluster.same(80).await;
    cluster.propose(80..82).await;
    cluster.same(82).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_a_damaged_log_gives_no_vote_until_it_has_all_again() {
    let mut cluster = Cluster::three(timing()).await;
    cluster.propose(0..10).await;
    cluster.same(10).await;
    let leader = cluster.leader().await;
    let hurt = *cluster.nodes.keys().find(|it| **it != leader).unwrap();
    for number in [1, 2, 3] {
        cluster.down(number).await;
    }
    let log = cluster.path(hurt).join("log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    std::fs::write(&log, bytes).unwrap();

    // With one other replica there is no majority that has everything: nobody is elected.
    cluster.up(hurt).await;
    assert!(cluster.replica(hurt).status().rebuilding);
    cluster.up(leader).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for node in cluster.nodes.values() {
        assert_ne!(node.replica.status().standing, Standing::Leader);
    }
    // The third makes one of the two whole ones leader, and that rebuilds the damaged one.
    let third = [1, 2, 3].into_iter().find(|it| *it != leader && *it != hurt).unwrap();
    cluster.up(third).await;
    cluster.leader().await;
    cluster.same(10).await;
    let whole = cluster.replica(hurt);
    until("its vote", || !whole.status().rebuilding).await;
    drop(whole);
    assert!(!cluster.path(hurt).join("rebuilding").exists());
    // Now it counts: with it and one other there is a leader.
    cluster.down(third).await;
    cluster.leader().await;
    cluster.propose(10..12).await;
    cluster.same(12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bug_in_the_state_machine_ends_the_replica_at_once_and_is_named() {
    let mut cluster = Cluster::new(timing());
    cluster.up(1).await;
    assert!(cluster.replica(1).initialize(cluster.seat(1)).await.unwrap());
    cluster.propose(0..2).await;
    let replica = cluster.replica(1);
    let refused = replica.propose(b"unreadable".to_vec()).await;
    assert_eq!(refused, Err(ControlError::Refused));
    let log = replica.status().last_log;
    cluster.propose(2..3).await;
    assert_eq!(replica.status().last_log, log + 1, "what cannot be read is not logged");
    let proposed = tokio::spawn({
        let replica = replica.clone();
        async move { replica.propose(b"panic".to_vec()).await }
    });
    let ended = tokio::time::timeout(Duration::from_secs(3), replica.ended()).await;
    assert_eq!(ended, Ok(Failure::Panicked), "without another entry");
    assert!(proposed.await.unwrap().is_err());
    assert_eq!(replica.with(|it| it.0.len()), 3, "what was applied can still be looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let mut cluster = Cluster::three(timing()).await;
    cluster.propose(0..3).await;
    cluster.up(4).await;
    let change = async |cluster: &Cluster, change| {
        let first = *cluster.nodes.keys().next().unwrap();
        cluster.replica(first).change_members(change).await
    };
    let add = MemberChange::AddLearner(4, cluster.seat(4));
    change(&cluster, add).await.unwrap();
    cluster.same(3).await;
    assert_eq!(cluster.replica(4).status().standing, Standing::Learner);
    assert_eq!(change(&cluster, MemberChange::Promote(9)).await, Err(ControlError::Refused));
    change(&cluster, MemberChange::Promote(4)).await.unwrap();
    let leader = cluster.leader().await;
    let other = (1..5).find(|it| *it != leader).unwrap();
    change(&cluster, MemberChange::Demote(other)).await.unwrap();
    let demoted = cluster.replica(other);
    until("a vote less", || demoted.status().standing == Standing::Learner).await;
    drop(demoted);
    change(&cluster, MemberChange::Promote(other)).await.unwrap();
    change(&cluster, MemberChange::Remove(leader)).await.unwrap();
    cluster.down(leader).await;
    let new = cluster.leader().await;
    let voters: Vec<u64> = cluster.replica(new).status().voters.into_keys().collect();
    let left: Vec<u64> = [1, 2, 3, 4].into_iter().filter(|it| *it != leader).collect();
    assert_eq!(voters, left);
    cluster.propose(3..5).await;
    cluster.same(5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_follows_and_proposes() {
    let mut cluster = Cluster::three(timing()).await;
    cluster.propose(0..3).await;
    let credentials = cluster.maker.credentials("e1", "edge");
    let desk = Arc::new(Desk::default());
    let address = LOCALHOST.parse().unwrap();
    let mesh = Mesh::start(credentials, address, Settings::default(), desk).unwrap();
    let carrier: Arc<dyn Carrier> = Arc::new(mesh.clone());
    let seats = [1, 2, 3].map(|number| cluster.seat(number)).to_vec();
    let follower = Follower::start(carrier.clone(), Lines::default(), seats);
    let count = |follower: &Follower<Lines>| follower.with(|it| it.0.len());
    until("the first copy", || count(&follower) == 3).await;
    let answer = follower.propose(b"line 3".to_vec()).await.unwrap();
    assert_eq!(answer, b"4");
    until("its own line", || count(&follower) == 4).await;
    assert_eq!(follower.status().await.unwrap().voters.len(), 3);
    // What replicas say to each other, and changes of members, are not for an edge.
    let second = Duration::from_secs(1);
    let refused = crate::link::CallError::Refused(CallRefusal::NotAllowed);
    let raft = carrier.call("c1", Service::Raft, Bytes::from_static(&[1]), second).await;
    assert_eq!(raft.unwrap_err(), refused);
    let remove = super::control::Request::Members(MemberChange::Remove(2)).encode();
    let members = carrier.call("c1", Service::Control, Bytes::from(remove), second).await;
    assert_eq!(members.unwrap_err(), refused);
    let forbidden = follower.propose(b"forbidden".to_vec()).await;
    assert_eq!(forbidden, Err(ControlError::Refused));

    // It goes on whichever replica dies.
    cluster.down(1).await;
    cluster.leader().await;
    cluster.propose(4..6).await;
    until("the lines after a loss", || count(&follower) == 6).await;
    cluster.up(1).await;
    cluster.same(6).await;
}

/// Figures, not a judgement: proposals one after the other, and a leader that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures and judges nothing: run by hand with --ignored (decision 0017)"]
async fn what_the_control_plane_takes() {
    let mut cluster = Cluster::three(Timing::default()).await;
    let leader = cluster.leader().await;
    let mut took = Vec::new();
    for line in 0..300 {
        let since = Instant::now();
        let command = format!("line {line}").into_bytes();
        cluster.replica(leader).propose(command).await.unwrap();
        took.push(since.elapsed());
    }
    took.sort();
    println!("a proposal, three fsyncs: median {:?}, p99 {:?}", took[150], took[297]);
    let mut gone = Vec::new();
    for _ in 0..5 {
        let leader = cluster.leader().await;
        let since = Instant::now();
        cluster.down(leader).await;
        cluster.any().propose(b"after".to_vec()).await.unwrap();
        gone.push(since.elapsed());
        cluster.up(leader).await;
        cluster.leader().await;
    }
    gone.sort();
    println!("from the leader's end to the next proposal done: {gone:?}");
}
