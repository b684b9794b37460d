//! What a new map means to a node: which shards it has been given or has lost, who is gone. Pure.

use super::map::{Hold, Map, Slot};
use crate::{Epoch, NodeId, ShardId};

/// One thing that a node learns from a new map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A member is up no more, or has been started again: this incarnation of it is gone.
    Gone(NodeId),
    /// This node owns a shard from now on.
    Granted(ShardId, Epoch),
    /// Another node owns a shard from now on.
    Lost(ShardId, Epoch),
    /// A shard of this node's is to be handed over.
    GiveUp(ShardId),
    /// It is not, and stays here.
    KeepOn(ShardId),
}

/// What is different in `after`, to the node `me`. Who is gone comes first, so that a new owner is
/// not made to wait for the dead.
pub fn news(before: Option<&Map>, after: &Map, me: NodeId) -> Vec<News> {
    let members = before.into_iter().flat_map(|map| map.members.values());
    let gone = members.filter(|it| it.is_up() && after.up(it.id).is_none());
    let mut news: Vec<News> = gone.map(|it| News::Gone(it.id)).collect();
    for (shard, now) in after.slots() {
        let then = before.map(|map| map.slot(shard)).unwrap_or_default();
        news.extend(of_shard(shard, then, now, me).into_iter().flatten());
    }
    news
}

fn of_shard(shard: ShardId, then: Slot, now: Slot, me: NodeId) -> [Option<News>; 2] {
    if now.epoch > then.epoch {
        let news = match now.hold {
            Hold::Serving(owner) | Hold::Moving(owner, ..) if owner == me => {
                News::Granted(shard, now.epoch)
            }
            _ => News::Lost(shard, now.epoch),
        };
        // It may be given and taken away again in one go.
        let moves = matches!(now.hold, Hold::Moving(owner, ..) if owner == me);
        return [Some(news), moves.then_some(News::GiveUp(shard))];
    }
    let moving = |hold| match hold {
        Hold::Moving(owner, _, attempt) if owner == me => Some(attempt),
        _ => None,
    };
    let (then, now) = (moving(then.hold), moving(now.hold));
    if then == now {
        return [None, None];
    }
    [then.map(|_| News::KeepOn(shard)), now.map(|_| News::GiveUp(shard))]
}

#[cfg(test)]
mod tests {
    use xmpp::text::Text;

    use super::*;
    use crate::control::{Fingerprint, Member, Standing};
    use crate::node::{ClusterId, Features, Roles, Versions};
    use crate::shard::HashKey;

    const ME: NodeId = NodeId { number: 1, incarnation: 2 };
    const OTHER: NodeId = NodeId { number: 2, incarnation: 1 };

    fn member(id: NodeId, standing: Standing) -> Member {
        Member {
            id,
            name: Text::from(format!("n{}", id.number)),
            roles: Roles::ROUTER,
            address: "127.0.0.1:1".into(),
            zone: "".into(),
            versions: Versions::OURS,
            features: Features::OURS,
            program: "".into(),
            fingerprint: Fingerprint([0; 32]),
            standing,
        }
    }

    fn map(members: &[Member], slots: &[(u16, Hold, u64)]) -> Map {
        let mut map = Map::new(ClusterId(1), HashKey(1, 2));
        map.members = members.iter().map(|it| (it.id.number, it.clone())).collect();
        for (shard, hold, epoch) in slots {
            map.slots[usize::from(*shard)] = Slot { hold: *hold, epoch: Epoch(*epoch) };
        }
        map
    }

    #[test]
    fn a_first_map_says_who_owns_what() {
        let up = [member(ME, Standing::Active), member(OTHER, Standing::Down)];
        let slots = [(3, Hold::Serving(ME), 1), (4, Hold::Serving(OTHER), 7), (5, Hold::Free, 2)];
        let said = news(None, &map(&up, &slots), ME);
        let expected = [
            News::Granted(ShardId(3), Epoch(1)),
            News::Lost(ShardId(4), Epoch(7)),
            News::Lost(ShardId(5), Epoch(2)),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn the_dead_are_told_before_what_they_had() {
        let both = [member(ME, Standing::Active), member(OTHER, Standing::Active)];
        let before = map(&both, &[(4, Hold::Serving(OTHER), 7)]);
        let dead = [member(ME, Standing::Active), member(OTHER, Standing::Down)];
        let after = map(&dead, &[(4, Hold::Serving(ME), 8)]);
        let granted = News::Granted(ShardId(4), Epoch(8));
        assert_eq!(news(Some(&before), &after, ME), [News::Gone(OTHER), granted]);
        // Started again: the incarnation before is gone.
        let next = NodeId { incarnation: 2, ..OTHER };
        let again = [member(ME, Standing::Active), member(next, Standing::Active)];
        let again = map(&again, &[(4, Hold::Serving(OTHER), 7)]);
        assert_eq!(news(Some(&before), &again, ME), [News::Gone(OTHER)]);
        assert_eq!(news(Some(&after), &after, ME), []);
    }

    #[test]
    fn an_owner_hears_of_its_moves_and_nobody_else_does() {
        let both = [member(ME, Standing::Active), member(OTHER, Standing::Active)];
        let serving = map(&both, &[(4, Hold::Serving(ME), 7)]);
        let moving = map(&both, &[(4, Hold::Moving(ME, OTHER, 1), 7)]);
        let again = map(&both, &[(4, Hold::Moving(ME, OTHER, 2), 7)]);
        let moved = map(&both, &[(4, Hold::Serving(OTHER), 8)]);
        let shard = ShardId(4);
        assert_eq!(news(Some(&serving), &moving, ME), [News::GiveUp(shard)]);
        assert_eq!(news(Some(&serving), &moving, OTHER), []);
        let both = [News::KeepOn(shard), News::GiveUp(shard)];
        assert_eq!(news(Some(&moving), &again, ME), both, "another attempt");
        assert_eq!(news(Some(&moving), &serving, ME), [News::KeepOn(shard)]);
        assert_eq!(news(Some(&moving), &moved, ME), [News::Lost(shard, Epoch(8))]);
        assert_eq!(news(Some(&moving), &moved, OTHER), [News::Granted(shard, Epoch(8))]);
    }
}
