//! The bytes of the control plane: entries of its log, answers, and its whole state as a snapshot.
//! Each begins with the version of its layout.

use bytes::Bytes;

use super::wire::{Out, Take, Wire, wire_enum, wire_struct};
use super::{BadFrame, VERSION, VERSION_MIN};
use crate::control::Entry;
use crate::control::command::{Attempt, Command, Join, Move, Reply, TokenHash};
use crate::control::refusal::{Bound, Refusal, TextOf};
use crate::control::state::{State, Token};

wire_struct!(Entry { now, command });
wire_enum!(Command {
    0 => Init { cluster, key, epochs_above },
    1 => AddToken { token, roles, expires_us },
    2 => DropToken { token },
    3 => Join(join),
    4 => Leave { node },
    5 => DeclareDead { node, by },
    6 => Drain { number },
    7 => Undrain { number },
    8 => Remove { number },
    9 => LeaseSeen { fresh },
    10 => Rebalance,
    11 => MoveBegin { moves },
    12 => MoveEnd { moves },
    13 => MoveAbort { moves },
    14 => AddDomain { domain },
    15 => RemoveDomain { domain },
    16 => Set { name, value },
    17 => GrantFree,
    18 => Release { node },
    19 => Regrant { shard, epoch, node },
});
wire_struct!(Join {
    cluster,
    name,
    roles,
    address,
    zone,
    versions,
    features,
    program,
    fingerprint,
    clock_us,
    token,
});
wire_struct!(Move { shard, to });
wire_struct!(Attempt { shard, to, begun });
wire_enum!(Reply { 0 => Done, 1 => Joined(node), 2 => Moves(count), 3 => Refused(why) });
wire_enum!(Refusal {
    0 => NotInitialised,
    1 => Initialised(cluster),
    2 => WrongCluster(cluster),
    3 => ClockOff { off_ms, ahead },
    4 => TokenMissing,
    5 => TokenUnknown,
    6 => TokenUsed { by },
    7 => TokenExpired,
    8 => RolesNotAllowed(roles),
    9 => NameTaken { by },
    10 => NoRole,
    11 => BadText(which),
    12 => NoSharedVersion { with, versions },
    13 => ProgramTooOld(missing),
    14 => UnknownNode(number),
    15 => NotUp(node),
    16 => TooFewObservers,
    17 => StillUp(number),
    18 => LastRouter,
    19 => DomainServed,
    20 => DomainNotServed,
    21 => TokenThere,
    22 => TooMany(bound),
    23 => AlreadyApplied(index),
    24 => Unreadable,
    25 => EpochTooHigh,
    26 => NotOwner { shard, epoch },
    27 => NobodyFresh,
    28 => StillFresh(node),
});
wire_enum!(TextOf {
    0 => Name,
    1 => Address,
    2 => Zone,
    3 => Program,
    4 => Domain,
    5 => Setting,
    6 => Value,
});
wire_enum!(Bound { 0 => Members, 1 => Tokens, 2 => Domains, 3 => Settings });
wire_struct!(State { applied, initialised, map, next_number, fresh, tokens, rebalancing, granted });
wire_struct!(Token { roles, expires_us, used_by });

impl Wire for TokenHash {
    fn put(&self, out: &mut Out<'_>) {
        out.raw(&self.0);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        from.array().map(Self)
    }
}

/// Bytes of something of the control plane, in a layout that its readers know.
pub(crate) fn encoded<T: Wire>(value: &T, version: u8) -> Vec<u8> {
    let mut bytes = vec![version];
    Out::new(&mut bytes, version).put(value);
    bytes
}

/// What such bytes say. A log outlives a program, so what a later version added at the end is no
/// more looked at than in a frame.
pub(crate) fn decoded<T: Wire>(bytes: &[u8]) -> Result<T, BadFrame> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut from = Take::new(&bytes, VERSION);
    let version = from.byte()?;
    if !(VERSION_MIN..=VERSION + 1).contains(&version) {
        return Err(BadFrame::Version(version));
    }
    from.version = version;
    let value = from.take()?;
    if from.is_empty() || version > VERSION { Ok(value) } else { Err(BadFrame::Trailing) }
}
