//! How a node comes into a cluster: a token, one exchange, a certificate; and how it gets the next
//! certificate before that one runs out.

mod exchange;
mod renewal;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use exchange::{JoinRefusal, Wanted};
pub use renewal::{issue_renewal, renew};
pub use token::{NoToken, Token, TokenHash, TokenId};

use crate::link::{Joins, LinkError, exchange_join};
use crate::raft::Seat;
use crate::{Authority, CertificateError, ClusterId, Credentials, Identity, NodeKey, Role};
use exchange::{Granted, Request};
use token::Side;

/// The time, since the Unix epoch. An argument, so that tests can set it.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What a node has after it has joined.
#[derive(Debug)]
pub struct Joined {
    /// Who it is, with its key.
    pub credentials: Credentials,
    /// The authority's key, on a control node: it can issue certificates itself.
    pub authority_key: Option<Vec<u8>>,
    /// The number of its replica, if it is to hold one.
    pub replica: Option<u64>,
    /// The control nodes.
    pub control: Vec<Seat>,
    /// What else the control plane said.
    pub about: Vec<u8>,
}

/// Why a node has not joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// The other node was not reached, or is of another cluster than the token.
    Link(LinkError),
    /// The cluster says no.
    Refused(JoinRefusal),
    /// Whoever answered does not know the token's secret, or its answer cannot be read.
    Answer,
    /// This node's own cryptography failed.
    Crypto(CertificateError),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Link(LinkError::Refused(_)) => f.write_str(
                "whoever answers at this address is not of the cluster that made the token: check \
                 address and token",
            ),
            JoinError::Link(LinkError::Silent) => f.write_str(
                "nobody answers at this address: check it, and that the control node runs and its \
                 port is open for UDP",
            ),
            JoinError::Link(LinkError::ClosedByPeer) => f.write_str(
                "the node at this address does not let nodes join: give the address of a control \
                 node",
            ),
            JoinError::Link(why) => write!(f, "the cluster was not reached: {why}"),
            JoinError::Refused(why) => write!(f, "the cluster refuses: {why}"),
            JoinError::Answer => f.write_str(
                "whoever answers does not know the token: make a new one on a control node",
            ),
            JoinError::Crypto(why) => write!(f, "no key could be made: {why}"),
        }
    }
}

impl std::error::Error for JoinError {}

/// Joins a cluster by asking the control node at `address`. The key is kept by the caller before it
/// asks: when an answer is lost, the same node with the same key may ask again with its token.
///
/// # Errors
/// It was not reached, is of another cluster than the token, or refuses.
pub async fn join(
    address: SocketAddr,
    token: &Token,
    wanted: &Wanted,
    key: &NodeKey,
    now: Duration,
) -> Result<Joined, JoinError> {
    let certificate = key.request().map_err(JoinError::Crypto)?;
    let hash = token.hash();
    let request = Request { token: hash.id(), clock: now, wanted: wanted.clone(), certificate };
    let asked = exchange_join(address, *token.authority(), |binding| {
        Bytes::from(request.encode(&hash, binding))
    });
    let (answer, binding) = asked.await.map_err(JoinError::Link)?;
    let answer = exchange::answer(&answer, &hash, &binding).ok_or(JoinError::Answer)?;
    let granted = answer.map_err(JoinError::Refused)?;
    let made = Credentials::new(&granted.authority, &granted.certificate, &key.to_der());
    let credentials = made.map_err(|_| JoinError::Answer)?;
    let identity = credentials.identity();
    if identity.node != wanted.node || identity.roles != wanted.roles {
        return Err(JoinError::Answer);
    }
    let control = granted.control.into_iter();
    Ok(Joined {
        authority_key: granted.authority_key,
        replica: granted.replica,
        control: control.map(|(node, address)| Seat { node, address }).collect(),
        about: granted.about,
        credentials,
    })
}

/// What the control plane says to a node whose proof is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The number of its replica, if it is to hold one.
    pub replica: Option<u64>,
    /// The control nodes.
    pub control: Vec<Seat>,
    /// What else the control plane has to say: not looked at here.
    pub about: Vec<u8>,
}

/// An answer of the control plane on its way.
pub type Admitting = Pin<Box<dyn Future<Output = Result<Admitted, JoinRefusal>> + Send>>;

/// What the control plane knows of tokens and names.
pub trait Admission: Send + Sync + 'static {
    /// The hash of the token with this name, if there is one that has not run out.
    fn token(&self, token: TokenId, now: Duration) -> Option<TokenHash>;
    /// Spends the token and takes the name, for the whole cluster at once. Called only when the
    /// proof was right. `certificate` is the one that the node will get if this says yes.
    fn admit(&self, token: TokenHash, wanted: Wanted, certificate: Vec<u8>) -> Admitting;
}

/// Answers joining nodes, on a control node.
pub struct Door {
    cluster: ClusterId,
    authority: Arc<Authority>,
    admission: Arc<dyn Admission>,
    clock: Clock,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({})", self.cluster)
    }
}

impl Door {
    /// A door of this cluster.
    pub fn new(
        cluster: ClusterId,
        authority: Arc<Authority>,
        admission: Arc<dyn Admission>,
        clock: Clock,
    ) -> Door {
        Door { cluster, authority, admission, clock }
    }
}

/// Judges a request up to where the control plane is asked.
fn judge(
    admission: &dyn Admission,
    binding: &[u8; 32],
    bytes: &[u8],
    now: Duration,
) -> Result<(Request, TokenHash), JoinRefusal> {
    let (request, proof, says) = Request::decode(bytes)?;
    let token = admission.token(request.token, now).ok_or(JoinRefusal::UnknownToken)?;
    if !token.proves(Side::Joining, binding, says, proof) {
        return Err(JoinRefusal::UnknownToken);
    }
    exchange::clocks(request.clock, now)?;
    Ok((request, token))
}

impl Joins for Door {
    fn join(
        &self,
        from: SocketAddr,
        binding: [u8; 32],
        bytes: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send>> {
        let (authority, admission) = (self.authority.clone(), self.admission.clone());
        let (cluster, now) = (self.cluster, (self.clock)());
        Box::pin(async move {
            let answered = async {
                let (request, token) = judge(&*admission, &binding, &bytes, now)?;
                let wanted = request.wanted;
                let identity = Identity { cluster, node: wanted.node.clone(), roles: wanted.roles };
                // Made before the token is spent: a request that cannot be signed costs none.
                let certificate = authority
                    .issue(&request.certificate, &identity, now)
                    .map_err(|_| JoinRefusal::Malformed)?;
                let control = wanted.roles.has(Role::Control);
                let admitted = admission.admit(token, wanted, certificate.to_vec()).await?;
                let seats = admitted.control.into_iter();
                let granted = Granted {
                    certificate: certificate.to_vec(),
                    authority: authority.certificate().to_vec(),
                    authority_key: control.then(|| authority.key()),
                    replica: admitted.replica,
                    control: seats.map(|seat| (seat.node, seat.address)).collect(),
                    about: admitted.about,
                };
                tracing::info!(%from, node = %identity.node, roles = %identity.roles, "joined");
                Ok(granted.encode(&token, &binding))
            };
            Bytes::from(answered.await.unwrap_or_else(|why: JoinRefusal| {
                tracing::warn!(%from, %why, "a node may not join");
                exchange::refusal(&why)
            }))
        })
    }
}
