//! TLS in memory, against rustls' own buffered client.

use std::fs;
use std::io::{Read as _, Write as _};

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

use super::*;
use crate::limits::READ_BUFFER_BYTES;

/// A node's TLS with its files, which can be changed.
pub(super) struct Node {
    dir: tempfile::TempDir,
    pub(super) tls: Tls,
}

fn write_pair(dir: &std::path::Path, name: &str) -> CertificateFiles {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let files = CertificateFiles {
        names: vec![name.to_owned()],
        chain: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    };
    fs::write(&files.chain, made.cert.pem()).expect("written");
    fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    files
}

impl Node {
    pub(super) fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let files = names.iter().map(|name| write_pair(dir.path(), name)).collect();
        let certificates = Arc::new(Certificates::load(files).expect("certificates"));
        let tickets = Arc::new(Ticketer::new(TicketKey::new([7; 32])));
        let tls = Tls::new(certificates, tickets).expect("TLS");
        Self { dir, tls }
    }

    /// A second node with the same certificates and ticket key.
    fn twin(&self) -> Tls {
        let tickets = Arc::new(Ticketer::new(TicketKey::new([7; 32])));
        Tls::new(Arc::clone(&self.tls.certificates), tickets).expect("TLS")
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_file(self.dir.path().join(format!("{name}.pem"))).expect("PEM")
    }

    pub(super) fn client_config(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for entry in fs::read_dir(self.dir.path()).expect("the folder").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "pem") {
                use rustls::pki_types::pem::PemObject;
                roots.add(CertificateDer::from_pem_file(entry.path()).expect("PEM")).expect("root");
            }
        }
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub(super) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConnection {
        client(self.client_config(version), "a.example")
    }
}

fn client(config: ClientConfig, name: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::new(config), ServerName::try_from(name).expect("a name"))
        .expect("a client")
}

/// One connection in memory: `step` bytes at a time from client to server.
pub(super) struct Link {
    pub(super) client: ClientConnection,
    pub(super) server: TlsConn,
    pub(super) established: Option<Established>,
    pub(super) at_server: Vec<u8>,
    at_client: Vec<u8>,
    pub(super) closed: bool,
    step: usize,
}

impl Link {
    pub(super) fn new(client: ClientConnection, server: TlsConn) -> Self {
        Self {
            client,
            server,
            established: None,
            at_server: Vec::new(),
            at_client: Vec::new(),
            closed: false,
            step: usize::MAX,
        }
    }

    fn push_up(&mut self, bytes: &[u8]) -> Result<(), TlsFault> {
        let mut out = Vec::new();
        let mut result = Ok(());
        for part in bytes.chunks(self.step.min(16 * 1024)) {
            let kept = self.server.pending();
            let mut buffer = vec![0xaa; READ_BUFFER_BYTES];
            buffer[kept..kept + part.len()].copy_from_slice(part);
            let filled = &mut buffer[..kept + part.len()];
            match self.server.receive(filled, &mut self.at_server, &mut out) {
                Ok(received) => {
                    self.closed |= received.closed;
                    if received.established.is_some() {
                        assert!(self.established.is_none(), "established twice");
                        self.established = received.established;
                    }
                }
                Err(fault) => {
                    result = Err(fault);
                    break;
                }
            }
        }
        self.push_down(&out);
        result
    }

    fn push_down(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).expect("bytes");
            let _ = self.client.process_new_packets();
            let _ = self.client.reader().read_to_end(&mut self.at_client);
        }
    }

    /// Moves bytes until both are quiet.
    pub(super) fn settle(&mut self) -> Result<(), TlsFault> {
        while self.client.wants_write() {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).expect("bytes");
            }
            self.push_up(&bytes)?;
        }
        Ok(())
    }

    fn say(&mut self, text: &[u8]) -> Result<(), TlsFault> {
        self.client.writer().write_all(text).expect("room");
        self.settle()
    }

    fn answer(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.server.send(text, &mut out).expect("sent");
        self.push_down(&out);
        std::mem::take(&mut self.at_client)
    }
}

fn exported(client: &ClientConnection) -> [u8; 32] {
    client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b"")).expect("a key")
}

