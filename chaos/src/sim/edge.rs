//! An edge: the edge's half of each session, and no socket.

use std::collections::BTreeMap;

use peer::{ConnId, Down, Epoch, NodeId};
use session::attachment::{Addressed, Attachment, orphaned};
use session::worker::Input;

use super::control::Map;
use super::plan::SECOND;
use super::queue::{End, Event, Frame, Proc};
use super::tamper::Tamper;
use super::{KEY, PLACES, World};
use crate::invariants::{Checked, epochs};

/// Numbers of edges begin here, so that they are not those of workers.
const NUMBERS: u32 = 100;

/// An edge and its connections.
pub(crate) struct Edge {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    /// Whom it takes for the worker of each place.
    pub(crate) views: [Option<Proc>; PLACES as usize],
    /// Whom it takes for the owner of each shard, in a cluster.
    pub(crate) map: Map,
    pub(crate) conns: BTreeMap<u64, Conn>,
    /// Connections that are lost, of sessions that may be resumed until then.
    pub(crate) ghosts: Vec<(u64, Attachment)>,
    slots: u64,
}

/// A connection.
pub(crate) struct Conn {
    pub(crate) half: Attachment,
    pub(crate) client: usize,
    /// The worker that it speaks to.
    pub(crate) worker: Proc,
    /// How often it was told what its session means.
    snapshots: u32,
}

impl Edge {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            id: NodeId { number: NUMBERS + index as u32, incarnation: 1 },
            up: true,
            views: [None; PLACES as usize],
            map: Map::new(),
            conns: BTreeMap::new(),
            ghosts: Vec::new(),
            slots: 0,
        }
    }
}

impl World {
    /// Opens a connection for a client; `None` if the edge cannot reach the account's owner.
    pub(crate) fn open(&mut self, edge: usize, client: usize) -> Option<u64> {
        let account = self.ledger.accounts.get(self.clients[client].account)?.clone();
        let cluster = self.options.cluster;
        let at = &mut self.edges[edge];
        let owner = at.map.get(&account.shard).copied();
        let worker = match owner {
            Some((owner, _)) => owner,
            None if cluster => return None,
            None => at.views[usize::from(account.shard.0 % PLACES as u16)]?,
        };
        let is_up = at.up && self.links.is_up(End::Edge(edge), End::Worker(worker));
        if !is_up {
            return None;
        }
        at.slots += 1;
        let slot = at.slots;
        let conn = ConnId { edge: at.id, slot };
        let mut half = if cluster { Attachment::keeping(conn) } else { Attachment::new(conn) };
        if let Some((_, epoch)) = owner {
            half.speaks_to(epoch);
        }
        // The login itself is not simulated: it has succeeded.
        half.challenge(&KEY, account.jid.clone(), xmpp::scram::Hash::Sha256);
        let signature = bytes::Bytes::new();
        half.hear(&Down::Verified { signature, generation: super::accounts::GENERATION });
        at.conns.insert(slot, Conn { half, client, worker, snapshots: 0 });
        Some(slot)
    }

    /// Says something for a connection.
    pub(crate) fn say(
        &mut self,
        edge: usize,
        slot: u64,
        what: impl FnOnce(&mut Attachment) -> Option<Addressed>,
    ) {
        let Some(conn) = self.edges[edge].conns.get_mut(&slot) else { return };
        let worker = conn.worker;
        let Some((shard, frame)) = what(&mut conn.half) else { return };
        match self.edges[edge].map.get(&shard).copied() {
            Some((owner, epoch)) => {
                let frame = Frame::Remote(shard, epoch, frame);
                self.send(End::Edge(edge), End::Worker(owner), frame);
            }
            None => {
                self.send(End::Edge(edge), End::Worker(worker), Frame::Up(shard, frame));
            }
        }
    }

