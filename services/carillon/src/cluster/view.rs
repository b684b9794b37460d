//! What an operator is shown of the cluster.

use std::collections::BTreeMap;

use peer::NodeId;
use peer::control::{Hold, Map, Standing};
use serde::{Deserialize, Serialize};

/// The cluster, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterView {
    /// Its id.
    pub cluster: String,
    /// The node that was asked.
    pub node: String,
    /// The version of the map there.
    pub version: u64,
    /// The control node that leads, if it is known.
    pub leader: Option<String>,
    /// Members, by number.
    pub members: Vec<MemberView>,
    /// Shards that nobody owns just now.
    pub free: usize,
    /// Hand-overs under way.
    pub moving: usize,
    /// Domains served.
    pub domains: Vec<String>,
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberView {
    /// Its name.
    pub name: String,
    /// Its number, and how often it was started.
    pub number: u32,
    /// See `number`.
    pub incarnation: u32,
    /// What it does.
    pub roles: String,
    /// Where its links listen.
    pub address: String,
    /// What fails together with it.
    pub zone: String,
    /// Its program.
    pub program: String,
    /// `active`, `draining` or `down`.
    pub standing: String,
    /// Shards that it owns.
    pub shards: usize,
    /// Of a control node: `leader`, `voter`, `learner`; empty otherwise.
    pub replica: String,
    /// How many entries of the log it lags behind the leader, where the leader was asked.
    pub lag: Option<u64>,
    /// Whether the node that was asked hears it: `this node`, `yes`, `silent` for a suspicious
    /// time, or `no` where the two have no link.
    pub heard: String,
}

/// Shows a map. `heard` says how a node is heard.
pub(crate) fn view(
    map: &Map,
    node: &str,
    raft: Option<&mesh::raft::Status>,
    heard: impl Fn(NodeId) -> &'static str,
) -> ClusterView {
    let mut shards: BTreeMap<NodeId, usize> = BTreeMap::new();
    let (mut free, mut moving) = (0, 0);
    for (_, slot) in map.slots() {
        match slot.owner() {
            Some(owner) => *shards.entry(owner).or_default() += 1,
            None => free += 1,
        }
        moving += usize::from(matches!(slot.hold, Hold::Moving(..)));
    }
    let leader = raft.and_then(|raft| raft.leader);
    let members = map.members.values().map(|it| {
        let number = u64::from(it.id.number);
        let replica = match raft {
            Some(_) if leader == Some(number) => "leader",
            Some(raft) if raft.voters.contains_key(&number) => "voter",
            Some(raft) if raft.learners.contains_key(&number) => "learner",
            _ => "",
        };
        let last = raft.map_or(0, |raft| raft.last_log);
        let matched = raft.and_then(|raft| raft.matched.get(&number));
        MemberView {
            name: it.name.to_string(),
            number: it.id.number,
            incarnation: it.id.incarnation,
            roles: it.roles.to_string(),
            address: it.address.to_string(),
            zone: it.zone.to_string(),
            program: it.program.to_string(),
            standing: match it.standing {
                Standing::Active => "active",
                Standing::Draining => "draining",
                Standing::Down => "down",
            }
            .to_owned(),
            shards: shards.get(&it.id).copied().unwrap_or_default(),
            replica: replica.to_owned(),
            lag: matched.map(|at| last.saturating_sub(*at)),
            heard: if it.is_up() { heard(it.id).to_owned() } else { String::new() },
        }
    });
    let name =
        |number: u64| map.members.get(&u32::try_from(number).ok()?).map(|it| it.name.to_string());
    ClusterView {
        cluster: map.cluster.to_string(),
        node: node.to_owned(),
        version: map.version,
        leader: leader.and_then(name),
        members: members.collect(),
        free,
        moving,
        domains: map.domains.iter().map(ToString::to_string).collect(),
        settings: map.settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    }
}
