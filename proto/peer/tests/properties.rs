//! Whatever may be said comes back as it was said; whatever comes is survived.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod samples;

use bytes::Bytes;
use peer::codec::{LENGTH_BYTES, VERSION, decode, encode, length};
use peer::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use xmpp::jid::Jid;
use xmpp::stanza::{IqType, MessageType, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

fn jid() -> impl Strategy<Value = Jid> {
    let texts = [
        "juliet@capulet.example/balcony",
        "juliet@capulet.example",
        "romeo@montague.example/orchard/tree",
        "capulet.example",
        "ünï@exämple/ß ✓",
    ];
    select(texts.to_vec()).prop_map(|text| Jid::parse(text).unwrap())
}

fn text() -> impl Strategy<Value = Text> {
    ".{0,20}".prop_map(Text::from)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn kind() -> impl Strategy<Value = xmpp::stanza::Kind> {
    use xmpp::stanza::Kind::{Iq, Message, Presence};
    select(vec![
        Message(MessageType::Normal),
        Message(MessageType::Chat),
        Message(MessageType::Groupchat),
        Message(MessageType::Headline),
        Message(MessageType::Error),
        Presence(PresenceType::Available),
        Presence(PresenceType::Unavailable),
        Presence(PresenceType::Probe),
        Presence(PresenceType::Subscribe),
        Iq(IqType::Get),
        Iq(IqType::Result),
    ])
}

fn body() -> impl Strategy<Value = Body> {
    let child = select(vec![
        "<body>hi</body>",
        "text",
        "<x xmlns='urn:x'><y/></x>",
        "<p:z xmlns:p='a&amp;b'/>",
        "é漢😀",
    ]);
    vec(child, 0..5).prop_map(|all| Body::parse(all.concat().as_bytes()).unwrap())
}

prop_compose! {
    fn stanza()(
        kind in kind(),
        to in option::of(jid()),
        from in option::of(jid()),
        id in option::of(text()),
        lang in option::of(text()),
        body in body(),
        added in select(vec!["", "<a xmlns='urn:a'/>"]),
    ) -> Stanza {
        Stanza { kind, to, from, id, lang, body, added: Bytes::from_static(added.as_bytes()) }
    }
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<(u32, u32)>().prop_map(|(number, incarnation)| NodeId { number, incarnation })
}

fn shard() -> impl Strategy<Value = ShardId> {
    (0..SHARDS).prop_map(ShardId)
}

fn owner() -> impl Strategy<Value = Owner> {
    (shard(), any::<u64>()).prop_map(|(shard, epoch)| Owner { shard, epoch: Epoch(epoch) })
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(SessionId)
}

fn up() -> impl Strategy<Value = Frame> {
    let said = prop_oneof![
        (any::<u64>(), jid(), any::<u64>(), option::of(text()), any::<bool>()).prop_map(
            |(slot, account, generation, resource, resends)| Up::Bind {
                conn: ConnId { edge: samples::node(0), slot },
                account,
                generation,
                resource,
                resends,
            }
        ),
        (jid(), session(), any::<u32>(), any::<u64>(), any::<bool>(), stanza()).prop_map(
            |(account, session, attachment, number, retry, stanza)| Up::Stanza {
                account,
                session,
                attachment,
                number,
                retry,
                stanza,
            }
        ),
        (jid(), session(), any::<u32>(), any::<u64>(), option::of(stanza())).prop_map(
            |(account, session, attachment, number, reply)| Up::Judged {
                account,
                session,
                attachment,
                number,
                reply,
            }
        ),
    ];
    (node(), owner(), said).prop_map(|(edge, owner, mut said)| {
        if let Up::Bind { conn, .. } = &mut said {
            conn.edge = edge;
        }
        Frame::Up { edge, owner, said }
    })
}

fn down() -> impl Strategy<Value = Frame> {
    let said = prop_oneof![
        (bytes(), any::<u32>()).prop_map(|(salt, iterations)| Down::Challenge { salt, iterations }),
        (any::<(u64, u64)>(), stanza()).prop_map(|((number, log), stanza)| Down::Stanza {
            number,
            log,
            stanza
        }),
        (session(), jid(), any::<u64>()).prop_map(|(session, jid, epoch)| Down::Bound {
            session,
            jid,
            epoch: Epoch(epoch),
        }),
        (any::<u64>(), option::of(any::<u64>())).prop_map(|(sent, handled)| {
            Down::ResumeFailed { why: ResumeRefusal::HandledCountTooHigh { sent }, handled }
        }),
    ];
    (owner(), node(), any::<u64>(), said).prop_map(|(owner, edge, slot, said)| Frame::Down {
        owner,
        conn: ConnId { edge, slot },
        said,
    })
}

prop_compose! {
    fn parcel()(
        to in jid(),
        stanza in stanza(),
        ingest in option::of((session(), any::<(u32, u64, u64)>())),
        retried in select(vec![Retried::No, Retried::Perhaps]),
        probes in any::<bool>(),
    ) -> Parcel {
        let ingest = ingest.map(|(session, (attachment, number, hash))| {
            IngestKey { session, attachment, number, hash }
        });
        Parcel { to, stanza, ingest, retried, probes }
    }
}

fn between() -> impl Strategy<Value = Frame> {
    let said = prop_oneof![
        (any::<(u64, u64, bool)>(), parcel()).prop_map(Some),
        Just(None::<((u64, u64, bool), Parcel)>),
    ];
    (owner(), owner(), said, option::of(any::<u64>())).prop_map(|(source, target, pass, ack)| {
        let Owner { shard: source, epoch: source_epoch } = source;
        let Owner { shard: target, epoch: target_epoch } = target;
        Frame::Between(match (pass, ack) {
            (Some(((number, prev, retry), parcel)), _) => Between::Pass(Pass {
                source,
                source_epoch,
                target,
                target_epoch,
                number,
                prev,
                retry,
                parcel,
            }),
            (None, Some(number)) => {
                Between::Ack(Ack { source, source_epoch, target, target_epoch, number })
            }
            (None, None) => Between::Gap { source, source_epoch, target, target_epoch },
        })
    })
}

fn encoded(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    encode(frame, VERSION, &mut out).unwrap();
    let front = *out.first_chunk::<LENGTH_BYTES>().unwrap();
    assert_eq!(length(front), Ok(out.len() - LENGTH_BYTES));
    Bytes::from(out).slice(LENGTH_BYTES..)
}

/// Bodies are equal by their bytes; what was found in them must come back too.
fn children(frame: &Frame) -> Vec<(String, String)> {
    let stanza = match frame {
        Frame::Up { said: Up::Stanza { stanza, .. }, .. }
        | Frame::Down { said: Down::Stanza { stanza, .. }, .. } => stanza,
        Frame::Between(Between::Pass(pass)) => &pass.parcel.stanza,
        _ => return Vec::new(),
    };
    stanza.body.children().map(|child| (child.name().into(), child.ns().into())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_said_comes_back(frame in prop_oneof![up(), down(), between()]) {
        let back = decode(&encoded(&frame)).unwrap();
        prop_assert_eq!(children(&back), children(&frame));
        prop_assert_eq!(back, frame);
    }

    #[test]
    fn damaged_frames_are_survived(
        which: Index,
        changes in vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let samples = samples::all();
        let mut bytes = encoded(&which.get(&samples).1).to_vec();
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        if let Ok(frame) = decode(&Bytes::from(bytes)) {
            // What is read can be written and read again, whatever it means.
            prop_assert_eq!(decode(&encoded(&frame)), Ok(frame));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&Bytes::from(bytes));
    }
}
