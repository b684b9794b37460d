//! From a connection to a link: certificates, hellos; and the one exchange of a joining node.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use super::super::frame::{Item, Unframer};
use super::super::hello::Hello;
use super::super::refusal::{LinkError, Refusal};
use super::super::{Link, Settings, lanes, tls};
use super::{Mesh, client_config, server_config};
use crate::authority::{identity_of, key_fingerprint};
use crate::identity::{Identity, NodeName};
use crate::limits;

/// Answers nodes that want to join.
pub trait Joins: Send + Sync + 'static {
    /// One request and its answer. `binding` are 32 bytes that only the two ends of this TLS
    /// session know.
    fn join(
        &self,
        from: SocketAddr,
        binding: [u8; 32],
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send>>;
}

const BINDING: &[u8] = b"EXPORTER-carillon-join";

fn binding(connection: &Connection) -> Result<[u8; 32], LinkError> {
    let mut out = [0; 32];
    let made = connection.export_keying_material(&mut out, BINDING, b"");
    made.map_err(|_| LinkError::Unusable).map(|()| out)
}

/// The joining node's side: dials `address`, trusts only the authority with this fingerprint,
/// sends what `request` makes of the session's binding, and gives the answer with that binding.
///
/// # Errors
/// Nobody answers, or whoever answers has another authority.
pub async fn exchange_join(
    address: SocketAddr,
    authority: [u8; 32],
    request: impl FnOnce(&[u8; 32]) -> Bytes,
) -> Result<(Bytes, [u8; 32]), LinkError> {
    let exchange = async {
        let (config, verdict) = tls::joiner(authority)?;
        let config = client_config(config, &Settings::default())?;
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let any = any.parse().map_err(|_| LinkError::Unusable)?;
        let endpoint = Endpoint::client(any).map_err(|_| LinkError::Unusable)?;
        let connection = connect(&endpoint, config, &verdict, address).await?;
        let end = |_| LinkError::from_end(&connection.closed_or_silent());
        let binding = binding(&connection)?;
        let (mut send, mut receive) =
            connection.open_bi().await.map_err(|end| LinkError::from_end(&end))?;
        send.write_all(&request(&binding)).await.map_err(|_| LinkError::ClosedByPeer)?;
        send.finish().map_err(|_| LinkError::ClosedByPeer)?;
        let answer = receive.read_to_end(limits::JOIN_BYTES_MAX).await.map_err(end)?;
        connection.close(LinkError::Closed.code().into(), b"");
        endpoint.wait_idle().await;
        Ok((Bytes::from(answer), binding))
    };
    tokio::time::timeout(limits::HANDSHAKE * 2, exchange).await.unwrap_or(Err(LinkError::Silent))
}

/// The reason of a connection's end.
trait Ended {
    fn closed_or_silent(&self) -> quinn::ConnectionError;
}

impl Ended for Connection {
    fn closed_or_silent(&self) -> quinn::ConnectionError {
        self.close_reason().unwrap_or(quinn::ConnectionError::TimedOut)
    }
}

async fn connect(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
    verdict: &tls::Verdict,
    address: SocketAddr,
) -> Result<Connection, LinkError> {
    let connecting = endpoint
        .connect_with(config, address, tls::SERVER_NAME)
        .map_err(|_| LinkError::Unusable)?;
    connecting.await.map_err(|end| judged(verdict).unwrap_or(LinkError::from_end(&end)))
}

/// What our own verifier found.
fn judged(verdict: &tls::Verdict) -> Option<LinkError> {
    verdict.lock().map(LinkError::Refused)
}

/// Who the other side has proved to be.
fn shown(connection: &Connection) -> Result<(Identity, [u8; 32]), LinkError> {
    let none = LinkError::Refused(Refusal::NoCertificate);
    let chain = connection.peer_identity().ok_or(none)?;
    let chain = chain.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| none)?;
    let first = chain.first().ok_or(none)?;
    let bad = |_| LinkError::Refused(Refusal::BadCertificate);
    Ok((identity_of(first).map_err(bad)?, key_fingerprint(first).map_err(bad)?))
}

fn close(connection: &Connection, why: LinkError) -> LinkError {
    connection.close(why.code().into(), b"");
    why
}

/// The two control streams, with what was read beyond the hello.
type Streams = (SendStream, RecvStream, Unframer);

impl Mesh {
    pub(super) async fn dial_once(
        &self,
        address: SocketAddr,
        node: Option<&NodeName>,
    ) -> Result<Link, LinkError> {
        let (config, verdict) = tls::dialler(&self.credentials())?;
        let config = client_config(config, &self.node.settings)?;
        let connection = connect(&self.node.endpoint, config, &verdict, address).await?;
        let made = async {
            let identity = self.judge(&connection, node)?;
            let mut send = open(&connection).await?;
            say(&mut send, &self.hello_to(&identity.0.node)).await?;
            let (receive, unframer, hello) = self.hear(&connection).await?;
            let link = self.settle(&connection, identity, &hello, true)?;
            Ok((link, (send, receive, unframer)))
        };
        self.run(&connection, made.await)
    }

