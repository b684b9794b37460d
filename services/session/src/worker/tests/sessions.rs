//! Sessions in a cluster, seen from their owner and the next one.

use peer::{Between, IngestKey, Report, Retried, SessionId};
use xmpp::error::StreamCondition;
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, MessageType, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

use super::*;
use crate::keys::{Entity, tag};
use crate::limits::KEPT_US;
use crate::rows::{AccountRow, LogRow};

const OTHER: NodeId = NodeId { number: 2, incarnation: 1 };

const CONN: ConnId = ConnId { edge: EDGE, slot: 1 };

fn account() -> Jid {
    Jid::parse("juliet@a").expect("a JID")
}

fn entity() -> Entity {
    Entity::of(&HASH, &account())
}

/// A rig whose store has the account, and so many messages that wait for it.
fn rig(messages: u64) -> Rig {
    let rig = Rig::new(MemStore::new());
    let jid = account();
    let row = AccountRow { jid, disabled: false, deleted: false, generation: 1, created_us: 0 };
    let mut batch = Batch::new(1);
    batch.set(entity().key(tag::ACCOUNT, &[]), row.encode());
    let mut chat = Stanza::new(Kind::Message(MessageType::Chat));
    chat.body = Body::parse(b"<body>hi</body>").expect("a body");
    for id in 1..=messages {
        let row = LogRow::of(&chat, "romeo@a", "juliet@a").expect("a message");
        let ingest = IngestKey { session: SessionId(1), attachment: 0, number: id, hash: id };
        let row = LogRow { offline: true, archived: true, ingest: Some(ingest), ..row };
        batch.set(entity().log(id), row.encode());
    }
    rig.store.commit_now(&batch).expect("a commit");
    rig
}

impl Rig {
    fn up(&mut self, epoch: u64, frame: Up) {
        self.give(Input::Remote(shard(), Epoch(epoch), frame));
        self.run();
    }

    fn grant(&mut self, epoch: u64) {
        self.give(Input::Granted(shard(), Epoch(epoch), vec![EDGE]));
        self.run();
        self.run();
    }

    fn complete(&mut self, epoch: u64) {
        self.give(Input::Complete(Complete { edge: EDGE, shard: shard(), epoch: Epoch(epoch) }));
        self.run();
    }

    /// A resource is bound, and its stream management turned on.
    fn bound(&mut self, conn: ConnId, resource: &str) -> SessionId {
        let resource = Some(Text::from(resource));
        let (account, generation) = (account(), 1);
        self.up(7, Up::Bind { conn, account, generation, resource, resends: false });
        let bound = self.downs().into_iter().find_map(|frame| match frame {
            Down::Bound { session, .. } => Some(session),
            _ => None,
        });
        bound.expect("a session")
    }

    fn enabled(&mut self, session: SessionId) -> Bytes {
        self.up(7, Up::Enable { account: account(), session, resume: true });
        let snapshot = self.downs().into_iter().find_map(|frame| match frame {
            Down::Snapshot { snapshot } => Some(snapshot),
            _ => None,
        });
        snapshot.expect("a snapshot")
    }

    fn downs(&mut self) -> Vec<Down> {
        let downs = self.out.extract_if(.., |output| matches!(output, Output::Down(..)));
        let frames = downs.filter_map(|output| match output {
            Output::Down(_, _, frame) => Some(frame),
            _ => None,
        });
        frames.collect()
    }

    fn rows_of_sessions(&self) -> usize {
        let (start, end) = entity().span(tag::SESSION);
        let reads = Reads::range(kv::RangeRead::new(start, end));
        self.store.read_now(&reads).expect("rows").rows(0).len()
    }

    fn sessions(&self) -> usize {
        self.worker.shards().map(Shard::sessions).sum()
    }
}

fn report(session: SessionId, snapshot: Bytes) -> Report {
    Report {
        conn: CONN,
        account: account(),
        session,
        attachment: 1,
        snapshot,
        handled: 0,
        taken: 0,
        received: 0,
        read_to: 0,
        recent: Vec::new(),
        lost: false,
    }
}

fn said(session: SessionId, attachment: u32, number: u64, stanza: Stanza) -> Up {
    Up::Stanza { account: account(), session, attachment, number, retry: false, stanza }
}

/// A question that nobody can answer here.
fn question() -> Stanza {
    let mut stanza = Stanza::new(Kind::Iq(IqType::Get));
    stanza.id = Some(Text::from("q"));
    let body = format!("<query xmlns='{}'/>", ns::CHAT_STATES);
    stanza.body = Body::parse(body.as_bytes()).expect("a body");
    stanza
}

