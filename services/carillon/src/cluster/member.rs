//! This node as a member of its cluster: its links, its way to the control plane, who it is.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use mesh::channel::{self, Channels};
use mesh::join::{Door, issue_renewal, renew};
use mesh::link::{Answer, CallRefusal, Peer, Service, Settings};
use mesh::plane::{Gate, Plane, control_nodes};
use mesh::raft::{Opening, Replica, Seat, Starts, Timing};
use mesh::{Authority, Credentials, Mesh, NodeName, Role, Roles, known};
use parking_lot::Mutex;
use peer::control::{Command, Join, Map, Reply, Standing, TokenHash};
use peer::shard::HashKey;
use peer::{Epoch, NodeId};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::control::Control;
use super::folder::{Folder, Founding, Place};
use super::setup::{about, advertised, micros, now};
use super::switch::{Calls, Switch};
use super::watch::Watch;
use crate::config::Config;
use crate::exit::Failure;
use crate::limits::{EVENTS_MAX, FORWARDED_MAX, START_RETRY};
use crate::secrets::unhex;

/// A node of a cluster, from the moment in which the control plane knows of its start.
pub(crate) struct Member {
    /// Its links.
    pub(crate) mesh: Mesh,
    /// The control plane.
    pub(crate) control: Control,
    /// Where frames go.
    pub(crate) switch: Arc<Switch>,
    /// Who it is.
    pub(crate) me: NodeId,
    /// The cluster's authority, on control nodes.
    pub(crate) authority: Option<Arc<Authority>>,
    answers: Arc<Answers>,
    folder: Mutex<Folder>,
    drains: mpsc::Sender<()>,
    /// Members that this node does not hear.
    silent: Mutex<Vec<NodeId>>,
    ready: Notify,
    lease: OnceLock<LeaseAge>,
}

/// Of a router: how long ago the store confirmed what it owns, in milliseconds.
pub(crate) type LeaseAge = Box<dyn Fn() -> Option<u32> + Send + Sync>;

/// What a member hears.
pub(crate) struct Inflow {
    /// It is a member no more; why.
    pub(crate) ended: oneshot::Receiver<String>,
    /// It is to give its clients away.
    pub(crate) drains: mpsc::Receiver<()>,
    /// Requests of operators at other nodes, for accounts that this one owns.
    pub(crate) asked: mpsc::Receiver<Asked>,
}

/// A request of an operator at another node, as that node's admin protocol writes it.
pub(crate) struct Asked {
    pub(crate) request: Bytes,
    pub(crate) answer: oneshot::Sender<Bytes>,
}

impl Member {
    /// Starts this node's links and its part of the control plane, and has the cluster know of it.
    /// Runs on the runtime that the links are to run on.
    ///
    /// # Errors
    /// A sentence: an address cannot be had, a file is damaged, the cluster refuses the node.
    pub(crate) async fn start(
        mut folder: Folder,
        config: &Config,
        workers: u8,
    ) -> Result<(Arc<Self>, Inflow), Failure> {
        let credentials = folder.credentials().map_err(Failure::new)?;
        let identity = credentials.identity().clone();
        let (cluster, name) = (identity.cluster, identity.node.clone());
        let fingerprint = mesh::authority::key_fingerprint(credentials.certificate())
            .map_err(|why| Failure::new(why.to_string()))?;
        let authority = folder.authority().map_err(Failure::new)?.map(Arc::new);

        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let switch = Switch::new(tell);
        let channels = Channels::new(switch.clone(), channel::Limits::default());
        let (mesh, address) = listen(config, credentials, workers, channels.clone())?;
        let control = open_control(&mut folder, &mesh).await?;
        let (ask, asked) = mpsc::channel(FORWARDED_MAX);
        let answers = Arc::new(Answers {
            control: control.clone(),
            authority: authority.clone(),
            store: OnceLock::new(),
            ask,
        });
        switch.connect(channels, answers.clone());
        if let (Some(authority), Some(replica)) = (&authority, control.replica()) {
            let gate = Arc::new(Gate(replica.clone()));
            let door = Door::new(cluster, authority.clone(), gate, Arc::new(now));
            mesh.serve_joins(Arc::new(door));
        }
        let join = about(config, &name, &address, fingerprint, cluster);
        let join = Join { roles: identity.roles.to_peer(), ..join };
        let me = match folder.founding.take() {
            Some(founding) => {
                let seat = Seat { node: name.to_string(), address: address.clone() };
                let me = found(&control, seat, &founding, config, join).await?;
                folder.control = vec![Place { node: name.to_string(), address }];
                folder.write().map_err(Failure::new)?;
                me
            }
            None => start_as_member(&control, join).await?,
        };
        let NodeId { number, incarnation } = me;
        info!(node = %name, number, incarnation, "member of {cluster}");
        switch.set_me(me);
        let (drains, told) = mpsc::channel(1);
        let member = Arc::new(Self {
            mesh,
            control,
            switch,
            me,
            authority,
            answers,
            folder: Mutex::new(folder),
            drains,
            silent: Mutex::default(),
            ready: Notify::new(),
            lease: OnceLock::new(),
        });
        let (end, ended) = oneshot::channel();
        let watch = Watch::new(member.clone(), events);
        tokio::spawn(async move {
            // Nobody listens once the process ends.
            let _ = end.send(watch.run().await);
        });
        Ok((member, Inflow { ended, drains: told, asked }))
    }

