//! What a stanza costs on an established stream.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stream::c2s::C2s;
use stream::{Answer, Ask, Config, Output, Random, TlsInfo, Transport};
use xmpp::blocks::base64;
use xmpp::scram::{Hash, Keys};

const OPEN: &str = "<stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='a.example' version='1.0'>";

/// 318 bytes, as in the budgets.
const STANZA: &str = "<message to='romeo@montague.example/orchard-7a4f' \
    id='0c2b6a1e-7f7b-4f0a-9a5e-2f1d3c4b5a69' type='chat' xml:lang='en'><body>Thus with a kiss \
    &amp; so on.</body><active xmlns='http://jabber.org/protocol/chatstates'/><request \
    xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/><!pad></message>";

fn stanza() -> String {
    let text = STANZA.replace("<!pad>", "");
    let pad = 318 - text.len();
    text.replace("so on.", &format!("so on.{}", "x".repeat(pad)))
}

fn session(managed: bool) -> C2s {
    let config = Arc::new(Config::new(vec!["a.example".into()]));
    let transport = Transport::Tls(TlsInfo::default());
    let mut stream = C2s::new(config, transport, Random::new([7; Random::BYTES]));
    let out = &mut Vec::new();
    let password = base64::encode(b"\0juliet\0pencil");
    let auth = format!(
        "{OPEN}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{password}</auth>"
    );
    stream.handle_bytes(auth.as_bytes(), out);
    stream.handle_answer(Answer::Challenge { salt: Bytes::from("salt"), iterations: 1 }, out);
    stream.handle_derived(Keys::derive(Hash::Sha256, "pencil", b"salt", 1), out);
    stream.handle_answer(Answer::Verified { signature: Bytes::new(), generation: 1 }, out);
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    stream.handle_bytes(format!("{OPEN}{bind}").as_bytes(), out);
    let jid = "juliet@a.example/x".parse().expect("a full JID");
    stream.handle_answer(Answer::Bound { jid }, out);
    if managed {
        stream.handle_bytes(b"<enable xmlns='urn:xmpp:sm:3'/>", out);
        stream.handle_answer(Answer::Enabled { id: "id".into(), resume_s: 600 }, out);
    }
    assert!(stream.is_established());
    while stream.poll().is_some() {}
    stream
}

fn c2s(c: &mut Criterion) {
    let text = stanza();
    assert_eq!(text.len(), 318);
    let mut group = c.benchmark_group("c2s");
    group.throughput(Throughput::Bytes(318));
    for (name, managed) in [("stanza in and out", false), ("the same, managed", true)] {
        let mut stream = session(managed);
        let mut out = Vec::with_capacity(1024);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                stream.handle_bytes(black_box(text.as_bytes()), &mut out);
                let (number, stanza) = match stream.poll() {
                    Some(Output::Ask(Ask::Stanza { number, stanza })) => Some((number, stanza)),
                    _ => None,
                }
                .expect("a stanza");
                stream.handle_answer(Answer::Handled { number }, &mut out);
                stream.handle_answer(Answer::Stanza { number, stanza }, &mut out);
                stream.handle_written();
                black_box(stream.poll());
                if !managed {
                    assert!(stream.poll().is_none());
                }
            });
        });
    }
    let text = text.repeat(16);
    let mut stream = session(false);
    let mut out = Vec::new();
    group.throughput(Throughput::Elements(16));
    group.bench_function("read 16 stanzas at once", |b| {
        b.iter(|| {
            stream.handle_bytes(black_box(text.as_bytes()), &mut out);
            while let Some(output) = stream.poll() {
                black_box(output);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, c2s);
criterion_main!(benches);