    pub(super) async fn answer(&self, incoming: Incoming) -> Result<(), LinkError> {
        let address = incoming.remote_address();
        let (config, verdict) = server_config(&self.credentials(), &self.node.settings)?;
        let connecting = incoming.accept_with(Arc::new(config));
        let connection = connecting
            .map_err(|end| LinkError::from_end(&end))?
            .await
            .map_err(|end| judged(&verdict).unwrap_or(LinkError::from_end(&end)))?;
        let data = connection.handshake_data().and_then(|it| it.downcast::<HandshakeData>().ok());
        if data.and_then(|it| it.protocol).as_deref() == Some(tls::ALPN_JOIN) {
            return self.answer_join(&connection, address).await;
        }
        let made = async {
            let identity = self.judge(&connection, None)?;
            let (receive, unframer, hello) = self.hear(&connection).await?;
            // The hello says how many links were lost: made before this one is in the table.
            let mine = self.hello_to(&identity.0.node);
            let link = self.settle(&connection, identity, &hello, false)?;
            let answered = async {
                let mut send = open(&connection).await?;
                say(&mut send, &mine).await?;
                Ok(send)
            };
            // A link in the table has a watcher, whatever becomes of it.
            match answered.await {
                Ok(send) => Ok((link, (send, receive, unframer))),
                Err(why) => {
                    tokio::spawn(self.clone().watch(link));
                    Err(why)
                }
            }
        };
        self.run(&connection, made.await).map(|_| ())
    }

    fn run(
        &self,
        connection: &Connection,
        made: Result<(Link, Streams), LinkError>,
    ) -> Result<Link, LinkError> {
        let (link, streams) = made.map_err(|why| close(connection, why))?;
        lanes::start(&link, streams);
        tokio::spawn(self.clone().watch(link.clone()));
        Ok(link)
    }

    /// Whether this node and the other one have something to say to each other.
    fn judge(
        &self,
        connection: &Connection,
        wanted: Option<&NodeName>,
    ) -> Result<(Identity, [u8; 32]), LinkError> {
        let (identity, key) = shown(connection)?;
        let me = &self.node.me;
        let refusal = if identity.cluster != me.cluster {
            Refusal::WrongCluster
        } else if wanted.is_some_and(|wanted| *wanted != identity.node) {
            Refusal::WrongNode
        } else if identity.node == me.node {
            Refusal::Itself
        } else if !identity.roles.may_link(me.roles) {
            Refusal::RoleNotAllowed
        } else {
            return Ok((identity, key));
        };
        Err(LinkError::Refused(refusal))
    }

    /// Waits for the other side's control lane and its hello.
    async fn hear(
        &self,
        connection: &Connection,
    ) -> Result<(RecvStream, Unframer, Hello), LinkError> {
        let end = |end: quinn::ConnectionError| LinkError::from_end(&end);
        let mut receive = connection.accept_uni().await.map_err(end)?;
        let ended = || LinkError::from_end(&connection.closed_or_silent());
        let mut lane = [0];
        receive.read_exact(&mut lane).await.map_err(|_| ended())?;
        if lane[0] != 0 {
            return Err(LinkError::Broken);
        }
        let mut unframer = self.unframer();
        let hello = loop {
            match unframer.poll_item().map_err(|_| LinkError::Broken)? {
                Some(Item::Hello(body)) => break Hello::decode(&body).ok_or(LinkError::Broken)?,
                Some(_) => return Err(LinkError::Broken),
                None => {}
            }
            match receive.read_chunk(1024, true).await.map_err(|_| ended())? {
                Some(chunk) => unframer.handle_bytes(&chunk.bytes),
                None => return Err(LinkError::Broken),
            }
        };
        let mine = self.hello_to(&self.node.me.node);
        if !hello.speaks_with(&mine) {
            return Err(LinkError::Refused(Refusal::Version));
        }
        if usize::from(hello.lanes) > limits::LANES_MAX {
            return Err(LinkError::Broken);
        }
        Ok((receive, unframer, hello))
    }

    async fn answer_join(
        &self,
        connection: &Connection,
        from: SocketAddr,
    ) -> Result<(), LinkError> {
        let joins = self.node.joins.lock().clone();
        let joins = joins.ok_or_else(|| close(connection, LinkError::Closed))?;
        let (mut send, mut receive) =
            connection.accept_bi().await.map_err(|end| LinkError::from_end(&end))?;
        let request = receive
            .read_to_end(limits::JOIN_BYTES_MAX)
            .await
            .map_err(|_| close(connection, LinkError::Broken))?;
        let answer = joins.join(from, binding(connection)?, Bytes::from(request)).await;
        send.write_all(&answer).await.map_err(|_| LinkError::ClosedByPeer)?;
        send.finish().map_err(|_| LinkError::ClosedByPeer)?;
        // The other side closes when it has read the answer.
        connection.closed().await;
        Ok(())
    }
}

async fn open(connection: &Connection) -> Result<SendStream, LinkError> {
    let mut send = connection.open_uni().await.map_err(|end| LinkError::from_end(&end))?;
    let lane = send.write_all(&[0]).await;
    lane.map_err(|_| LinkError::from_end(&connection.closed_or_silent()))?;
    Ok(send)
}

async fn say(send: &mut SendStream, hello: &Hello) -> Result<(), LinkError> {
    let item = Item::Hello(Bytes::from(hello.encode()));
    let mut pieces = [Bytes::copy_from_slice(&item.head()), item.body().clone()];
    send.write_all_chunks(&mut pieces).await.map_err(|_| LinkError::ClosedByPeer)
}
