//! TLS of client connections. Only this file and its folder name rustls.
//!
//! A [`TlsConn`] owns no buffer at rest: it decrypts in the caller's read buffer and encrypts into
//! the caller's write buffer (rustls' unbuffered API, which halves the memory of an idle
//! connection). What it keeps is the beginning of a record whose end has not come, and only until
//! it comes.

mod binding;
mod certificates;
mod tickets;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::tls13::OkmBlock;
use rustls::server::{NoServerSessionStorage, ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{HandshakeKind, KeyLog, ProtocolVersion, SupportedCipherSuite};

pub use certificates::{CertificateFault, CertificateFiles, Certificates};
pub use tickets::{TicketKey, Ticketer};

use crate::limits::TLS_PENDING_BYTES_MAX;
use certificates::Leaf;

/// The ALPN protocol of direct TLS (XEP-0368 §3).
const ALPN_CLIENT: &[u8] = b"xmpp-client";

/// What a record adds to its content: header, explicit nonce (TLS 1.2), content type (TLS 1.3) and
/// tag.
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;
const RECORD_CONTENT_MAX: usize = 16 * 1024;

/// What all TLS connections of a node share: certificates, ticket keys, and the two configurations
/// made of them.
#[derive(Debug)]
pub struct Tls {
    starttls: Arc<ServerConfig>,
    direct: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    tickets: Arc<Ticketer>,
}

/// How a client came to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// After `<starttls/>` (RFC 6120 §5): ALPN is not looked at.
    StartTls,
    /// From the first byte (XEP-0368): ALPN is `xmpp-client` or absent, anything else is refused
    /// with `no_application_protocol`.
    Direct,
}

impl Tls {
    /// Makes the configurations. TLS 1.2 and 1.3 with AEAD suites, no client certificates, no early
    /// data (a replay of it would replay a login), stateless tickets.
    ///
    /// # Errors
    /// Where the provider offers no suite for these versions, which its build decides.
    pub fn new(
        certificates: Arc<Certificates>,
        tickets: Arc<Ticketer>,
    ) -> Result<Self, rustls::Error> {
        let mut starttls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        starttls.session_storage = Arc::new(NoServerSessionStorage {});
        starttls.ticketer = Arc::clone(&tickets) as _;
        starttls.send_tls13_tickets = 1;
        starttls.max_early_data_size = 0;
        starttls.key_log = Arc::new(ExporterSecretOnly);
        let mut direct = starttls.clone();
        direct.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
        Ok(Self { starttls: Arc::new(starttls), direct: Arc::new(direct), certificates, tickets })
    }

    /// A connection that waits for its ClientHello.
    ///
    /// # Errors
    /// None that a peer can cause.
    pub fn accept(&self, entry: Entry) -> Result<TlsConn, TlsFault> {
        let config = match entry {
            Entry::StartTls => &self.starttls,
            Entry::Direct => &self.direct,
        };
        let conn = UnbufferedServerConnection::new(Arc::clone(config)).map_err(TlsFault::Tls)?;
        Ok(TlsConn { conn, pending: Vec::new(), handshake: Some(Box::default()), closed: false })
    }

    /// The certificates, to reload them.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// The ticket keys, to share or change them.
    pub fn tickets(&self) -> &Arc<Ticketer> {
        &self.tickets
    }
}

/// Why a TLS connection ends. The alert, if one is due, is already in the output.
#[derive(Debug)]
pub enum TlsFault {
    /// The peer broke TLS, offered nothing that we take, or sent a fatal alert.
    Tls(rustls::Error),
    /// A record or handshake message is longer than we keep.
    TooLong,
    /// Something was to be sent before the handshake, or after the key's last use.
    CannotSend,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::TooLong => f.write_str("TLS: record or handshake message too long"),
            Self::CannotSend => f.write_str("TLS: nothing can be sent in this state"),
        }
    }
}

impl std::error::Error for TlsFault {}

