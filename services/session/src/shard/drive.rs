//! How a shard takes its inputs: frames, rows, commits, time.

use kv::{ReadError, Rows};
use peer::{Between, ConnId, Down, Epoch, NodeId, Pass, ShardId, Up};
use xmpp::jid::Jid;

use super::rebuild::Parked;
use super::ticket::Ticket;
use super::window::Incoming;
use super::{Arrival, Arrived, Effect, Env, Origin, Output, Shard, Stop, Timer, Unstored, Work};
use crate::account::{Account, State};
use crate::admin;
use crate::keys::{self, Entity};
use crate::limits;
use crate::rows::Fence;
use crate::turn::Turn;
use crate::{auth, deletion, recover};

/// How often a shard looks for what is at rest, in microseconds.
pub(super) const SWEEP_US: u64 = 60_000_000;

impl Shard {
    pub(super) fn handle_up(&mut self, frame: Up, env: &mut Env<'_>) {
        if self.stop != Stop::No {
            // Not acknowledged, so the client sends it again when it resumes.
            return;
        }
        match frame {
            Up::Challenge { conn, account, hash } => {
                auth::challenge(&mut self.core, conn, account, hash);
            }
            Up::Verify { conn, account, hash, auth_message, proof } => {
                let ticket =
                    Ticket::Verify { conn, account: account.clone(), hash, auth_message, proof };
                auth::read(&mut self.core, ticket, &account);
            }
            frame => {
                let account = frame.account().clone();
                self.work(account, Work::Up(frame), env);
            }
        }
    }

    /// An edge is gone with all its sockets: its sessions wait to be resumed from another one. A
    /// frame of it that is still on its way binds or resumes for a connection that nobody has; who
    /// cannot deliver the answer says so (`attachment::orphaned`).
    pub(super) fn handle_gone(&mut self, edge: NodeId, env: &mut Env<'_>) {
        if self.core.config.cluster.is_some() {
            self.core.gone.insert(edge);
        }
        for jid in self.names() {
            self.work(jid, Work::Gone(edge), env);
        }
        self.heard(edge, env);
    }

    /// The accounts in memory, in order: what is done for all of them is the same in every run.
    pub(super) fn names(&self) -> Vec<Jid> {
        let mut names: Vec<Jid> = self.accounts.keys().cloned().collect();
        names.sort();
        names
    }

    pub(super) fn handle_admin(&mut self, ticket: u64, request: admin::Request, env: &mut Env<'_>) {
        match request {
            admin::Request::List { domain, after } => {
                let reads = admin::list_reads(&domain, after.as_deref());
                self.core.read(Ticket::List(ticket), reads);
            }
            request => {
                if let Some(account) = request.account().cloned() {
                    self.work(account, Work::Admin(ticket, request), env);
                }
            }
        }
    }

    pub(super) fn handle_between(&mut self, frame: Between, env: &mut Env<'_>) {
        match frame {
            // It is sent again.
            Between::Pass(_) if self.rebuild.as_ref().is_some_and(|r| r.is_full()) => {}
            Between::Pass(pass) => self.take_pass(pass, env),
            Between::Ack(ack) => {
                if ack.target_epoch != self.core.epoch {
                    return;
                }
                let Some(window) = self.core.windows.out.get_mut(&ack.source) else { return };
                let origins = window.confirm(ack.number);
                if window.is_empty() {
                    self.core.windows.out.remove(&ack.source);
                }
                for origin in origins {
                    self.confirmed(origin);
                }
            }
            Between::Gap { source, .. } => {
                let now = self.core.clock;
                let window = self.core.windows.out.get_mut(&source);
                if window.is_some_and(|window| window.may_fill(now)) {
                    self.resend(source);
                }
            }
        }
    }

    /// Takes a parcel that is the next of its window; anything else was taken before, or something
    /// is missing.
    fn take_pass(&mut self, pass: Pass, env: &mut Env<'_>) {
        let source = pass.source;
        if pass.retry && !self.core.windows.incoming.contains_key(&source) {
            // It may be from an owner that is not one any more, and whose successor was heard by
            // the owner before this one. What is sent again is seldom: the store tells.
            let reads = kv::Reads::get(keys::epoch(source));
            self.core.read(Ticket::Source(Box::new(pass)), reads);
            return;
        }
        self.take_known(pass, env);
    }

