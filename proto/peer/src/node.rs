//! What nodes say of themselves and of each other: the first frame of a link, heartbeats, who is
//! not heard any more.

use std::fmt;

use xmpp::text::Text;

use crate::NodeId;

/// A cluster: 128 random bits, made when it was. Nodes of different clusters do not talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a node does in the cluster: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Roles(pub(crate) u8);

impl Roles {
    /// None at all.
    pub const NONE: Roles = Roles(0);
    /// Holds client sockets.
    pub const EDGE: Roles = Roles(1);
    /// Owns shards.
    pub const ROUTER: Roles = Roles(2);
    /// Holds a replica of the control plane.
    pub const CONTROL: Roles = Roles(4);
    /// Holds streams to other servers.
    pub const FEDERATION: Roles = Roles(8);
    /// Speaks HTTP.
    pub const WEB: Roles = Roles(16);
    /// Serves its embedded store to the routers: for trials and tests.
    pub const STORE: Roles = Roles(32);

    /// Each role and its name.
    pub const NAMES: [(Roles, &'static str); 6] = [
        (Roles::EDGE, "edge"),
        (Roles::ROUTER, "router"),
        (Roles::CONTROL, "control"),
        (Roles::FEDERATION, "federation"),
        (Roles::WEB, "web"),
        (Roles::STORE, "store"),
    ];

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Roles) -> Roles {
        Roles(self.0 | other.0)
    }

    /// Whether all of those are among these.
    pub const fn has(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Roles> {
        Self::NAMES.into_iter().find(|role| role.1 == name).map(|role| role.0)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (_, name) in Self::NAMES.into_iter().filter(|role| self.has(role.0)) {
            write!(f, "{between}{name}")?;
            between = ", ";
        }
        Ok(())
    }
}

/// What a program can do that earlier ones cannot: a bit for each feature, never used again for
/// another. A feature is used when its gate is open, which is when every member has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Features(pub u64);

impl Features {
    /// Those of this program. The first version has none beyond itself.
    pub const OURS: Features = Features(0);

    /// What both have.
    #[must_use]
    pub const fn and(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// What either has.
    #[must_use]
    pub const fn or(self, other: Features) -> Features {
        Features(self.0 | other.0)
    }

    /// What is here and not there.
    #[must_use]
    pub const fn without(self, other: Features) -> Features {
        Features(self.0 & !other.0)
    }

    /// Whether all of those are among these.
    pub const fn has(self, other: Features) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The versions of frames that a program reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// The lowest.
    pub min: u8,
    /// The highest.
    pub max: u8,
}

impl Versions {
    /// Those of this program.
    pub const OURS: Versions =
        Versions { min: crate::codec::VERSION_MIN, max: crate::codec::VERSION };

    /// In which version two programs talk, if there is one.
    pub const fn shared(self, other: Versions) -> Option<u8> {
        let max = if self.max < other.max { self.max } else { other.max };
        if max >= self.min && max >= other.min { Some(max) } else { None }
    }
}

/// The first frame of a link, from both sides. It is written in version 1 for ever, with fields
/// added at its end alone, so that any two programs can say why they do not talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's name, which an operator gave it.
    pub name: Text,
    /// What it does.
    pub roles: Roles,
    /// The versions of frames that it reads and writes.
    pub versions: Versions,
    /// What it can do.
    pub features: Features,
    /// The version of the program, for people.
    pub program: Text,
    /// Its clock, in microseconds since the Unix epoch.
    pub clock_us: u64,
    /// The version of the map that it has; zero for none.
    pub map: u64,
}

/// Sent to each peer every 500 ms, and whenever the lease or the load changes class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Counted up with each.
    pub number: u64,
    /// The version of the map that the node has.
    pub map: u64,
    /// Of a router: how long ago the store last confirmed its ownership, in milliseconds. `None`
    /// before the first time, and for other roles.
    pub lease_ms: Option<u32>,
    /// How busy it is.
    pub load: Load,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load {
    /// Of all its processors, in thousandths.
    pub cpu_permille: u16,
    /// Of its limit, in thousandths.
    pub memory_permille: u16,
    /// Sessions that it holds: sockets of an edge, sessions of an owner.
    pub sessions: u32,
    /// Bytes in its queues.
    pub queued_bytes: u64,
}

/// A node that the sender does not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Which.
    pub node: NodeId,
    /// For how long, in milliseconds.
    pub silent_ms: u32,
}

/// Why a link is refused or ended. Each says in a sentence what an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefusal {
    /// The peer is of another cluster, which is this one.
    WrongCluster(ClusterId),
    /// The peer speaks other versions; these are spoken here.
    Versions(Versions),
    /// The peer is no member.
    NotAMember,
    /// The peer was declared dead, or a later start of it is a member.
    Superseded {
        /// The incarnation that the members know.
        incarnation: u32,
    },
    /// The peer's certificate is not that of the member.
    WrongCertificate,
    /// The clocks differ by more than is allowed; this is the clock here, in microseconds since
    /// the Unix epoch.
    Clock {
        /// The clock of the node that refuses.
        clock_us: u64,
    },
    /// The node is stopping.
    Stopping,
}

impl fmt::Display for LinkRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongCluster(ours) => {
                write!(f, "that node is of another cluster than {ours}: check the address it joins")
            }
            Self::Versions(ours) => write!(
                f,
                "that program is too far from this one, which speaks versions {} to {}: upgrade \
                 one release at a time",
                ours.min, ours.max
            ),
            Self::NotAMember => f.write_str(
                "that node is no member: let it join with a token of `carillon cluster token`",
            ),
            Self::Superseded { incarnation } => write!(
                f,
                "that node was declared dead or has been started again as incarnation \
                 {incarnation}: stop this process and start it anew"
            ),
            Self::WrongCertificate => f.write_str(
                "that node's certificate is not the one it joined with: remove the node and let it \
                 join again",
            ),
            Self::Clock { .. } => {
                f.write_str("the clocks of both nodes differ by too much: set them by NTP")
            }
            Self::Stopping => f.write_str("that node is stopping: try another"),
        }
    }
}

/// What is said over a link about the link and its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSaid {
    /// The first frame, from both sides.
    Hello(Box<Hello>),
    /// Instead of a hello, or later: the link ends.
    Refused(LinkRefusal),
    /// Still there.
    Heartbeat(Heartbeat),
    /// To control nodes: all nodes that the sender does not hear; an empty list takes all back.
    Silent(Vec<Silence>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_versions_talk() {
        let of = |min, max| Versions { min, max };
        assert_eq!(of(1, 2).shared(of(2, 3)), Some(2));
        assert_eq!(of(1, 1).shared(of(1, 2)), Some(1));
        assert_eq!(of(1, 1).shared(of(2, 3)), None);
        assert_eq!(of(4, 5).shared(of(2, 3)), None);
    }

    #[test]
    fn roles_have_names() {
        let both = Roles::EDGE.with(Roles::CONTROL);
        assert_eq!(both.to_string(), "edge, control");
        assert!(both.has(Roles::EDGE) && !both.has(Roles::ROUTER) && Roles::NONE.is_empty());
        for (role, name) in Roles::NAMES {
            assert_eq!(Roles::from_name(name), Some(role));
        }
    }
}
