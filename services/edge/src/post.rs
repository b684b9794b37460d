//! What a connection shares with the rest of its edge: where frames for it arrive, and its half of
//! a session.
//!
//! All that is said for a connection goes to its owner while the half is locked, and so does what a
//! new owner is told of it: so the report stands exactly between what was said before and what is
//! said after it.
//!
//! A frame of an owner is heard when the connection's task takes it out of the inbox, not when it
//! arrives. What is still in the inbox when the shard moves was not heard: no report claims it, it
//! is refused when it is taken, for its owner is one before, and the new owner says it again.
//! Hearing at arrival would lock the half there, which an owner in the same process cannot do that
//! answers while something is said to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use peer::shard::HashKey;
use peer::{ConnId, Down, Epoch, Owner, ShardId, Up, Uplink, shard_of};
use session::attachment::{Addressed, Attachment};
use stream::Ask;
use xmpp::scram::Keys;

use crate::inbox::Inbox;
use crate::limits::FRAME_BYTES;
use crate::owner;

/// What can be in a connection's inbox.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A frame of an owner.
    Down(Owner, Down),
    /// The keys of a password; `None` if nobody can have it.
    Derived(Option<Keys>),
}

/// What a frame counts for in an inbox.
pub(crate) fn weight(frame: &Down) -> usize {
    match frame {
        Down::Stanza { stanza, .. } => FRAME_BYTES + stanza.size_hint(),
        _ => FRAME_BYTES,
    }
}

/// What a connection has under way to its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    /// Bytes of stanzas that are not confirmed.
    pub(crate) bytes: u64,
    /// Whether the socket may be read.
    pub(crate) may_read: bool,
}

impl Flight {
    /// Nothing was said yet.
    pub(crate) const NONE: Self = Self { bytes: 0, may_read: true };

    fn of(half: &Attachment) -> Self {
        Self { bytes: half.flight_bytes() as u64, may_read: half.may_read() }
    }
}

/// What a connection shares.
pub(crate) struct Post {
    pub(crate) inbox: Inbox<Letter>,
    half: Mutex<Attachment>,
    /// The owner has said that nothing is to be kept of this connection.
    over: AtomicBool,
    cluster: bool,
}

impl Post {
    pub(crate) fn new(conn: ConnId, cluster: bool) -> Self {
        let half = match cluster {
            true => Attachment::keeping(conn),
            false => Attachment::new(conn),
        };
        let (inbox, over) = (Inbox::new(), AtomicBool::new(false));
        Self { inbox, half: Mutex::new(half), over, cluster }
    }

    /// The shard of the account that is logging in or logged in.
    pub(crate) fn shard(&self) -> Option<ShardId> {
        self.half.lock().shard()
    }

    /// Says to the owner what the stream says.
    ///
    /// A login begins with the epoch that the edge knows in this moment, read under the lock. The
    /// node makes a new epoch known first, and then has all connections told: so a login that reads
    /// the one before is told of the new one, and one that comes after it reads the new one.
    pub(crate) fn ask(&self, uplink: &dyn Uplink, key: &HashKey, ask: Ask) -> Flight {
        let mut half = self.half.lock();
        if let Ask::Challenge { account, .. } = &ask
            && self.cluster
        {
            // Nothing of a login before this one counts: its shard, and with it its epochs, may be
            // others.
            *half = Attachment::keeping(half.conn());
            half.speaks_to(uplink.epoch(shard_of(key, account)));
        }
        if self.cluster {
            self.catch_up(uplink, &mut half);
        }
        let frame = owner::frame(&mut half, key, ask);
        say(uplink, &half, frame);
        Flight::of(&half)
    }

    /// A new owner is known, and this connection has its turn to be told of it only later: what it
    /// says now would go there under the epoch of the one before, and be dropped.
    fn catch_up(&self, uplink: &dyn Uplink, half: &mut Attachment) {
        let Some(epoch) = half.shard().map(|shard| uplink.epoch(shard)) else { return };
        if epoch > half.owner() && !self.is_over() {
            for frame in half.moved(epoch) {
                say(uplink, half, Some(frame));
            }
        }
    }

    /// An owner has said something. `false`: it is not the owner any more, and is not heard.
    pub(crate) fn hear(&self, owner: Owner, frame: &Down) -> (bool, Flight) {
        let mut half = self.half.lock();
        (self.hears(&mut half, owner, frame), Flight::of(&half))
    }

    fn hears(&self, half: &mut Attachment, owner: Owner, frame: &Down) -> bool {
        match self.cluster {
            true => half.shard() == Some(owner.shard) && half.hear_from(owner.epoch, frame),
            // There is one owner for ever.
            false => half.hear(frame),
        }
    }

    /// Shards have new owners: the one of this connection is told of it. Returns whether that was a
    /// report of a session.
    pub(crate) fn moved(&self, uplink: &dyn Uplink, changes: &BTreeMap<ShardId, Epoch>) -> bool {
        let mut half = self.half.lock();
        let epoch = half.shard().and_then(|shard| changes.get(&shard));
        let Some(epoch) = epoch.filter(|_| !self.is_over()) else { return false };
        let mut is_report = false;
        for frame in half.moved(*epoch) {
            is_report |= matches!(frame.1, Up::Report(_));
            say(uplink, &half, Some(frame));
        }
        is_report
    }

    /// The connection is gone: it hears what is left for it, for it must know which session it
    /// speaks for, and its owner learns that the socket is lost. `Some`: a later owner may have to
    /// know it too, and so many bytes are kept for that.
    pub(crate) fn leave(&self, uplink: &dyn Uplink) -> Option<usize> {
        let left = self.inbox.close();
        let mut half = self.half.lock();
        for letter in left {
            if let Letter::Down(owner, frame) = letter {
                self.hears(&mut half, owner, &frame);
            }
        }
        let frame = half.lost();
        say(uplink, &half, frame);
        (self.cluster && half.session().is_some()).then(|| half.kept_bytes())
    }

    /// Nothing is to be kept of this connection.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Whether nothing is to be kept of it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

fn say(uplink: &dyn Uplink, half: &Attachment, frame: Option<Addressed>) {
    if let Some((shard, frame)) = frame {
        uplink.up(Owner { shard, epoch: half.owner() }, frame);
    }
}