    /// The parts of this node that maps are for are there.
    pub(crate) fn serve(&self, lease: LeaseAge) {
        let _ = self.lease.set(lease);
        self.ready.notify_one();
    }

    /// Waits for [`Member::serve`].
    pub(crate) async fn is_ready(&self) {
        self.ready.notified().await;
    }

    /// Of a router: how long ago the store confirmed what it owns.
    pub(crate) fn lease_ms(&self) -> Option<u32> {
        self.lease.get()?()
    }

    /// This node's name.
    pub(crate) fn name(&self) -> &NodeName {
        &self.mesh.identity().node
    }

    /// Waits for a map in which something can be found.
    pub(crate) async fn find<T>(&self, look: impl Fn(&Map) -> Option<T>) -> T {
        let mut changes = self.control.changes();
        loop {
            if let Some(found) = self.control.map().as_ref().and_then(&look) {
                return found;
            }
            // The control plane ends only with the process, which is told elsewhere.
            let _ = timeout(START_RETRY, changes.next()).await;
        }
    }

    /// Serves the store of this node to routers.
    pub(crate) fn serve_store(&self, store: Arc<dyn kv::Store>) {
        let _ = self.answers.store.set(store::remote::Server::new(store));
    }

    /// Keeps links to all members that this one has something to say to, and where the control
    /// nodes are, for the next start.
    pub(crate) fn follow(self: &Arc<Self>, before: &Map, after: &Arc<Map>) {
        self.switch.know(after.clone());
        self.judge(before, after);
        let ours = self.mesh.identity().roles;
        for member in after.members.values().filter(|it| it.id.number != self.me.number) {
            let known = before.members.get(&member.id.number);
            let is_new = known.is_none_or(|it| it.id != member.id || it.address != member.address);
            let wants = is_new && member.is_up() && ours.may_link(roles_of(member.roles));
            if let Some(name) = NodeName::parse(member.name.as_str()).filter(|_| wants) {
                self.mesh.keep_at(&name, vec![member.address.to_string()]);
            }
        }
        self.control.follow(after, self.name().as_str());
        let places: Vec<Place> = control_nodes(after).into_iter().map(Place::from).collect();
        let mut folder = self.folder.lock();
        if !places.is_empty() && folder.control != places {
            folder.control = places;
            if let Err(why) = folder.write() {
                warn!(%why, "where the control nodes are was not kept");
            }
        }
    }

    /// Once this node knows who is a member, nobody else links with it.
    fn judge(self: &Arc<Self>, before: &Map, after: &Map) {
        let Some(me) = after.up(self.me) else { return };
        let drained = before.up(self.me).is_some_and(|it| it.standing == Standing::Draining);
        if me.standing == Standing::Draining && !drained {
            // One that waits says it already.
            let _ = self.drains.try_send(());
        }
        if before.up(self.me).is_none() {
            let member = Arc::downgrade(self);
            self.mesh.set_judge(Arc::new(move |peer: &Peer| {
                let map = member.upgrade().and_then(|member| member.switch.known());
                map.is_some_and(|map| known::may_link(&map, peer))
            }));
        } else if before.members.keys().any(|it| !after.members.contains_key(it)) {
            self.mesh.judge_again();
        }
    }

