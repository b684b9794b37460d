//! The parts of a node of a cluster: its links and its control plane first, then the store that
//! they lead to, then the rest as on a node of its own.

use std::sync::Arc;

use edge::Hub;
use mesh::{NodeName, Role};
use peer::control::Map;
use peer::node::Roles;
use router::{Identity, IdentityError};
use store::remote::{Client, limits::WITHIN};
use tokio::runtime::{Handle, Runtime};
use tokio::time::sleep;
use tracing::info;

use super::desk::Front;
use super::forward::Forward;
use super::parts::{Backing, NotOpen, Parts, embedded};
use crate::cluster::{self, Folder, Inflow, Member};
use crate::config::{Config, StoreKind};
use crate::exit::Failure;
use crate::home::Home;
use crate::limits::{HAND_OFF_RATE, LEAVE_TIME, START_RETRY};
use crate::secrets::Secrets;

/// A node's place in its cluster, with the threads that its links run on.
pub(super) struct Joined {
    pub(super) member: Arc<Member>,
    pub(super) inflow: Inflow,
    /// Until the node takes it over.
    pub(super) front: Option<Front>,
    _links: Links,
}

/// The threads that links run on. They end in the background: whoever lets go of them does not
/// wait.
struct Links(Option<Runtime>);

impl Links {
    fn start() -> Result<Self, Failure> {
        let made = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mesh")
            .enable_all()
            .build();
        made.map(|runtime| Self(Some(runtime)))
            .map_err(|why| Failure::new(format!("the threads of the links cannot start: {why}")))
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Joined {
    /// Which node this is, for people.
    pub(super) fn title(&self) -> String {
        let identity = self.member.mesh.identity();
        format!("{} ({}) of cluster {}", identity.node, identity.roles, identity.cluster)
    }

    /// The parts of the node are there: they hear of maps from now on.
    pub(super) fn serve(&self, parts: &Parts, hub: &Arc<Hub>) {
        let roles = self.member.mesh.identity().roles;
        let router = roles.has(Role::Router).then(|| parts.router.clone());
        let hub = roles.has(Role::Edge).then(|| hub.clone());
        self.member.switch.serve(router.clone(), hub);
        self.member.serve(Box::new(move || router.as_ref()?.lease_ms()));
    }

    /// Whether it has clients.
    pub(super) fn is_edge(&self) -> bool {
        self.member.mesh.identity().roles.has(Role::Edge)
    }

    /// How this node's clients are handed to other edges: how many in a second, and where to, if
    /// the settings of the cluster say it.
    pub(super) fn hand_off(&self) -> (u32, Option<String>) {
        let rate = self.member.setting("drain-rate").and_then(|it| it.parse().ok());
        (rate.unwrap_or(HAND_OFF_RATE), self.member.setting("see-other-host"))
    }

    /// Lets the shards of this node move away.
    pub(super) async fn give_up(&self) {
        cluster::give_up(&self.member, LEAVE_TIME).await;
    }

    /// Says goodbye: from here on this node is no member that is up.
    pub(super) async fn leave(self) {
        cluster::leave(&self.member).await;
    }
}

/// Opens the data folder of a node that is of a cluster, or joins one with this token. The
/// configuration that comes back serves the cluster's domains.
///
/// # Errors
/// See `NotOpen`.
pub(super) async fn open(
    config: &Config,
    workers: u16,
    accept_loss: bool,
    token: Option<&str>,
) -> Result<(Parts, Joined, Config), NotOpen> {
    let home = Home::open(&config.data).map_err(Failure::new)?;
    Secrets::open(&home.secrets()).map_err(Failure::new)?;
    let folder = match (Folder::open(home.root()).map_err(Failure::new)?, token) {
        (Some(folder), token) => {
            if token.is_some() {
                info!("this node is of a cluster already; the token is not used");
            }
            folder
        }
        (None, Some(token)) => cluster::join(config, home.root(), token).await?,
        (None, None) => return Err(Failure::new("this node is of no cluster").into()),
    };
    let links = Links::start()?;
    let handle = links.handle().ok_or_else(|| Failure::new("the links have no threads"))?.clone();
    let lanes = u8::try_from(workers).unwrap_or(u8::MAX);
    let (member, inflow) = {
        let config = config.clone();
        let starting = async move { Member::start(folder, &config, lanes).await };
        on(&handle, starting).await??
    };
    let front = Some(Front::open(home.root(), Some(Forward(member.clone())))?);
    let mut inflow = inflow;
    let first = member.find(|map| map.up(member.me).map(|_| map.clone()));
    let map = tokio::select! {
        map = first => map,
        why = &mut inflow.ended => return Err(Failure::new(why.unwrap_or_default()).into()),
    };
    let domains: Vec<String> = map.domains.iter().map(ToString::to_string).collect();
    let mut config = Config { domains, ..config.clone() };
    if !member.mesh.identity().roles.has(Role::Edge) {
        // Clients go to edges.
        config.listen.c2s.clear();
        config.listen.c2s_tls.clear();
    }
    let opening = async {
        let store = backing(&config, &home, accept_loss, &member, &handle).await?;
        let identity = identity(&store, &map, member.name()).await?;
        Ok::<_, NotOpen>((store, identity))
    };
    let (store, identity) = tokio::select! {
        opened = opening => opened?,
        why = &mut inflow.ended => return Err(Failure::new(why.unwrap_or_default()).into()),
    };
    let parts = Parts::new(&config, home, store, &identity, true, workers);
    Ok((parts, Joined { member, inflow, front, _links: links }, config))
}

/// Runs something on another runtime.
async fn on<T: Send + 'static>(
    handle: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Failure> {
    handle.spawn(work).await.map_err(|_| Failure::new("the start panicked, which is a bug"))
}

/// The store of a node with these roles.
async fn backing(
    config: &Config,
    home: &Home,
    accept_loss: bool,
    member: &Member,
    links: &Handle,
) -> Result<Backing, NotOpen> {
    let roles = member.mesh.identity().roles;
    if roles.has(Role::Store) {
        let store = embedded(home, accept_loss)?;
        member.serve_store(store.clone());
        return Ok(Backing::Embedded(store));
    }
    if !roles.has(Role::Router) {
        return Ok(Backing::None);
    }
    if config.store != StoreKind::Remote {
        let text = "a router of a cluster needs a store that all routers share: set store = \
            \"remote\", and give one node the role \"store\" (for trials and tests)";
        return Err(Failure::configuration(text.to_owned()).into());
    }
    let find = |map: &Map| {
        let mut members = map.members.values();
        let there = members.find(|it| it.is_up() && it.roles.has(Roles::STORE));
        there.and_then(|it| NodeName::parse(it.name.as_str()))
    };
    if member.control.map().as_ref().and_then(find).is_none() {
        info!("waiting for the node with the role \"store\"");
    }
    let name = member.find(find).await;
    // Its tasks run where the links do.
    let entered = links.enter();
    let client = Client::start(member.mesh.clone(), name, WITHIN);
    drop(entered);
    let client =
        client.map_err(|why| Failure::new(format!("the store's client cannot start: {why}")))?;
    Ok(Backing::Remote(Arc::new(client)))
}

/// The secrets of the cluster, which are in its store. Edges have no use for them.
async fn identity(store: &Backing, map: &Map, name: &NodeName) -> Result<Identity, Failure> {
    let Some(store) = store.store() else {
        return Ok(Identity { hash: map.key, decoy: [0; 32] });
    };
    let mut told = false;
    loop {
        match router::identity(&store, Some(map.key)).await {
            Ok(identity) => return Ok(identity),
            Err(IdentityError::Store) => {
                if !std::mem::replace(&mut told, true) {
                    info!(node = %name, "waiting for the store");
                }
                sleep(START_RETRY).await;
            }
            Err(why) => return Err(Failure::new(why.to_string())),
        }
    }
}
