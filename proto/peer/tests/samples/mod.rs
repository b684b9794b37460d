//! One frame of every shape, under the name that it has in the golden files.

use bytes::Bytes;
use peer::codec::Kind;
use peer::*;
use xmpp::error::StreamCondition;
use xmpp::jid::Jid;
use xmpp::scram::Hash;
use xmpp::stanza::{self, IqType, MessageType, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

pub(crate) fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

pub(crate) fn node(number: u32) -> NodeId {
    NodeId { number, incarnation: number + 1 }
}

pub(crate) fn conn(slot: u64) -> ConnId {
    ConnId { edge: node(3), slot }
}

pub(crate) fn owner(shard: u16, epoch: u64) -> Owner {
    Owner { shard: ShardId(shard), epoch: Epoch(epoch) }
}

pub(crate) fn session() -> SessionId {
    SessionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
}

/// 318 bytes on the wire of a client, as in the budgets.
pub(crate) fn chat() -> Stanza {
    let mut stanza = Stanza::new(stanza::Kind::Message(MessageType::Chat));
    stanza.to = Some(jid("romeo@montague.example/orchard-7a4f"));
    stanza.from = Some(jid("juliet@capulet.example/balcony"));
    stanza.id = Some(Text::from("0c2b6a1e-7f7b-4f0a-9a5e-2f1d3c4b5a69"));
    stanza.lang = Some(Text::from("en"));
    stanza.body = Body::parse(
        b"<body>Thus with a kiss &amp; so on.</body>\
          <active xmlns='http://jabber.org/protocol/chatstates'/>\
          <request xmlns='urn:xmpp:receipts'/>\
          <p:x xmlns:p='a&amp;b'/>",
    )
    .unwrap();
    stanza
}

fn result() -> Stanza {
    let mut stanza = Stanza::new(stanza::Kind::Iq(IqType::Result));
    stanza.to = Some(jid("juliet@capulet.example/balcony"));
    stanza.id = Some(Text::from("7"));
    stanza.added = Bytes::from_static(b"<query xmlns='jabber:iq:roster'/>");
    stanza
}

fn up(said: Up) -> Frame {
    Frame::Up { edge: node(3), owner: owner(1700, 5), said }
}

fn down(said: Down) -> Frame {
    Frame::Down { owner: owner(1700, 5), conn: conn(300), said }
}

pub(crate) fn ups() -> Vec<(&'static str, Frame)> {
    let account = jid("juliet@capulet.example");
    let (conn, session) = (conn(300), session());
    let (attachment, number) = (2, 1000);
    let of = || account.clone();
    let stanza =
        |account, retry, stanza| Up::Stanza { account, session, attachment, number, retry, stanza };
    let judged = |reply| Up::Judged { account: of(), session, attachment, number, reply };
    let bind =
        |resource, resends| Up::Bind { conn, account: of(), generation: 4, resource, resends };
    let (auth_message, proof) = (Bytes::from_static(b"n=,r=x,..."), Bytes::from_static(&[7; 32]));
    [
        ("challenge", Up::Challenge { conn, account: of(), hash: Hash::Sha512 }),
        ("verify", Up::Verify { conn, account: of(), hash: Hash::Sha256, auth_message, proof }),
        ("bind", bind(Some(Text::from("balcony")), false)),
        ("bind-without-resource", bind(None, true)),
        ("resume", Up::Resume { conn, account: of(), generation: 4, session, h: u32::MAX }),
        ("enable", Up::Enable { account: of(), session, resume: true }),
        ("stanza", stanza(of(), false, chat())),
        ("stanza-of-another-account", stanza(jid("nurse@capulet.example"), true, chat())),
        (
            "stanza-empty",
            stanza(of(), false, Stanza::new(stanza::Kind::Presence(PresenceType::Available))),
        ),
        ("judged", judged(Some(result()))),
        ("judged-in-silence", judged(None)),
        ("taken", Up::Taken { account: of(), session, attachment, number }),
        ("lost", Up::Lost { account: of(), session, attachment }),
        ("ended", Up::Ended { account: of(), session, attachment }),
        ("kept", Up::Kept { account: of(), session, number, log: 77, stanza: chat() }),
        ("report", Up::Report(Box::new(report()))),
    ]
    .map(|(name, said)| (name, up(said)))
    .into()
}

fn report() -> Report {
    Report {
        conn: conn(300),
        account: jid("juliet@capulet.example"),
        session: session(),
        attachment: 2,
        snapshot: Bytes::from_static(b"opaque"),
        handled: 1000,
        taken: 2000,
        received: 2010,
        read_to: 1_700_000_000_000_000,
    }
}

pub(crate) fn downs() -> Vec<(&'static str, Frame)> {
    let (session, epoch) = (session(), Epoch(5));
    let jid = jid("juliet@capulet.example/balcony");
    let too_high = ResumeRefusal::HandledCountTooHigh { sent: 9 };
    [
        ("challenge", Down::Challenge { salt: Bytes::from_static(b"salt"), iterations: 10_000 }),
        ("verified", Down::Verified { signature: Bytes::from_static(&[9; 20]), generation: 4 }),
        ("refused", Down::Refused(AuthRefusal::NotAuthorized)),
        ("refused-disabled", Down::Refused(AuthRefusal::AccountDisabled)),
        ("refused-for-now", Down::Refused(AuthRefusal::TemporaryAuthFailure)),
        ("bound", Down::Bound { session, jid: jid.clone(), epoch }),
        ("bind-bad", Down::BindRefused(BindRefusal::BadRequest)),
        ("bind-full", Down::BindRefused(BindRefusal::ResourceConstraint)),
        ("bind-old", Down::BindRefused(BindRefusal::NotAllowed)),
        ("bind-failed", Down::BindRefused(BindRefusal::InternalServerError)),
        ("enabled", Down::Enabled { session, resume_s: 300 }),
        (
            "resumed",
            Down::Resumed { session, jid, attachment: 3, handled: 1000, taken: 70_000, epoch },
        ),
        ("no-session", resume_failed(ResumeRefusal::ItemNotFound, None)),
        ("resumed-elsewhere", resume_failed(ResumeRefusal::UnexpectedRequest, None)),
        ("h-too-high", resume_failed(too_high, Some(8))),
        ("resume-failed", resume_failed(ResumeRefusal::InternalServerError, None)),
        ("stanza", Down::Stanza { number: 70_001, log: 0, stanza: chat() }),
        ("stanza-of-the-log", Down::Stanza { number: 70_001, log: 77, stanza: chat() }),
        ("snapshot", Down::Snapshot { snapshot: Bytes::from_static(b"opaque") }),
        ("handled", Down::Handled { number: 1000 }),
        ("close", Down::Close { condition: StreamCondition::SystemShutdown }),
    ]
    .map(|(name, said)| (name, down(said)))
    .into()
}

fn resume_failed(why: ResumeRefusal, handled: Option<u64>) -> Down {
    Down::ResumeFailed { why, handled }
}

pub(crate) fn betweens() -> Vec<(&'static str, Frame)> {
    let (source, target) = (ShardId(1700), ShardId(4095));
    let (source_epoch, target_epoch) = (Epoch(5), Epoch(9));
    let ingest = IngestKey { session: session(), attachment: 2, number: 1000, hash: 0xfeed };
    let pass = |to: &str, ingest, retried, retry| {
        let parcel = Parcel { to: jid(to), stanza: chat(), ingest, retried };
        let (number, prev) = (1_700_000_000_000_000, 1_699_999_999_999_000);
        Between::Pass(Pass {
            source,
            source_epoch,
            target,
            target_epoch,
            number,
            prev,
            retry,
            parcel,
        })
    };
    let ack = Ack { source, source_epoch, target, target_epoch, number: 77 };
    [
        ("pass", pass("romeo@montague.example", Some(ingest), Retried::No, false)),
        ("pass-again", pass("orchard.example", None, Retried::Perhaps, true)),
        ("ack", Between::Ack(ack)),
        ("gap", Between::Gap { source, source_epoch, target, target_epoch }),
    ]
    .map(|(name, said)| (name, Frame::Between(said)))
    .into()
}

/// The samples of one kind.
pub(crate) fn of(kind: Kind) -> Vec<(&'static str, Frame)> {
    match kind {
        Kind::Up => ups(),
        Kind::Down => downs(),
        Kind::Between => betweens(),
    }
}

pub(crate) fn all() -> Vec<(&'static str, Frame)> {
    Kind::ALL.into_iter().flat_map(of).collect()
}
