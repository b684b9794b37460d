//! One frame of every shape, under the name that it has in the golden files.

use bytes::Bytes;
use kv::{Batch, CommitError, Expect, Found, RangeRead, ReadError, Reads, Row, Rows};
use peer::call::{AdminAsk, AdminRefusal, Call, StoreAnswer, StoreAsk};
use peer::codec::Kind;
use peer::control::{Change, Delta, Fingerprint, Hold, Map, MapSaid, Member, Seen, Slot, Standing};
use peer::credit::Grant;
use peer::moving::{HandOver, HandOverRefusal};
use peer::node::{ClusterId, Features, Roles, Versions};
use peer::node::{Heartbeat, Hello, LinkRefusal, LinkSaid, Load, Silence};
use peer::shard::HashKey;
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
        ("kept", Up::Kept { account: of(), session, attachment, number, log: 77, stanza: chat() }),
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
        recent: vec![1_699_999_999_000_000, 1_700_000_000_000_000],
        lost: false,
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
        let parcel = Parcel { to: jid(to), stanza: chat(), ingest, retried, probes: false };
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

fn pages() -> Vec<(&'static str, Frame)> {
    let page = |number, last, body: &'static [u8]| Frame::Page {
        node: node(4),
        page: Page {
            shard: ShardId(1700),
            epoch: Epoch(5),
            number,
            last,
            body: Bytes::from_static(body),
        },
    };
    vec![("page", page(0, false, b"opaque")), ("last", page(300, true, b""))]
}

fn hand_overs() -> Vec<(&'static str, Frame)> {
    [
        ("taken", HandOver::Taken { next: 300, window: 8 }),
        ("complete", HandOver::Complete),
        ("refused-as-not-expected", HandOver::Refused(HandOverRefusal::NotExpected)),
        ("refused-for-a-gap", HandOver::Refused(HandOverRefusal::Gap)),
        ("refused-as-unreadable", HandOver::Refused(HandOverRefusal::Unreadable)),
        ("refused-as-full", HandOver::Refused(HandOverRefusal::Full)),
    ]
    .map(|(name, said)| (name, Frame::HandOver { node: node(4), owner: owner(1700, 5), said }))
    .into()
}

fn links() -> Vec<(&'static str, NodeSaid)> {
    let hello = Hello {
        cluster: ClusterId(0xfedc_ba98_7654_3210_fedc_ba98_7654_3210),
        name: "edge-1".into(),
        roles: Roles::EDGE.with(Roles::WEB),
        versions: Versions { min: 1, max: 1 },
        features: Features(5),
        program: "0.1.0".into(),
        clock_us: 1_700_000_000_000_000,
        map: 99,
    };
    let load =
        Load { cpu_permille: 512, memory_permille: 90, sessions: 5000, queued_bytes: 1 << 20 };
    let beat = |lease_ms| Heartbeat { number: 1000, map: 99, lease_ms, load };
    let silent = vec![Silence { node: node(9), silent_ms: 1600 }];
    [
        ("hello", LinkSaid::Hello(Box::new(hello.clone()))),
        ("hello-of-a-store", LinkSaid::Hello(Box::new(Hello { roles: Roles::STORE, ..hello }))),
        ("heartbeat", LinkSaid::Heartbeat(beat(None))),
        ("heartbeat-of-a-router", LinkSaid::Heartbeat(beat(Some(950)))),
        ("silent", LinkSaid::Silent(silent)),
        ("all-are-heard", LinkSaid::Silent(Vec::new())),
        ("wrong-cluster", LinkSaid::Refused(LinkRefusal::WrongCluster(ClusterId(7)))),
        ("versions", LinkSaid::Refused(LinkRefusal::Versions(Versions { min: 2, max: 3 }))),
        ("not-a-member", LinkSaid::Refused(LinkRefusal::NotAMember)),
        ("superseded", LinkSaid::Refused(LinkRefusal::Superseded { incarnation: 8 })),
        ("wrong-certificate", LinkSaid::Refused(LinkRefusal::WrongCertificate)),
        ("clock", LinkSaid::Refused(LinkRefusal::Clock { clock_us: 1_700_000_000_000_000 })),
        ("stopping", LinkSaid::Refused(LinkRefusal::Stopping)),
    ]
    .map(|(name, said)| (name, NodeSaid::Link(said)))
    .into()
}

pub(crate) fn member(number: u32) -> Member {
    Member {
        id: node(number),
        name: format!("node-{number}").into(),
        roles: Roles::ROUTER.with(Roles::CONTROL),
        address: format!("10.0.0.{number}:5270").into(),
        zone: "hall-b".into(),
        versions: Versions { min: 1, max: 1 },
        features: Features(5),
        program: "0.1.0".into(),
        fingerprint: Fingerprint([number as u8; 32]),
        standing: Standing::Active,
    }
}

