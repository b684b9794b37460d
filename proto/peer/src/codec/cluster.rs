//! The bytes of what nodes say about the cluster: links, maps, credit, hand-overs, calls.

use std::collections::{BTreeMap, BTreeSet};

use super::BadFrame;
use super::wire::{Out, Take, Wire, wire_enum, wire_struct};
use crate::call::{AdminAsk, AdminRefusal, Call};
use crate::control::{
    Change, Delta, Fingerprint, Hold, Map, MapSaid, Member, Seen, Slot, Standing,
};
use crate::credit::Grant;
use crate::moving::{HandOver, HandOverRefusal};
use crate::node::{
    ClusterId, Features, Heartbeat, Hello, LinkRefusal, LinkSaid, Load, Roles, Silence, Versions,
};
use crate::shard::HashKey;
use crate::{SHARDS, ShardId};

wire_enum!(LinkSaid {
    0 => Hello(hello),
    1 => Refused(why),
    2 => Heartbeat(beat),
    3 => Silent(nodes),
});
wire_struct!(Hello { cluster, name, roles, versions, features, program, clock_us, map });
wire_struct!(Heartbeat { number, map, lease_ms, load });
wire_struct!(Load { cpu_permille, memory_permille, sessions, queued_bytes });
wire_struct!(Silence { node, silent_ms });
wire_struct!(Versions { min, max });
wire_enum!(LinkRefusal {
    0 => WrongCluster(ours),
    1 => Versions(ours),
    2 => NotAMember,
    3 => Superseded { incarnation },
    4 => WrongCertificate,
    5 => Clock { clock_us },
    6 => Stopping,
});

wire_enum!(MapSaid {
    0 => Ask { have },
    1 => Whole(map),
    2 => Delta(delta),
    3 => Moved { seen, shard, slot },
});
wire_struct!(Seen { lineage, version });
wire_struct!(Delta { lineage, from, version, changes });
wire_enum!(Change {
    0 => Member(member),
    1 => Removed(number),
    2 => Slot(shard, slot),
    3 => Domain(domain, served),
    4 => Setting(name, value),
    5 => Gates(gates),
});
wire_enum!(Hold { 0 => Free, 1 => Serving(owner), 2 => Moving(owner, heir, begun) });
wire_struct!(Slot { hold, epoch });
wire_struct!(Member {
    id,
    name,
    roles,
    address,
    zone,
    versions,
    features,
    program,
    fingerprint,
    standing,
});
wire_enum!(Standing { 0 => Active, 1 => Draining, 2 => Down });

wire_enum!(Grant {
    0 => Node { bytes },
    1 => Shard { owner, bytes },
    2 => Session { owner, conn, bytes },
});

wire_enum!(HandOver { 0 => Taken { next, window }, 1 => Complete, 2 => Refused(why) });
wire_enum!(HandOverRefusal { 0 => NotExpected, 1 => Gap, 2 => Unreadable, 3 => Full });

wire_struct!(AdminAsk { owner, body });
wire_enum!(AdminRefusal { 0 => NotOwner(owner), 1 => Unknown, 2 => Busy, 3 => Failed });

const ASK: u8 = 0;
const ANSWER: u8 = 1;

impl<Q: Wire, A: Wire> Wire for Call<Q, A> {
    fn put(&self, out: &mut Out<'_>) {
        match self {
            Self::Ask { call, ask } => {
                out.raw(&[ASK]);
                out.put(call);
                out.put(ask);
            }
            Self::Answer { call, answer } => {
                out.raw(&[ANSWER]);
                out.put(call);
                out.put(answer);
            }
        }
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        Ok(match from.byte()? {
            ASK => Self::Ask { call: from.take()?, ask: from.take()? },
            ANSWER => Self::Answer { call: from.take()?, answer: from.take()? },
            _ => return Err(BadFrame::Choice),
        })
    }
}

/// Its members in a list, then one slot for each shard there is, then the rest.
impl Wire for Map {
    fn put(&self, out: &mut Out<'_>) {
        let Self { lineage, version, cluster, key, members, slots, domains, settings, gates } =
            self;
        debug_assert_eq!(slots.len(), usize::from(SHARDS));
        out.put(lineage);
        out.put(version);
        out.put(cluster);
        out.put(key);
        out.count(members.len());
        members.values().for_each(|member| out.put(member));
        slots.iter().for_each(|slot| out.put(slot));
        out.put(domains);
        out.put(settings);
        out.put(gates);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let (lineage, version) = (from.take()?, from.take()?);
        let mut map = Map::new(from.take()?, from.take()?);
        (map.lineage, map.version) = (lineage, version);
        let members: Vec<Member> = from.take()?;
        map.members = members.into_iter().map(|member| (member.id.number, member)).collect();
        for shard in (0..SHARDS).map(ShardId) {
            let slot = from.take()?;
            map.carry_out(Change::Slot(shard, slot));
        }
        map.domains = from.take()?;
        map.settings = from.take()?;
        map.gates = from.take()?;
        Ok(map)
    }
}

impl<T: Wire + Ord> Wire for BTreeSet<T> {
    fn put(&self, out: &mut Out<'_>) {
        out.count(self.len());
        self.iter().for_each(|item| out.put(item));
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.take::<Vec<T>>().map(|items| items.into_iter().collect())
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Out<'_>) {
        out.count(self.len());
        for (key, value) in self {
            out.put(key);
            out.put(value);
        }
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.take::<Vec<(K, V)>>().map(|items| items.into_iter().collect())
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Out<'_>) {
        out.put(&self.0);
        out.put(&self.1);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        Ok((from.take()?, from.take()?))
    }
}

/// Random, so as long as it is.
impl Wire for ClusterId {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(&self.0.to_be_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.array().map(u128::from_be_bytes).map(ClusterId)
    }
}

impl Wire for HashKey {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(&self.0.to_be_bytes());
        out.raw(&self.1.to_be_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let half = |from: &mut Take<'_>| from.array().map(u64::from_be_bytes);
        Ok(Self(half(from)?, half(from)?))
    }
}

macro_rules! wrapped {
    ($($name:ident),+) => {
        $(impl Wire for $name {
            fn put(&self, out: &mut Out<'_>) {
                out.put(&self.0);
            }

            fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
                from.take().map(Self)
            }
        })+
    };
}

wrapped!(Roles, Features, Fingerprint);