#[test]
fn the_row_of_a_stored_session_is_gone_before_its_client_hears_anything_new() {
    for handled in [0, 5] {
        let mut old = rig(0);
        old.grant(7);
        old.complete(7);
        let session = old.bound(CONN, "r");
        let snapshot = old.enabled(session);
        old.give(Input::Stop);
        old.run();
        assert!(old.out.iter().any(|output| matches!(output, Output::Stopped)));
        assert_eq!(old.rows_of_sessions(), 1);

        let mut new = Rig::new(old.store);
        new.grant(8);
        new.stuck = Some(Vec::new());
        // Its edge has come as far as the row, or further.
        let report = Report { handled, ..report(session, snapshot) };
        new.up(8, Up::Report(Box::new(report)));
        new.complete(8);
        new.downs();
        new.up(8, said(session, 1, handled + 1, question()));
        let early = new.downs();
        assert!(early.is_empty(), "{early:?}");
        new.unstick(true);
        let later = new.downs();
        assert!(later.iter().any(|frame| matches!(frame, Down::Stanza { .. })), "{later:?}");
        assert!(later.iter().any(|frame| matches!(frame, Down::Handled { .. })), "{later:?}");
        assert_eq!((new.rows_of_sessions(), new.sessions()), (0, 1), "{handled}");
    }
}

#[test]
fn what_an_edge_says_of_a_session_is_kept_until_it_reports_it() {
    // Shards sweep half a minute after they were opened, and then once a minute.
    for (wait, whole) in [(KEPT_US, true), (2 * KEPT_US, false)] {
        let mut old = rig(0);
        old.grant(7);
        old.complete(7);
        let session = old.bound(CONN, "r");
        let snapshot = old.enabled(session);
        let mut new = Rig::new(old.store);
        new.grant(8);
        new.pass(KEPT_US / 4);
        let (account, attachment, stanza) = (account(), 1, question());
        new.up(8, Up::Kept { account, session, attachment, number: 1, log: 0, stanza });
        new.pass(wait);
        new.run();
        let report = Report { received: 1, ..report(session, snapshot) };
        new.up(8, Up::Report(Box::new(report)));
        let closed = new.downs().iter().any(|frame| matches!(frame, Down::Close { .. }));
        assert_eq!((closed, new.sessions()), (!whole, usize::from(whole)), "{wait}");
    }
}

#[test]
fn of_two_sessions_of_one_resource_the_later_one_stays() {
    let mut old = rig(0);
    old.grant(7);
    old.complete(7);
    let later = ConnId { edge: EDGE, slot: 2 };
    let mut sessions = Vec::new();
    for conn in [CONN, later] {
        let session = old.bound(conn, "r");
        sessions.push((conn, session, old.enabled(session)));
    }
    for first in [0, 1] {
        let mut new = Rig::new(old.store.clone());
        new.grant(8);
        for at in [first, 1 - first] {
            let (conn, session, snapshot) = sessions[at].clone();
            let report = Report { conn, ..report(session, snapshot) };
            new.up(8, Up::Report(Box::new(report)));
        }
        new.complete(8);
        let closed: Vec<_> = new.out.iter().filter_map(closed).collect();
        assert_eq!(closed, [(CONN, StreamCondition::Conflict)], "{first}");
        assert_eq!(new.sessions(), 1);
    }
}

fn closed(output: &Output) -> Option<(ConnId, StreamCondition)> {
    match output {
        Output::Down(_, conn, Down::Close { condition }) => Some((*conn, *condition)),
        _ => None,
    }
}

#[test]
fn counts_that_cannot_be_are_not_counted_with() {
    let mut old = rig(0);
    old.grant(7);
    old.complete(7);
    let session = old.bound(CONN, "r");
    let snapshot = old.enabled(session);
    for at in 0..3 {
        let mut new = Rig::new(old.store.clone());
        new.grant(8);
        let (account, attachment, number, log) = (account(), 1, u64::MAX, u64::MAX);
        new.up(8, Up::Kept { account, session, attachment, number, log, stanza: question() });
        let report = report(session, snapshot.clone());
        let report = match at {
            0 => Report { taken: u64::MAX, received: 0, ..report },
            1 => Report { received: 1, handled: u64::MAX, ..report },
            _ => Report { received: 1, read_to: u64::MAX, ..report },
        };
        new.up(8, Up::Report(Box::new(report)));
        new.complete(8);
        assert_eq!(new.sessions(), 0, "{at}");
    }
}

fn available() -> Stanza {
    Stanza::new(Kind::Presence(PresenceType::Available))
}

