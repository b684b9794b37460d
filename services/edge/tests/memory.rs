//! What an idle connection costs in memory (design §9: an idle session with TLS 1.3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;

use edge::limits::READ_BUFFER_BYTES;
use edge::tls::{CertificateFiles, Certificates, Entry, TicketKey, Ticketer, Tls, TlsConn};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tikv_jemalloc_ctl::{epoch, stats};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn heap_bytes() -> usize {
    epoch::advance().expect("jemalloc");
    stats::allocated::read().expect("jemalloc")
}

/// Resident bytes, which also see what C code allocates.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

fn handshake(tls: &Tls, client: &Arc<ClientConfig>) -> Box<TlsConn> {
    let name = ServerName::try_from("a.example").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    let mut server = Box::new(tls.accept(Entry::StartTls).expect("accept"));
    let (mut buffer, mut plain) = (vec![0; READ_BUFFER_BYTES], Vec::new());
    while client.wants_write() {
        let mut input = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut input).expect("bytes");
        }
        let kept = server.pending();
        buffer[kept..kept + input.len()].copy_from_slice(&input);
        let mut out = Vec::new();
        let filled = &mut buffer[..kept + input.len()];
        server.receive(filled, &mut plain, &mut out).expect("handshake");
        let mut out = out.as_slice();
        while !out.is_empty() {
            client.read_tls(&mut out).expect("bytes");
            client.process_new_packets().expect("handshake");
        }
    }
    assert!(!server.is_handshaking() && server.pending() == 0);
    server.send(b"<stream:features/>", &mut Vec::new()).expect("sent");
    server
}

#[test]
fn an_idle_tls_connection_is_small() {
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
    let tls = Tls::new(certificates, tickets).expect("TLS");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = rustls::client::Resumption::disabled();
    let client = Arc::new(client);

    let mut held: Vec<Box<TlsConn>> = Vec::with_capacity(2000);
    held.extend((0..500).map(|_| handshake(&tls, &client)));
    let (heap, resident) = (heap_bytes(), resident_bytes());
    held.extend((0..1500).map(|_| handshake(&tls, &client)));
    let heap = (heap_bytes() - heap) / 1500;
    let resident = resident_bytes().saturating_sub(resident) / 1500;
    println!("TLS 1.3, idle: {heap} bytes of our heap, {resident} bytes resident");
    println!("TlsConn itself: {} bytes", size_of::<TlsConn>());
    assert!(heap <= 3 * 1024, "{heap} bytes of heap");
    assert!(resident <= 5 * 1024, "{resident} bytes resident");
}
