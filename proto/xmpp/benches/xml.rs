//! What the XML path costs. Budget (design.md §9): 0.8 µs to read and fully check a chat stanza of
//! 318 bytes, with one copy of its bytes.

#![allow(clippy::unwrap_used)] // a benchmark that fails should stop
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // it measures, and says what it saw

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use xmpp::limits::ReadLimits;
use xmpp::ns;
use xmpp::stanza::Stanza;
use xmpp::xml::{Body, Item, Reader};

/// What the server runs with: a buffer that grows costs what it costs there.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const OPEN: &[u8] = b"<stream:stream to='a.example' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

/// Four attributes, text with a reference, three children with namespaces.
const CHAT: &[u8] =
    b"<message to='juliet@capulet.example/balcony' from='romeo@montague.example/orchard' \
    id='a61c2e1e-7f3b-4d0c' type='chat'><body>But soft, light &amp; wind</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='a61c2e1e-7f3b-4d0c'/></message>";

fn opened(limits: ReadLimits) -> Reader {
    let mut reader = Reader::new(limits);
    assert!(matches!(reader.read(&mut &OPEN[..]), Ok(Some(Item::Open(_)))));
    reader
}

fn element(reader: &mut Reader, mut input: &[u8]) -> xmpp::xml::Element {
    match reader.read(&mut input) {
        Ok(Some(Item::Element(element))) => element,
        other => unreachable!("{other:?}"),
    }
}

fn chat(c: &mut Criterion) {
    assert_eq!(CHAT.len(), 318);
    let mut group = c.benchmark_group("chat");
    group.throughput(Throughput::Bytes(CHAT.len() as u64));
    let mut reader = opened(ReadLimits::AFTER_AUTH);
    group.bench_function("read and check", |b| b.iter(|| element(&mut reader, black_box(CHAT))));
    let burst = CHAT.repeat(16);
    group.throughput(Throughput::Bytes(burst.len() as u64));
    group.bench_function("read and check, 16 at once", |b| {
        b.iter(|| {
            let mut input = black_box(&burst[..]);
            while let Some(item) = reader.read(&mut input).unwrap() {
                black_box(item);
            }
        });
    });
    group.throughput(Throughput::Bytes(CHAT.len() as u64));
    group.bench_function("read and check in 64-byte pieces", |b| {
        b.iter(|| {
            for mut piece in black_box(CHAT).chunks(64) {
                black_box(reader.read(&mut piece).unwrap());
            }
        });
    });
    group.bench_function("read to a stanza", |b| {
        b.iter(|| Stanza::from_element(element(&mut reader, black_box(CHAT)), ns::CLIENT));
    });
    let stanza = Stanza::from_element(element(&mut reader, CHAT), ns::CLIENT).unwrap();
    let mut out = Vec::with_capacity(4096);
    group.bench_function("write", |b| {
        b.iter(|| {
            out.clear();
            black_box(&stanza).write(&mut out);
        });
    });
    let mut row = Vec::new();
    stanza.body.encode(&mut row);
    let row = bytes::Bytes::from(row);
    group.bench_function("body from a row", |b| b.iter(|| Body::decode(black_box(row.clone()))));
    group.bench_function("body checked again", |b| {
        b.iter(|| Body::parse(black_box(stanza.body.as_bytes())));
    });
    group.bench_function("tree", |b| b.iter(|| stanza.body.tree()));
    group.finish();
}

/// Reads all of some input in pieces of one length. What is not there is not moved either.
fn read_in_pieces(reader: &mut Reader, xml: &[u8], piece: usize) {
    for mut piece in xml.chunks(piece) {
        if let Some(item) = reader.read(&mut piece).unwrap() {
            black_box(item);
        }
    }
}

/// The shortest of many runs, which other work on the machine touches least.
fn best(mut run: impl FnMut()) -> Duration {
    let mut once = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..1000).map(|_| once()).min().unwrap_or_default()
}

/// One attribute of 256 KiB, in one piece and in pieces of 16 bytes, which may cost three times as
/// much (security case 6).
fn large_attribute(c: &mut Criterion) {
    const PIECE: usize = 16;
    let limits = ReadLimits { element_bytes: 1 << 19, ..ReadLimits::AFTER_AUTH };
    let xml = format!("<a b='{}'/>", "x".repeat(256 * 1024));
    let xml = black_box(xml.as_bytes());
    let mut group = c.benchmark_group("attribute of 256 KiB");
    group.throughput(Throughput::Bytes(xml.len() as u64));
    let mut reader = opened(limits);
    for piece in [xml.len(), PIECE] {
        group.bench_function(format!("pieces of {piece}"), |b| {
            b.iter(|| read_in_pieces(&mut reader, xml, piece));
        });
    }
    group.finish();
    let whole = best(|| read_in_pieces(&mut reader, xml, xml.len()));
    let pieces = best(|| read_in_pieces(&mut reader, xml, PIECE));
    let ratio = pieces.as_secs_f64() / whole.as_secs_f64();
    println!("pieces of {PIECE} against one: {ratio:.2} (at most 3)");
    assert!(ratio <= 3.0, "{pieces:?} against {whole:?}");
}

/// Text beyond ASCII, one character at a time.
fn wide_text(c: &mut Criterion) {
    let mut group = c.benchmark_group("text of 4 KiB");
    for (name, word) in [("ascii", "word "), ("cyrillic", "слово "), ("han", "漢字")] {
        let text = word.repeat(4096 / word.len());
        let xml = format!("<message><body>{text}</body></message>");
        group.throughput(Throughput::Bytes(xml.len() as u64));
        let mut reader = opened(ReadLimits::AFTER_AUTH);
        group.bench_function(name, |b| b.iter(|| element(&mut reader, xml.as_bytes())));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = chat, large_attribute, wide_text
}
criterion_main!(benches);
