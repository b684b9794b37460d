//! The control plane as this node reaches it: its own replica, the replicas of others, or both.

use std::sync::Arc;

use mesh::Mesh;
use mesh::plane::{MapCopy, Plane, control_nodes};
use mesh::raft::{ControlError, Follower, Replica, Seat, Status};
use peer::control::map::Seen;
use peer::control::{Command, Map, Reply};
use tokio::sync::watch;

/// The control plane. A node with a replica follows the others too: its own may not be let in yet,
/// or may have been cut off from the rest.
#[derive(Clone)]
pub(crate) struct Control {
    replica: Option<Replica<Plane>>,
    others: Follower<MapCopy>,
}

impl Control {
    /// By this replica, and by those of others.
    pub(crate) fn new(replica: Option<Replica<Plane>>, mesh: &Mesh, others: Vec<Seat>) -> Self {
        let others = Follower::start(Arc::new(mesh.clone()), MapCopy::default(), others);
        Self { replica, others }
    }

    /// The newest map that this node has; `None` before the first one.
    pub(crate) fn map(&self) -> Option<Map> {
        let own =
            self.replica.as_ref().map_or(0, |it| it.with(|plane| plane.state().map().version));
        let copied = self.others.with(|copy| copy.map().map_or(0, |map| map.version));
        match &self.replica {
            Some(replica) if own >= copied && own > 0 => {
                Some(replica.with(|plane| plane.state().map().clone()))
            }
            _ => self.others.with(|copy| copy.map().cloned()),
        }
    }

    /// Change whenever the map may have.
    pub(crate) fn changes(&self) -> Changes {
        Changes {
            own: self.replica.as_ref().map(Replica::subscribe),
            others: self.others.subscribe(),
        }
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// Nobody leads, or the answer was lost. What the control plane refuses is a reply.
    pub(crate) async fn command(&self, command: Command) -> Result<Reply, ControlError> {
        match self.leading() {
            Some(replica) => replica.command(command).await,
            None => self.others.command(command).await,
        }
    }

    /// How the replica stands that this node has or asks.
    ///
    /// # Errors
    /// None answers.
    pub(crate) async fn status(&self) -> Result<Status, ControlError> {
        match self.leading() {
            Some(replica) => Ok(replica.status()),
            None => self.others.status().await,
        }
    }

    /// Where the replicas are, by a new map.
    pub(crate) fn follow(&self, map: &Map, me: &str) {
        let others = control_nodes(map).into_iter().filter(|seat| seat.node != me);
        let others: Vec<Seat> = others.collect();
        if !others.is_empty() {
            self.others.set_sources(others);
        }
    }

    /// The replica, where there is one.
    pub(crate) fn replica(&self) -> Option<&Replica<Plane>> {
        self.replica.as_ref()
    }

    /// The replica, if it knows who leads: one that does not may be none of the others'.
    fn leading(&self) -> Option<&Replica<Plane>> {
        self.replica.as_ref().filter(|it| it.leader().is_some())
    }
}

/// Tells when the map may have changed.
pub(crate) struct Changes {
    own: Option<watch::Receiver<u64>>,
    others: watch::Receiver<Seen>,
}

impl Changes {
    /// Waits for the next change. `false`: the control plane has ended here.
    pub(crate) async fn next(&mut self) -> bool {
        match &mut self.own {
            Some(own) => tokio::select! {
                changed = own.changed() => changed.is_ok(),
                changed = self.others.changed() => changed.is_ok(),
            },
            None => self.others.changed().await.is_ok(),
        }
    }
}
