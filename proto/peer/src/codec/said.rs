//! The bytes of what is said: [`Up`], [`Down`], [`Between`].

use xmpp::error::StreamCondition;
use xmpp::scram::Hash;

use super::BadFrame;
use super::wire::{Out, Take, Wire, wire_enum, wire_struct};
use crate::{Ack, AuthRefusal, Between, BindRefusal, Down, Owner, Parcel, Pass, Report};
use crate::{ResumeRefusal, Retried, Up};

wire_enum!(Up {
    0 => Challenge { conn, account, hash },
    1 => Verify { conn, account, hash, auth_message, proof },
    2 => Bind { conn, account, generation, resource, resends },
    3 => Resume { conn, account, generation, session, h },
    4 => Enable { account, session, resume },
    // The account after the stanza: it is nearly always the bare form of the sender.
    5 => Stanza { session, attachment, number, retry, stanza, account },
    6 => Judged { account, session, attachment, number, reply },
    7 => Taken { account, session, attachment, number },
    8 => Lost { account, session, attachment },
    9 => Ended { account, session, attachment },
    10 => Kept { session, attachment, number, log, stanza, account },
    11 => Report(report),
});

wire_enum!(Down {
    0 => Challenge { salt, iterations },
    1 => Verified { signature, generation },
    2 => Refused(why),
    3 => Bound { session, jid, epoch },
    4 => BindRefused(why),
    5 => Enabled { session, resume_s },
    6 => Resumed { session, jid, attachment, handled, taken, epoch },
    7 => ResumeFailed { why, handled },
    8 => Stanza { number, log, stanza },
    9 => Handled { number },
    10 => Close { condition },
    11 => Snapshot { snapshot },
});

wire_struct!(Report {
    account,
    conn,
    session,
    attachment,
    snapshot,
    handled,
    taken,
    received,
    read_to,
    recent,
    lost,
});

wire_enum!(Hash { 0 => Sha1, 1 => Sha256, 2 => Sha512 });
wire_enum!(AuthRefusal { 0 => NotAuthorized, 1 => AccountDisabled, 2 => TemporaryAuthFailure });
wire_enum!(BindRefusal {
    0 => BadRequest,
    1 => ResourceConstraint,
    2 => NotAllowed,
    3 => InternalServerError,
});
wire_enum!(ResumeRefusal {
    0 => ItemNotFound,
    1 => UnexpectedRequest,
    2 => HandledCountTooHigh { sent },
    3 => InternalServerError,
});

/// By name: the list is the RFC's, and rare frames may be long.
impl Wire for StreamCondition {
    fn put(&self, out: &mut Out<'_>) {
        out.field(self.name().as_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        StreamCondition::from_name(from.str()?).ok_or(BadFrame::Choice)
    }
}

const RESENT: u8 = 1;
const PROBES: u8 = 2;

/// The recipient after the stanza, whose `to` it is the bare form of.
impl Wire for Parcel {
    fn put(&self, out: &mut Out<'_>) {
        let Self { ingest, retried, probes, stanza, to } = self;
        let resent = if *retried == Retried::Perhaps { RESENT } else { 0 };
        out.put(ingest);
        out.raw(&[resent | if *probes { PROBES } else { 0 }]);
        out.put(stanza);
        out.put(to);
    }

    fn take(from: &mut Take<'_>) -> Result<Self, BadFrame> {
        let ingest = from.take()?;
        let marks = from.byte()?;
        if marks > RESENT | PROBES {
            return Err(BadFrame::Choice);
        }
        let retried = if marks & RESENT != 0 { Retried::Perhaps } else { Retried::No };
        let probes = marks & PROBES != 0;
        Ok(Self { ingest, retried, probes, stanza: from.take()?, to: from.take()? })
    }
}

const PASS: u8 = 0;
const ACK: u8 = 1;
const GAP: u8 = 2;

/// Without the owners, which are in the head.
pub(super) fn put_between(said: &Between, out: &mut Out<'_>) {
    match said {
        Between::Pass(pass) => {
            let Pass { number, prev, retry, parcel, .. } = pass;
            out.raw(&[PASS]);
            out.put(number);
            out.put(prev);
            out.put(retry);
            out.put(parcel);
        }
        Between::Ack(ack) => {
            out.raw(&[ACK]);
            out.put(&ack.number);
        }
        Between::Gap { .. } => out.raw(&[GAP]),
    }
}

pub(super) fn take_between(
    source: Owner,
    target: Owner,
    from: &mut Take<'_>,
) -> Result<Between, BadFrame> {
    let Owner { shard: source, epoch: source_epoch } = source;
    let Owner { shard: target, epoch: target_epoch } = target;
    Ok(match from.byte()? {
        PASS => Between::Pass(Pass {
            source,
            source_epoch,
            target,
            target_epoch,
            number: from.take()?,
            prev: from.take()?,
            retry: from.take()?,
            parcel: from.take()?,
        }),
        ACK => {
            let number = from.take()?;
            Between::Ack(Ack { source, source_epoch, target, target_epoch, number })
        }
        GAP => Between::Gap { source, source_epoch, target, target_epoch },
        _ => return Err(BadFrame::Choice),
    })
}
