//! A node as the control plane knows it.

use std::fmt;

use xmpp::text::Text;

use crate::node::{Features, Roles, Versions};
use crate::{NodeId, node};

/// The hash of a node's public key, which its certificates carry. The key stays when a certificate
/// is renewed, and dies with the node's disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It takes its part.
    Active,
    /// It gives its shards and clients away, and takes none.
    Draining,
    /// It stopped in order, or was declared dead. Its name is kept for it; this incarnation never
    /// comes back.
    Down,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, which no other node ever gets, and how often it was started.
    pub id: NodeId,
    /// What its operator calls it.
    pub name: Text,
    /// What it does.
    pub roles: Roles,
    /// Where its mesh listens: `host:port`.
    pub address: Text,
    /// What fails together with it: a rack, a hall, a data centre. Empty if nobody said.
    pub zone: Text,
    /// The versions of frames that it reads and writes.
    pub versions: Versions,
    /// What it can do.
    pub features: Features,
    /// The version of its program, for people.
    pub program: Text,
    /// The hash of its public key.
    pub fingerprint: Fingerprint,
    /// How it stands.
    pub standing: Standing,
}

impl Member {
    /// Whether this incarnation is alive as far as the members know.
    pub fn is_up(&self) -> bool {
        self.standing != Standing::Down
    }

    /// Whether it may be given shards, if its lease is fresh.
    pub fn takes_shards(&self) -> bool {
        self.standing == Standing::Active && self.roles.has(node::Roles::ROUTER)
    }
}