    /// Takes a parcel, whose source was not heard before, if its source is the owner.
    fn take_unknown(&mut self, pass: Pass, rows: Result<Rows, ReadError>, env: &mut Env<'_>) {
        let fence = rows.map(|rows| rows.value(0).map(|value| Fence::decode(value)));
        if matches!(fence, Ok(Some(Ok(fence))) if fence.epoch == pass.source_epoch) {
            self.take_known(pass, env);
        }
    }

    fn take_known(&mut self, pass: Pass, env: &mut Env<'_>) {
        let (source, number) = (pass.source, pass.number);
        let incoming = self.core.windows.incoming.entry(source).or_insert_with(Incoming::new);
        if pass.source_epoch < incoming.epoch {
            return;
        }
        if pass.source_epoch > incoming.epoch {
            incoming.begin(pass.source_epoch);
        }
        if incoming.take(&pass, env.steady) {
            let to = pass.parcel.to.clone();
            let origin = Arrived::There(source, number);
            let arrival = Arrival { parcel: pass.parcel, retry: pass.retry, origin };
            self.work(to, Work::Parcel(arrival), env);
        } else if number <= incoming.taken() {
            let (epoch, number) = (incoming.epoch, incoming.settled());
            self.core.acknowledge(source, epoch, number);
        } else {
            let gap = Between::Gap {
                source: self.core.id,
                source_epoch: self.core.epoch,
                target: source,
                target_epoch: pass.source_epoch,
            };
            self.core.out.push_back(Output::Between(gap));
        }
    }

    /// Another owner has a shard, or a link to it was lost: what it has not confirmed is sent
    /// again.
    pub(super) fn resend(&mut self, target: ShardId) {
        let Some(window) = self.core.windows.out.get_mut(&target) else { return };
        for pass in window.resend() {
            self.core.out.push_back(Output::Between(Between::Pass(pass)));
        }
    }

    /// A parcel's effects are durable.
    fn confirmed(&mut self, origin: Origin) {
        match origin {
            Origin::None => {}
            Origin::Stanza(account, session, number) => {
                if let Some(at) = self.accounts.get_mut(&account)
                    && let Some(session) = at.session_mut(session)
                {
                    session.inbound.parcel_done(number);
                    self.core.progress.push((account, session.id));
                }
            }
            Origin::Recovery(id) => recover::parcel_done(&mut self.core, id),
        }
    }

    pub(super) fn handle_rows(
        &mut self,
        ticket: u64,
        rows: Result<Rows, ReadError>,
        env: &mut Env<'_>,
    ) {
        let Some(asked) = self.core.tickets.get(&ticket) else { return };
        if matches!(rows, Err(ReadError::Unavailable)) && asked.ticket.waits() {
            if let Ticket::Load(account, _) = &asked.ticket {
                let account = account.clone();
                self.turn_away(&account);
            }
            let at = self.core.clock + limits::STORE_RETRY_US;
            self.core.timers.set(at, Timer::Read(ticket));
            return;
        }
        let Some(asked) = self.core.tickets.remove(&ticket) else { return };
        let since = self.core.commits.since(asked.committed);
        let rows = rows.map(|rows| kv::overlay(&asked.reads, rows, since));
        match asked.ticket {
            Ticket::Load(account, before) => {
                self.loaded(&account, &asked.reads, before, rows, env);
            }
            Ticket::Challenge { conn, account, hash } => {
                let told = auth::challenged(&self.core, &account, hash, rows);
                self.core.down(conn, told);
            }
            Ticket::Verify { conn, account, hash, auth_message, proof } => {
                let told = auth::verified(&self.core, &account, hash, &auth_message, &proof, rows);
                self.core.down(conn, told);
            }
            Ticket::List(request) => {
                let reply = admin::listed(rows);
                self.core.out.push_back(Output::Admin(request, reply));
            }
            Ticket::Source(pass) => self.take_unknown(*pass, rows, env),
            Ticket::Delete => {
                self.core.commits.roll();
                if let Some(account) = deletion::page(&mut self.core, rows) {
                    // Whoever asks for it next has it read, and deleted, again.
                    self.accounts.remove(&account);
                }
            }
            Ticket::Trace(trace) => recover::traced(&mut self.core, *trace, rows),
            Ticket::Again(again) => {
                let account = again.account.clone();
                self.turn(&account, env, |turn| turn.again(*again, rows));
            }
            Ticket::Resent(account, count, event, range) => {
                self.turn(&account, env, |turn| turn.resent(count, *event, range, rows));
            }
            Ticket::Retry(account, arrival, range) => {
                self.turn(&account, env, |turn| turn.looked_up(*arrival, range, rows));
            }
            Ticket::Feed(account, session) => {
                self.turn(&account, env, |turn| turn.fed(session, ticket, rows));
            }
        }
    }

