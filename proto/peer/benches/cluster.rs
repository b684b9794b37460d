//! What a frame costs, and the map of a large cluster: its bytes, and the time to take it over.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]
#![expect(clippy::print_stdout, reason = "sizes are a part of the result")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use peer::codec::{LENGTH_BYTES, VERSION, decode, encode};
use peer::control::{
    Command, Delta, Fingerprint, Join, Map, MapSaid, Reply, State, TokenHash, news,
};
use peer::limits::HEARTBEAT_US;
use peer::node::{ClusterId, Features, Heartbeat, LinkSaid, Load, Roles, Versions};
use peer::shard::HashKey;
use peer::{Between, Epoch, Frame, IngestKey, NodeId, NodeSaid, Parcel, Pass, Retried};
use peer::{SessionId, ShardId};
use xmpp::jid::Jid;
use xmpp::stanza::{Kind, MessageType, Stanza};
use xmpp::xml::Body;

const NODES: usize = 100;
const NOW: u64 = 1_700_000_000_000_000;

/// 318 bytes of a client, as in the budgets.
fn chat() -> Frame {
    let address = |text| Jid::parse(text).expect("an address");
    let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
    stanza.to = Some(address("romeo@montague.example/orchard-7a4f"));
    stanza.from = Some(address("juliet@capulet.example/balcony"));
    stanza.id = Some("0c2b6a1e-7f7b-4f0a-9a5e-2f1d3c4b5a69".into());
    stanza.lang = Some("en".into());
    let body = "<body>Thus with a kiss &amp; so on.</body>\
                <active xmlns='http://jabber.org/protocol/chatstates'/>\
                <request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>";
    stanza.body = Body::parse(body.as_bytes()).expect("XML");
    let session = SessionId(u128::MAX / 3);
    let ingest = Some(IngestKey { session, attachment: 1, number: 1000, hash: u64::MAX / 3 });
    let to = address("romeo@montague.example");
    Frame::Between(Between::Pass(Pass {
        source: ShardId(1000),
        source_epoch: Epoch(10),
        target: ShardId(3000),
        target_epoch: Epoch(10),
        number: NOW,
        prev: 0,
        retry: false,
        parcel: Parcel { to, stanza, ingest, retried: Retried::No, probes: false },
    }))
}

fn bytes(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    encode(frame, VERSION, &mut out).expect("a frame within limits");
    Bytes::from(out).slice(LENGTH_BYTES..)
}

fn of_node(said: NodeSaid) -> Frame {
    let node = |number| NodeId { number, incarnation: 1 };
    Frame::Node { source: node(1), target: node(2), said }
}

/// A cluster of a hundred routers and some hundred domains, as even as can be.
fn cluster() -> (State, u64) {
    let mut state = State::default();
    let mut index = 0;
    let mut say = |command| {
        index += 1;
        let applied = state.apply(index, command, NOW);
        assert!(!matches!(applied.reply, Reply::Refused(_)), "{:?}", applied.reply);
    };
    let (cluster, key) = (ClusterId(u128::MAX / 7), HashKey(1, 2));
    say(Command::Init { cluster, key, epochs_above: Epoch(1000) });
    for number in 0..NODES {
        let token = TokenHash([number as u8; 32]);
        let roles = Roles::ROUTER;
        say(Command::AddToken { token, roles, expires_us: NOW + 1 });
        say(Command::Join(Box::new(Join {
            cluster,
            name: format!("router-{number}").as_str().into(),
            roles,
            address: format!("router-{number}.cluster.example:5270").as_str().into(),
            zone: ["hall-a", "hall-b", "hall-c"][number % 3].into(),
            versions: Versions::OURS,
            features: Features::OURS,
            program: "0.1.0".into(),
            fingerprint: Fingerprint([number as u8; 32]),
            clock_us: NOW,
            token: Some(token),
        })));
    }
    for number in 0..200 {
        say(Command::AddDomain { domain: format!("domain-{number}.example").as_str().into() });
    }
    let node = |number| NodeId { number, incarnation: 1 };
    say(Command::LeaseSeen { fresh: (1..=NODES as u32).map(node).collect() });
    say(Command::GrantFree);
    (state, index)
}

fn frames(c: &mut Criterion) {
    let frame = chat();
    let encoded = bytes(&frame);
    println!("a chat message between shards: {} bytes", encoded.len() + LENGTH_BYTES);
    let load =
        Load { cpu_permille: 500, memory_permille: 500, sessions: 1 << 17, queued_bytes: 1 << 20 };
    let beat = Heartbeat { number: 100_000, map: 100_000, lease_ms: Some(900), load };
    let heartbeat = bytes(&of_node(NodeSaid::Link(LinkSaid::Heartbeat(beat))));
    let each = heartbeat.len() + LENGTH_BYTES;
    // Every node says it to every other, and hears as much.
    let peers = NODES as u64 - 1;
    let second = each as u64 * peers * 1_000_000 / HEARTBEAT_US;
    println!("a heartbeat: {each} bytes; of {NODES} nodes, each sends and hears {second} a second");
    let mut out = Vec::with_capacity(4096);
    c.bench_function("frame/encode", |b| {
        b.iter(|| {
            out.clear();
            encode(black_box(&frame), VERSION, &mut out).expect("a frame within limits");
        });
    });
    c.bench_function("frame/decode", |b| {
        b.iter(|| decode(black_box(&encoded)).expect("a frame"));
    });
}

fn map(c: &mut Criterion) {
    let (state, index) = cluster();
    let whole = of_node(NodeSaid::Map(MapSaid::Whole(Box::new(state.map().clone()))));
    let encoded = bytes(&whole);
    println!("the map of 4096 shards and {NODES} nodes: {} bytes", encoded.len());
    println!("the snapshot of the control plane: {} bytes", state.encode(VERSION).len());
    c.bench_function("map/decode", |b| b.iter(|| decode(black_box(&encoded)).expect("a map")));
    let me = NodeId { number: 7, incarnation: 1 };
    c.bench_function("map/what a whole map means to a node that has one", |b| {
        b.iter(|| news(Some(black_box(state.map())), black_box(state.map()), me));
    });
    let node = |number| NodeId { number, incarnation: 1 };
    let death = Command::Leave { node: node(50) };
    let delta = state.clone().apply(index + 1, death.clone(), NOW).delta.expect("a change");
    let said = of_node(NodeSaid::Map(MapSaid::Delta(delta.clone())));
    let delta_bytes = bytes(&said);
    let (changes, length) = (delta.changes.len(), delta_bytes.len());
    println!("the death of one node: {changes} changes, {length} bytes");
    let mut after = state.map().clone();
    after.take(delta.clone()).expect("the next delta");
    c.bench_function("map/what the death of a node means to another", |b| {
        b.iter(|| news(Some(black_box(state.map())), black_box(&after), me));
    });
    c.bench_function("map/decode the delta of a death", |b| {
        b.iter(|| decode(black_box(&delta_bytes)).expect("a delta"));
    });
    c.bench_function("map/apply the death of a node", |b| {
        let setup = || (state.clone(), death.clone());
        b.iter_batched(
            setup,
            |(mut state, death)| {
                let applied = state.apply(index + 1, death, NOW);
                (state, applied)
            },
            BatchSize::SmallInput,
        );
    });
    c.bench_function("map/take its delta", |b| {
        let setup = || (state.map().clone(), delta.clone());
        let take = |(mut map, delta): (Map, Delta)| {
            map.take(delta).expect("the next delta");
            map
        };
        b.iter_batched(setup, take, BatchSize::SmallInput);
    });
}

criterion_group!(benches, frames, map);
criterion_main!(benches);
