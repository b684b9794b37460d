//! What all accounts of a shard share: its clock, batches, windows, timers and outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kv::Reads;
use peer::{
    Ack, Between, BindRefusal, ConnId, Down, Epoch, NodeId, Parcel, Pass, SessionId, ShardId, Up,
    shard_of,
};
use xmpp::error::{Condition, StreamCondition};
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

use super::commit::{BatchNo, Commits};
use super::ticket::Ticket;
use super::timer::{Timer, Timers};
use super::window::Windows;
use super::work::{Arrival, Arrived, Origin, Work};
use super::{Output, Outputs};
use crate::admin;
use crate::config::Config;
use crate::deletion::Deletion;
use crate::limits;
use crate::rows::Clock;
use crate::session::{InLog, Released, weight};

/// How long a parcel may stay unconfirmed before its window is sent again, in microseconds. A link
/// that lost it says so sooner; this is the last resort.
pub(crate) const WINDOW_RETRY_US: u64 = 5_000_000;

/// The longest step of steady time, in microseconds. Shards wake at least once a minute to sweep,
/// so a longer one is a clock that jumped or a process that was stopped.
const STEP_US: u64 = 65_000_000;

const _: () = assert!(STEP_US < limits::RESENT_US && STEP_US > super::drive::SWEEP_US);

/// What waits for a batch.
pub(crate) enum Effect {
    /// A stanza for a session.
    Deliver(Jid, SessionId, Stanza, InLog),
    /// A frame for a connection.
    Down(ConnId, Down),
    /// A parcel that stands in its window.
    Pass(ShardId, u64),
    /// A session's durable prefix may have grown.
    Progress(Jid, SessionId),
    /// Parcels from a shard may be confirmed.
    Confirm(ShardId),
    /// One of a recovery's parcels is durable.
    Recovered(u64),
    /// A page of an account that is being deleted is gone.
    Deleted,
    /// A session may read its log up to this id: it is durable.
    Feed(Jid, SessionId, u64),
    /// A resumption may be answered: what comes of it is written.
    Resume(Jid, SessionId),
    /// An operator's answer.
    Admin(u64, crate::admin::Reply),
}

/// A read under way.
pub(crate) struct Asked {
    pub(crate) reads: Reads,
    /// How far commits were when it was asked for.
    pub(crate) committed: BatchNo,
    pub(crate) ticket: Ticket,
}

/// A lost session whose stanzas are driven on before its client is told how far they go.
pub(crate) struct Recovery {
    pub(crate) conn: ConnId,
    pub(crate) handled: Option<u64>,
    pub(crate) open: usize,
}

/// What a session was given, as its edge says before it reports the session.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) given: Vec<Released>,
    bytes: usize,
    /// When some of it was said last.
    at: u64,
}

/// Everything of a shard but its accounts.
pub(crate) struct Core {
    pub(crate) id: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) config: Arc<Config>,
    /// The time of day, for ids and stamps.
    pub(crate) now: u64,
    /// The steady clock, for whatever is to happen after a while.
    pub(crate) clock: u64,
    pub(crate) last_id: u64,
    /// The last commit, as the clock row names it.
    pub(crate) op_id: u64,
    /// Time that the shard has lived through: what passes between two inputs, unless that is
    /// above [`STEP_US`].
    pub(crate) steady_us: u64,
    /// When the last gap began (the owner before stopped, or the clock jumped), and in steady time
    /// when it ended.
    gap: (u64, u64),
    /// Windows whose timer is set.
    pub(crate) watched: BTreeSet<ShardId>,
    pub(crate) commits: Commits<Effect>,
    pub(crate) windows: Windows<Origin>,
    pub(crate) tickets: BTreeMap<u64, Asked>,
    pub(crate) ticket_count: u64,
    pub(crate) timers: Timers,
    pub(crate) recoveries: BTreeMap<u64, Recovery>,
    /// Accounts that are being deleted, one after the other.
    pub(crate) deletions: VecDeque<Deletion>,
    /// Parcels between accounts of this shard, decided in this turn.
    pub(crate) local: VecDeque<Arrival>,
    /// Parcels of `local` that were decided, and the batch that they wait for.
    pub(crate) decided: VecDeque<(Origin, BatchNo)>,
    /// Sessions whose durable prefix may have grown.
    pub(crate) progress: Vec<(Jid, SessionId)>,
    /// Accounts that can go on with what waits.
    pub(crate) ready: VecDeque<Jid>,
    /// Accounts that can go on when the growing batch has room again.
    pub(crate) stalled: VecDeque<Jid>,
    /// What edges have said that sessions were given, which they are about to report.
    pub(crate) kept: BTreeMap<(SessionId, u32), Kept>,
    /// Edges that were declared dead: what still comes from them is not heard.
    pub(crate) gone: BTreeSet<NodeId>,
    /// Edges that may have sessions of it, and have not said that they have reported them all.
    pub(crate) unheard: BTreeSet<NodeId>,
    /// It is being given up: nothing waits for its time any more.
    pub(crate) giving: bool,
    pub(crate) out: Outputs,
}