    /// Some of an account's rows have come; `before` came earlier.
    fn loaded(
        &mut self,
        jid: &Jid,
        reads: &kv::Reads,
        before: Option<Box<Rows>>,
        rows: Result<Rows, ReadError>,
        env: &mut Env<'_>,
    ) {
        let more = rows.as_ref().ok().and_then(|rows| Account::reads_on(reads, rows));
        let rows = rows.map(|rows| match before {
            Some(before) => joined(*before, rows),
            None => rows,
        });
        if let (Some(more), Ok(rows)) = (more, &rows) {
            let before = Some(Box::new(rows.clone()));
            self.core.read(Ticket::Load(jid.clone(), before), more);
            return;
        }
        self.loaded_whole(jid, rows, env);
    }

    fn loaded_whole(&mut self, jid: &Jid, rows: Result<Rows, ReadError>, env: &mut Env<'_>) {
        let Some(account) = self.accounts.get_mut(jid) else { return };
        if let Ok(rows) = rows
            && let Ok(stored) = account.load(&rows)
        {
            self.core.commits.roll();
            let mut turn = Turn { core: &mut self.core, account, env };
            turn.purge_roster();
            turn.purge_spent();
            stored.into_iter().for_each(|session| turn.restore(session));
            if account.deleting {
                deletion::begin(&mut self.core, jid, account.entity, None);
            }
            self.core.ready.push_back(jid.clone());
            return;
        }
        // The store holds a row that cannot be read: who waits is told, and nothing is kept, so
        // that the next event reads again.
        if let Some(mut account) = self.accounts.remove(jid) {
            while let Some(work) = account.waiting.pop() {
                self.core.refuse(work);
            }
        }
    }

    /// An account cannot be read just now: clients that want to log in to it are told, so that they
    /// come again; all else waits.
    fn turn_away(&mut self, jid: &Jid) {
        let Some(account) = self.accounts.get_mut(jid) else { return };
        for work in account.waiting.take_logins() {
            self.core.refuse(work);
        }
    }

    /// Gives an account something to decide, now or when it can.
    pub(super) fn work(&mut self, jid: Jid, work: Work, env: &mut Env<'_>) {
        match &mut self.rebuild {
            None => self.work_now(jid, work, env),
            Some(rebuild) => match rebuild.park(jid, work) {
                Parked::Now(jid, work) => self.work_now(jid, work, env),
                Parked::Waits => {}
                Parked::Refused(work) => self.core.refuse(work),
            },
        }
    }

    fn work_now(&mut self, jid: Jid, work: Work, env: &mut Env<'_>) {
        let now = self.core.clock;
        let account = match self.accounts.get_mut(&jid) {
            Some(account) => account,
            None => {
                let entity = Entity::of(&self.core.config.hash, &jid);
                self.core.read(Ticket::Load(jid.clone(), None), Account::reads(&entity));
                let account = Account::loading(jid.clone(), entity, now);
                self.accounts.entry(jid.clone()).or_insert(Box::new(account))
            }
        };
        account.used_us = now;
        if !account.is_free() {
            if let Some(refused) = account.waiting.push(work) {
                self.core.refuse(refused);
            }
            return;
        }
        self.core.commits.roll();
        Turn { core: &mut self.core, account, env }.work(work);
    }

    pub(super) fn turn(
        &mut self,
        jid: &Jid,
        env: &mut Env<'_>,
        run: impl FnOnce(&mut Turn<'_, '_>),
    ) {
        self.core.commits.roll();
        if let Some(account) = self.accounts.get_mut(jid) {
            run(&mut Turn { core: &mut self.core, account, env });
        }
    }

    /// Decides all that follows from what was decided, until nothing is left to do in this turn.
    pub(super) fn settle(&mut self, env: &mut Env<'_>) {
        loop {
            if let Some(arrival) = self.core.local.pop_front() {
                self.arrive_here(arrival, env);
            } else if let Some(done) = self.core.decided.pop_front() {
                self.decided_here(done);
            } else if let Some(jid) = self.core.ready.pop_front() {
                self.go_on(&jid, env);
            } else {
                break;
            }
        }
        for (jid, session) in std::mem::take(&mut self.core.progress) {
            self.turn(&jid, env, |turn| turn.progress(session));
        }
        self.store_sessions(env);
    }

