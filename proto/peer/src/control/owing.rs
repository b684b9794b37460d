//! What a node still owes to the control plane: how its hand-overs ended, and which of its shards
//! it wants granted anew. An answer may be lost and nobody may lead, so each is said again until
//! the map shows that it was heard. Pure; times are microseconds of a clock that only goes
//! forward.

use std::collections::BTreeMap;

use super::command::{Attempt, Command};
use super::map::{Hold, Map};
use crate::limits::{HEARTBEAT_US, MOVE_US};
use crate::{Epoch, NodeId, Owner, ShardId};

/// What one node owes.
#[derive(Clone, Debug, Default)]
pub struct Owing {
    moves: BTreeMap<ShardId, Moving>,
    fallen: BTreeMap<ShardId, Fallen>,
}

#[derive(Clone, Debug)]
struct Moving {
    attempt: Attempt,
    /// Until when it may take.
    until: u64,
    /// Whether the next owner has all, once that is known.
    end: Option<bool>,
    said: Option<u64>,
}

#[derive(Clone, Debug)]
struct Fallen {
    epoch: Epoch,
    said: Option<u64>,
}

impl Owing {
    /// A new map: hand-overs of this node's shards that it shows are watched, and what it shows to
    /// be over is owed no more.
    pub fn handle_map(&mut self, map: &Map, me: NodeId, now: u64) {
        self.moves.retain(|shard, it| map.attempt(*shard) == Some(it.attempt));
        self.fallen.retain(|shard, it| {
            let slot = map.slot(*shard);
            slot.owner() == Some(me) && slot.epoch == it.epoch
        });
        for (shard, slot) in map.slots() {
            if matches!(slot.hold, Hold::Moving(owner, ..) if owner == me)
                && let Some(attempt) = map.attempt(shard)
            {
                let until = now.saturating_add(MOVE_US);
                let new = || Moving { attempt, until, end: None, said: None };
                self.moves.entry(shard).or_insert_with(new);
            }
        }
    }

    /// The next owner of a shard has all that this one knows, or refuses it.
    pub fn handle_end(&mut self, attempt: Attempt, has_all: bool) {
        if let Some(it) = self.moves.get_mut(&attempt.shard).filter(|it| it.attempt == attempt) {
            it.end.get_or_insert(has_all);
        }
    }

    /// This owner of a shard wants it anew.
    pub fn handle_fallen(&mut self, owner: Owner) {
        self.fallen.insert(owner.shard, Fallen { epoch: owner.epoch, said: None });
    }

    /// What is to be said now: what is new, and what nothing came of for a heartbeat's time.
    pub fn poll(&mut self, me: NodeId, now: u64) -> Vec<Command> {
        let is_due = |said: &mut Option<u64>| {
            let due = said.is_none_or(|at| now >= at + HEARTBEAT_US);
            if due {
                *said = Some(now);
            }
            due
        };
        let (mut ended, mut aborted) = (Vec::new(), Vec::new());
        for it in self.moves.values_mut() {
            if now >= it.until {
                it.end.get_or_insert(false);
            }
            match it.end {
                Some(true) if is_due(&mut it.said) => ended.push(it.attempt),
                Some(false) if is_due(&mut it.said) => aborted.push(it.attempt),
                _ => {}
            }
        }
        let mut commands = Vec::new();
        if !ended.is_empty() {
            commands.push(Command::MoveEnd { moves: ended });
        }
        if !aborted.is_empty() {
            commands.push(Command::MoveAbort { moves: aborted });
        }
        for (shard, it) in &mut self.fallen {
            if is_due(&mut it.said) {
                commands.push(Command::Regrant { shard: *shard, epoch: it.epoch, node: me });
            }
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::Slot;
    use super::*;
    use crate::node::ClusterId;
    use crate::shard::HashKey;

    const ME: NodeId = NodeId { number: 1, incarnation: 1 };
    const OTHER: NodeId = NodeId { number: 2, incarnation: 1 };
    const SHARD: ShardId = ShardId(7);

    fn map(hold: Hold, epoch: u64) -> Map {
        let mut map = Map::new(ClusterId(1), HashKey(1, 2));
        map.slots[usize::from(SHARD.0)] = Slot { hold, epoch: Epoch(epoch) };
        map
    }

    fn attempt(begun: u64) -> Attempt {
        Attempt { shard: SHARD, to: OTHER, begun }
    }

    #[test]
    fn the_end_of_a_move_is_said_until_the_map_shows_it() {
        let mut owing = Owing::default();
        owing.handle_map(&map(Hold::Moving(ME, OTHER, 5), 3), ME, 0);
        assert_eq!(owing.poll(ME, 10), []);
        owing.handle_end(attempt(4), true);
        assert_eq!(owing.poll(ME, 10), [], "that was another attempt");
        owing.handle_end(attempt(5), true);
        let end = [Command::MoveEnd { moves: vec![attempt(5)] }];
        assert_eq!(owing.poll(ME, 10), end);
        assert_eq!(owing.poll(ME, 10 + HEARTBEAT_US - 1), []);
        assert_eq!(owing.poll(ME, 10 + HEARTBEAT_US), end, "nothing came of it");
        owing.handle_map(&map(Hold::Serving(OTHER), 4), ME, 0);
        assert_eq!(owing.poll(ME, 10 + 9 * HEARTBEAT_US), []);
    }

    #[test]
    fn a_move_of_which_nothing_is_heard_is_given_up() {
        let mut owing = Owing::default();
        owing.handle_map(&map(Hold::Moving(ME, OTHER, 5), 3), ME, 100);
        assert_eq!(owing.poll(ME, 100 + MOVE_US - 1), []);
        let abort = [Command::MoveAbort { moves: vec![attempt(5)] }];
        assert_eq!(owing.poll(ME, 100 + MOVE_US), abort);
        // It is too late for another end.
        owing.handle_end(attempt(5), true);
        assert_eq!(owing.poll(ME, 100 + MOVE_US + HEARTBEAT_US), abort);
        // Others' moves are not this node's.
        let mut owing = Owing::default();
        owing.handle_map(&map(Hold::Moving(OTHER, ME, 5), 3), ME, 100);
        assert_eq!(owing.poll(ME, 100 + MOVE_US), []);
    }

    #[test]
    fn a_shard_that_fell_is_asked_for_until_it_has_another_epoch() {
        let mut owing = Owing::default();
        let owner = Owner { shard: SHARD, epoch: Epoch(3) };
        owing.handle_fallen(owner);
        let again = [Command::Regrant { shard: SHARD, epoch: Epoch(3), node: ME }];
        assert_eq!(owing.poll(ME, 10), again);
        owing.handle_map(&map(Hold::Serving(ME), 3), ME, 10);
        assert_eq!(owing.poll(ME, 10 + HEARTBEAT_US), again);
        owing.handle_map(&map(Hold::Serving(ME), 4), ME, 10);
        assert_eq!(owing.poll(ME, 10 + 2 * HEARTBEAT_US), []);
    }
}
