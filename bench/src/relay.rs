//! A bare relay without XML: reads lines, looks a name up in a table, writes lines. What it costs
//! is the floor for any server on the same machine: sockets, system calls and wake-ups, and nothing
//! else.
//!
//! A client's first line is its name; the answer is `<ok/>`. Each further line is a name, a space
//! and what is relayed to that client, with its line feed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use memchr::{memchr, memchr_iter};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::Failure;

/// The longest line.
const LINE_MAX: usize = 64 * 1024;

/// What may wait for one client.
const WAITING_MAX: usize = 16 << 20;

/// How the relay is started.
#[derive(Clone, Debug, clap::Args)]
pub struct Relay {
    /// Where to listen without TLS
    #[arg(long, default_value = "127.0.0.1:6222")]
    pub listen: SocketAddr,
    /// Where to listen with TLS
    #[arg(long, requires = "certificate")]
    pub listen_tls: Option<SocketAddr>,
    /// Certificate, PEM
    #[arg(long, requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long)]
    pub key: Option<PathBuf>,
}

type Table = Rc<RefCell<HashMap<Vec<u8>, Rc<Peer>>>>;

/// Somebody connected.
struct Peer {
    stream: TcpStream,
    out: RefCell<Out>,
    /// There is something to write that the socket did not take.
    stuck: Notify,
}

struct Out {
    tls: Option<ServerConnection>,
    bytes: Vec<u8>,
}

/// Relays until the process ends.
///
/// # Errors
/// If it cannot listen.
pub async fn serve(relay: &Relay) -> Result<(), Failure> {
    let table = Table::default();
    let plain = TcpListener::bind(relay.listen).await?;
    if let (Some(address), Some(certificate), Some(key)) =
        (relay.listen_tls, &relay.certificate, &relay.key)
    {
        let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![b"xmpp-client".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind(address).await?;
        tokio::task::spawn_local(accept(listener, Some(config), table.clone()));
    }
    accept(plain, None, table).await
}

async fn accept(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    table: Table,
) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut tls = tls.clone().map(ServerConnection::new).transpose()?;
        if let Some(tls) = &mut tls {
            // What waits is bounded by lines, above.
            tls.set_buffer_limit(None);
        }
        let peer = Rc::new(Peer {
            stream,
            out: RefCell::new(Out { tls, bytes: Vec::new() }),
            stuck: Notify::new(),
        });
        tokio::task::spawn_local(push(peer.clone()));
        let table = table.clone();
        tokio::task::spawn_local(async move {
            // A client that leaves or says nonsense is none of the others' concern.
            let _ = talk(&peer, &table).await;
            table.borrow_mut().retain(|_, other| !Rc::ptr_eq(other, &peer));
        });
    }
}

/// Reads lines and relays them.
async fn talk(peer: &Rc<Peer>, table: &Table) -> Result<(), Failure> {
    let mut bytes = Vec::with_capacity(LINE_MAX);
    let mut known = false;
    let mut touched: Vec<Rc<Peer>> = Vec::new();
    loop {
        peer.stream.readable().await?;
        if !peer.read(&mut bytes)? {
            continue;
        }
        let mut from = 0;
        for end in memchr_iter(b'\n', &bytes) {
            let line = &bytes[from..=end];
            from = end + 1;
            if !known {
                known = true;
                table.borrow_mut().insert(line[..line.len() - 1].to_vec(), peer.clone());
                peer.out.borrow_mut().bytes.extend_from_slice(b"<ok/>");
                touched.push(peer.clone());
                continue;
            }
            let space = memchr(b' ', line).ok_or("a line without a name")?;
            let to = table.borrow().get(&line[..space]).cloned();
            let to = to.ok_or("nobody has this name")?;
            let mut out = to.out.borrow_mut();
            if out.bytes.is_empty() {
                touched.push(to.clone());
            }
            out.bytes.extend_from_slice(&line[space + 1..]);
            if out.bytes.len() > WAITING_MAX {
                return Err("a client does not read".into());
            }
        }
        bytes.drain(..from);
        if bytes.len() > LINE_MAX {
            return Err("a line is too long".into());
        }
        for peer in touched.drain(..) {
            if !peer.write()? {
                peer.stuck.notify_one();
            }
        }
    }
}

/// Writes what a socket did not take at once.
async fn push(peer: Rc<Peer>) -> io::Result<()> {
    loop {
        peer.stuck.notified().await;
        loop {
            peer.stream.writable().await?;
            if peer.write()? {
                break;
            }
        }
    }
}

/// The socket as what TLS reads from and writes to.
struct Ready<'a>(&'a TcpStream);

impl Read for Ready<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    /// Reads what is there; `false` if nothing is.
    fn read(&self, bytes: &mut Vec<u8>) -> Result<bool, Failure> {
        let mut out = self.out.borrow_mut();
        let Some(tls) = &mut out.tls else {
            return match self.stream.try_read_buf(bytes) {
                Ok(0) => Err("closed".into()),
                Ok(_) => Ok(true),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(why) => Err(why.into()),
            };
        };
        match tls.read_tls(&mut Ready(&self.stream)) {
            Ok(0) => return Err("closed".into()),
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(why) => return Err(why.into()),
        }
        let plain = tls.process_new_packets()?.plaintext_bytes_to_read();
        let before = bytes.len();
        bytes.resize(before + plain, 0);
        tls.reader().read_exact(&mut bytes[before..])?;
        let wants = tls.wants_write();
        drop(out);
        if wants && !self.write()? {
            self.stuck.notify_one();
        }
        Ok(plain > 0)
    }

    /// Writes what waits; `false` if the socket did not take all.
    fn write(&self) -> io::Result<bool> {
        let out = &mut *self.out.borrow_mut();
        let result = match &mut out.tls {
            None => Self::write_plain(&self.stream, &mut out.bytes),
            Some(tls) => {
                if !tls.is_handshaking() && !out.bytes.is_empty() {
                    tls.writer().write_all(&out.bytes)?;
                    out.bytes.clear();
                }
                Self::write_tls(&self.stream, tls)
            }
        };
        match result {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(why) => Err(why),
        }
    }

    fn write_plain(stream: &TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = stream.try_write(bytes)?;
            bytes.drain(..written);
        }
        Ok(())
    }

    fn write_tls(stream: &TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
        while tls.wants_write() {
            tls.write_tls(&mut Ready(stream))?;
        }
        Ok(())
    }
}
