//! Which router has which shard: as even as it must be, with no more moves than that takes.
//!
//! Only routers that are active and whose lease is fresh take shards. Between those that have
//! equally many, the zone that has fewest takes the next, so that what a dead node had is spread
//! over all zones.

use std::collections::BTreeMap;

use xmpp::text::Text;

use super::command::Move;
use super::map::{Hold, Map};
use super::member::{Member, Standing};
use super::state::State;
use crate::limits::{MOVING_MAX, UNEVEN_TENTHS};
use crate::node::Roles;
use crate::{NodeId, SHARDS, ShardId};

/// How many shards each router has, counted as if all hand-overs had ended.
pub(crate) struct Shares {
    routers: BTreeMap<NodeId, Share>,
    zones: BTreeMap<Text, usize>,
    moving: usize,
}

struct Share {
    zone: Text,
    standing: Standing,
    fresh: bool,
    shards: usize,
    /// Those that it could hand over.
    serving: Vec<ShardId>,
}

impl Share {
    fn takes(&self, standing: Standing) -> bool {
        self.fresh && self.standing == standing
    }
}

impl Shares {
    pub(crate) fn of(state: &State) -> Self {
        let map = state.map();
        let up = map.members.values().filter(|it| it.is_up() && it.roles.has(Roles::ROUTER));
        let share = |member: &Member| {
            let (zone, standing) = (member.zone.clone(), member.standing);
            let fresh = state.is_fresh(member.id);
            (member.id, Share { zone, standing, fresh, shards: 0, serving: Vec::new() })
        };
        let routers: BTreeMap<NodeId, Share> = up.map(share).collect();
        let zones = routers.values().map(|share| (share.zone.clone(), 0)).collect();
        let mut shares = Self { routers, zones, moving: 0 };
        for (shard, slot) in map.slots() {
            if let Hold::Serving(owner) = slot.hold
                && let Some(share) = shares.routers.get_mut(&owner)
            {
                share.serving.push(shard);
            }
            shares.moving += usize::from(matches!(slot.hold, Hold::Moving(..)));
            if let Some(heir) = slot.heir() {
                shares.add(heir);
            }
        }
        shares
    }

    fn add(&mut self, node: NodeId) {
        if let Some(share) = self.routers.get_mut(&node) {
            share.shards += 1;
            *self.zones.entry(share.zone.clone()).or_default() += 1;
        }
    }

    /// The router that has fewest, of those that take shards.
    fn least(&self, standing: Standing) -> Option<NodeId> {
        let takers = self.routers.iter().filter(|(_, share)| share.takes(standing));
        let of_zone = |share: &Share| self.zones.get(&share.zone).copied().unwrap_or_default();
        takers.min_by_key(|(id, share)| (share.shards, of_zone(share), **id)).map(|(id, _)| *id)
    }

    /// Gives a shard that nobody has to the router that has fewest. If all that live are draining,
    /// one of them takes it: better there than nowhere.
    pub(crate) fn give(&mut self) -> Option<NodeId> {
        let least = self.least(Standing::Active).or_else(|| self.least(Standing::Draining))?;
        self.add(least);
        Some(least)
    }

    /// The same, unless that router has its even share of all shards already, counted by all
    /// routers that are up, fresh or not.
    pub(crate) fn give_within_share(&mut self) -> Option<NodeId> {
        let least = self.least(Standing::Active).or_else(|| self.least(Standing::Draining))?;
        let active = self.routers.values().filter(|share| share.standing == Standing::Active);
        let share = usize::from(SHARDS).div_ceil(active.count().max(1));
        let has = self.routers.get(&least).map_or(0, |share| share.shards);
        (has < share).then(|| self.give()).flatten()
    }

    /// A shard goes from one router to another.
    fn hand(&mut self, from: NodeId, to: NodeId) -> Option<Move> {
        let share = self.routers.get_mut(&from)?;
        let shard = share.serving.pop()?;
        share.shards -= 1;
        if let Some(zone) = self.zones.get_mut(&share.zone) {
            *zone -= 1;
        }
        self.add(to);
        Some(Move { shard, to })
    }

    /// A move that makes the shares more even, if they are too uneven.
    fn even_out(&mut self, exactly: bool) -> Option<Move> {
        let takers = || self.routers.iter().filter(|(_, share)| share.takes(Standing::Active));
        let shards = || takers().map(|(_, share)| share.shards);
        let (most, fewest) = (shards().max()?, shards().min()?);
        let (all, routers) = (shards().sum::<usize>(), takers().count());
        // Tenths of the mean, without fractions.
        let too_many = 10 * most * routers > (10 + UNEVEN_TENTHS) * all;
        let too_few = 10 * fewest * routers < (10 - UNEVEN_TENTHS) * all;
        if most - fewest <= 1 || !(exactly || too_many || too_few) {
            return None;
        }
        let givers = takers().filter(|(_, share)| !share.serving.is_empty());
        let giver = givers.max_by_key(|(id, share)| (share.shards, **id));
        let (from, shards) = giver.map(|(id, share)| (*id, share.shards))?;
        let to = self.least(Standing::Active)?;
        if shards <= fewest + 1 { None } else { self.hand(from, to) }
    }
}

/// The hand-overs to begin now: first what draining routers have, then what makes it even; all
/// together no more than may be under way at a time.
pub(crate) fn moves(mut shares: Shares, exactly: bool) -> Vec<Move> {
    let mut moves = Vec::new();
    let room = MOVING_MAX.saturating_sub(shares.moving);
    let draining = shares.routers.iter().filter(|it| it.1.standing == Standing::Draining);
    for from in draining.map(|(id, _)| *id).collect::<Vec<_>>() {
        while moves.len() < room {
            let Some(to) = shares.least(Standing::Active) else { break };
            let Some(next) = shares.hand(from, to) else { break };
            moves.push(next);
        }
    }
    while moves.len() < room {
        let Some(next) = shares.even_out(exactly) else { break };
        moves.push(next);
    }
    moves
}

/// The members that should be voters of the control plane: five of those that are control nodes, or
/// three, or one; as many zones among them as there are. Whether they are up does not matter: what
/// comes back stays, and what does not is removed by an operator.
pub fn voters(map: &Map) -> Vec<u32> {
    let mut zones: BTreeMap<&Text, Vec<u32>> = BTreeMap::new();
    for member in map.members.values().filter(|member| member.roles.has(Roles::CONTROL)) {
        zones.entry(&member.zone).or_default().push(member.id.number);
    }
    let there: usize = zones.values().map(Vec::len).sum();
    let wanted = if there >= 5 {
        5
    } else if there >= 3 {
        3
    } else {
        there.min(1)
    };
    let mut order: Vec<(usize, u32)> = Vec::new();
    for numbers in zones.values() {
        order.extend(numbers.iter().copied().enumerate());
    }
    // The first of each zone, then the second of each, and so on.
    order.sort_unstable();
    let mut voters: Vec<u32> = order.into_iter().take(wanted).map(|(_, number)| number).collect();
    voters.sort_unstable();
    voters
}
