//! What TLS costs: one record with a chat stanza each way, and a whole handshake. Server side only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edge::limits::READ_BUFFER_BYTES;
use edge::tls::{CertificateFiles, Certificates, Entry, TicketKey, Ticketer, Tls, TlsConn};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// A chat stanza as the budgets count it.
const STANZA: [u8; 318] = [b'x'; 318];

struct Node {
    _dir: tempfile::TempDir,
    tls: Tls,
    client: Arc<ClientConfig>,
}

fn node() -> Node {
    let dir = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("made");
    let files = CertificateFiles {
        names: vec!["a.example".to_owned()],
        chain: dir.path().join("chain.pem"),
        key: dir.path().join("key.pem"),
    };
    std::fs::write(&files.chain, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    let certificates = Arc::new(Certificates::load(vec![files]).expect("certificates"));
    let tickets = Arc::new(Ticketer::new(TicketKey::random().expect("random")));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = Tls::new(certificates, tickets).expect("TLS");
    Node { _dir: dir, tls, client: Arc::new(client) }
}

struct Buffers {
    read: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        Self { read: vec![0; READ_BUFFER_BYTES], plain: Vec::new(), out: Vec::new() }
    }
}

/// A handshake; returns both ends and how long the server's part took.
fn handshake(node: &Node, client: &Arc<ClientConfig>) -> (ClientConnection, TlsConn, Duration) {
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut server = node.tls.accept(Entry::StartTls).expect("accept");
    let mut buffers = Buffers::new();
    let mut spent = Duration::ZERO;
    while client.wants_write() {
        let kept = server.pending();
        let mut input = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut input).expect("bytes");
        }
        buffers.read[kept..kept + input.len()].copy_from_slice(&input);
        let filled = &mut buffers.read[..kept + input.len()];
        let start = Instant::now();
        server.receive(filled, &mut buffers.plain, &mut buffers.out).expect("handshake");
        spent += start.elapsed();
        let mut out = buffers.out.as_slice();
        while !out.is_empty() {
            client.read_tls(&mut out).expect("bytes");
            client.process_new_packets().expect("handshake");
        }
        buffers.out.clear();
    }
    assert!(!server.is_handshaking());
    (client, server, spent)
}

fn records(c: &mut Criterion) {
    let node = node();
    let (mut client, mut server, _) = handshake(&node, &node.client);
    let mut buffers = Buffers::new();
    let mut group = c.benchmark_group("record of 318 bytes");
    group.throughput(Throughput::Bytes(STANZA.len() as u64));
    group.bench_function("read", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                let batch = left.min(64);
                left -= batch;
                let mut inputs = Vec::new();
                for _ in 0..batch {
                    client.writer().write_all(&STANZA).expect("room");
                    let mut input = Vec::new();
                    client.write_tls(&mut input).expect("bytes");
                    inputs.push(input);
                }
                let start = Instant::now();
                for input in &inputs {
                    buffers.read[..input.len()].copy_from_slice(input);
                    buffers.plain.clear();
                    let filled = &mut buffers.read[..input.len()];
                    server.receive(filled, &mut buffers.plain, &mut buffers.out).expect("read");
                    assert_eq!(buffers.plain.len(), STANZA.len());
                }
                spent += start.elapsed();
            }
            spent
        });
    });
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            buffers.out.clear();
            server.send(black_box(&STANZA), &mut buffers.out).expect("sent");
        });
    });
    group.finish();
    let _ = client.reader().read(&mut [0]);
}

fn handshakes(c: &mut Criterion) {
    let node = node();
    let mut group = c.benchmark_group("handshake");
    let mut full = (*node.client).clone();
    full.resumption = Resumption::disabled();
    for (name, client) in [("full", Arc::new(full)), ("resumed", Arc::clone(&node.client))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| handshake(&node, &client).2).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, records, handshakes);
criterion_main!(benches);