    /// A setting of the cluster.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.switch.known()?.settings.get(name).map(ToString::to_string)
    }

    /// Gets the next certificate, if it is time.
    pub(crate) async fn renew(&self) {
        if !self.mesh.credentials().wants_renewal(now()) {
            return;
        }
        let seats = self.control.map().map(|map| control_nodes(&map)).unwrap_or_default();
        let names: Vec<NodeName> =
            seats.iter().filter_map(|it| NodeName::parse(&it.node)).collect();
        match renew(&self.mesh, &names).await {
            Some(credentials) => self.keep(&credentials),
            None => warn!("no control node gave this node its next certificate"),
        }
    }

    fn keep(&self, credentials: &Credentials) {
        let mut folder = self.folder.lock();
        folder.renew(credentials);
        match folder.write() {
            Ok(()) => info!("this node has its next certificate"),
            Err(why) => warn!(%why, "the next certificate was not kept"),
        }
    }

    /// This node does not hear these members; an empty list takes all back.
    pub(crate) fn suspect(&self, silent: Vec<NodeId>) {
        *self.silent.lock() = silent;
    }

    /// How a member is heard here.
    pub(crate) fn hears(&self, map: &Map, node: NodeId) -> &'static str {
        match () {
            () if node == self.me => "this node",
            () if self.silent.lock().contains(&node) => "silent",
            () if self.is_linked(map, node) => "yes",
            () => "no",
        }
    }

    /// Whether there is a link to a member.
    fn is_linked(&self, map: &Map, node: NodeId) -> bool {
        let name = map.up(node).and_then(|it| NodeName::parse(it.name.as_str()));
        name.is_some_and(|name| self.mesh.link(&name).is_some())
    }

    /// The node that owns a shard, and its name; `None` while there is none.
    pub(crate) fn owner(&self, shard: peer::ShardId) -> Option<(NodeId, NodeName)> {
        let map = self.switch.map();
        let owner = map.slot(shard).owner()?;
        let name = NodeName::parse(map.up(owner)?.name.as_str())?;
        Some((owner, name))
    }
}

/// Listens for other nodes, and says where they find this one.
fn listen(
    config: &Config,
    credentials: Credentials,
    workers: u8,
    channels: Arc<Channels>,
) -> Result<(Mesh, String), Failure> {
    let settings = Settings { workers, ..Settings::default() };
    let listen = config.cluster.listen;
    let mesh = Mesh::start(credentials, listen, settings, channels)
        .map_err(|why| Failure::new(format!("cannot listen on {listen} for nodes: {why}")))?;
    let listen = mesh.address().map_err(|why| Failure::new(why.to_string()))?;
    Ok((mesh, advertised(config, listen)))
}

/// The roles of a member, as certificates name them.
pub(crate) fn roles_of(said: peer::node::Roles) -> Roles {
    let each = Role::ALL.into_iter().filter(|role| said.has(Roles::of(&[*role]).to_peer()));
    Roles::of(&each.collect::<Vec<_>>())
}

/// This node's way to the control plane, with the replica that it may hold.
async fn open_control(folder: &mut Folder, mesh: &Mesh) -> Result<Control, Failure> {
    let me = mesh.identity();
    let others = folder.control.iter().filter(|it| it.node != me.node.as_str());
    let others: Vec<Seat> = others.cloned().map(Seat::from).collect();
    let Some(replica) = folder.replica else { return Ok(Control::new(None, mesh, others)) };
    let opening = Opening {
        replica,
        cluster: me.cluster,
        folder: folder.raft(),
        starts: if folder.opened { Starts::Again } else { Starts::First },
        carrier: Arc::new(mesh.clone()),
        machine: Plane::default(),
        timing: Timing::default(),
    };
    let opened = Replica::open(opening).await.map_err(|why| Failure::new(why.to_string()))?;
    if !std::mem::replace(&mut folder.opened, true) {
        folder.write().map_err(Failure::new)?;
    }
    Ok(Control::new(Some(opened), mesh, others))
}

