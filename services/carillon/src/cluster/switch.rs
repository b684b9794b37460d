//! Where frames go: to the owners and connections of this process as they are, to those of others
//! over the mesh. It knows the map, and has no rule of its own: who may be heard is judged by the
//! epochs in the frames, at their target.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use edge::Hub;
use mesh::channel::{ChannelError, Channels, Receiver};
use mesh::link::{Answer, CallRefusal, Link, LinkError, Peer, Service};
use mesh::{Role, frames, known};
use parking_lot::RwLock;
use peer::codec;
use peer::control::{Attempt, Hold, Map, News, news};
use peer::limits::EPOCHS_AHEAD_MAX;
use peer::moving::HandOver;
use peer::node::{LinkSaid, Roles};
use peer::{
    Between, Complete, ConnId, Down, Downlink, Epoch, Frame, NodeId, NodeSaid, Owner, Page,
    ShardId, Up, Uplink, shard_of,
};
use router::{Outside, Router};
use session::attachment::orphaned;
use session::worker::Input;
use tokio::sync::mpsc::Sender;

use super::watch::Event;

/// Answers calls of other nodes.
pub(crate) trait Calls: Send + Sync {
    /// A call arrived.
    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer;
}

/// Hands frames to where they belong.
pub(crate) struct Switch {
    me: OnceLock<NodeId>,
    map: RwLock<Arc<Map>>,
    /// The newest map of the control plane, which this process's parts may not have taken yet.
    known: RwLock<Option<Arc<Map>>>,
    /// This process's workers, where it owns shards.
    router: OnceLock<Arc<Router>>,
    /// This process's connections, where it has any.
    hub: OnceLock<Arc<Hub>>,
    channels: OnceLock<Arc<Channels>>,
    calls: OnceLock<Arc<dyn Calls>>,
    tell: Sender<Event>,
}

impl Switch {
    /// A switch that knows nobody yet. What others have to say to this node itself goes to `tell`.
    pub(crate) fn new(tell: Sender<Event>) -> Arc<Self> {
        let nothing = Map::new(peer::node::ClusterId(0), peer::shard::HashKey(0, 0));
        Arc::new(Self {
            me: OnceLock::new(),
            map: RwLock::new(Arc::new(nothing)),
            known: RwLock::new(None),
            router: OnceLock::new(),
            hub: OnceLock::new(),
            channels: OnceLock::new(),
            calls: OnceLock::new(),
            tell,
        })
    }

    /// The ways out, and who answers calls.
    pub(crate) fn connect(&self, channels: Arc<Channels>, calls: Arc<dyn Calls>) {
        let _ = self.channels.set(channels);
        let _ = self.calls.set(calls);
    }

    /// This node is a member.
    pub(crate) fn set_me(&self, me: NodeId) {
        let _ = self.me.set(me);
        if let Some(channels) = self.channels.get() {
            channels.set_me(me);
        }
    }

    /// What of the two this process has, before the first map is taken.
    pub(crate) fn serve(&self, router: Option<Arc<Router>>, hub: Option<Arc<Hub>>) {
        if let Some(router) = router {
            let _ = self.router.set(router);
        }
        if let Some(hub) = hub {
            let _ = self.hub.set(hub);
        }
    }

    /// Whether other nodes have taken all that was sent to them.
    pub(crate) fn is_flushed(&self) -> bool {
        let channels = self.channels.get();
        channels.is_none_or(|it| it.status().iter().all(|it| it.kept.0 == 0))
    }

    /// Who is up, from here on, says this map: nobody else is heard.
    pub(crate) fn know(&self, map: Arc<Map>) {
        let before = self.known.write().replace(map.clone());
        let before = before.iter().flat_map(|map| map.members.values());
        if let Some(channels) = self.channels.get() {
            let gone = before.filter(|it| it.is_up() && map.up(it.id).is_none());
            gone.for_each(|it| channels.forget(it.id));
        }
    }

    /// The newest map of the control plane.
    pub(crate) fn known(&self) -> Option<Arc<Map>> {
        self.known.read().clone()
    }