    /// Takes a parcel from an account of this shard. One from an account to itself goes before all
    /// that waits there: what its client sent later may not be stored before it, or a lost session
    /// would be told that it came further than it did (`recover`).
    fn arrive_here(&mut self, arrival: Arrival, env: &mut Env<'_>) {
        let to = arrival.parcel.to.clone();
        let own = matches!(&arrival.origin, Arrived::Here(Origin::Stanza(from, ..)) if *from == to);
        match self.accounts.get_mut(&to).filter(|_| own) {
            None => self.work(to, Work::Parcel(arrival), env),
            Some(account) if account.state == State::Ready => {
                self.core.commits.roll();
                Turn { core: &mut self.core, account, env }.work(Work::Parcel(arrival));
            }
            Some(account) => account.waiting.push_first(Work::Parcel(arrival)),
        }
    }

    /// A parcel between two accounts of this shard was decided: its sender's stanza waits for the
    /// batch it wrote in.
    fn decided_here(&mut self, (origin, batch): (Origin, super::BatchNo)) {
        match origin {
            Origin::Stanza(account, id, number) => {
                let Some(at) = self.accounts.get_mut(&account) else { return };
                let Some(session) = at.session_mut(id) else { return };
                session.inbound.wait_batch(number, batch);
                session.inbound.parcel_done(number);
                if batch > session.inbound.progress_at && !self.core.passes(batch) {
                    session.inbound.progress_at = batch;
                    self.core.commits.hold(batch, Effect::Progress(account, id));
                } else {
                    self.core.progress.push((account, id));
                }
            }
            Origin::Recovery(id) if !self.core.passes(batch) => {
                self.core.commits.hold(batch, Effect::Recovered(id));
            }
            origin => self.confirmed(origin),
        }
    }

    /// Lets an account decide what has waited, until it waits again or the batch is full. What it
    /// sends to itself is decided in between.
    fn go_on(&mut self, jid: &Jid, env: &mut Env<'_>) {
        while let Some(account) = self.accounts.get_mut(jid)
            && account.state == State::Ready
        {
            if self.core.commits.full() {
                self.core.stalled.push_back(jid.clone());
                return;
            }
            let Some(work) = account.waiting.pop() else {
                self.forget(jid);
                return;
            };
            Turn { core: &mut self.core, account, env }.work(work);
            while let Some(arrival) = self.core.local.pop_front() {
                self.arrive_here(arrival, env);
            }
        }
    }

    /// Nobody's account is not kept: whoever writes to names that do not exist fills no memory.
    fn forget(&mut self, jid: &Jid) {
        let committed = self.core.commits.committed();
        let gone = |account: &Account| !account.exists() && account.at_rest(committed);
        if self.accounts.get(jid).is_some_and(|account| gone(account)) {
            self.accounts.remove(jid);
        }
    }

