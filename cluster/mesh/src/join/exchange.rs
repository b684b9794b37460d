//! What a joining node and a control node say to each other: one request, one answer. Pure.
//!
//! Each is a proof of 32 bytes and then what it covers. The answer to a request whose proof is
//! wrong has no proof, for the two have no secret in common.

use std::fmt;
use std::time::Duration;

use crate::identity::{NodeName, Roles};
use crate::limits::CLOCK_SKEW_MAX;
use crate::octets::{Octets, put_long};

use super::token::{Side, TokenHash, TokenId};

/// The version of this exchange.
const VERSION: u16 = 1;

/// What a node wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub node: NodeName,
    /// Its roles.
    pub roles: Roles,
    /// What else the control plane wants to know of it: not looked at here.
    pub about: Vec<u8>,
}

/// A request, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) token: TokenId,
    pub(super) clock: Duration,
    pub(super) wanted: Wanted,
    /// A request for a certificate, in DER.
    pub(super) certificate: Vec<u8>,
}

/// What a node that may join is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) certificate: Vec<u8>,
    pub(super) authority: Vec<u8>,
    /// The authority's key: only control nodes get it, for they issue certificates themselves.
    pub(super) authority_key: Option<Vec<u8>>,
    /// The number of its replica, if it is to hold one.
    pub(super) replica: Option<u64>,
    /// Name and address of the control nodes.
    pub(super) control: Vec<(String, String)>,
    /// What else the control plane has to say.
    pub(super) about: Vec<u8>,
}

/// Why a node may not join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinRefusal {
    /// The two do not understand each other.
    Version,
    /// The request cannot be read.
    Malformed,
    /// The token is not one of this cluster's, or has run out.
    UnknownToken,
    /// The clocks are too far apart: by so many seconds is the joining node's ahead.
    Clock(i64),
    /// The control plane cannot say at the moment.
    NotReady,
    /// The control plane refuses, and this is its sentence.
    Cluster(String),
}

impl fmt::Display for JoinRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinRefusal::Version => {
                "the versions of the two nodes are too far apart: upgrade the older one first"
            }
            JoinRefusal::Malformed => "the request to join cannot be read",
            JoinRefusal::UnknownToken => {
                "the cluster does not know this token, or it has run out: make a new one on a \
                 control node"
            }
            JoinRefusal::Clock(ahead) => {
                let (seconds, side) =
                    (ahead.unsigned_abs(), if *ahead > 0 { "ahead" } else { "behind" });
                return write!(
                    f,
                    "this node's clock is {seconds} seconds {side} of the cluster's: set the \
                     clocks, then join"
                );
            }
            JoinRefusal::NotReady => {
                "the cluster's control plane has no leader at the moment: try again"
            }
            JoinRefusal::Cluster(sentence) => sentence,
        })
    }
}

impl std::error::Error for JoinRefusal {}

/// What is taken of a sentence.
const SENTENCE_BYTES_MAX: usize = 1024;

/// A refusal, for which there may be no secret in common and so no proof. Whoever stands in between
/// could only make one up and keep a node from joining, which it can do anyway.
pub(super) fn refusal(why: &JoinRefusal) -> Vec<u8> {
    match why {
        JoinRefusal::Version => vec![1],
        JoinRefusal::Malformed => vec![2],
        JoinRefusal::UnknownToken => vec![3],
        JoinRefusal::Clock(ahead) => [&[4][..], &ahead.to_be_bytes()].concat(),
        JoinRefusal::NotReady => vec![5],
        JoinRefusal::Cluster(sentence) => [&[6], sentence.as_bytes()].concat(),
    }
}