    /// An edge that does not serve yet has no session: it says so to new owners, who would wait for
    /// it.
    pub(crate) fn complete_early(&self, before: &Map, after: &Map) {
        let Some(me) = self.me() else { return };
        if !after.up(me).is_some_and(|it| it.roles.has(Roles::EDGE)) {
            return;
        }
        for news in news(Some(before), after, me) {
            if let News::Lost(shard, epoch) = news
                && let Some(owner) = after.slot(shard).owner()
            {
                let complete = Complete { edge: me, shard, epoch };
                self.send(owner, shard, &Frame::Complete(complete));
            }
        }
    }

    /// The map as this node knows it.
    pub(crate) fn map(&self) -> Arc<Map> {
        self.map.read().clone()
    }

    /// This node, once it is a member.
    pub(crate) fn me(&self) -> Option<NodeId> {
        self.me.get().copied()
    }

    /// Takes a new map: workers and connections of this process hear what it means to them. One
    /// after the other, in the order of the maps.
    pub(crate) fn take_map(&self, after: Arc<Map>) {
        let Some(me) = self.me() else { return };
        let before = self.map();
        let known = (before.version > 0).then_some(&*before);
        let news = news(known, &after, me);
        // Connections ask which epoch to speak to from here on, and are told below: one that asks
        // just now hears of it either way.
        *self.map.write() = after.clone();
        let edges: Vec<NodeId> = after
            .members
            .values()
            .filter(|it| it.is_up() && it.roles.has(Roles::EDGE))
            .map(|it| it.id)
            .collect();
        let mut moved = Vec::new();
        for news in news {
            match news {
                News::Gone(node) => self.tell_all_gone(node),
                News::Granted(shard, epoch) => {
                    moved.push((shard, epoch));
                    self.tell_workers(shard, |is_here| match is_here {
                        true => Input::Granted(shard, epoch, edges.clone()),
                        false => Input::Lost(shard, epoch),
                    });
                }
                News::Lost(shard, epoch) => {
                    moved.push((shard, epoch));
                    self.tell_workers(shard, |_| Input::Lost(shard, epoch));
                }
                News::GiveUp(shard) => self.put(shard, Input::GiveUp(shard)),
                News::KeepOn(shard) => self.put(shard, Input::KeepOn(shard)),
            }
        }
        if let Some(hub) = self.hub.get().filter(|_| !moved.is_empty()) {
            hub.moved(&moved);
        }
    }

    fn tell_workers(&self, shard: ShardId, input: impl Fn(bool) -> Input) {
        if let Some(router) = self.router.get() {
            let here = router.worker(shard);
            router.put_each(|worker| Some(input(worker == here)));
        }
    }

    fn tell_all_gone(&self, node: NodeId) {
        if let Some(router) = self.router.get() {
            router.put_each(|_| Some(Input::Gone(node)));
        }
    }

    fn put(&self, shard: ShardId, input: Input) {
        if let Some(router) = self.router.get() {
            router.put(shard, input);
        }
    }

    fn is_me(&self, node: NodeId) -> bool {
        self.me() == Some(node)
    }

    /// Sends a frame to another node. `false`: it is gone for good, or takes nothing any more.
    fn send(&self, to: NodeId, shard: ShardId, frame: &Frame) -> bool {
        let Some(channels) = self.channels.get() else { return false };
        let packed = match frames::pack(frame, codec::VERSION_MIN) {
            Ok(packed) => packed,
            Err(why) => {
                tracing::error!(%why, shard = shard.0, "a frame is too long for its way");
                return false;
            }
        };
        let sent = channels.send(to, shard.0, packed.body);
        match sent {
            Ok(()) => {}
            Err(ChannelError::Full) => self.tell(Event::Stuck(to)),
            Err(why) => tracing::debug!(%why, node = to.number, "a frame was not sent"),
        }
        sent.is_ok()
    }

