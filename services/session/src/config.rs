//! What the operator chose, as far as the engine cares.

use peer::shard::HashKey;
use xmpp::jid::Jid;

use crate::limits;
use crate::module::Modules;

/// Shared by all shards of a node; replaced whole on reload.
pub struct Config {
    /// The domains that are served here, in normal form.
    pub domains: Vec<String>,
    /// The key of the cluster's hashes.
    pub hash: HashKey,
    /// Makes salts of accounts that do not exist, always the same for the same name.
    pub decoy: [u8; 32],
    /// The extensions.
    pub modules: Modules,
    /// Whether messages are archived (XEP-0313); offline messages are kept in any case.
    pub archive: bool,
    /// How long a lost session waits to be resumed, in seconds; zero turns resumption off.
    pub resume_s: u32,
    /// Resources of one account at a time.
    pub resources_max: usize,
    /// What a router of a cluster has on top; `None` on a node of its own, whose shards are all its
    /// own and whose edge keeps nothing for later owners.
    pub cluster: Option<Cluster>,
}

/// What all owners of a cluster share, and nobody else has.
#[derive(Clone)]
pub struct Cluster {
    /// Signs what edges keep for owners.
    pub snapshot_key: [u8; 32],
}

impl Config {
    /// The defaults for some domains and modules.
    pub fn new(domains: Vec<String>, hash: HashKey, decoy: [u8; 32], modules: Modules) -> Self {
        Self {
            domains,
            hash,
            decoy,
            modules,
            archive: true,
            resume_s: limits::RESUME_S,
            resources_max: limits::RESOURCES_MAX,
            cluster: None,
        }
    }

    /// How long a lost session waits to be resumed, in microseconds.
    pub(crate) fn resume_us(&self) -> u64 {
        u64::from(self.resume_s) * 1_000_000
    }

    /// Whether a JID's domain is served here.
    pub fn serves(&self, jid: &Jid) -> bool {
        self.domains.iter().any(|domain| domain == jid.domain())
    }
}