#[test]
fn both_versions_carry_content_both_ways() {
    let node = Node::new(&["a.example"]);
    for version in [&version::TLS13, &version::TLS12] {
        let server = node.tls.accept(Entry::StartTls).expect("accept");
        let mut link = Link::new(node.client(version), server);
        link.settle().expect("handshake");
        let established = link.established.clone().expect("established");
        assert_eq!(established.tls13, version.version == ProtocolVersion::TLSv1_3);
        assert_eq!(established.server_name.as_deref(), Some("a.example"));
        assert!(!established.resumed && !established.alpn && !link.server.is_handshaking());
        link.say(b"<stream>").expect("content");
        assert_eq!(link.at_server, b"<stream>");
        assert_eq!(link.answer(b"<features/>"), b"<features/>");
        assert_eq!(link.server.pending(), 0);
    }
}

#[test]
fn the_exporter_is_the_clients_and_only_of_tls13() {
    let node = Node::new(&["a.example"]);
    for suite in default_provider().cipher_suites {
        let mut provider = default_provider();
        provider.cipher_suites = vec![suite];
        let Ok(builder) = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])
        else {
            continue;
        };
        let mut roots = RootCertStore::empty();
        roots.add(node.certificate("a.example")).expect("root");
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let server = node.tls.accept(Entry::StartTls).expect("accept");
        let mut link = Link::new(client(config, "a.example"), server);
        link.settle().expect("handshake");
        let established = link.established.take().expect("established");
        assert_eq!(established.exporter, Some(exported(&link.client)), "{suite:?}");
    }
    let server = node.tls.accept(Entry::StartTls).expect("accept");
    let mut link = Link::new(node.client(&version::TLS12), server);
    link.settle().expect("handshake");
    assert_eq!(link.established.expect("established").exporter, None);
}