impl Core {
    pub(crate) fn new(
        id: ShardId,
        epoch: Epoch,
        before: Option<Clock>,
        config: Arc<Config>,
        (now, clock): (u64, u64),
    ) -> Self {
        let last_id = before.map_or(0, |clock| clock.last);
        let since = before.map_or(0, |clock| clock.since);
        let op_id = before.map_or(0, |clock| clock.op_id);
        let mut timers = Timers::default();
        // Shards do not sweep all at once.
        timers.set(clock + 30_000_000 + u64::from(id.0) * 1000, Timer::Sweep);
        Self {
            id,
            epoch,
            config,
            now,
            clock,
            last_id,
            op_id,
            steady_us: 0,
            gap: (last_id.min(since + limits::RETRY_HORIZON_US), 0),
            watched: BTreeSet::new(),
            commits: Commits::new(id, epoch),
            windows: Windows::new(),
            tickets: BTreeMap::new(),
            ticket_count: 0,
            timers,
            recoveries: BTreeMap::new(),
            deletions: VecDeque::new(),
            local: VecDeque::new(),
            decided: VecDeque::new(),
            progress: Vec::new(),
            ready: VecDeque::new(),
            stalled: VecDeque::new(),
            kept: BTreeMap::new(),
            gone: BTreeSet::new(),
            unheard: BTreeSet::new(),
            giving: false,
            out: VecDeque::new(),
        }
    }

    /// A session that an edge is about to report was given this. More than a queue may hold is not
    /// kept; the report does not fit then, and its client resumes.
    pub(crate) fn reported(&mut self, session: (SessionId, u32), given: Released) {
        let kept = self.kept.entry(session).or_default();
        kept.at = self.clock;
        if kept.bytes <= limits::SESSION_QUEUE_BYTES_MAX {
            kept.bytes += weight(&given.stanza);
            kept.given.push(given);
        }
    }

    /// Forgets what edges have said of sessions that they do not report: they have died.
    pub(crate) fn forget_kept(&mut self) {
        let now = self.clock;
        self.kept.retain(|_, kept| now < kept.at + limits::KEPT_US);
    }

    /// Time goes on.
    pub(crate) fn advance(&mut self, now: u64, clock: u64) {
        self.clock = clock;
        let step = now.saturating_sub(self.now);
        if step > STEP_US {
            // A second gap within the horizon of the first must not hide what was before that.
            let (before, ended) = self.gap;
            let hidden = self.steady_us > ended + limits::RETRY_HORIZON_US;
            let before = if hidden { self.now } else { before.min(self.now) };
            self.gap = (before, self.steady_us);
        }
        self.steady_us += if step > STEP_US { 0 } else { step };
        self.now = now;
    }

    /// The id from which on logs are searched for what may come again. It is counted in time that
    /// does not jump: a long stop is no reason to forget what was done just before it.
    pub(crate) fn horizon(&self) -> u64 {
        let (before, ended) = self.gap;
        let recent = self.steady_us <= ended + limits::RETRY_HORIZON_US;
        let from = if recent { before.min(self.now) } else { self.now };
        from.saturating_sub(limits::RETRY_HORIZON_US)
    }