/// What a finished handshake means to the stream above it. Made once, when the handshake ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Established {
    /// TLS 1.3; otherwise 1.2.
    pub tls13: bool,
    /// A ticket was taken.
    pub resumed: bool,
    /// The client named `xmpp-client` by ALPN.
    pub alpn: bool,
    /// The server name that the client asked for (RFC 6066 §3), lower case.
    pub server_name: Option<String>,
    /// `tls-exporter` (RFC 9266). `None` below TLS 1.3, where it would need the extended master
    /// secret.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4). `None` where the certificate's signature names no
    /// single hash.
    pub end_point: Option<Bytes>,
}

/// What one call of [`TlsConn::receive`] came to.
#[derive(Debug, Default)]
pub struct Received {
    /// The handshake ended in this call.
    pub established: Option<Established>,
    /// The peer sent `close_notify`, in this call or before: nothing more will come.
    pub closed: bool,
}

/// The server's side of one TLS connection.
pub struct TlsConn {
    conn: UnbufferedServerConnection,
    /// Input that needs more input: the beginning of a record or of a handshake message.
    pending: Vec<u8>,
    /// What rustls told us in the handshake; freed at its end.
    handshake: Option<Box<Scratch>>,
    closed: bool,
}

impl fmt::Debug for TlsConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.handshake.is_some() { "handshake" } else { "traffic" };
        f.debug_struct("TlsConn")
            .field("state", &state)
            .field("pending", &self.pending.len())
            .finish()
    }
}

impl TlsConn {
    /// How many bytes wait in front: the caller reads from the socket into its buffer behind that
    /// many.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.handshake.is_some()
    }

    /// Takes what came from the socket: `buffer` is [`TlsConn::pending`] bytes of any content, then
    /// what was read. Decrypts in place, appends content to `plain`, and what has to be sent
    /// (handshake, tickets, alerts) to `out`.
    ///
    /// # Errors
    /// The connection is over; `out` ends with the alert, and `plain` holds what came before the
    /// fault.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Received, TlsFault> {
        let kept = self.pending.len();
        let Some(front) = buffer.get_mut(..kept) else { return Err(TlsFault::TooLong) };
        front.copy_from_slice(&self.pending);
        self.pending = Vec::new();

        let scratch = HANDSHAKE.replace(self.handshake.take());
        debug_assert!(scratch.is_none(), "another connection left its handshake behind");
        let processed = pump(&mut self.conn, buffer, plain, out);
        let scratch = HANDSHAKE.replace(None);

        let (used, closed) = processed?;
        self.closed |= closed;
        let rest = buffer.get(used..).unwrap_or_default();
        if rest.len() > TLS_PENDING_BYTES_MAX {
            return Err(TlsFault::TooLong);
        }
        self.pending = rest.to_vec();
        let mut received = Received { established: None, closed: self.closed };
        if self.conn.is_handshaking() {
            self.handshake = scratch;
        } else if let Some(scratch) = scratch {
            received.established = Some(self.establish(*scratch));
        }
        Ok(received)
    }

    /// Encrypts `plain` and appends the records to `out`.
    ///
    /// # Errors
    /// [`TlsFault::CannotSend`] in the handshake and when a key is used up and cannot be changed.
    pub fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsFault> {
        if plain.is_empty() {
            return Ok(());
        }
        let records = plain.len().div_ceil(RECORD_CONTENT_MAX);
        let room = plain.len() + records * RECORD_OVERHEAD;
        self.write(out, room, |writer, out| writer.encrypt(plain, out))
    }

    /// Appends `close_notify` to `out`, where the handshake is done; otherwise there is nothing to
    /// say.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        let _ = self.write(out, RECORD_OVERHEAD + 2, |writer, out| writer.queue_close_notify(out));
    }

    /// Runs `f` in the state in which content may be sent, with more room if it asks for more.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        mut f: impl FnMut(&mut Writer<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsFault> {
        let mut room = room;
        // Three rounds: key update messages may have to go first, and they want their room.
        for _ in 0..3 {
            // `pending` is offered as it is: rustls wants to see the input that it has not let go
            // of.
            let mut none = Vec::new();
            let (used, closed) = pump(&mut self.conn, &mut self.pending, &mut none, out)?;
            debug_assert!(none.is_empty() && used == 0, "input that was not looked at");
            self.closed |= closed;
            let UnbufferedStatus { state, .. } = self.conn.process_tls_records(&mut self.pending);
            let Ok(ConnectionState::WriteTraffic(mut writer)) = state else {
                return Err(TlsFault::CannotSend);
            };
            let start = out.len();
            out.resize(start + room, 0);
            match f(&mut writer, &mut out[start..]) {
                Ok(written) => {
                    out.truncate(start + written);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(more)) => {
                    out.truncate(start);
                    room = more.required_size;
                }
                Err(EncryptError::EncryptExhausted) => {
                    out.truncate(start);
                    return Err(TlsFault::CannotSend);
                }
            }
        }
        Err(TlsFault::CannotSend)
    }

    fn establish(&self, scratch: Scratch) -> Established {
        let exporter = match (self.conn.negotiated_cipher_suite(), &scratch.exporter_secret) {
            (Some(SupportedCipherSuite::Tls13(suite)), Some(secret)) => {
                binding::exporter(suite, secret)
            }
            _ => None,
        };
        Established {
            tls13: self.conn.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            resumed: self.conn.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: self.conn.alpn_protocol() == Some(ALPN_CLIENT),
            server_name: scratch.server_name,
            exporter,
            end_point: scratch.leaf.and_then(|leaf| leaf.end_point.clone()),
        }
    }
}

