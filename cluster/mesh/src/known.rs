//! Whom the map knows: what [`crate::link::Judge`] and [`crate::Receiver::knows`] ask. Pure.

use peer::NodeId;
use peer::control::{Fingerprint, Map, Member};

use crate::link::Peer;

/// Whether there may be a link to this node: a member bears its name, with its key, and was not
/// removed. One that is down may: it has to say that it is there again.
pub fn may_link(map: &Map, peer: &Peer) -> bool {
    map.named(peer.identity.node.as_str()).is_some_and(|member| is_of(member, peer))
}

/// Whether this node may say to be that process: the member of its name, in the incarnation that
/// the map knows to be up.
pub fn is_process(map: &Map, node: NodeId, peer: &Peer) -> bool {
    map.up(node).is_some_and(|member| is_of(member, peer))
}

fn is_of(member: &Member, peer: &Peer) -> bool {
    member.name.as_str() == peer.identity.node.as_str()
        && member.fingerprint == Fingerprint(peer.key)
}

#[cfg(test)]
mod tests {
    use peer::control::{Command, Join, Reply, State};
    use peer::node::{Features, Versions};
    use peer::shard::HashKey;
    use peer::{Epoch, control};

    use super::*;
    use crate::testing::Maker;

    const KEY: [u8; 32] = [7; 32];
    const TOKEN: control::TokenHash = control::TokenHash([1; 32]);

    fn peer(maker: &Maker, name: &str, key: [u8; 32]) -> Peer {
        let identity = maker.identity(name, "control");
        Peer { identity, key, address: "127.0.0.1:1".parse().unwrap(), boot: 1 }
    }

    fn apply(state: &mut State, index: u64, command: Command) -> Reply {
        let entry = control::Entry { now: 1_000_000 + index, command };
        let asked = entry.encode(state.version());
        Reply::decode(&state.apply_bytes(index, &asked).0).unwrap()
    }

    fn join(maker: &Maker, name: &str) -> Command {
        Command::Join(Box::new(Join {
            cluster: maker.cluster.to_peer(),
            name: name.into(),
            roles: maker.identity(name, "control").roles.to_peer(),
            address: "192.0.2.1:5270".into(),
            zone: "".into(),
            versions: Versions::OURS,
            features: Features::OURS,
            program: "0.1.0".into(),
            fingerprint: Fingerprint(KEY),
            token: Some(TOKEN),
            clock_us: 1_000_000,
        }))
    }

    #[test]
    fn a_link_is_for_a_member_with_its_key_and_a_channel_for_its_present_process() {
        let maker = Maker::new(7);
        let mut state = State::default();
        let cluster = maker.cluster.to_peer();
        let init = Command::Init { cluster, key: HashKey(1, 2), epochs_above: Epoch(0) };
        assert_eq!(apply(&mut state, 1, init), Reply::Done);
        let roles = maker.identity("c1", "control").roles.to_peer();
        let token = Command::AddToken { token: TOKEN, roles, expires_us: 9_000_000 };
        assert_eq!(apply(&mut state, 2, token), Reply::Done);
        let joined = apply(&mut state, 3, join(&maker, "c1"));
        let Reply::Joined(node) = joined else { panic!("{joined:?}") };
        let c1 = peer(&maker, "c1", KEY);
        let strangers = [peer(&maker, "c2", KEY), peer(&maker, "c1", [8; 32])];
        let before = NodeId { incarnation: node.incarnation - 1, ..node };
        let other = NodeId { number: node.number + 1, ..node };
        let check = |state: &State, linked, process| {
            let map = state.map();
            assert_eq!((may_link(map, &c1), is_process(map, node, &c1)), (linked, process));
            assert!(!is_process(map, before, &c1) && !is_process(map, other, &c1));
            for stranger in &strangers {
                assert!(!may_link(map, stranger) && !is_process(map, node, stranger));
            }
        };
        check(&state, true, true);
        apply(&mut state, 4, Command::Leave { node });
        check(&state, true, false);
        apply(&mut state, 5, Command::Remove { number: node.number });
        check(&state, false, false);
    }
}