fn maps() -> Vec<(&'static str, NodeSaid)> {
    let slot = |hold, epoch| Slot { hold, epoch: Epoch(epoch) };
    let changes = vec![
        Change::Member(Box::new(member(4))),
        Change::Member(Box::new(Member { standing: Standing::Draining, ..member(5) })),
        Change::Member(Box::new(Member { standing: Standing::Down, ..member(6) })),
        Change::Removed(7),
        Change::Slot(ShardId(0), slot(Hold::Serving(node(4)), 6)),
        Change::Slot(ShardId(1), slot(Hold::Moving(node(4), node(5), 900), 6)),
        Change::Slot(ShardId(2), slot(Hold::Free, 6)),
        Change::Domain("capulet.example".into(), true),
        Change::Domain("montague.example".into(), false),
        Change::Setting("resume.seconds".into(), Some("300".into())),
        Change::Setting("resume.seconds".into(), None),
        Change::Gates(Features(5)),
    ];
    let mut map = Map::new(ClusterId(7), HashKey(1, 2));
    map.lineage = 1_700_000_000_000_000;
    let lineage = map.lineage;
    map.take(Delta { lineage, from: 0, version: 99, changes: changes.clone() }).unwrap();
    let shard = ShardId(1);
    let moved = MapSaid::Moved { seen: map.seen(), shard, slot: map.slot(shard) };
    [
        ("ask", MapSaid::Ask { have: Seen { lineage, version: 98 } }),
        ("whole", MapSaid::Whole(Box::new(map))),
        ("delta", MapSaid::Delta(Delta { lineage, from: 98, version: 99, changes })),
        ("moved", moved),
    ]
    .map(|(name, said)| (name, NodeSaid::Map(said)))
    .into()
}

fn credits() -> Vec<(&'static str, NodeSaid)> {
    let grants = vec![
        Grant::Node { bytes: 1 << 30 },
        Grant::Shard { owner: owner(1700, 5), bytes: 1 << 20 },
        // Of the edge that the frame is for.
        Grant::Session {
            owner: owner(1700, 5),
            conn: ConnId { edge: node(4), slot: 300 },
            bytes: 65_536,
        },
    ];
    vec![("credit", NodeSaid::Credit(grants))]
}

fn admins() -> Vec<(&'static str, NodeSaid)> {
    let call = 7;
    let body = Bytes::from_static(b"opaque");
    let ask = |owner| Call::Ask { call, ask: AdminAsk { owner, body: body.clone() } };
    let refused = |why| Call::Answer { call, answer: Err(why) };
    [
        ("ask", ask(Some(owner(1700, 5)))),
        ("ask-the-node", ask(None)),
        ("answer", Call::Answer { call, answer: Ok(body.clone()) }),
        ("not-owner", refused(AdminRefusal::NotOwner(owner(1700, 6)))),
        ("unknown", refused(AdminRefusal::Unknown)),
        ("busy", refused(AdminRefusal::Busy)),
        ("failed", refused(AdminRefusal::Failed)),
    ]
    .map(|(name, said)| (name, NodeSaid::Admin(said)))
    .into()
}

fn stores() -> Vec<(&'static str, NodeSaid)> {
    let call = 7;
    let key = |text: &'static str| Bytes::from_static(text.as_bytes());
    let mut reads = Reads::get(key("a"));
    reads.add_range(RangeRead::prefix(key("b")).rows(50).reverse().key_only());
    let row = Row { key: key("b1"), value: key("value") };
    let found =
        vec![Found::default(), Found { rows: vec![row.clone(), row], more: Some(key("b1")) }];
    let mut batch = Batch::new(12);
    batch.fence(key("epoch"), Expect::Equals(key("5"))).check(key("c"), Expect::Absent);
    batch.set(key("d"), key("value")).delete(key("e")).delete_range(key("f"), key("g"));
    let answer = |answer| Call::Answer { call, answer };
    let committed = |result| answer(StoreAnswer::Committed(result));
    [
        ("read", Call::Ask { call, ask: StoreAsk::Read(reads) }),
        ("commit", Call::Ask { call, ask: StoreAsk::Commit(batch) }),
        ("settle", Call::Ask { call, ask: StoreAsk::Settle }),
        ("found", answer(StoreAnswer::Found { rows: Rows { found }, more: true })),
        ("not-read-too-large", answer(StoreAnswer::NotRead(ReadError::TooLarge))),
        ("not-read-damaged", answer(StoreAnswer::NotRead(ReadError::Damaged))),
        ("not-read-unavailable", answer(StoreAnswer::NotRead(ReadError::Unavailable))),
        ("committed", committed(Ok(()))),
        ("fenced", committed(Err(CommitError::Fenced(vec![key("epoch")])))),
        ("check-failed", committed(Err(CommitError::CheckFailed(vec![key("c")])))),
        ("unknown", committed(Err(CommitError::Unknown))),
        ("too-large", committed(Err(CommitError::TooLarge))),
        ("bad-key", committed(Err(CommitError::BadKey))),
        ("unavailable", committed(Err(CommitError::Unavailable))),
    ]
    .map(|(name, said)| (name, NodeSaid::Store(said)))
    .into()
}

fn rafts() -> Vec<(&'static str, NodeSaid)> {
    let body = Bytes::from_static(b"opaque");
    vec![
        ("ask", NodeSaid::Raft(Call::Ask { call: 7, ask: body.clone() })),
        ("answer", NodeSaid::Raft(Call::Answer { call: 7, answer: body })),
    ]
}

/// The samples of one kind.
pub(crate) fn of(kind: Kind) -> Vec<(&'static str, Frame)> {
    let said = match kind {
        Kind::Up => return ups(),
        Kind::Down => return downs(),
        Kind::Between => return betweens(),
        Kind::Complete => {
            let (shard, epoch) = (ShardId(1700), Epoch(5));
            return vec![("complete", Frame::Complete(Complete { edge: node(3), shard, epoch }))];
        }
        Kind::Page => return pages(),
        Kind::HandOver => return hand_overs(),
        Kind::Link => links(),
        Kind::Map => maps(),
        Kind::Credit => credits(),
        Kind::Admin => admins(),
        Kind::Store => stores(),
        Kind::Raft => rafts(),
    };
    let (source, target) = (node(1), node(4));
    said.into_iter().map(|(name, said)| (name, Frame::Node { source, target, said })).collect()
}

pub(crate) fn all() -> Vec<(&'static str, Frame)> {
    Kind::ALL.into_iter().flat_map(of).collect()
}