fn refused(code: u8, rest: &[u8]) -> Option<JoinRefusal> {
    Some(match (code, rest) {
        (1, []) => JoinRefusal::Version,
        (2, []) => JoinRefusal::Malformed,
        (3, []) => JoinRefusal::UnknownToken,
        (4, rest) => JoinRefusal::Clock(i64::from_be_bytes(rest.try_into().ok()?)),
        (5, []) => JoinRefusal::NotReady,
        (6, rest) if rest.len() <= SENTENCE_BYTES_MAX => {
            let sentence = std::str::from_utf8(rest).ok()?;
            // It is shown on a terminal.
            let plain = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
            JoinRefusal::Cluster(sentence.chars().map(plain).collect())
        }
        _ => return None,
    })
}

/// Refuses clocks that are too far apart.
pub(super) fn clocks(theirs: Duration, ours: Duration) -> Result<(), JoinRefusal> {
    let seconds = |it: Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
    if theirs.abs_diff(ours) <= CLOCK_SKEW_MAX {
        return Ok(());
    }
    Err(JoinRefusal::Clock(seconds(theirs).saturating_sub(seconds(ours))))
}

impl Request {
    /// The request with its proof.
    pub(super) fn encode(&self, token: &TokenHash, binding: &[u8; 32]) -> Vec<u8> {
        let mut says = Vec::new();
        says.extend_from_slice(&VERSION.to_be_bytes());
        says.extend_from_slice(&self.token.0.to_be_bytes());
        says.extend_from_slice(&self.clock.as_secs().to_be_bytes());
        let roles = self.wanted.roles.to_string();
        let node = self.wanted.node.as_str();
        for part in [node.as_bytes(), roles.as_bytes(), &self.wanted.about, &self.certificate] {
            put_long(&mut says, part);
        }
        let proof = token.proof(Side::Joining, binding, &says);
        [&proof[..], &says].concat()
    }

    /// Reads a request, and gives its proof and what that covers.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Request, &[u8], &[u8]), JoinRefusal> {
        let bad = || JoinRefusal::Malformed;
        let (proof, says) = bytes.split_at_checked(32).ok_or_else(bad)?;
        let mut octets = Octets(says);
        if octets.u16().ok_or_else(bad)? != VERSION {
            return Err(JoinRefusal::Version);
        }
        let mut rest = || {
            let (token, clock) = (octets.u64()?, octets.u64()?);
            let node = NodeName::parse(octets.text()?)?;
            let roles = Roles::parse(octets.text()?)?;
            let (about, certificate) = (octets.long()?.to_vec(), octets.long()?.to_vec());
            octets.is_empty().then_some(Request {
                token: TokenId(token),
                clock: Duration::from_secs(clock),
                wanted: Wanted { node, roles, about },
                certificate,
            })
        };
        Ok((rest().ok_or_else(bad)?, proof, says))
    }
}

impl Granted {
    /// The answer with its proof.
    pub(super) fn encode(&self, token: &TokenHash, binding: &[u8; 32]) -> Vec<u8> {
        let mut says = Vec::new();
        let key = self.authority_key.as_deref().unwrap_or_default();
        for part in [&self.certificate, &self.authority, key, &self.about] {
            put_long(&mut says, part);
        }
        says.extend_from_slice(&self.replica.unwrap_or(0).to_be_bytes());
        for (node, address) in &self.control {
            put_long(&mut says, node.as_bytes());
            put_long(&mut says, address.as_bytes());
        }
        let proof = token.proof(Side::Answering, binding, &says);
        [&[0], &proof[..], &says].concat()
    }
}

