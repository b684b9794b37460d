//! A node joins a cluster over loopback, or is told why not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Admission, Admitted, Admitting, Clock, Door, JoinError, JoinRefusal, Token, TokenHash, TokenId,
    Wanted, issue_renewal, renew,
};
use crate::link::{Answer, CallRefusal, Digest, Peer, Service, Settings};
use crate::raft::Seat;
use crate::testing::{Maker, name, now, start, until};
use crate::{Credentials, Frame, Handler, Link, LinkError, Mesh, NodeKey, Refusal, Roles};

/// The tokens that there are, and what was asked of the control plane.
#[derive(Default)]
struct Desk(Mutex<(Vec<TokenHash>, Vec<Wanted>)>);

impl Admission for Desk {
    fn token(&self, token: TokenId, _: Duration) -> Option<TokenHash> {
        self.0.lock().0.iter().copied().find(|it| it.id() == token)
    }

    fn admit(&self, _: TokenHash, wanted: Wanted, certificate: Vec<u8>) -> Admitting {
        let identity = crate::authority::identity_of(&certificate).unwrap();
        assert_eq!((&identity.node, identity.roles), (&wanted.node, wanted.roles));
        let mut desk = self.0.lock();
        let taken = desk.1.iter().any(|it| it.node == wanted.node);
        desk.1.push(wanted);
        Box::pin(async move {
            if taken {
                return Err(JoinRefusal::Cluster("there is a node of this name".into()));
            }
            Ok(Admitted {
                replica: Some(2),
                control: vec![Seat { node: "c1".into(), address: "192.0.2.1:1".into() }],
                about: b"welcome".to_vec(),
            })
        })
    }
}

async fn join(
    address: SocketAddr,
    token: &Token,
    wanted: &Wanted,
    now: Duration,
) -> Result<super::Joined, JoinError> {
    super::join(address, token, wanted, &NodeKey::create().unwrap(), now).await
}

struct Site {
    maker: Maker,
    mesh: Mesh,
    desk: Arc<Desk>,
}

impl Site {
    fn new(clock: Duration) -> Site {
        let maker = Maker::new(9);
        let (mesh, _) = start(maker.credentials("c1", "control"), Settings::default());
        let desk = Arc::new(Desk::default());
        let authority = Arc::new(maker.again());
        let clock: Clock = Arc::new(move || clock);
        let door = Door::new(maker.cluster, authority, desk.clone(), clock);
        mesh.serve_joins(Arc::new(door));
        Site { maker, mesh, desk }
    }

    fn token(&self, secret: u8) -> Token {
        let token = Token::new([secret; 16], self.maker.authority.certificate());
        self.desk.0.lock().0.push(token.hash());
        // By way of its text, as an operator carries it.
        Token::parse(&token.to_line()).unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.mesh.address().unwrap()
    }
}

fn wanted(node: &str, roles: &str) -> Wanted {
    Wanted { node: name(node), roles: Roles::parse(roles).unwrap(), about: b"more".to_vec() }
}

#[tokio::test]
async fn a_node_with_a_token_joins_and_links() {
    let site = Site::new(now());
    let token = site.token(1);
    let joined =
        join(site.address(), &token, &wanted("r1", "router+control"), now()).await.unwrap();
    assert_eq!(joined.credentials.identity(), &site.maker.identity("r1", "router+control"));
    assert_eq!(joined.authority_key, Some(site.maker.authority.key()));
    assert_eq!((joined.replica, joined.control.len()), (Some(2), 1));
    assert_eq!(joined.about, b"welcome");
    assert_eq!(site.desk.0.lock().1, [wanted("r1", "router+control")]);
    let (r1, _) = start(joined.credentials, Settings::default());
    r1.dial(site.address(), Some(&name("c1"))).await.unwrap();

    let token = site.token(2);
    let joined = join(site.address(), &token, &wanted("e1", "edge"), now()).await.unwrap();
    assert_eq!(joined.authority_key, None, "only control nodes hold the authority's key");
}

#[tokio::test]
async fn a_node_that_may_not_join_is_told_why() {
    let site = Site::new(now());
    let token = site.token(1);
    let ask = async |token: &Token, node, roles, at| {
        join(site.address(), token, &wanted(node, roles), at).await.unwrap_err()
    };
    let far = Duration::from_secs(3600);
    let why = ask(&token, "e1", "edge", now() - far).await;
    assert!(matches!(why, JoinError::Refused(JoinRefusal::Clock(-3601..=-3599))), "{why}");
    assert!(site.desk.0.lock().1.is_empty(), "the control plane was not asked");
    join(site.address(), &token, &wanted("e1", "edge"), now()).await.unwrap();
    let why = ask(&token, "e1", "edge", now()).await;
    assert_eq!(why.to_string(), "the cluster refuses: there is a node of this name");
    let guessed = Token::new([9; 16], site.maker.authority.certificate());
    let why = ask(&guessed, "e3", "edge", now()).await;
    assert_eq!(why, JoinError::Refused(JoinRefusal::UnknownToken));

    // A token of another cluster, by whose fingerprint nobody here is known.
    let other = Token::new([1; 16], Maker::new(9).authority.certificate());
    let why = ask(&other, "e3", "edge", now()).await;
    assert_eq!(why, JoinError::Link(LinkError::Refused(Refusal::UnknownAuthority)));
    // A node that lets nobody in.
    let (plain, _) = start(site.maker.credentials("r1", "router"), Settings::default());
    let why = join(plain.address().unwrap(), &token, &wanted("e3", "edge"), now()).await;
    assert_eq!(why.unwrap_err(), JoinError::Link(LinkError::ClosedByPeer));
}

