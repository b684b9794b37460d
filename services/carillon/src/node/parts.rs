//! What every node is made of, whether it serves clients or one command, alone or in a cluster: the
//! data folder, the store and the router on it.

use std::sync::Arc;

use peer::Downlink;
use peer::shard::HashKey;
use router::{Identity, Outside, Router};
use session::config::Cluster;
use session::module::Modules;
use store::{Embedded, OpenError, Options};

use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;

/// The open data of a node. The lock on it is held until `close`.
pub(super) struct Parts {
    pub(super) home: Home,
    pub(super) store: Backing,
    /// By which accounts are spread over shards.
    pub(super) hash: HashKey,
    pub(super) router: Arc<Router>,
    /// What the server can, for the features of its streams (XEP-0115): node and verification.
    pub(super) caps: (String, String),
}

/// Where the data of a node's accounts is.
#[derive(Clone)]
pub(super) enum Backing {
    /// In its data folder.
    Embedded(Arc<Embedded>),
    /// With another node.
    Remote(Arc<dyn kv::Store>),
    /// It owns no accounts.
    None,
}

impl Backing {
    /// The store, if there is one.
    pub(super) fn store(&self) -> Option<Arc<dyn kv::Store>> {
        match self {
            Self::Embedded(store) => Some(store.clone()),
            Self::Remote(store) => Some(store.clone()),
            Self::None => None,
        }
    }

    /// The store in the data folder.
    pub(super) fn embedded(&self) -> Option<&Arc<Embedded>> {
        match self {
            Self::Embedded(store) => Some(store),
            Self::Remote(_) | Self::None => None,
        }
    }

    /// Whether it can be written no more.
    pub(super) fn is_poisoned(&self) -> bool {
        self.embedded().is_some_and(|store| store.is_poisoned())
    }

    /// Lets go of the data.
    pub(super) fn close(&self) {
        if let Some(store) = self.embedded() {
            store.close();
        }
    }
}

impl Parts {
    /// Opens folder and store, and makes a router of `workers`.
    ///
    /// # Errors
    /// See `NotOpen`.
    pub(super) async fn open(
        config: &Config,
        workers: u16,
        accept_loss: bool,
    ) -> Result<Self, NotOpen> {
        let failed = |text| NotOpen::Failed(Failure::new(text));
        let home = Home::open(&config.data).map_err(failed)?;
        let store = embedded(&home, accept_loss)?;
        let dynamic: Arc<dyn kv::Store> = store.clone();
        let identity = router::identity(&dynamic, None)
            .await
            .map_err(|why| failed(format!("{}: {why}", home.store().display())))?;
        Ok(Self::new(config, home, Backing::Embedded(store), &identity, false, workers))
    }

    /// Puts together what is open.
    pub(super) fn new(
        config: &Config,
        home: Home,
        store: Backing,
        identity: &Identity,
        is_clustered: bool,
        workers: u16,
    ) -> Self {
        let engine = engine_config(config, identity, is_clustered);
        let caps = session::discover::caps(&engine);
        let router = Router::new(Arc::new(engine), workers);
        Self { home, store, hash: identity.hash, router, caps }
    }

    /// The driver of one of the router's workers; `None` where this node owns no accounts.
    pub(super) fn driver(
        &self,
        index: u16,
        down: Arc<dyn Downlink>,
        outside: Arc<dyn Outside>,
    ) -> Option<router::WorkerDriver> {
        Some(self.router.driver(index, self.store.store()?, down, outside))
    }
}

/// Opens the store in the data folder.
///
/// # Errors
/// See `NotOpen`.
pub(super) fn embedded(home: &Home, accept_loss: bool) -> Result<Arc<Embedded>, NotOpen> {
    let options = Options { accept_loss, ..Options::default() };
    let store = Embedded::open(home.store(), &options).map_err(|why| cannot_open(&why))?;
    Ok(Arc::new(store))
}

/// Why the data of a node is not open.
pub(super) enum NotOpen {
    /// Another process has it; that may change.
    InUse(Failure),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for NotOpen {
    fn from(why: Failure) -> Self {
        Self::Failed(why)
    }
}

fn cannot_open(why: &OpenError) -> NotOpen {
    match why {
        OpenError::Locked { path } => NotOpen::InUse(Failure::new(format!(
            "the data in {} is in use by another process, which answers no commands",
            path.display()
        ))),
        OpenError::Gap { .. } => {
            NotOpen::Failed(Failure::new(format!("{why} (carillon serve --accept-loss)")))
        }
        other => NotOpen::Failed(Failure::new(other.to_string())),
    }
}

/// The part of the configuration that the engine cares for.
fn engine_config(
    config: &Config,
    identity: &Identity,
    is_clustered: bool,
) -> session::config::Config {
    let modules = Modules::new(xeps::LIST);
    let domains = config.domains.clone();
    session::config::Config {
        archive: config.archive.enabled,
        resume_s: u32::try_from(config.limits.resume_time.as_secs()).unwrap_or(u32::MAX),
        resources_max: config.limits.resources_per_account,
        cluster: is_clustered.then(|| Cluster { snapshot_key: identity.snapshot_key() }),
        ..session::config::Config::new(domains, identity.hash, identity.decoy, modules)
    }
}
