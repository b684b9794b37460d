//! One shard: the accounts that it owns, its batches, its windows. Pure; the worker feeds it and
//! carries out what it wants.
//!
//! [`Shard::handle`] takes one input and decides; [`Shard::poll`] gives one output at a time;
//! [`Shard::seal`] closes the growing batch when none is in flight. Effects that show what a batch
//! writes wait for it.

mod commit;
mod core;
mod drive;
mod hand_over;
mod rebuild;
mod ticket;
mod timer;
mod window;
mod work;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use kv::{Batch, ReadError, Rows};
use peer::{Between, ConnId, Down, Epoch, NodeId, SessionId, ShardId, Up};
use xmpp::jid::Jid;

use crate::account::Account;
use crate::admin;
use crate::config::Config;
use crate::rows::Clock;

use self::rebuild::Rebuild;

pub(crate) use self::commit::BatchNo;
pub(crate) use self::core::{Core, Effect, Recovery};
pub(crate) use self::hand_over::NOWHERE;
pub(crate) use self::ticket::{Again, Step, Ticket, Trace};
pub(crate) use self::timer::Timer;
pub(crate) use self::work::{Arrival, Arrived, Origin, Waiting, Work};

/// What the outside lends for one input: the time and random bits.
pub struct Env<'a> {
    /// Microseconds since 1970: may jump.
    pub now: u64,
    /// Microseconds of a clock that never jumps, from any beginning. Deadlines are of this one.
    pub steady: u64,
    /// A source of random bits, fit for secrets.
    pub random: &'a mut dyn FnMut() -> u128,
}

/// What a shard takes.
#[derive(Debug)]
pub enum Input {
    /// A frame from an edge.
    Up(Up),
    /// A frame from another shard.
    Between(Between),
    /// All connections of an edge are gone.
    Gone(NodeId),
    /// An edge has reported all its sessions of this shard.
    Complete(NodeId),
    /// Another shard has a new owner.
    Moved(ShardId),
    /// The rows of an [`Output::Read`].
    Rows(u64, Result<Rows, ReadError>),
    /// An operator's request; the number comes back with the reply.
    Admin(u64, admin::Request),
    /// The time of [`Shard::deadline`] has come.
    Timeout,
    /// Store what can be resumed; take nothing more.
    Stop,
}

impl Input {
    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let held = match self {
            Self::Up(frame) => work::frame_bytes(frame),
            Self::Between(Between::Pass(pass)) => {
                pass.parcel.stanza.size_hint() + pass.parcel.to.as_str().len()
            }
            _ => 0,
        };
        size_of::<Self>() + held
    }

    /// Whether this brings new work, which may wait, or follows such work and must not pass it;
    /// answers and time never wait.
    pub(crate) fn is_work(&self) -> bool {
        matches!(
            self,
            Self::Up(_)
                | Self::Between(Between::Pass(_))
                | Self::Gone(_)
                | Self::Complete(_)
                | Self::Admin(..)
        )
    }
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Output {
    /// Read these rows and give them back with the number.
    Read(u64, kv::Reads),
    /// Hand a frame to a connection.
    Down(ConnId, Down),
    /// Hand a frame to another shard.
    Between(Between),
    /// Answer an operator.
    Admin(u64, admin::Reply),
    /// Say something to the log.
    Note(Note),
}

/// What an operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What this session holds is above `limits::SESSION_ROW_BYTES_MAX`: an orderly stop does not
    /// store it, and its client binds anew.
    SessionNotStored(Jid),
}

/// One shard under one epoch.
pub struct Shard {
    core: Core,
    accounts: HashMap<Jid, Box<Account>>,
    stop: Stop,
    /// What an orderly stop has still to store.
    unstored: VecDeque<(Jid, Unstored)>,
    /// It does not know all its sessions yet.
    rebuild: Option<Box<Rebuild>>,
}

impl Shard {
    /// A shard whose ownership under `epoch` is written in the store; `before` is the clock of its
    /// owner before.
    pub fn new(
        id: ShardId,
        epoch: Epoch,
        before: Option<Clock>,
        config: Arc<Config>,
        env: &Env<'_>,
    ) -> Self {
        Self {
            core: Core::new(id, epoch, before, config, (env.now, env.steady)),
            accounts: HashMap::new(),
            stop: Stop::No,
            unstored: VecDeque::new(),
            rebuild: None,
        }
    }

    /// Which shard this is.
    pub fn id(&self) -> ShardId {
        self.core.id
    }

    /// The epoch under which it writes.
    pub fn epoch(&self) -> Epoch {
        self.core.epoch
    }

    /// Takes one input and decides everything that follows from it.
    pub fn handle(&mut self, input: Input, env: &mut Env<'_>) {
        self.core.advance(env.now, env.steady);
        match input {
            Input::Up(frame) => self.handle_up(frame, env),
            Input::Between(frame) => self.handle_between(frame, env),
            Input::Gone(edge) => self.handle_gone(edge, env),
            Input::Complete(edge) => {
                self.core.unheard.remove(&edge);
                self.heard(edge, env);
            }
            Input::Moved(shard) => self.resend(shard),
            Input::Rows(ticket, rows) => self.handle_rows(ticket, rows, env),
            Input::Admin(ticket, request) => self.handle_admin(ticket, request, env),
            Input::Timeout => self.handle_timeout(env),
            Input::Stop => self.stop = Stop::Settling,
        }
        self.settle(env);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.core.out.pop_front()
    }