    /// The socket of a connection is lost.
    pub(crate) fn close(&mut self, edge: usize, slot: u64) {
        if self.options.tamper != Some(Tamper::ForgetLost) {
            self.say(edge, slot, Attachment::lost);
        }
        let gone = self.edges[edge].conns.remove(&slot);
        if let Some(conn) = gone.filter(|_| self.options.cluster) {
            let until = self.now + u64::from(self.plan.resume_s) * SECOND;
            self.edges[edge].ghosts.push((until, conn.half));
        }
    }

    /// A frame for a connection has come.
    pub(crate) fn down_arrives(
        &mut self,
        from: End,
        edge: usize,
        conn: ConnId,
        epoch: Epoch,
        frame: Down,
    ) -> Checked {
        let cluster = self.options.cluster;
        let at = &mut self.edges[edge];
        let client = match at.conns.get_mut(&conn.slot).filter(|_| at.id == conn.edge) {
            Some(there) => {
                let deaf = self.options.tamper == Some(Tamper::StaleSnapshot);
                if matches!(frame, Down::Snapshot { .. }) && deaf {
                    there.snapshots += 1;
                    if there.snapshots > 2 {
                        return Ok(());
                    }
                }
                let strict = self.options.tamper != Some(Tamper::AcceptOldEpoch);
                let heard = if cluster && strict {
                    there.half.hear_from(epoch, &frame)
                } else {
                    there.half.hear(&frame)
                };
                if !heard {
                    return Ok(());
                }
                let shard = there.half.shard();
                epochs::heard(shard.and_then(|shard| at.map.get(&shard)), epoch)?;
                there.client
            }
            None => {
                if matches!(frame, Down::Close { .. }) {
                    at.ghosts.retain(|(_, half)| half.conn() != conn);
                }
                let lost = orphaned(&KEY, &frame);
                if let Some((shard, frame)) = lost
                    && self.options.tamper != Some(Tamper::ForgetLost)
                {
                    let frame = if cluster {
                        Frame::Remote(shard, epoch, frame)
                    } else {
                        Frame::Up(shard, frame)
                    };
                    self.send(End::Edge(edge), from, frame);
                }
                return Ok(());
            }
        };
        self.client_hears(client, frame)
    }

    /// An edge learns who the worker of a place is: connections to another one end.
    pub(crate) fn edge_view(&mut self, edge: usize, place: u32, present: Option<Proc>) {
        let before = std::mem::replace(&mut self.edges[edge].views[place as usize], present);
        if let Some(before) = before.filter(|_| before != present) {
            self.edge_lost_worker(edge, before);
        }
    }

    /// An edge cannot reach a worker any more: its connections there end.
    pub(crate) fn edge_lost_worker(&mut self, edge: usize, worker: Proc) {
        let conns = self.edges[edge].conns.values();
        let lost: Vec<usize> =
            conns.filter(|conn| conn.worker == worker).map(|conn| conn.client).collect();
        for client in lost {
            self.lose_socket(client, "loses its owner");
        }
    }

    /// An edge dies.
    pub(crate) fn kill_edge(&mut self, edge: usize) {
        let at = &mut self.edges[edge];
        let dead = at.id;
        at.id.incarnation += 1;
        at.slots = 0;
        at.up = false;
        let clients: Vec<usize> = at.conns.values().map(|conn| conn.client).collect();
        at.conns.clear();
        at.ghosts.clear();
        self.edge_died_us = self.now;
        self.note(|| format!("edge {edge} dies"));
        self.links.forget(End::Edge(edge));
        for client in clients {
            self.lose_socket(client, "loses its edge");
        }
        let cluster = self.options.cluster;
        if cluster {
            let at = self.now + self.rng.within((SECOND * 3 / 2, 3 * SECOND));
            self.queue.put(at, Event::EdgeDead(dead));
        }
        let workers: Vec<Proc> = self.nodes.keys().copied().filter(|_| !cluster).collect();
        for worker in workers {
            let at = self.now + self.rng.about(SECOND / 2);
            self.queue.put(at, Event::Tell(worker, Input::Gone(dead)));
        }
        let at = self.now + self.rng.about(2 * SECOND);
        self.queue.put(at, Event::Edge(edge));
    }
}