    /// The next id: the time in microseconds, or one more than the last (design: "One log per
    /// account").
    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id = self.now.max(self.last_id + 1);
        self.last_id
    }

    /// Asks for rows; the number of the ticket.
    pub(crate) fn read(&mut self, ticket: Ticket, reads: Reads) -> u64 {
        self.ticket_count += 1;
        let committed = self.commits.committed();
        self.tickets.insert(self.ticket_count, Asked { reads: reads.clone(), committed, ticket });
        self.out.push_back(Output::Read(self.ticket_count, reads));
        self.ticket_count
    }

    /// Asks again for what the store could not tell.
    pub(crate) fn read_again(&mut self, ticket: u64) {
        let committed = self.commits.committed();
        if let Some(asked) = self.tickets.get_mut(&ticket) {
            asked.committed = committed;
            self.out.push_back(Output::Read(ticket, asked.reads.clone()));
        }
    }

    /// Hands a frame to a connection at once.
    pub(crate) fn down(&mut self, conn: ConnId, frame: Down) {
        self.out.push_back(Output::Down(conn, frame));
    }

    /// Carries out an effect when a batch is durable; `true` if that is already so and the caller
    /// does it itself.
    pub(crate) fn passes(&self, after: BatchNo) -> bool {
        after <= self.commits.committed()
    }

    /// Sends a parcel to the owner of its addressee. `after`: the batch that it must wait for.
    ///
    /// Returns whether its confirmation is to be waited for by `origin`; `false` also when it is
    /// decided in this turn.
    pub(crate) fn send(&mut self, parcel: Parcel, origin: Origin, after: BatchNo, retry: bool) {
        let target = shard_of(&self.config.hash, &parcel.to);
        if target == self.id {
            self.local.push_back(Arrival { parcel, retry, origin: Arrived::Here(origin) });
            return;
        }
        let number = self.next_id();
        let committed = self.commits.committed();
        let window = self.windows.out.entry(target).or_default();
        let after = after.max(window.held_after);
        let held = after > committed;
        let pass = Pass {
            source: self.id,
            source_epoch: self.epoch,
            target,
            target_epoch: Epoch(0),
            number,
            prev: window.last(),
            retry,
            parcel,
        };
        if self.watched.insert(target) {
            self.timers.set(self.clock + WINDOW_RETRY_US, Timer::Window(target, number));
        }
        if held {
            window.held_after = after;
            window.push(pass, origin, true);
            self.commits.hold(after, Effect::Pass(target, number));
        } else {
            window.push(pass.clone(), origin, false);
            self.out.push_back(Output::Between(Between::Pass(pass)));
        }
    }

    /// Confirms what was taken from a shard and is durable.
    pub(crate) fn confirm(&mut self, source: ShardId) {
        let committed = self.commits.committed();
        let Some(incoming) = self.windows.incoming.get_mut(&source) else { return };
        let epoch = incoming.epoch;
        if let Some(number) = incoming.confirm(committed) {
            self.acknowledge(source, epoch, number);
        }
    }

    /// Tells a shard that the parcels that it sent under an epoch are taken up to `number`.
    pub(crate) fn acknowledge(&mut self, source: ShardId, epoch: Epoch, number: u64) {
        let ack = Ack {
            source: self.id,
            source_epoch: self.epoch,
            target: source,
            target_epoch: epoch,
            number,
        };
        self.out.push_back(Output::Between(Between::Ack(ack)));
    }

    /// A parcel was decided; what it led to is durable with `batch` (zero: at once).
    pub(crate) fn decided(&mut self, origin: Arrived, batch: BatchNo) {
        match origin {
            Arrived::Here(origin) => self.decided.push_back((origin, batch)),
            Arrived::There(source, number) => {
                let passes = self.passes(batch);
                let Some(incoming) = self.windows.incoming.get_mut(&source) else { return };
                incoming.decided(number, batch);
                if passes {
                    self.confirm(source);
                } else if incoming.confirm_at < batch {
                    incoming.confirm_at = batch;
                    self.commits.hold(batch, Effect::Confirm(source));
                }
            }
        }
    }

    /// Answers what cannot be decided because its account could not be read.
    pub(crate) fn refuse(&mut self, work: Work) {
        match work {
            Work::Up(Up::Bind { conn, .. }) => {
                self.down(conn, Down::BindRefused(BindRefusal::InternalServerError));
            }
            Work::Up(Up::Resume { conn, .. }) => {
                // Not a failed resumption: the client would take the session for lost, and send
                // again what is stored.
                let condition = StreamCondition::InternalServerError;
                self.down(conn, Down::Close { condition });
            }
            Work::Up(_) | Work::Gone(_) | Work::HandedOver(_) | Work::Rebuilt => {}
            Work::Parcel(arrival) => {
                let answer = arrival.parcel.stanza.reply_error(Condition::InternalServerError);
                if let Some(answer) = answer
                    && let Some(to) = answer.to.as_ref().map(Jid::to_bare)
                    && self.config.serves(&to)
                {
                    let parcel = Parcel::new(to, answer);
                    self.send(parcel, Origin::None, 0, false);
                }
                self.decided(arrival.origin, 0);
            }
            Work::Admin(ticket, _) => {
                let reply = admin::Reply::Failed(admin::Failure::Store);
                self.out.push_back(Output::Admin(ticket, reply));
            }
        }
    }

    /// Whether a parcel to this addressee would go beyond its window.
    pub(crate) fn window_full(&self, to: &Jid) -> bool {
        let target = shard_of(&self.config.hash, to);
        self.windows.out.get(&target).is_some_and(|window| window.full())
    }
}
