//! A shard that was just granted: until each edge that may have sessions of it has said so, or is
//! dead, its owner does not know who is there. Messages to accounts are archived meanwhile; what
//! depends on sessions waits: logins and resumptions, what sessions say, stanzas to resources,
//! probes.

use std::collections::{BTreeSet, VecDeque};

use peer::{NodeId, Up};
use xmpp::jid::Jid;
use xmpp::stanza::{Kind, MessageType};

use super::{Env, Shard, Timer, Work};
use crate::limits;

/// What a shard that rebuilds keeps.
pub(super) struct Rebuild {
    /// Edges that have not said everything.
    edges: BTreeSet<NodeId>,
    parked: VecDeque<(Jid, Work)>,
    /// Accounts for which something is parked: what comes later for them waits too.
    behind: BTreeSet<Jid>,
    bytes: usize,
}

/// What becomes of something to decide.
pub(super) enum Parked {
    /// It is decided at once.
    Now(Jid, Work),
    /// It waits.
    Waits,
    /// There is no room.
    Refused(Work),
}

impl Rebuild {
    pub(super) fn new(edges: Vec<NodeId>) -> Self {
        let edges = edges.into_iter().collect();
        Self { edges, parked: VecDeque::new(), behind: BTreeSet::new(), bytes: 0 }
    }

    /// Whether no more parcels are taken: they are sent again.
    pub(super) fn is_full(&self) -> bool {
        self.bytes > limits::REBUILD_BYTES_MAX
    }

    pub(super) fn park(&mut self, jid: Jid, work: Work) -> Parked {
        let now = match &work {
            Work::Up(Up::Report(_) | Up::Kept { .. }) | Work::HandedOver(_) => true,
            Work::Parcel(arrival) => {
                let stanza = &arrival.parcel.stanza;
                let bare = stanza.to.as_ref().is_none_or(Jid::is_bare);
                let message =
                    matches!(stanza.kind, Kind::Message(MessageType::Chat | MessageType::Normal));
                message && bare && !self.behind.contains(&jid)
            }
            _ => false,
        };
        if now {
            return Parked::Now(jid, work);
        }
        if self.is_full() && work.can_be_refused() {
            return Parked::Refused(work);
        }
        self.bytes += work.weight();
        self.behind.insert(jid.clone());
        self.parked.push_back((jid, work));
        Parked::Waits
    }
}

impl Shard {
    /// The shard was granted, and these edges may have sessions of it.
    pub fn rebuild(&mut self, edges: Vec<NodeId>) {
        if !edges.is_empty() {
            self.core.unheard = edges.iter().copied().collect();
            self.rebuild = Some(Box::new(Rebuild::new(edges)));
            let at = self.core.clock + limits::REBUILD_US;
            self.core.timers.set(at, Timer::Rebuild);
        }
    }

    /// Whether it still waits for edges.
    pub fn is_rebuilding(&self) -> bool {
        self.rebuild.is_some()
    }

    /// An edge has said everything, or is dead.
    pub(super) fn heard(&mut self, edge: NodeId, env: &mut Env<'_>) {
        let Some(rebuild) = &mut self.rebuild else { return };
        rebuild.edges.remove(&edge);
        if rebuild.edges.is_empty() {
            self.rebuilt(env);
        }
    }

    /// All is known that will be: what waited is decided.
    pub(super) fn rebuilt(&mut self, env: &mut Env<'_>) {
        let Some(rebuild) = self.rebuild.take() else { return };
        for jid in self.names() {
            self.work(jid, Work::Rebuilt, env);
        }
        // What sessions have sent is settled before anybody goes on with them elsewhere.
        let logs_in = |work: &Work| matches!(work, Work::Up(Up::Bind { .. } | Up::Resume { .. }));
        let (logins, rest): (Vec<_>, Vec<_>) =
            rebuild.parked.into_iter().partition(|(_, work)| logs_in(work));
        for (jid, work) in rest.into_iter().chain(logins) {
            // One after the other: what an account sends to itself goes before all that waits.
            self.work(jid, work, env);
            self.settle(env);
        }
    }
}

#[cfg(test)]
mod tests {
    use peer::ConnId;

    use super::*;

    #[test]
    fn so_many_bytes_wait_and_then_logins_are_refused() {
        let account = Jid::parse("juliet@capulet.example").expect("a JID");
        let conn = ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot: 1 };
        let bind = || {
            let account = account.clone();
            Work::Up(Up::Bind { conn, account, generation: 1, resource: None, resends: false })
        };
        let mut rebuild = Rebuild::new(vec![conn.edge]);
        while !rebuild.is_full() {
            assert!(matches!(rebuild.park(account.clone(), bind()), Parked::Waits));
        }
        assert!(rebuild.bytes > limits::REBUILD_BYTES_MAX);
        assert!(rebuild.bytes - bind().weight() <= limits::REBUILD_BYTES_MAX);
        assert!(matches!(rebuild.park(account.clone(), bind()), Parked::Refused(_)));
    }
}
