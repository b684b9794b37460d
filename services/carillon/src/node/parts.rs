//! What every node is made of, whether it serves clients or one command: the data folder, the store
//! and the router on it.

use std::sync::Arc;

use peer::Downlink;
use router::{Identity, Router};
use session::module::Modules;
use store::{Embedded, OpenError, Options};

use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;

/// The open data of a node. The lock on it is held until `close`.
pub(super) struct Parts {
    pub(super) home: Home,
    pub(super) store: Arc<Embedded>,
    pub(super) identity: Identity,
    pub(super) router: Arc<Router>,
    /// What the server can, for the features of its streams (XEP-0115): node and verification.
    pub(super) caps: (String, String),
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
        let options = Options { accept_loss, ..Options::default() };
        let store = Embedded::open(home.store(), &options).map_err(|why| cannot_open(&why))?;
        let store = Arc::new(store);
        let dynamic: Arc<dyn kv::Store> = store.clone();
        let identity = router::identity(&dynamic)
            .await
            .map_err(|why| failed(format!("{}: {why}", home.store().display())))?;
        let engine = engine_config(config, &identity);
        let caps = session::discover::caps(&engine);
        let router = Router::new(Arc::new(engine), workers);
        Ok(Self { home, store, identity, router, caps })
    }

    /// The driver of one of the router's workers.
    pub(super) fn driver(&self, index: u16, down: Arc<dyn Downlink>) -> router::WorkerDriver {
        self.router.driver(index, self.store.clone(), down, self.router.clone())
    }
}

/// Why the data of a node is not open.
pub(super) enum NotOpen {
    /// Another process has it; that may change.
    InUse(Failure),
    /// Anything else.
    Failed(Failure),
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
fn engine_config(config: &Config, identity: &Identity) -> session::config::Config {
    let modules = Modules::new(xeps::LIST);
    let domains = config.domains.clone();
    session::config::Config {
        archive: config.archive.enabled,
        resume_s: u32::try_from(config.limits.resume_time.as_secs()).unwrap_or(u32::MAX),
        resources_max: config.limits.resources_per_account,
        ..session::config::Config::new(domains, identity.hash, identity.decoy, modules)
    }
}