    /// Says something to a node that is worth nothing later.
    pub(crate) fn send_now(&self, to: NodeId, said: LinkSaid) {
        let (Some(source), Some(channels)) = (self.me(), self.channels.get()) else { return };
        let frame = Frame::Node { source, target: to, said: NodeSaid::Link(said) };
        if let Ok(packed) = frames::pack(&frame, codec::VERSION_MIN) {
            channels.send_now(to, packed.body);
        }
    }

    fn tell(&self, event: Event) {
        // It is taken at once, or this node stands still.
        if self.tell.try_send(event).is_err() {
            tracing::error!("this node does not come to hear what others say");
        }
    }

    fn owner_of(&self, shard: ShardId) -> Option<NodeId> {
        self.map.read().slot(shard).owner()
    }

    /// A frame of another node, which its certificate lets it say.
    fn take(&self, from: NodeId, peer: &Peer, frame: Frame) {
        let roles = peer.identity.roles;
        let (is_edge, is_router) = (roles.has(Role::Edge), roles.has(Role::Router));
        match frame {
            Frame::Up { owner, said, .. }
                if is_edge && of_edge(&said, from) && self.is_for(&said, owner) =>
            {
                if let Some(router) = self.router.get() {
                    router.up(owner, said);
                }
            }
            Frame::Down { owner, conn, said } if is_router && self.is_me(conn.edge) => {
                if let Some(hub) = self.hub.get() {
                    hub.down(owner, conn, said);
                }
            }
            Frame::Between(said) if is_router => self.put(said.target(), Input::Between(said)),
            Frame::Complete(said) if is_edge && self.is_near(said.shard, said.epoch) => {
                self.put(said.shard, Input::Complete(said));
            }
            Frame::Page { node, page } if is_router && self.is_me(node) => {
                self.put(page.shard, Input::Page(page));
            }
            Frame::HandOver { node, owner, said } if is_router => {
                self.handed_over(node, owner, said);
            }
            frame => {
                let (source, node) = (frame.source(), from.number);
                tracing::warn!(?source, node, "a frame that its sender may not send");
            }
        }
    }

    /// Whether a frame of an edge is for the owner of its account's shard.
    fn is_for(&self, said: &Up, owner: Owner) -> bool {
        let key = self.map.read().key;
        shard_of(&key, said.account()) == owner.shard && self.is_near(owner.shard, owner.epoch)
    }

    /// Whether an edge may have heard of an epoch.
    fn is_near(&self, shard: ShardId, epoch: Epoch) -> bool {
        let known = self.known.read();
        let known = known.as_ref().map_or(Epoch(0), |map| map.slot(shard).epoch);
        epoch.0 <= known.0.saturating_add(EPOCHS_AHEAD_MAX)
    }

    /// The next owner of a shard of this node's has answered.
    fn handed_over(&self, heir: NodeId, owner: Owner, said: HandOver) {
        let Owner { shard, .. } = owner;
        if let Hold::Moving(_, to, begun) = self.map.read().slot(shard).hold
            && to == heir
        {
            let attempt = Attempt { shard, to, begun };
            match said {
                HandOver::Complete => self.tell(Event::Moved(attempt)),
                HandOver::Refused(_) => self.tell(Event::NotMoved(attempt)),
                HandOver::Taken { .. } => {}
            }
        }
        self.put(owner.shard, Input::HandOver(owner.shard, owner.epoch, said));
    }
}

/// Whether the connection that a frame names is one of this edge.
fn of_edge(said: &Up, edge: NodeId) -> bool {
    match said {
        Up::Challenge { conn, .. }
        | Up::Verify { conn, .. }
        | Up::Bind { conn, .. }
        | Up::Resume { conn, .. } => conn.edge == edge,
        Up::Report(report) => report.conn.edge == edge,
        _ => true,
    }
}

impl Uplink for Switch {
    fn epoch(&self, shard: ShardId) -> Epoch {
        self.map.read().slot(shard).epoch
    }

    fn up(&self, owner: Owner, frame: Up) {
        // Where nobody owns the shard, the edge has kept the frame, and says it to the next owner.
        let (Some(node), Some(me)) = (self.owner_of(owner.shard), self.me()) else { return };
        if node != me {
            self.send(node, owner.shard, &Frame::Up { edge: me, owner, said: frame });
        } else if let Some(router) = self.router.get() {
            router.up(owner, frame);
        }
    }

