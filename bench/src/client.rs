//! A client that speaks raw XMPP: prepared bytes out, markers counted in what comes back.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use memchr::memmem;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use xmpp::blocks::base64;
use xmpp::scram::Hash;
use xmpp::scram::client::ExpectServerFirst;
use xmpp::scram::message::Binding;

use crate::accounts::PASSWORD;
use crate::{Failure, Target, Transport};

/// A socket, with or without TLS.
pub enum Socket {
    /// Without.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// A client that is logged in and bound.
pub struct Client {
    /// Its socket.
    pub socket: Socket,
    /// Its bare JID.
    pub jid: String,
}

impl Client {
    /// Logs in with SCRAM-SHA-1 and binds a resource. `source`: which loopback address it comes
    /// from (`127.0.0.0/16`), since ports of one address are few.
    ///
    /// # Errors
    /// What the server refused, or a socket that failed.
    pub async fn login(target: &Target, user: &str, source: u16) -> Result<Self, Failure> {
        let mut socket = connect(target, source).await?;
        let open = format!(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
             to='{}' version='1.0'>",
            target.domain
        );
        say(&mut socket, &open).await?;
        hear(&mut socket, "</stream:features>").await?;
        let first = ExpectServerFirst::new(Hash::Sha1, user, &nonce(), Binding::Unsupported);
        say(
            &mut socket,
            &format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{}</auth>",
                base64::encode(first.client_first().as_bytes())
            ),
        )
        .await?;
        let challenge = hear(&mut socket, "</challenge>").await?;
        let server_first = inner(&challenge).ok_or("no challenge")?;
        let (_, proof) = first
            .handle_server_first(&server_first, PASSWORD, b"")
            .map_err(|error| format!("the challenge is wrong: {error}"))?;
        say(
            &mut socket,
            &format!(
                "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>",
                base64::encode(proof.as_bytes())
            ),
        )
        .await?;
        hear(&mut socket, "</success>").await?;
        say(&mut socket, &open).await?;
        hear(&mut socket, "</stream:features>").await?;
        let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
                    <resource>load</resource></bind></iq>";
        say(&mut socket, bind).await?;
        hear(&mut socket, "</iq>").await?;
        Ok(Self { socket, jid: format!("{user}@{}", target.domain) })
    }

    /// Says something and waits for a marker in the answer.
    ///
    /// # Errors
    /// If the socket fails or the server closes the stream.
    pub async fn ask(&mut self, text: &str, marker: &str) -> Result<(), Failure> {
        say(&mut self.socket, text).await?;
        hear(&mut self.socket, marker).await.map(|_| ())
    }
}

async fn connect(target: &Target, source: u16) -> Result<Socket, Failure> {
    let socket = TcpSocket::new_v4()?;
    let [high, low] = source.to_be_bytes();
    socket.bind(std::net::SocketAddr::from(([127, 0, high, low.max(1)], 0)))?;
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    match target.transport {
        Transport::Plain => Ok(Socket::Plain(stream)),
        Transport::Tls => {
            let name = ServerName::try_from(target.domain.clone())?;
            let stream = TlsConnector::from(tls_config()?).connect(name, stream).await?;
            Ok(Socket::Tls(Box::new(stream)))
        }
    }
}

async fn say(socket: &mut Socket, text: &str) -> Result<(), Failure> {
    socket.write_all(text.as_bytes()).await?;
    socket.flush().await?;
    Ok(())
}

/// Reads until the marker has come.
async fn hear(socket: &mut Socket, marker: &str) -> Result<String, Failure> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while memmem::find(&heard, marker.as_bytes()).is_none() {
        let read = socket.read(&mut buffer).await?;
        heard.extend_from_slice(&buffer[..read]);
        if read == 0 || memmem::find(&heard, b"</stream:stream>").is_some() {
            let heard = String::from_utf8_lossy(&heard);
            return Err(format!("the server closed before {marker}: {heard}").into());
        }
    }
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

/// The decoded text of the last element of an answer.
fn inner(answer: &str) -> Option<String> {
    let end = answer.rfind("</")?;
    let start = answer[..end].rfind('>')? + 1;
    String::from_utf8(base64::decode(&answer[start..end])?).ok()
}

fn nonce() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // A load generator's logins need to differ, not to be unpredictable.
    format!("load{:016x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn tls_config() -> Result<Arc<ClientConfig>, Failure> {
    use std::sync::OnceLock;
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// Takes any certificate: the server under load is on this machine and has one that it made itself.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