/// Makes the cluster, as its first node. Each step may have been done by a start that ended in the
/// middle.
async fn found(
    control: &Control,
    seat: Seat,
    founding: &Founding,
    config: &Config,
    join: Join,
) -> Result<NodeId, Failure> {
    let Some(replica) = control.replica() else {
        return Err(Failure::new("the first node of a cluster has no replica"));
    };
    replica.initialize(seat).await.map_err(|why| Failure::new(why.to_string()))?;
    let damaged = || Failure::new("what was kept for the new cluster is damaged: make it anew");
    let hash = |text: &str| -> Option<TokenHash> { Some(TokenHash(unhex(text)?.try_into().ok()?)) };
    let own = hash(&founding.own_token).ok_or_else(damaged)?;
    let first = hash(&founding.token).ok_or_else(damaged)?;
    let key = HashKey(founding.hash.0, founding.hash.1);
    let all = Roles::of(&Role::ALL).to_peer();
    let expires_us = founding.expires_us;
    let mut commands = vec![
        Command::Init { cluster: join.cluster, key, epochs_above: Epoch(founding.epochs_above) },
        Command::AddToken { token: own, roles: all, expires_us },
        Command::AddToken { token: first, roles: all, expires_us },
    ];
    let domains = config.domains.iter();
    commands.extend(domains.map(|it| Command::AddDomain { domain: it.as_str().into() }));
    for command in commands {
        say(control, command).await;
    }
    let join = Join { token: Some(own), ..join };
    match say(control, Command::Join(Box::new(join))).await {
        Reply::Joined(me) => Ok(me),
        Reply::Refused(why) => Err(Failure::new(why.to_string())),
        Reply::Done | Reply::Moves(_) => Err(damaged()),
    }
}

/// Has a command carried out, for as long as it takes.
async fn say(control: &Control, command: Command) -> Reply {
    loop {
        match control.command(command.clone()).await {
            Ok(reply) => return reply,
            Err(_) => sleep(START_RETRY).await,
        }
    }
}

/// Tells the cluster that this node has started: it is a member under a new incarnation.
async fn start_as_member(control: &Control, join: Join) -> Result<NodeId, Failure> {
    let mut waited = Duration::ZERO;
    loop {
        let join = Join { clock_us: micros(now()), ..join.clone() };
        match control.command(Command::Join(Box::new(join))).await {
            Ok(Reply::Joined(node)) => return Ok(node),
            Ok(Reply::Refused(why)) => return Err(Failure::new(why.to_string())),
            Ok(Reply::Done | Reply::Moves(_)) | Err(_) => {}
        }
        sleep(START_RETRY).await;
        waited += START_RETRY;
        if waited.as_millis() % 5_000 < START_RETRY.as_millis() {
            info!("waiting for the cluster's control nodes: a majority of them must run");
        }
    }
}

/// Answers what other nodes call for.
struct Answers {
    control: Control,
    authority: Option<Arc<Authority>>,
    store: OnceLock<store::remote::Server>,
    ask: mpsc::Sender<Asked>,
}

impl Calls for Answers {
    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        let roles = peer.identity.roles;
        match service {
            Service::Raft | Service::Control => {
                let Some(replica) = self.control.replica().cloned() else { return refuse() };
                let peer = peer.clone();
                Box::pin(async move { replica.answer(&peer, service, body).await })
            }
            Service::Certificate => {
                let Some(authority) = self.authority.clone() else { return refuse() };
                let peer = peer.clone();
                Box::pin(async move { issue_renewal(&authority, &peer, &body, now()) })
            }
            Service::Store => match self.store.get() {
                Some(store) => store.answer(peer, body),
                None => refuse(),
            },
            // An edge is the least trusted of nodes: its operators go elsewhere.
            Service::Shard if roles.has(Role::Router) || roles.has(Role::Control) => {
                let (answer, answered) = oneshot::channel();
                let asked = self.ask.try_send(Asked { request: body, answer });
                Box::pin(async move {
                    asked.map_err(|_| CallRefusal::Busy)?;
                    answered.await.map_err(|_| CallRefusal::Failed)
                })
            }
            Service::Shard => Box::pin(async { Err(CallRefusal::NotAllowed) }),
        }
    }
}

fn refuse() -> Answer {
    Box::pin(async { Err(CallRefusal::NoService) })
}
