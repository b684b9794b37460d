//! Why two nodes do not talk: closed enums, and the numbers that stand for them on the wire.

use std::fmt;

/// What one side holds against the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The certificate was issued by an authority that is not this cluster's.
    UnknownAuthority,
    /// The certificate is of another cluster.
    WrongCluster,
    /// The certificate is past its time.
    Expired,
    /// The certificate's time has not come: a clock is wrong.
    NotYetValid,
    /// The other side showed no certificate.
    NoCertificate,
    /// The certificate cannot be read, or is not signed as it should be.
    BadCertificate,
    /// Nodes of these roles have nothing to say to each other.
    RoleNotAllowed,
    /// Another node answers at the address.
    WrongNode,
    /// The two nodes' versions are too far apart.
    Version,
    /// The other link between these two nodes, which was dialled at the same time, is kept.
    Duplicate,
    /// A node tried to link with itself, or with one that bears its name.
    Itself,
    /// The control plane does not know the node under this name with this key, or has removed it.
    NotAMember,
}

impl Refusal {
    const ALL: [Refusal; 12] = [
        Refusal::UnknownAuthority,
        Refusal::WrongCluster,
        Refusal::Expired,
        Refusal::NotYetValid,
        Refusal::NoCertificate,
        Refusal::BadCertificate,
        Refusal::RoleNotAllowed,
        Refusal::WrongNode,
        Refusal::Version,
        Refusal::Duplicate,
        Refusal::Itself,
        Refusal::NotAMember,
    ];

    /// The number by which a connection is closed for this. Numbers below 16 are other endings.
    pub(super) fn code(self) -> u32 {
        16 + self as u32
    }

    pub(super) fn from_code(code: u64) -> Option<Refusal> {
        Refusal::ALL.into_iter().find(|it| u64::from(it.code()) == code)
    }

    /// What a TLS alert says, when the other side ended the handshake.
    pub(super) fn from_alert(alert: u8) -> Option<Refusal> {
        Some(match alert {
            48 => Refusal::UnknownAuthority,
            49 => Refusal::WrongCluster,
            45 => Refusal::Expired,
            116 => Refusal::NoCertificate,
            42 | 43 | 46 | 51 => Refusal::BadCertificate,
            _ => return None,
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::UnknownAuthority => {
                "the certificate comes from an authority that is not this cluster's: \
                 join the node with a token of this cluster"
            }
            Refusal::WrongCluster => {
                "the node belongs to another cluster: check the address, or join it anew with a \
                 token of this cluster"
            }
            Refusal::Expired => {
                "the certificate has expired: join the node anew, and check both clocks"
            }
            Refusal::NotYetValid => "the certificate is not valid yet: check both clocks",
            Refusal::NoCertificate => "no certificate was shown: join the node first",
            Refusal::BadCertificate => "the certificate is not one of the mesh",
            Refusal::RoleNotAllowed => {
                "nodes with these roles do not talk to each other: check the address"
            }
            Refusal::WrongNode => "another node answers at this address: check the address",
            Refusal::Version => {
                "the versions of the two nodes are too far apart: upgrade one step at a time"
            }
            Refusal::Duplicate => "the two nodes are linked already",
            Refusal::NotAMember => {
                "the control plane does not know a node of this name and key, or has removed it: \
                 join the node anew"
            }
            Refusal::Itself => "the other node bears this node's own name: give each node its own",
        })
    }
}

/// Why there is no link, or no longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// This node refused the other.
    Refused(Refusal),
    /// The other node refused this one.
    RefusedByPeer(Refusal),
    /// Nothing answers, or nothing arrived for too long.
    Silent,
    /// The other node ended the link: it stops, or was stopped.
    ClosedByPeer,
    /// This node ended the link.
    Closed,
    /// A newer link between the two nodes has taken its place.
    Superseded,
    /// The other side does not follow the protocol of links.
    Broken,
    /// The other side has not read what it was owed.
    Overrun,
    /// This machine cannot make the connection.
    Unusable,
    /// The name in the node's address stands for no address, or nobody knows.
    NoAddress,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Refused(why) => write!(f, "refused by this node: {why}"),
            LinkError::RefusedByPeer(why) => write!(f, "refused by the other node: {why}"),
            LinkError::Silent => f.write_str("nothing answers"),
            LinkError::ClosedByPeer => f.write_str("the other node ended the link"),
            LinkError::Closed => f.write_str("this node ended the link"),
            LinkError::Superseded => f.write_str("a newer link has taken its place"),
            LinkError::Broken => f.write_str("the other node does not follow the protocol"),
            LinkError::Overrun => f.write_str("the other node does not read what it is owed"),
            LinkError::Unusable => f.write_str("this machine cannot make the connection"),
            LinkError::NoAddress => f.write_str(
                "the name in the address is not known: check it, and this machine's DNS",
            ),
        }
    }
}

impl std::error::Error for LinkError {}

impl LinkError {
    /// The number by which this node closes a connection.
    pub(super) fn code(self) -> u32 {
        match self {
            LinkError::Refused(why) => why.code(),
            LinkError::Superseded => 2,
            LinkError::Broken => 3,
            LinkError::Overrun => 4,
            _ => 1,
        }
    }

    /// What the end of a connection means.
    pub(super) fn from_end(end: &quinn::ConnectionError) -> LinkError {
        use quinn::ConnectionError as End;
        match end {
            End::ApplicationClosed(close) => match close.error_code.into_inner() {
                2 => LinkError::Superseded,
                3 => LinkError::Broken,
                4 => LinkError::Overrun,
                code => Refusal::from_code(code)
                    .map_or(LinkError::ClosedByPeer, LinkError::RefusedByPeer),
            },
            End::ConnectionClosed(close) => alert(close.error_code)
                .and_then(Refusal::from_alert)
                .map_or(LinkError::ClosedByPeer, LinkError::RefusedByPeer),
            End::TransportError(error) => alert(error.code)
                .and_then(Refusal::from_alert)
                .map_or(LinkError::Broken, LinkError::Refused),
            End::TimedOut | End::Reset => LinkError::Silent,
            End::LocallyClosed => LinkError::Closed,
            End::VersionMismatch => LinkError::Broken,
            End::CidsExhausted => LinkError::Unusable,
        }
    }
}

/// The TLS alert in a QUIC error code (RFC 9001 §4.8).
fn alert(code: quinn::TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    (0x100..0x200).contains(&code).then_some((code & 0xff) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_apart_and_stay_what_they_are() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.code() as usize, 16 + at);
            assert_eq!(Refusal::from_code(refusal.code().into()), Some(refusal));
            assert!(refusal.to_string().len() > 20);
        }
        assert_eq!(Refusal::from_code(15), None);
        assert_eq!(Refusal::from_code(99), None);
    }
}