    fn complete(&self, complete: Complete) {
        let Some(node) = self.owner_of(complete.shard) else { return };
        if self.is_me(node) {
            self.put(complete.shard, Input::Complete(complete));
        } else {
            self.send(node, complete.shard, &Frame::Complete(complete));
        }
    }

    fn core(&self, shard: ShardId) -> Option<u16> {
        let here = self.owner_of(shard).is_some_and(|node| self.is_me(node));
        self.router.get().filter(|_| here).and_then(|router| router.core(shard))
    }
}

impl Downlink for Switch {
    fn down(&self, owner: Owner, to: ConnId, frame: Down) {
        if self.is_me(to.edge) {
            if let Some(hub) = self.hub.get() {
                hub.down(owner, to, frame);
            }
            return;
        }
        let lost = orphaned(&self.map.read().key, &frame);
        let sent = self.send(to.edge, owner.shard, &Frame::Down { owner, conn: to, said: frame });
        // The edge is dead, and nobody there says that the session has no socket.
        if let Some((shard, said)) = lost.filter(|_| !sent)
            && let Some(router) = self.router.get()
        {
            router.up(Owner { shard, ..owner }, said);
        }
    }
}

impl Outside for Switch {
    fn between(&self, frame: Between) {
        let shard = frame.target();
        // Where nobody owns the shard, the frame stands in its sender's window.
        let Some(node) = self.owner_of(shard) else { return };
        if self.is_me(node) {
            self.put(shard, Input::Between(frame));
        } else {
            self.send(node, shard, &Frame::Between(frame));
        }
    }

    fn page(&self, page: Page) {
        let slot = self.map.read().slot(page.shard);
        if let Hold::Moving(_, heir, _) = slot.hold {
            self.send(heir, page.shard, &Frame::Page { node: heir, page });
        }
    }

    fn hand_over(&self, owner: Owner, said: HandOver) {
        let (Some(to), Some(node)) = (self.owner_of(owner.shard), self.me()) else { return };
        self.send(to, owner.shard, &Frame::HandOver { node, owner, said });
    }

    fn fallen(&self, shard: ShardId) {
        let epoch = self.epoch(shard);
        self.tell(Event::Fallen(Owner { shard, epoch }));
    }
}

/// What links bring.
impl Receiver for Switch {
    fn frame(&self, from: NodeId, peer: &Arc<Peer>, _: u16, body: Bytes) {
        match frames::unpack(&body) {
            Ok(frame) if frames::is_from(&frame, from) => self.take(from, peer, frame),
            Ok(_) => tracing::warn!(node = %peer.identity.node, "a frame that speaks for another"),
            Err(why) => tracing::warn!(%why, node = %peer.identity.node, "a frame is none"),
        }
    }

    fn knows(&self, node: NodeId, peer: &Peer) -> bool {
        self.known().is_some_and(|map| known::is_process(&map, node, peer))
    }

    fn news(&self, from: NodeId, _: &Arc<Peer>, body: Bytes) {
        if let Ok(Frame::Node { said: NodeSaid::Link(said), source, .. }) = codec::decode(&body)
            && source == from
        {
            self.tell(Event::Said(from, said));
        }
    }

    fn up(&self, link: &Link) {
        tracing::info!(node = %link.peer().identity.node, "linked");
    }

    fn down(&self, link: &Link, why: LinkError) {
        let node = &link.peer().identity.node;
        match why {
            LinkError::Superseded => tracing::debug!(%node, %why, "a link is lost"),
            _ => tracing::warn!(%node, %why, "a link is lost"),
        }
    }

    fn call(&self, peer: &Arc<Peer>, service: Service, body: Bytes) -> Answer {
        match self.calls.get() {
            Some(calls) => calls.call(peer, service, body),
            None => Box::pin(async { Err(CallRefusal::Busy) }),
        }
    }
}
