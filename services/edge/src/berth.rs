//! What a connection holds of its node, and how it goes from one core to another.
//!
//! A socket is accepted by whichever core the kernel chose. Once its account is known, it moves to
//! the core on which the account's owner runs, if that is in this process: from then on what they
//! say to each other wakes no other core.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use peer::ConnId;
use stream::Ask;
use stream::c2s::C2s;

use crate::admission::Pass;
use crate::core::Core;
use crate::driver::Times;
use crate::edge::{Drain, Shared};
use crate::inbox::{Inbox, Mail};
use crate::link::Detached;
use crate::post::{Flight, Post};
use crate::sources::Place;

/// What a connection holds of its node on whatever core it is. Dropped, everything is given back,
/// and the owner is told that the socket is lost.
pub(crate) struct Berth {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: ConnId,
    pub(crate) post: Arc<Post>,
    /// What it has under way.
    pub(crate) flight: Flight,
    /// What this connection adds to the node's bytes in flight.
    pub(crate) in_flight: u64,
    /// Whether it is counted as a session.
    pub(crate) is_session: bool,
    /// Where it is on its way in.
    pub(crate) pass: Pass,
    /// Whether it was looked at which core it belongs to.
    settled: bool,
    _place: Place,
}

impl Berth {
    pub(crate) fn new(shared: Arc<Shared>, place: Place, pass: Pass) -> Self {
        let (id, post) = shared.hub.register();
        shared.metrics.connections.add(1);
        Self {
            shared,
            id,
            post,
            flight: Flight::NONE,
            in_flight: 0,
            is_session: false,
            pass,
            settled: false,
            _place: place,
        }
    }

    /// Whether it may be asked what the stream asks: a login that has begun goes on.
    pub(crate) fn may_ask(&mut self, ask: &Ask) -> bool {
        match ask {
            Ask::Challenge { .. } => self.shared.admission.lock().begins(&mut self.pass),
            Ask::Verify { .. } | Ask::Bind { .. } | Ask::Resume { .. } => {
                self.shared.admission.lock().asks(&mut self.pass);
                true
            }
            _ => true,
        }
    }

    /// The owner has answered.
    pub(crate) fn answered(&mut self) {
        if self.pass.is_asking() {
            self.shared.admission.lock().answered(&mut self.pass);
        }
    }

    /// Counts it as a session, or no more.
    pub(crate) fn set_session(&mut self, is_session: bool) {
        let metrics = &self.shared.metrics;
        match (self.is_session, is_session) {
            (false, true) => {
                metrics.sessions.add(1);
                self.shared.admission.lock().leaves(&mut self.pass);
            }
            (true, false) => metrics.sessions.sub(1),
            _ => {}
        }
        self.is_session = is_session;
    }

    /// The core to which a connection on core `here` should go. Says so once.
    pub(crate) fn elsewhere(&mut self, here: u16) -> Option<u16> {
        let drains = self.shared.drain.state() != Drain::Serving;
        if self.settled || !self.is_session || drains {
            return None;
        }
        self.settled = true;
        let home = self.shared.core_of(self.post.shard()?)?;
        (home != here).then_some(home)
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.metrics.in_flight_bytes.sub(self.in_flight);
        if self.is_session {
            shared.metrics.sessions.sub(1);
        }
        if std::thread::panicking() {
            shared.metrics.panics.add(1);
        }
        shared.admission.lock().leaves(&mut self.pass);
        shared.hub.leave(self.id.slot, &self.post, shared.now_us());
        shared.metrics.connections.sub(1);
    }
}

/// A connection's place on one core, which does not end before its last connection.
pub(crate) struct Live {
    pub(crate) core: Rc<Core>,
}

impl Live {
    pub(crate) fn new(core: Rc<Core>) -> Self {
        core.opened();
        Self { core }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.core.closed();
    }
}

/// A connection between two cores.
pub(crate) struct Voyage {
    pub(crate) berth: Berth,
    pub(crate) link: Detached,
    pub(crate) stream: C2s,
    pub(crate) times: Times,
}

/// Where connections for one core arrive. It holds no more than there are connections.
pub(crate) struct Dock(Inbox<Voyage>);

impl Dock {
    pub(crate) fn new() -> Self {
        Self(Inbox::new())
    }

    /// Sends a connection there. A core that has ended takes none: the connection is lost.
    pub(crate) fn send(&self, voyage: Voyage) {
        drop(self.0.push(voyage, 0, 0));
    }

    /// The connections that arrived.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<VecDeque<Voyage>> {
        self.0.poll(cx, true).map(|Mail { queue, .. }| queue)
    }

    /// Takes no more; what waits is lost.
    pub(crate) fn close(&self) {
        drop(self.0.close());
    }
}

impl Voyage {
    /// Ends the journey of what cannot be registered anywhere.
    pub(crate) fn fail(error: &io::Error) {
        tracing::warn!(%error, "a connection could not change its core");
    }
}