    /// Carries out an effect whose batch is durable.
    pub(super) fn release(&mut self, effect: Effect, env: &mut Env<'_>) {
        match effect {
            Effect::Deliver(jid, session, stanza, logged) => {
                self.turn(&jid, env, |turn| turn.release(session, stanza, logged));
            }
            Effect::Down(conn, frame) => self.core.down(conn, frame),
            Effect::Pass(target, number) => {
                if let Some(window) = self.core.windows.out.get_mut(&target)
                    && let Some(pass) = window.release(number)
                {
                    self.core.out.push_back(Output::Between(Between::Pass(pass)));
                }
            }
            Effect::Progress(jid, session) => self.core.progress.push((jid, session)),
            Effect::Confirm(source) => self.core.confirm(source),
            Effect::Deleted if self.stop != Stop::No => deletion::stop(&mut self.core),
            Effect::Deleted => {
                let gone = deletion::durable(&mut self.core);
                if let Some(account) = gone.and_then(|jid| self.accounts.get_mut(&jid)) {
                    account.deleting = false;
                }
            }
            Effect::Recovered(id) => recover::parcel_done(&mut self.core, id),
            Effect::Feed(jid, session, until) => {
                self.turn(&jid, env, |turn| turn.read_to(session, until));
            }
            Effect::Resume(jid, session) => {
                self.turn(&jid, env, |turn| turn.finish_resume(session));
            }
            Effect::Admin(ticket, reply) => self.core.out.push_back(Output::Admin(ticket, reply)),
        }
    }

    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some(timer) = self.core.timers.pop(env.steady) {
            match timer {
                Timer::Resume(jid, session) => {
                    self.turn(&jid, env, |turn| turn.expire(session));
                }
                Timer::Unwritten(jid) => self.turn(&jid, env, |turn| turn.passing_timeout()),
                Timer::Cursor(jid) => self.turn(&jid, env, |turn| turn.write_cursor()),
                Timer::Window(target, number) => self.check_window(target, number),
                Timer::Read(ticket) => self.core.read_again(ticket),
                Timer::Rebuild => self.rebuilt(env),
                Timer::Sweep => {
                    self.sweep();
                    if self.sessions() > 0 {
                        // Sessions that only listen would wait for ever at who is not the owner any
                        // more and, having nothing to write, never learns of it.
                        self.core.commits.prove();
                    }
                    self.core.timers.set(env.steady + SWEEP_US, Timer::Sweep);
                }
            }
        }
    }

    fn check_window(&mut self, target: ShardId, number: u64) {
        let Some(window) = self.core.windows.out.get_mut(&target) else {
            self.core.watched.remove(&target);
            return;
        };
        let first = window.first();
        let wait = window.stands_still(first == number);
        if first == number {
            self.resend(target);
            // Perhaps nobody listens, because another owner has this shard: who has nothing to
            // write would never learn of it.
            self.core.commits.prove();
        }
        let again = self.core.clock + super::core::WINDOW_RETRY_US * wait;
        self.core.timers.set(again, Timer::Window(target, first));
    }

    /// Drops accounts and windows at rest.
    fn sweep(&mut self) {
        let (now, committed) = (self.core.clock, self.core.commits.committed());
        let steady_us = self.core.steady_us;
        self.core.forget_kept();
        self.accounts.retain(|_, account| {
            account.recent.take_if(|recent| recent.is_over(steady_us));
            !(account.at_rest(committed) && now > account.used_us + limits::ACCOUNT_IDLE_US)
        });
        self.core.windows.incoming.retain(|_, incoming| {
            !(incoming.is_idle() && now > incoming.last_us + limits::WINDOW_IDLE_US)
        });
    }

    /// Stores the sessions once everything that they sent is durable: as many at a time as a batch
    /// holds, and the others when that one is durable.
    fn store_sessions(&mut self, env: &mut Env<'_>) {
        if self.stop == Stop::Settling && self.is_settled() {
            self.stop = Stop::Storing;
            for jid in self.names() {
                let mut ids = Vec::new();
                self.turn(&jid, env, |turn| ids = turn.begin_store());
                let sessions = ids.into_iter().map(Unstored::Session).chain([Unstored::Cursor]);
                self.unstored.extend(sessions.map(|what| (jid.clone(), what)));
            }
        }
        while !self.is_full()
            && let Some((jid, what)) = self.unstored.pop_front()
        {
            self.turn(&jid, env, |turn| match what {
                Unstored::Session(id) => turn.store_session(id),
                Unstored::Cursor => turn.write_cursor(),
            });
        }
    }

    /// Which connections its sessions have, for a close of all.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> {
        self.accounts.values().flat_map(|account| account.sessions()).filter_map(|s| s.conn)
    }

    /// Ends the ownership: everything in memory is dropped, and nothing more is sent. Connections
    /// are told to come again; those too that were to be closed and were not told yet.
    pub fn fenced(self) -> Vec<(ConnId, Down)> {
        let condition = xmpp::error::StreamCondition::Reset;
        let mut connections: Vec<ConnId> = self.connections().collect();
        connections.extend(self.core.out.iter().filter_map(|output| match output {
            Output::Down(conn, Down::Close { .. }) => Some(*conn),
            _ => None,
        }));
        connections.sort();
        connections.into_iter().map(|conn| (conn, Down::Close { condition })).collect()
    }

    /// Under which epoch a frame of `source` was last taken, for tests.
    pub fn source_epoch(&self, source: ShardId) -> Option<Epoch> {
        self.core.windows.incoming.get(&source).map(|incoming| incoming.epoch)
    }
}

/// The rows of two pages of the same reads.
fn joined(mut before: Rows, rows: Rows) -> Rows {
    for (found, more) in before.found.iter_mut().zip(rows.found) {
        found.rows.extend(more.rows);
    }
    before
}