#[test]
fn interleaved_handshakes_keep_their_own_exporters() {
    let node = Node::new(&["a.example", "b.example"]);
    let mut links: Vec<Link> = ["a.example", "b.example", "a.example", "b.example"]
        .into_iter()
        .map(|name| {
            let server = node.tls.accept(Entry::StartTls).expect("accept");
            Link::new(client(node.client_config(&version::TLS13), name), server)
        })
        .collect();
    // Each round moves one flight of each connection.
    for _ in 0..4 {
        for link in &mut links {
            let mut bytes = Vec::new();
            while link.client.wants_write() {
                link.client.write_tls(&mut bytes).expect("bytes");
            }
            link.push_up(&bytes).expect("no fault");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (link, name) in links.iter_mut().zip(["a.example", "b.example"].into_iter().cycle()) {
        let established = link.established.take().expect("established");
        assert_eq!(established.exporter, Some(exported(&link.client)));
        assert_eq!(established.server_name.as_deref(), Some(name));
        let own = node.certificate(name);
        assert_eq!(established.end_point, binding::end_point(&own));
        assert!(seen.insert(established.exporter), "two connections with one binding");
    }
}

#[test]
fn direct_tls_takes_our_protocol_or_none() {
    let node = Node::new(&["a.example"]);
    let cases: [(&[&[u8]], Option<bool>); 4] = [
        (&[], Some(false)),
        (&[b"xmpp-client"], Some(true)),
        (&[b"h2", b"xmpp-client"], Some(true)),
        (&[b"h2", b"http/1.1"], None),
    ];
    for (offered, wanted) in cases {
        let mut config = node.client_config(&version::TLS13);
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let server = node.tls.accept(Entry::Direct).expect("accept");
        let mut link = Link::new(client(config, "a.example"), server);
        let result = link.settle();
        assert_eq!(link.established.map(|established| established.alpn), wanted);
        if wanted.is_none() {
            let Err(TlsFault::Tls(error)) = result else { panic!("{result:?}") };
            assert_eq!(error, rustls::Error::NoApplicationProtocol);
        }
    }
}

/// Security case 43: every record of the ClientHello holds one byte, and each byte of those comes
/// alone.
#[test]
fn a_client_hello_in_crumbs_is_read() {
    let node = Node::new(&["a.example"]);
    for version in [&version::TLS13, &version::TLS12] {
        for entry in [Entry::StartTls, Entry::Direct] {
            let mut link = Link::new(node.client(version), node.tls.accept(entry).expect("accept"));
            link.step = 1;
            let mut hello = Vec::new();
            link.client.write_tls(&mut hello).expect("bytes");
            let (header, body) = hello.split_at(5);
            let crumbs: Vec<u8> = body
                .iter()
                .flat_map(|byte| [header[0], header[1], header[2], 0, 1, *byte])
                .collect();
            link.push_up(&crumbs).expect("no fault");
            link.settle().expect("handshake");
            assert!(link.established.is_some());
        }
    }
}

/// Security case 42: each alert in the place of each flight, as warning and fatal, over and over.
/// The server never spins, and ends the connection after a few.
#[test]
fn every_alert_at_every_step_ends() {
    let node = Node::new(&["a.example"]);
    for version in [&version::TLS13, &version::TLS12] {
        for (step, level) in [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)] {
            for alert in 0..=u8::MAX {
                let server = node.tls.accept(Entry::StartTls).expect("accept");
                let mut link = Link::new(node.client(version), server);
                for _ in 0..step {
                    let mut bytes = Vec::new();
                    while link.client.wants_write() {
                        link.client.write_tls(&mut bytes).expect("bytes");
                    }
                    link.push_up(&bytes).expect("no fault");
                }
                assert_eq!(link.established.is_some(), step == 2);
                // rustls lets four warnings pass, whatever they say.
                let left = if level == 1 && step < 2 { 5 } else { 1 };
                let ended =
                    (0..left).any(|_| link.push_up(&[21, 3, 3, 0, 2, level, alert]).is_err());
                assert!(
                    ended || link.closed,
                    "{version:?} step {step} level {level} alert {alert}"
                );
            }
        }
    }
}

/// Security case 40: a peer that does nothing but change keys is cut off; what it makes us send
/// stays bounded.
#[test]
fn a_flood_of_key_updates_is_bounded() {
    let node = Node::new(&["a.example"]);
    let server = node.tls.accept(Entry::StartTls).expect("accept");
    let mut link = Link::new(node.client(&version::TLS13), server);
    link.settle().expect("handshake");
    let mut rounds = 0;
    let fault = loop {
        link.client.refresh_traffic_keys().expect("a key update");
        if let Err(fault) = link.settle() {
            break fault;
        }
        rounds += 1;
        assert!(rounds <= 32, "no end to key updates");
    };
    let TlsFault::Tls(rustls::Error::PeerMisbehaved(why)) = fault else { panic!("{fault}") };
    assert_eq!(why, rustls::PeerMisbehaved::TooManyKeyUpdateRequests);
}

#[test]
fn key_updates_between_content_are_answered_in_order() {
    let node = Node::new(&["a.example"]);
    let server = node.tls.accept(Entry::StartTls).expect("accept");
    let mut link = Link::new(node.client(&version::TLS13), server);
    link.settle().expect("handshake");
    for round in 0..100 {
        link.client.refresh_traffic_keys().expect("a key update");
        let text = format!("round {round}");
        link.say(text.as_bytes()).expect("content");
        assert_eq!(link.answer(text.as_bytes()), text.as_bytes());
    }
}

#[test]
fn a_ticket_resumes_at_another_node_until_the_certificate_changes() {
    let node = Node::new(&["a.example"]);
    for version in [&version::TLS13, &version::TLS12] {
        let mut config = node.client_config(version);
        config.resumption = Resumption::in_memory_sessions(8);
        let connect = |tls: &Tls| {
            let server = tls.accept(Entry::StartTls).expect("accept");
            let mut link = Link::new(client(config.clone(), "a.example"), server);
            link.settle().expect("handshake");
            let established = link.established.take().expect("established");
            if established.tls13 {
                assert_eq!(established.exporter, Some(exported(&link.client)));
            }
            established.resumed
        };
        assert!(!connect(&node.tls), "nothing to resume");
        assert!(connect(&node.tls), "the same node");
        assert!(connect(&node.twin()), "another node with the same key");
        let stranger = Arc::new(Ticketer::new(TicketKey::new([8; 32])));
        let stranger = Tls::new(Arc::clone(&node.tls.certificates), stranger).expect("TLS");
        assert!(!connect(&stranger), "a node with another key");
    }
    let mut config = node.client_config(&version::TLS13);
    config.resumption = Resumption::in_memory_sessions(8);
    let first = node.tls.accept(Entry::StartTls).expect("accept");
    Link::new(client(config.clone(), "a.example"), first).settle().expect("handshake");
    write_pair(node.dir.path(), "a.example");
    assert!(node.tls.certificates.reload().is_empty());
    // The client still trusts the old certificate only, so a full handshake fails where resumption
    // would not.
    let second = node.tls.accept(Entry::StartTls).expect("accept");
    let mut link = Link::new(client(config, "a.example"), second);
    assert!(link.settle().is_err(), "resumed under a certificate that the client never saw");
}

#[test]
fn certificates_follow_names_and_files() {
    let node = Node::new(&["a.example", "*.b.example"]);
    let shown = |name: &'static str| {
        let server = node.tls.accept(Entry::StartTls).expect("accept");
        let mut link = Link::new(client(node.client_config(&version::TLS13), name), server);
        let _ = link.settle();
        link.client
            .peer_certificates()
            .and_then(|chain| chain.first().cloned().map(|c| c.into_owned()))
    };
    let (first, wild) = (node.certificate("a.example"), node.certificate("*.b.example"));
    assert_eq!(shown("a.example"), Some(first.clone()));
    assert_eq!(shown("x.b.example"), Some(wild));
    let seen = node.tls.certificates.leaf(Some("A.EXAMPLE")).fingerprint;
    assert_eq!(seen, node.tls.certificates.leaf(None).fingerprint);
    assert_eq!(seen, node.tls.certificates.leaf(Some("x.y.b.example")).fingerprint);

    assert_eq!(node.tls.certificates.reload_changed().0, 0, "nothing changed");
    fs::write(node.dir.path().join("a.example.pem"), "no certificate").expect("written");
    let (renewed, faults) = node.tls.certificates.reload_changed();
    assert_eq!((renewed, faults.len()), (0, 1));
    assert!(matches!(faults[0], CertificateFault::Pem(..)), "{faults:?}");
    assert_eq!(node.tls.certificates.reload_changed().1.len(), 0, "said once per change");
    assert_eq!(node.tls.certificates.leaf(None).fingerprint, seen, "the old one stays");

    write_pair(node.dir.path(), "a.example");
    assert_eq!(node.tls.certificates.reload_changed().0, 1);
    assert_ne!(node.tls.certificates.leaf(None).fingerprint, seen);
    fs::copy(node.dir.path().join("*.b.example.key"), node.dir.path().join("a.example.key"))
        .expect("copied");
    let faults = node.tls.certificates.reload();
    assert!(matches!(faults[..], [CertificateFault::Pair(..)]), "{faults:?}");
}