/// Somebody who has the token's fingerprint but not its secret cannot answer, and one who listens
/// to a proof cannot use it in another session.
#[tokio::test]
async fn an_answer_without_the_secret_is_none() {
    struct Liar(Mutex<Vec<Bytes>>);
    impl crate::link::Joins for Liar {
        fn join(
            &self,
            _: SocketAddr,
            _: [u8; 32],
            request: Bytes,
        ) -> std::pin::Pin<Box<dyn Future<Output = Bytes> + Send>> {
            self.0.lock().push(request);
            Box::pin(async { Bytes::from(vec![0; 100]) })
        }
    }
    let site = Site::new(now());
    let token = site.token(1);
    let (liar, _) = start(site.maker.credentials("r9", "router"), Settings::default());
    let heard = Arc::new(Liar(Mutex::default()));
    liar.serve_joins(heard.clone());
    let why = join(liar.address().unwrap(), &token, &wanted("e1", "edge"), now()).await;
    assert_eq!(why.unwrap_err(), JoinError::Answer);
    let request = heard.0.lock()[0].clone();
    let passed_on =
        crate::link::exchange_join(site.address(), *token.authority(), |_| request).await;
    let (answer, binding) = passed_on.unwrap();
    let answer = super::exchange::answer(&answer, &token.hash(), &binding);
    assert_eq!(answer, Some(Err(JoinRefusal::UnknownToken)));
}

/// Answers calls for certificates.
struct Office(Maker);

impl Handler for Office {
    fn up(&self, _: &Link) {}
    fn frame(&self, _: &Link, _: Frame, _: Option<Digest>) {}
    fn room(&self, _: &Link) {}
    fn down(&self, _: &Link, _: LinkError) {}

    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        let answer = match service {
            Service::Certificate => issue_renewal(&self.0.authority, peer, &body, now()),
            _ => Err(CallRefusal::NoService),
        };
        Box::pin(async move { answer })
    }
}

#[tokio::test]
async fn certificates_are_renewed_while_links_stand() {
    let maker = Maker::new(9);
    let soon = now() + Duration::from_secs(3600);
    let (credentials, c1) = (maker.credentials("e1", "edge"), maker.credentials("c1", "control"));
    let office = Arc::new(Office(maker));
    let address = crate::testing::LOCALHOST.parse().unwrap();
    let control = Mesh::start(c1, address, Settings::default(), office).unwrap();
    let (edge, book) = start(credentials, Settings::default());
    assert!(edge.credentials().wants_renewal(now()));
    let old_key = edge.credentials().key().to_vec();
    assert!(renew(&edge, &[name("c1")]).await.is_none(), "no link yet");
    let link = edge.dial(control.address().unwrap(), Some(&name("c1"))).await.unwrap();
    let kept: Credentials = renew(&edge, &[name("c0"), name("c1")]).await.unwrap();
    assert!(kept.not_after() > soon && !kept.wants_renewal(now()));
    assert_eq!(edge.credentials().certificate(), kept.certificate());
    assert!(NodeKey::open(kept.key()).is_ok() && kept.key() == old_key);
    assert!(link.is_up() && book.seen().len() == 1, "the link was not touched");
    link.close();
    until("its end", || edge.links().is_empty()).await;
    edge.dial(control.address().unwrap(), None).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_for_the_key_of_the_link_only() {
    let maker = Maker::new(9);
    let (credentials, c1) = (maker.credentials("e1", "edge"), maker.credentials("c1", "control"));
    let address = crate::testing::LOCALHOST.parse().unwrap();
    let office = Arc::new(Office(maker));
    let control = Mesh::start(c1, address, Settings::default(), office).unwrap();
    let own = NodeKey::open(credentials.key()).unwrap().request().unwrap();
    let other = NodeKey::create().unwrap().request().unwrap();
    let (edge, _) = start(credentials, Settings::default());
    let link = edge.dial(control.address().unwrap(), None).await.unwrap();
    let ask = async |request: Vec<u8>| {
        link.call(Service::Certificate, Bytes::from(request), Duration::from_secs(5)).await
    };
    let refused = |why| Err(crate::link::CallError::Refused(why));
    assert!(ask(own.to_vec()).await.is_ok());
    assert_eq!(ask(other.to_vec()).await, refused(CallRefusal::NotAllowed));
    assert_eq!(ask(b"no request".to_vec()).await, refused(CallRefusal::Malformed));
}
