//! Who a node is: its cluster, its name and its roles, as its certificate says them.

use std::fmt;

use crate::limits::NODE_NAME_BYTES_MAX;

/// A cluster: 128 random bits, made when it is initialised. Two clusters never talk, even where an
/// operator has given them the same addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ClusterId {
    /// As frames say it.
    pub fn to_peer(self) -> peer::node::ClusterId {
        peer::node::ClusterId(self.0)
    }

    /// Reads what `Display` writes, and nothing else.
    pub fn parse(text: &str) -> Option<ClusterId> {
        let ours = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !ours {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(ClusterId)
    }
}

/// A node's name: what an operator calls it, unique in its cluster. Lower-case letters, digits,
/// dots and hyphens, as in host names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(String);

impl NodeName {
    /// Takes a text that is a name.
    pub fn parse(text: &str) -> Option<NodeName> {
        let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        let outer = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let ours = text.len() <= NODE_NAME_BYTES_MAX
            && text.bytes().all(inner)
            && outer(text.bytes().next())
            && outer(text.bytes().last());
        ours.then(|| NodeName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Holds client sockets.
    Edge,
    /// Owns shards.
    Router,
    /// Holds a replica of the control plane.
    Control,
    /// Holds streams to other servers.
    Federation,
    /// Answers HTTP.
    Web,
    /// Serves its embedded store to the routers: for trials and tests.
    Store,
}

impl Role {
    /// All of them, in the order in which certificates list them.
    pub const ALL: [Role; 6] =
        [Role::Edge, Role::Router, Role::Control, Role::Federation, Role::Web, Role::Store];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Edge => "edge",
            Role::Router => "router",
            Role::Control => "control",
            Role::Federation => "federation",
            Role::Web => "web",
            Role::Store => "store",
        }
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles(u8);

impl Roles {
    /// A set of these.
    pub fn of(roles: &[Role]) -> Roles {
        Roles(roles.iter().fold(0, |bits, role| bits | 1 << (*role as u8)))
    }

    /// Whether the set holds `role`.
    pub fn has(self, role: Role) -> bool {
        self.0 & (1 << (role as u8)) != 0
    }

    /// Whether the set holds all of `other`.
    pub fn has_all(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set holds nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads roles that are joined by `+`, each at most once.
    pub fn parse(text: &str) -> Option<Roles> {
        let mut roles = Roles::default();
        for word in text.split('+') {
            let role = Role::ALL.into_iter().find(|role| role.as_str() == word)?;
            if roles.has(role) {
                return None;
            }
            roles.0 |= 1 << (role as u8);
        }
        Some(roles)
    }

    /// As frames say them.
    pub fn to_peer(self) -> peer::node::Roles {
        use peer::node::Roles as Said;
        let each = Role::ALL.into_iter().filter(|role| self.has(*role));
        each.fold(Said::NONE, |said, role| {
            said.with(Said::from_name(role.as_str()).unwrap_or_default())
        })
    }

    /// Whether nodes with these roles have something to say to each other: one of them owns
    /// shards or holds the control plane. Edges do not talk to edges, nor to the store.
    pub fn may_link(self, other: Roles) -> bool {
        let core = Roles::of(&[Role::Router, Role::Control]);
        (self.0 | other.0) & core.0 != 0 && !self.is_empty() && !other.is_empty()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for role in Role::ALL.into_iter().filter(|role| self.has(*role)) {
            if !first {
                f.write_str("+")?;
            }
            first = false;
            f.write_str(role.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a certificate of the mesh says, in its one URI: `carillon://CLUSTER/NODE/role+role`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that the node belongs to.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeName,
    /// What it may be.
    pub roles: Roles,
}

const SCHEME: &str = "carillon://";

impl Identity {
    /// Reads what `Display` writes, and nothing else.
    pub fn parse(text: &str) -> Option<Identity> {
        let mut parts = text.strip_prefix(SCHEME)?.split('/');
        let cluster = ClusterId::parse(parts.next()?)?;
        let node = NodeName::parse(parts.next()?)?;
        let roles = Roles::parse(parts.next()?)?;
        parts.next().is_none().then_some(Identity { cluster, node, roles })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.node, self.roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "carillon://0123456789abcdef0123456789abcdef/r1.example/router+control";

    #[test]
    fn identities_round_trip_and_nothing_else_is_read() {
        let identity = Identity::parse(TEXT).unwrap();
        assert_eq!(identity.to_string(), TEXT);
        assert_eq!(identity.roles, Roles::of(&[Role::Control, Role::Router]));
        for wrong in [
            "",
            "carillon://",
            "https://0123456789abcdef0123456789abcdef/r1/router",
            "carillon://0123456789ABCDEF0123456789abcdef/r1/router",
            "carillon://+123456789abcdef0123456789abcdef/r1/router",
            "carillon://0123456789abcdef0123456789abcdef//router",
            "carillon://0123456789abcdef0123456789abcdef/r1/",
            "carillon://0123456789abcdef0123456789abcdef/r1/king",
            "carillon://0123456789abcdef0123456789abcdef/r1/edge+edge",
            "carillon://0123456789abcdef0123456789abcdef/r1/edge/x",
            "carillon://0123456789abcdef0123456789abcdef/r1",
        ] {
            assert_eq!(Identity::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_hosts() {
        let longest = "a".repeat(NODE_NAME_BYTES_MAX);
        for name in ["a", "r1", "edge-1.zone-b", &longest] {
            assert!(NodeName::parse(name).is_some(), "{name}");
        }
        let longer = "a".repeat(NODE_NAME_BYTES_MAX + 1);
        for name in ["", "-a", "a-", ".", "A", "a b", "a/b", "a\n", "ä", &longer] {
            assert_eq!(NodeName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn edges_talk_to_routers_and_control_only() {
        let roles = Role::ALL.map(|role| Roles::of(&[role]));
        let [edge, router, control, federation, web, store] = roles;
        for (a, b) in [
            (edge, router),
            (edge, control),
            (router, router),
            (federation, router),
            (store, router),
            (store, control),
        ] {
            assert!(a.may_link(b) && b.may_link(a), "{a} {b}");
        }
        for (a, b) in [
            (edge, edge),
            (edge, web),
            (web, federation),
            (router, Roles::default()),
            (store, edge),
            (store, web),
            (store, federation),
            (store, store),
        ] {
            assert!(!a.may_link(b) && !b.may_link(a), "{a} {b}");
        }
        assert!(Roles::of(&Role::ALL).has_all(control));
        for (roles, said) in peer::node::Roles::NAMES {
            assert_eq!(Roles::parse(said).unwrap().to_peer(), roles);
        }
        assert_eq!(Roles::of(&[Role::Edge, Role::Web]).to_peer().to_string(), "edge, web");
        assert_eq!(store.to_peer(), peer::node::Roles::STORE);
        assert!(!control.has_all(Roles::of(&[Role::Control, Role::Edge])));
    }
}