type Writer<'c> = rustls::unbuffered::WriteTraffic<'c, rustls::server::ServerConnectionData>;

/// Drives rustls over `buffer` until it wants more input. Returns how many bytes it let go of, and
/// whether the peer closed.
fn pump(
    conn: &mut UnbufferedServerConnection,
    buffer: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(usize, bool), TlsFault> {
    let mut used = 0;
    let mut closed = false;
    loop {
        let input = buffer.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = conn.process_tls_records(input);
        let mut done = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(TlsFault::Tls)?;
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out)?,
            // `out` keeps the order, so what was encoded counts as sent.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => closed = true,
            Ok(ConnectionState::Closed) => (closed, done) = (true, true),
            Ok(_) => done = true,
            Err(error) => {
                flush_alert(conn, out);
                return Err(TlsFault::Tls(error));
            }
        }
        used += discard;
        if done {
            return Ok((used, closed));
        }
    }
}

/// After an error: what rustls still wants the peer to know.
fn flush_alert(conn: &mut UnbufferedServerConnection, out: &mut Vec<u8>) {
    while let Ok(ConnectionState::EncodeTlsData(mut data)) = conn.process_tls_records(&mut []).state
    {
        if encode(&mut data, out).is_err() {
            return;
        }
    }
}

fn encode(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, rustls::server::ServerConnectionData>,
    out: &mut Vec<u8>,
) -> Result<(), TlsFault> {
    let start = out.len();
    let written = match data.encode(&mut []) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(more)) => {
            out.resize(start + more.required_size, 0);
            data.encode(&mut out[start..])
        }
        Err(error) => Err(error),
    };
    match written {
        Ok(written) => {
            out.truncate(start + written);
            Ok(())
        }
        Err(_) => Err(TlsFault::CannotSend),
    }
}

thread_local! {
    /// The handshake of the connection that rustls is working for on this thread. rustls calls its
    /// key log, its certificate resolver and its ticketer without a word about the connection, but
    /// always inside `process_tls_records`, so that nothing can be taken for another connection's.
    static HANDSHAKE: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// What is learned in a handshake and used at its end.
#[derive(Default)]
struct Scratch {
    /// Wipes itself when dropped.
    exporter_secret: Option<OkmBlock>,
    leaf: Option<Arc<Leaf>>,
    server_name: Option<String>,
}

fn with_handshake<R>(f: impl FnOnce(&mut Scratch) -> R) -> Option<R> {
    HANDSHAKE.with_borrow_mut(|scratch| scratch.as_deref_mut().map(f))
}

/// Takes the exporter secret, which the unbuffered API gives no other way to, and refuses every
/// other secret.
#[derive(Debug)]
struct ExporterSecretOnly;

const EXPORTER_SECRET: &str = "EXPORTER_SECRET";

impl KeyLog for ExporterSecretOnly {
    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER_SECRET
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER_SECRET && secret.len() <= OkmBlock::MAX_LEN {
            with_handshake(|scratch| scratch.exporter_secret = Some(OkmBlock::new(secret)));
        }
    }
}

#[cfg(test)]
mod tests;
