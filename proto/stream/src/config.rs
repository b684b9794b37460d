//! What a stream is told when it begins.

use std::fmt;

use bytes::Bytes;
use xmpp::blocks::base64;
use xmpp::limits::ReadLimits;

use crate::Mechanism;
use crate::limits;

/// What all streams of a listener share.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domains served here, normalised as `Jid::domain` gives them. The first one is named
    /// where a client asked for none of them.
    pub domains: Vec<String>,
    /// What a client may send before it is authenticated.
    pub before_auth: ReadLimits,
    /// What it may send afterwards.
    pub after_auth: ReadLimits,
    /// What is offered, best first. -PLUS variants are offered only where there is channel binding
    /// data, PLAIN only inside TLS.
    pub mechanisms: Vec<Mechanism>,
    /// Whether nothing but STARTTLS is possible before TLS (RFC 6120 §5.3.1). `false` is for test
    /// rigs.
    pub require_tls: bool,
    /// Stream management (XEP-0198).
    pub sm: StreamManagement,
    /// Where a client should come first to resume its session (XEP-0198 §5): `host` or `host:port`,
    /// IPv6 in brackets. `None`: wherever it finds the domain.
    pub location: Option<String>,
    /// Further stream features for an authenticated client, after bind and stream management: what
    /// modules advertise (roster versioning, pre-approval, client state, entity capabilities).
    pub features: Vec<Feature>,
}

impl Config {
    /// Everything at its default, for these domains.
    pub fn new(domains: Vec<String>) -> Self {
        Self {
            domains,
            before_auth: ReadLimits::BEFORE_AUTH,
            after_auth: ReadLimits::AFTER_AUTH,
            mechanisms: Mechanism::ALL.to_vec(),
            require_tls: true,
            sm: StreamManagement::default(),
            location: None,
            features: vec![
                Feature::new("ver", xmpp::ns::ROSTER_VERSIONING),
                Feature::new("sub", xmpp::ns::PRE_APPROVAL),
            ],
        }
    }

    /// Whether the domain is served here.
    pub(crate) fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|ours| ours == domain)
    }
}

/// How stream management is offered.
#[derive(Clone, Copy, Debug)]
pub struct StreamManagement {
    /// Whether it is.
    pub offered: bool,
    /// How many stanzas may be unacknowledged before the client is asked, if it was not asked when
    /// the stream was quiet.
    pub request_after: u32,
}

impl Default for StreamManagement {
    fn default() -> Self {
        Self { offered: true, request_after: limits::STANZAS_PER_REQUEST }
    }
}

/// One empty stream feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The element's name.
    pub name: &'static str,
    /// Its namespace, one of `xmpp::ns`.
    pub ns: &'static str,
    /// Its attributes, without a namespace.
    pub attributes: Vec<(&'static str, String)>,
}

impl Feature {
    /// A feature without attributes.
    pub fn new(name: &'static str, ns: &'static str) -> Self {
        Self { name, ns, attributes: Vec::new() }
    }
}

/// How the client's bytes arrive when the stream begins.
#[derive(Clone, Debug)]
pub enum Transport {
    /// In the clear; STARTTLS comes first.
    Plain,
    /// Inside TLS from the first byte (XEP-0368).
    Tls(TlsInfo),
}

/// What a finished TLS handshake gives the stream. ALPN and protocol versions are the handshake's
/// own affair.
#[derive(Clone, Default)]
pub struct TlsInfo {
    /// Channel binding `tls-exporter` (RFC 9266). Only where the session's secrets are unique to
    /// it: TLS 1.3, or TLS 1.2 with the extended master secret.
    pub tls_exporter: Option<[u8; 32]>,
    /// Channel binding `tls-server-end-point` (RFC 5929 §4): the hash of the certificate that was
    /// shown.
    pub server_end_point: Option<Bytes>,
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exporter value is a secret of the TLS session.
        f.debug_struct("TlsInfo")
            .field("tls_exporter", &self.tls_exporter.is_some())
            .field("server_end_point", &self.server_end_point.is_some())
            .finish()
    }
}

/// All the random bytes that one stream uses: stream ids and SCRAM nonces. Each byte is used once.
pub struct Random {
    bytes: [u8; Self::BYTES],
    used: usize,
}

impl Random {
    /// How many bytes are wanted.
    pub const BYTES: usize =
        (limits::HEADERS_MAX + limits::AUTH_ATTEMPTS_MAX as usize) * limits::RANDOM_TEXT_BYTES;

    /// Takes bytes that the operating system's generator just made and that nothing else sees.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self { bytes, used: 0 }
    }

    /// The next bytes, in base64; `None` when all are used, which the limits do not let happen.
    pub(crate) fn text(&mut self) -> Option<String> {
        let bytes = self.bytes.get(self.used..self.used + limits::RANDOM_TEXT_BYTES)?;
        self.used += limits::RANDOM_TEXT_BYTES;
        Some(base64::encode(bytes))
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(…)")
    }
}