/// Security cases 42 and 55 from the side of TLS: clear text where a record is due ends the
/// connection.
#[test]
fn what_is_not_tls_ends_with_an_alert() {
    let node = Node::new(&["a.example"]);
    let mut server = node.tls.accept(Entry::StartTls).expect("accept");
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    let mut buffer = b"<stream:stream to='a.example'>".to_vec();
    assert!(server.receive(&mut buffer, &mut plain, &mut out).is_err());
    assert!(plain.is_empty());
    assert_eq!(out.first(), Some(&21), "an alert: {out:?}");
}

#[test]
fn a_handshake_message_has_a_longest_length() {
    let node = Node::new(&["a.example"]);
    let server = node.tls.accept(Entry::StartTls).expect("accept");
    let mut link = Link::new(node.client(&version::TLS13), server);
    // A ClientHello that claims 60,000 bytes, in records of 1,000.
    let mut part = vec![22, 3, 1, 0x03, 0xe8, 1, 0, 0xea, 0x60];
    part.resize(1005, 0);
    let mut sent = 0;
    let fault = loop {
        match link.push_up(&part) {
            Ok(()) => sent += part.len(),
            Err(fault) => break fault,
        }
        part[5..].fill(0);
        assert!(
            link.server.pending() <= TLS_PENDING_BYTES_MAX && sent <= 2 * TLS_PENDING_BYTES_MAX
        );
    };
    assert!(matches!(fault, TlsFault::TooLong), "{fault}");
}

#[test]
fn closing_is_said_and_heard() {
    let node = Node::new(&["a.example"]);
    let server = node.tls.accept(Entry::StartTls).expect("accept");
    let mut link = Link::new(node.client(&version::TLS13), server);
    link.settle().expect("handshake");
    link.client.send_close_notify();
    link.settle().expect("no fault");
    assert!(link.closed);
    let mut out = Vec::new();
    link.server.send(b"</stream:stream>", &mut out).expect("the other direction is open");
    link.server.close(&mut out);
    link.push_down(&out);
    assert_eq!(link.at_client, b"</stream:stream>");
    // Nothing more, and not for want of a close_notify.
    assert_eq!(link.client.reader().read_to_end(&mut Vec::new()).ok(), Some(0));
}

#[test]
fn large_content_crosses_whole() {
    let node = Node::new(&["a.example"]);
    for version in [&version::TLS13, &version::TLS12] {
        let server = node.tls.accept(Entry::StartTls).expect("accept");
        let mut link = Link::new(node.client(version), server);
        link.step = 1000;
        link.settle().expect("handshake");
        let text: Vec<u8> = (0..50_000u32).map(|n| n as u8).collect();
        link.say(&text).expect("content");
        assert_eq!(link.at_server, text);
        assert_eq!(link.answer(&text), text);
    }
}