    /// When [`Input::Timeout`] is due, by the steady clock.
    pub fn deadline(&self) -> Option<u64> {
        self.core.timers.next()
    }

    /// Closes the growing batch, if there is one and none is in flight. `op_id` is new for each
    /// call.
    pub fn seal(&mut self, op_id: u64) -> Option<Batch> {
        let clock = self.clock(op_id);
        let batch = self.core.commits.seal(clock);
        if batch.is_some() {
            self.core.op_id = op_id;
        }
        batch
    }

    /// The batch in flight, under a new id: the first commit is known not to have happened.
    pub fn seal_again(&mut self, op_id: u64) -> Option<Batch> {
        let clock = self.clock(op_id);
        let batch = self.core.commits.again(clock);
        if batch.is_some() {
            self.core.op_id = op_id;
        }
        batch
    }

    fn clock(&self, op_id: u64) -> Clock {
        Clock { last: self.core.last_id, op_id, since: self.core.horizon() }
    }

    /// The batch in flight is durable: what waited for it is released.
    pub fn committed(&mut self, env: &mut Env<'_>) {
        self.core.advance(env.now, env.steady);
        let reading = self.core.tickets.values().map(|asked| asked.committed).min();
        let released = self.core.commits.done(reading);
        for effect in released {
            self.release(effect, env);
        }
        self.core.ready.append(&mut self.core.stalled);
        self.settle(env);
    }

    /// Whether so much waits to be written that new work should wait.
    pub fn is_full(&self) -> bool {
        self.core.commits.full()
    }

    /// Whether the shard has something to commit and nothing in flight.
    pub fn has_batch(&self) -> bool {
        self.core.commits.ready()
    }

    /// Whether everything that was taken is durable and released.
    pub fn is_settled(&self) -> bool {
        self.core.commits.idle()
            && self.core.tickets.is_empty()
            && self.core.windows.out.values().all(|window| window.is_empty())
    }

    /// Whether an orderly stop is through: sessions are stored.
    pub fn is_stopped(&self) -> bool {
        self.stop == Stop::Storing && self.unstored.is_empty() && self.is_settled()
    }

    /// Whether another shard has not confirmed everything that this one has sent there.
    pub fn sends_to(&self, other: ShardId) -> bool {
        self.core.windows.out.contains_key(&other)
    }

    /// How many accounts it has in memory.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// How many sessions it holds, attached and waiting.
    pub fn sessions(&self) -> usize {
        self.accounts.values().map(|account| account.sessions.len()).sum()
    }

    /// Bytes that sessions hold released and not taken.
    pub fn queue_bytes(&self) -> usize {
        self.accounts.values().flat_map(|a| a.sessions()).map(|s| s.outbound.bytes).sum()
    }

    /// An account in memory, for tests and support.
    pub fn account(&self, jid: &Jid) -> Option<&Account> {
        self.accounts.get(jid).map(|account| &**account)
    }
}

/// What of an account is stored in one step of an orderly stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unstored {
    Session(SessionId),
    /// What was taken, after all its sessions.
    Cursor,
}

/// How far an orderly stop is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// Nothing more is taken from clients; what was taken becomes durable.
    Settling,
    /// The sessions are written.
    Storing,
}

/// A queue of outputs; its own type so that a burst does not keep its memory.
pub(crate) type Outputs = VecDeque<Output>;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use peer::BindRefusal;
    use peer::shard::HashKey;

    use super::*;
    use crate::limits::WAITING_MAX;
    use crate::module::Modules;

    #[test]
    fn so_much_waits_for_an_account_and_the_rest_is_refused() {
        let domains = vec!["capulet.example".to_owned()];
        let config = Config::new(domains, HashKey(1, 2), [7; 32], Modules::new(&[]));
        let mut env = Env { now: 1, steady: 1, random: &mut || 4 };
        let mut shard = Shard::new(ShardId(0), Epoch(1), None, Arc::new(config), &env);
        let account = Jid::parse("juliet@capulet.example").expect("a JID");
        let edge = NodeId { number: 1, incarnation: 1 };
        let mut refused = Vec::new();
        for slot in 0..=WAITING_MAX as u64 {
            let (account, conn) = (account.clone(), ConnId { edge, slot });
            let bind = Up::Bind { conn, account, generation: 1, resource: None, resends: false };
            shard.handle(Input::Up(bind), &mut env);
            while let Some(output) = shard.poll() {
                match output {
                    Output::Read(..) => {}
                    Output::Down(conn, Down::BindRefused(why)) => refused.push((conn.slot, why)),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(refused, [(WAITING_MAX as u64, BindRefusal::InternalServerError)]);
        // A login waits for nobody's account.
        let (hash, auth_message, proof) = (xmpp::scram::Hash::Sha256, Bytes::new(), Bytes::new());
        let conn = ConnId { edge, slot: 0 };
        shard.handle(Input::Up(Up::Verify { conn, account, hash, auth_message, proof }), &mut env);
        assert!(matches!(shard.poll(), Some(Output::Read(..))));
    }
}