#[test]
fn a_resumption_does_not_wait_for_what_others_take_meanwhile() {
    let mut rig = rig(4);
    rig.grant(7);
    rig.complete(7);
    let other = ConnId { edge: EDGE, slot: 2 };
    let (lost, there) = (rig.bound(CONN, "lost"), rig.bound(other, "there"));
    rig.enabled(lost);
    rig.enabled(there);
    rig.up(7, said(there, 1, 1, available()));
    let given = rig.downs().iter().filter(|frame| matches!(frame, Down::Stanza { .. })).count();
    assert!(given >= 4, "{given}");
    rig.up(7, Up::Lost { account: account(), session: lost, attachment: 1 });
    rig.stuck = Some(Vec::new());
    let takes = |number| Up::Taken { account: account(), session: there, attachment: 1, number };
    rig.up(7, takes(given as u64 - 3));
    let back = ConnId { edge: EDGE, slot: 3 };
    let account = account();
    rig.up(7, Up::Resume { conn: back, account, generation: 1, session: lost, h: 0 });
    rig.up(7, takes(given as u64 - 2));
    assert!(!rig.downs().iter().any(|frame| matches!(frame, Down::Resumed { .. })));
    rig.unstick(false);
    assert!(rig.downs().iter().any(|frame| matches!(frame, Down::Resumed { .. })));
}

#[test]
fn whose_edge_died_before_it_had_reported_all_may_send_again_what_is_stored() {
    for (complete, expected) in [(false, Retried::Perhaps), (true, Retried::No)] {
        let mut old = rig(0);
        old.grant(7);
        old.complete(7);
        let session = old.bound(CONN, "r");
        let snapshot = old.enabled(session);
        let mut new = Rig::new(old.store);
        new.give(Input::Granted(shard(), Epoch(8), vec![EDGE, OTHER]));
        new.run();
        new.run();
        new.up(8, Up::Report(Box::new(report(session, snapshot))));
        if complete {
            new.complete(8);
        }
        new.give(Input::Gone(EDGE));
        new.run();
        new.give(Input::Complete(Complete { edge: OTHER, shard: shard(), epoch: Epoch(8) }));
        new.run();
        let (conn, account) = (ConnId { edge: OTHER, slot: 1 }, account());
        new.up(8, Up::Resume { conn, account, generation: 1, session, h: 0 });
        new.run();
        let mut chat = Stanza::new(Kind::Message(MessageType::Chat));
        chat.id = Some(Text::from("m"));
        chat.to = Some(Jid::parse("romeo@a").expect("a JID"));
        chat.body = Body::parse(b"<body>hi</body>").expect("a body");
        new.up(8, said(session, 2, 1, chat));
        let retried = new.out.iter().find_map(|output| match output {
            Output::Between(Between::Pass(pass)) => Some(pass.parcel.retried),
            _ => None,
        });
        assert_eq!(retried, Some(expected), "{complete}");
    }
}

/// The numbers of parcels that have gone out.
fn parcels(rig: &mut Rig) -> Vec<u64> {
    let parcels = rig.out.drain(..).filter_map(|output| match output {
        Output::Between(Between::Pass(pass)) => Some(pass.number),
        _ => None,
    });
    parcels.collect()
}

/// A rig whose client has sent something to an account of another shard.
fn sent() -> (Rig, u64) {
    let mut rig = rig(0);
    rig.grant(7);
    rig.complete(7);
    let session = rig.bound(CONN, "r");
    let mut chat = Stanza::new(Kind::Message(MessageType::Chat));
    chat.to = Some(Jid::parse("romeo@a").expect("a JID"));
    chat.body = Body::parse(b"<body>hi</body>").expect("a body");
    rig.out.clear();
    rig.up(7, said(session, 0, 1, chat));
    let sent = parcels(&mut rig);
    assert_eq!(sent.len(), 1);
    (rig, sent[0])
}

#[test]
fn a_window_is_held_once_while_there_is_no_lease() {
    let (mut rig, number) = sent();
    rig.away = true;
    rig.pass(40 * LEASE_US);
    rig.run();
    assert_eq!(parcels(&mut rig), []);
    assert_eq!(rig.worker.cluster.as_ref().map(|cluster| cluster.held.len()), Some(1));
    rig.away = false;
    rig.pass(STORE_RETRY_US);
    rig.run();
    assert_eq!(parcels(&mut rig), [number]);
}

#[test]
fn a_grant_that_says_nothing_new_sends_nothing_again() {
    let (mut rig, number) = sent();
    let other = shard_of(&HASH, &Jid::parse("romeo@a").expect("a JID"));
    rig.give(Input::Lost(other, Epoch(3)));
    rig.run();
    assert_eq!(parcels(&mut rig), [number], "there is a new owner");
    for _ in 0..2 {
        rig.give(Input::Granted(other, Epoch(3), Vec::new()));
        rig.run();
        assert_eq!(parcels(&mut rig), []);
    }
}