/// What came back. `None` if it cannot be read, or its proof is wrong.
pub(super) fn answer(
    bytes: &[u8],
    token: &TokenHash,
    binding: &[u8; 32],
) -> Option<Result<Granted, JoinRefusal>> {
    let (code, rest) = bytes.split_first()?;
    if *code != 0 {
        return Some(Err(refused(*code, rest)?));
    }
    let (proof, says) = rest.split_at_checked(32)?;
    if !token.proves(Side::Answering, binding, says, proof) {
        return None;
    }
    let mut octets = Octets(says);
    let certificate = octets.long()?.to_vec();
    let authority = octets.long()?.to_vec();
    let (key, about) = (octets.long()?.to_vec(), octets.long()?.to_vec());
    let replica = octets.u64()?;
    let mut control = Vec::new();
    while !octets.is_empty() {
        control.push((octets.text()?.to_owned(), octets.text()?.to_owned()));
    }
    Some(Ok(Granted {
        certificate,
        authority,
        authority_key: (!key.is_empty()).then_some(key),
        replica: (replica > 0).then_some(replica),
        control,
        about,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: [u8; 32] = [3; 32];

    fn token() -> TokenHash {
        TokenHash([7; 32])
    }

    fn request() -> Request {
        Request {
            token: token().id(),
            clock: Duration::from_secs(1_800_000_000),
            wanted: Wanted {
                node: NodeName::parse("r1").unwrap(),
                roles: Roles::parse("router+control").unwrap(),
                about: b"192.0.2.1:5270".to_vec(),
            },
            certificate: b"request".to_vec(),
        }
    }

    #[test]
    fn requests_round_trip_and_their_proof_covers_all_of_them() {
        let bytes = request().encode(&token(), &BINDING);
        let (read, proof, says) = Request::decode(&bytes).unwrap();
        assert_eq!(read, request());
        assert!(token().proves(Side::Joining, &BINDING, says, proof));
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            if let Ok((_, proof, says)) = Request::decode(&bad) {
                assert!(!token().proves(Side::Joining, &BINDING, says, proof), "{at}");
            }
            assert!(Request::decode(&bytes[..at]).is_err(), "{at}");
        }
        let mut later = bytes.clone();
        later[33] = 2;
        assert_eq!(Request::decode(&later).unwrap_err(), JoinRefusal::Version);
    }

    #[test]
    fn answers_round_trip_and_a_wrong_proof_is_no_answer() {
        let granted = Granted {
            certificate: b"certificate".to_vec(),
            authority: b"authority".to_vec(),
            authority_key: Some(b"key".to_vec()),
            replica: Some(4),
            control: vec![("c1".into(), "192.0.2.7:5270".into())],
            about: b"more".to_vec(),
        };
        for granted in [granted, Granted::default()] {
            let bytes = granted.encode(&token(), &BINDING);
            assert_eq!(answer(&bytes, &token(), &BINDING), Some(Ok(granted)));
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                let read = answer(&bad, &token(), &BINDING);
                assert!(!matches!(read, Some(Ok(_))), "{at}");
            }
            assert_eq!(answer(&bytes, &token(), &[4; 32]), None);
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        use JoinRefusal::{Clock, Cluster, Malformed, NotReady, UnknownToken, Version};
        let all = [Version, Malformed, UnknownToken, Clock(-7), NotReady, Cluster("no".into())];
        for (code, why) in (1..).zip(all) {
            let bytes = refusal(&why);
            assert_eq!(bytes[0], code);
            assert_eq!(answer(&bytes, &token(), &BINDING), Some(Err(why)));
        }
        assert_eq!(answer(&[7], &token(), &BINDING), None);
        let loud = answer(&refusal(&Cluster("\u{1b}[31mno".into())), &token(), &BINDING);
        assert_eq!(loud, Some(Err(Cluster("\u{fffd}[31mno".into()))));
        let long = Cluster("x".repeat(SENTENCE_BYTES_MAX + 1));
        assert_eq!(answer(&refusal(&long), &token(), &BINDING), None);
        let now = Duration::from_secs(1_800_000_000);
        assert_eq!(clocks(now + CLOCK_SKEW_MAX, now), Ok(()));
        assert_eq!(clocks(now - CLOCK_SKEW_MAX, now), Ok(()));
        let far = now - CLOCK_SKEW_MAX - Duration::from_secs(1);
        let why = clocks(far, now).unwrap_err();
        assert_eq!(why, JoinRefusal::Clock(-601));
        assert!(why.to_string().contains("601 seconds behind"), "{why}");
    }
}
