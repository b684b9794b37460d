//! One client connection: the task that carries bytes between its socket, its stream and the owner
//! of its account.
//!
//! It is a future of its own rather than an `async fn`: all that it holds at rest is this struct,
//! and the core's buffers can be used for a whole turn because nothing in a turn waits.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::rand;
use peer::Down;
use stream::c2s::C2s;
use stream::{Answer, Ask, AuthRefusal, Output, Random, TlsInfo, Transport};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use xmpp::error::StreamCondition;

use crate::admission::Pass;
use crate::berth::{Berth, Live, Voyage};
use crate::buffers::Buffers;
use crate::core::Core;
use crate::derive::Job;
use crate::inbox::{Mail, Ring};
use crate::limits::{
    IN_FLIGHT_BYTES_MAX, LINGER_BYTES_MAX, LINGER_US, OUTPUT_PAUSE_BYTES, QUIET_US,
    ROUNDS_PER_TURN, WRITE_STALL_US,
};
use crate::link::{Arrived, Link, LinkFault};
use crate::owner;
use crate::post::Letter;
use crate::sources::Place;
use crate::tls::{Entry, Established};

/// One client connection, on the core that drives it.
pub(crate) struct Connection {
    live: Live,
    berth: Berth,
    link: Link,
    /// `None` until direct TLS is there.
    stream: Option<C2s>,
    phase: Phase,
    times: Times,
}

/// How a turn ended.
enum Turn {
    /// Something may still come.
    Rest,
    /// The connection is over.
    Over,
    /// The connection is at rest, and belongs to another core.
    Move(u16),
}

/// How a connection ends. All but the last need the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The stream is over: what it said last is being written.
    Closing {
        eof: bool,
    },
    /// All is written and our direction is shut; the client's end is awaited.
    Lingering {
        discarded: usize,
    },
    Over,
}

/// Times of the edge's clock; deadlines are made of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    accepted_us: u64,
    /// When the kernel last took something, or had nothing to take.
    written_us: u64,
    /// When the stream last said something that it was not told to be quiet after.
    spoken_us: Option<u64>,
    /// When the end began.
    closing_us: u64,
    /// When the wheel comes by; `u64::MAX` if it does not.
    armed_us: u64,
}

impl Connection {
    /// A connection that was just accepted and admitted. Counts it until it is dropped.
    pub(crate) fn new(
        core: Rc<Core>,
        socket: TcpStream,
        entry: Entry,
        (place, pass): (Place, Pass),
    ) -> Option<Self> {
        let berth = Berth::new(Arc::clone(&core.shared), place, pass);
        if let Some(bell) = core.shared.drain.bell() {
            // It may have rung before there was anybody to hear it.
            berth.post.inbox.ring(bell);
        }
        let now_us = core.now_us();
        let times = Times {
            accepted_us: now_us,
            written_us: now_us,
            spoken_us: None,
            closing_us: now_us,
            armed_us: u64::MAX,
        };
        let link = Link::new(socket);
        let live = Live::new(core);
        let mut connection = Self { live, berth, link, stream: None, phase: Phase::Open, times };
        match entry {
            Entry::Direct => connection.start_tls(entry)?,
            Entry::StartTls => connection.stream = Some(connection.new_stream(Transport::Plain)?),
        }
        Some(connection)
    }

    /// Goes on with a connection that another core has sent.
    fn arrive(core: Rc<Core>, voyage: Voyage) -> std::io::Result<Self> {
        let Voyage { berth, link, stream, mut times } = voyage;
        // The wheel of the core that it left rings once more, and finds nothing due.
        times.armed_us = u64::MAX;
        let (link, stream) = (link.attach()?, Some(stream));
        Ok(Self { live: Live::new(core), berth, link, stream, phase: Phase::Open, times })
    }

    /// Makes it ready to go to another core.
    fn depart(self) -> std::io::Result<Option<Voyage>> {
        let Self { live: _, berth, link, stream, phase: _, times } = self;
        let link = link.detach()?;
        Ok(stream.map(|stream| Voyage { berth, link, stream, times }))
    }

    fn new_stream(&self, transport: Transport) -> Option<C2s> {
        let mut bytes = [0; Random::BYTES];
        rand::fill(&mut bytes).ok()?;
        let config = Arc::clone(&self.berth.shared.config.stream);
        Some(C2s::new(config, transport, Random::new(bytes)))
    }

    fn start_tls(&mut self, entry: Entry) -> Option<()> {
        let conn = self.berth.shared.config.tls.accept(entry).ok()?;
        self.link.start_tls(conn);
        Some(())
    }

    /// Goes on until there is nothing to do, or others must have their turn.
    fn turn(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> Turn {
        for _ in 0..ROUNDS_PER_TURN {
            let mut busy = self.take_mail(cx, buffers);
            busy |= self.take_input(cx, buffers);
            busy |= self.give_output(cx, buffers);
            if self.phase == Phase::Over {
                return Turn::Over;
            }
            if !busy {
                if self.phase == Phase::Open
                    && let Some(core) = self.berth.elsewhere(self.live.core.index)
                {
                    return Turn::Move(core);
                }
                self.arm();
                return Turn::Rest;
            }
        }
        self.arm();
        cx.waker().wake_by_ref();
        Turn::Rest
    }

    fn take_mail(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        let takes = self.phase != Phase::Open || self.link.unsent() < OUTPUT_PAUSE_BYTES;
        let Poll::Ready(Mail { queue, rung, overrun }) = self.berth.post.inbox.poll(cx, takes)
        else {
            return false;
        };
        if overrun || rung.has(Ring::Abandon) {
            if overrun {
                self.berth.shared.metrics.slow_readers.add(1);
            }
            for letter in queue {
                // Nobody gets it any more; but who ends must know which session it speaks for.
                if let Letter::Down(owner, frame) = letter {
                    self.berth.post.hear(owner, &frame);
                }
            }
            self.phase = Phase::Over;
            return true;
        }
        for letter in queue {
            self.take_letter(letter, buffers);
        }
        if rung.has(Ring::Timer) {
            self.times.armed_us = u64::MAX;
            self.check_times(buffers);
        }
        if rung.has(Ring::Drain) {
            self.shut_down(StreamCondition::SystemShutdown, buffers);
        }
        if rung.has(Ring::HandOff) {
            self.hand_off(buffers);
        }
        true
    }

    fn take_letter(&mut self, letter: Letter, buffers: &mut Buffers) {
        let Some(stream) = &mut self.stream else { return };
        match letter {
            Letter::Down(owner, frame) => {
                let (heard, flight) = self.berth.post.hear(owner, &frame);
                self.berth.flight = flight;
                if !heard {
                    return self.berth.shared.metrics.stale_frames.add(1);
                }
                if matches!(frame, Down::Stanza { .. }) {
                    self.berth.shared.metrics.stanzas_out.add(1);
                }
                if let Some(answer) = owner::answer(frame) {
                    self.berth.answered();
                    stream.handle_answer(answer, &mut buffers.text);
                }
            }
            Letter::Derived(keys) => stream.handle_derived(keys, &mut buffers.text),
        }
        self.carry_out(buffers);
    }

    /// Reads once, where there is room for what may follow from it.
    fn take_input(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        match self.phase {
            Phase::Open if self.wants_input() => {}
            Phase::Lingering { discarded } => return self.discard(discarded, cx, buffers),
            _ => return false,
        }
        let arrived = match self.link.poll_read(cx, buffers) {
            Poll::Pending => return false,
            Poll::Ready(Ok(arrived)) => arrived,
            Poll::Ready(Err(fault)) => {
                self.fail(&fault, cx, buffers);
                return true;
            }
        };
        self.berth.shared.metrics.bytes_in.add(arrived.bytes as u64);
        self.take_arrived(arrived, buffers);
        true
    }

    fn take_arrived(&mut self, arrived: Arrived, buffers: &mut Buffers) {
        if let Some(established) = arrived.established {
            self.take_tls(established);
        }
        if !buffers.plain.is_empty()
            && let Some(stream) = &mut self.stream
        {
            stream.handle_bytes(&buffers.plain, &mut buffers.text);
            buffers.plain.clear();
            self.carry_out(buffers);
        }
        if arrived.eof {
            if let Some(stream) = &mut self.stream {
                stream.handle_eof();
                self.carry_out(buffers);
            }
            self.phase = match self.phase {
                // The client said goodbye and hung up: it still gets our goodbye.
                Phase::Open | Phase::Closing { .. } if self.stream.is_some() => {
                    Phase::Closing { eof: true }
                }
                _ => Phase::Over,
            };
        }
    }

    fn take_tls(&mut self, established: Established) {
        let metrics = &self.berth.shared.metrics;
        match established.resumed {
            true => metrics.tls_resumed.add(1),
            false => metrics.tls_full.add(1),
        }
        self.berth.pass.has_tls(established.resumed);
        let info =
            TlsInfo { tls_exporter: established.exporter, server_end_point: established.end_point };
        match &mut self.stream {
            Some(stream) => stream.handle_tls(info),
            None => match self.new_stream(Transport::Tls(info)) {
                Some(stream) => self.stream = Some(stream),
                None => self.phase = Phase::Over,
            },
        }
    }

    /// Whether reading makes sense, and what comes of it has a place: at the stream, in the output,
    /// at the owner.
    fn wants_input(&self) -> bool {
        if self.link.is_handshaking() {
            return self.link.unsent() < OUTPUT_PAUSE_BYTES;
        }
        let in_flight = self.berth.shared.metrics.in_flight_bytes.value();
        self.stream.as_ref().is_some_and(C2s::wants_input)
            && self.link.unsent() < OUTPUT_PAUSE_BYTES
            && self.berth.flight.may_read
            && node_has_room(in_flight, self.berth.in_flight)
    }

    /// Does what the stream wants done, until it wants nothing.
    fn carry_out(&mut self, buffers: &mut Buffers) {
        while let Some(output) = self.stream.as_mut().and_then(C2s::poll) {
            match output {
                Output::StartTls => {
                    // What the stream said until here goes out in the clear.
                    if self.link.seal(buffers).is_err() || self.start_tls(Entry::StartTls).is_none()
                    {
                        self.phase = Phase::Over;
                    }
                }
                Output::Ask(ask) => self.ask(ask, buffers),
                Output::Derive { password, salt, iterations, hash } => {
                    let post = Arc::downgrade(&self.berth.post);
                    self.derive(Job { password, salt, iterations, hash, post }, buffers);
                }
                Output::Close if self.phase == Phase::Open => {
                    self.times.closing_us = self.live.core.now_us();
                    self.phase = Phase::Closing { eof: false };
                }
                Output::Close => {}
            }
        }
        self.count();
    }

    fn ask(&mut self, ask: Ask, buffers: &mut Buffers) {
        if !self.berth.may_ask(&ask) {
            self.berth.shared.metrics.refused_logins.add(1);
            if let Some(stream) = &mut self.stream {
                // Not a failed login: the password may be right, and trying again at once is wrong.
                let condition = StreamCondition::ResourceConstraint;
                stream.handle_shutdown(condition, &mut buffers.text);
            }
            return;
        }
        let shared = &self.berth.shared;
        if matches!(ask, Ask::Stanza { .. } | Ask::Judged { .. }) {
            shared.metrics.stanzas_in.add(1);
        }
        self.berth.flight = self.berth.post.ask(&*shared.uplink, &shared.config.hash_key, ask);
    }

    fn derive(&mut self, job: Job, buffers: &mut Buffers) {
        let shared = &self.berth.shared;
        if shared.derivers.submit(job).is_ok() {
            return shared.metrics.derivations.add(1);
        }
        shared.metrics.derivations_refused.add(1);
        if let Some(stream) = &mut self.stream {
            let refused = Answer::Refused(AuthRefusal::TemporaryAuthFailure);
            stream.handle_answer(refused, &mut buffers.text);
        }
    }

    /// Brings the node's figures up to date with this connection.
    fn count(&mut self) {
        let metrics = &self.berth.shared.metrics;
        let in_flight = self.berth.flight.bytes;
        if in_flight != self.berth.in_flight {
            metrics.in_flight_bytes.add(in_flight);
            metrics.in_flight_bytes.sub(self.berth.in_flight);
            self.berth.in_flight = in_flight;
        }
        self.berth.set_session(self.stream.as_ref().is_some_and(C2s::is_established));
    }

    /// Writes what there is. Returns whether that made room for something.
    fn give_output(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        let spoke = !buffers.text.is_empty();
        if let Err(fault) = self.link.seal(buffers) {
            self.fail(&fault, cx, buffers);
            return true;
        }
        let waited = self.link.unsent() > 0;
        if !spoke && !waited && buffers.wire.is_empty() {
            return self.finish(cx, buffers);
        }
        let Ok((taken, all)) = self.link.flush(cx, buffers) else {
            self.phase = Phase::Over;
            return true;
        };
        self.berth.shared.metrics.bytes_out.add(taken as u64);
        let now_us = self.live.core.now_us();
        if taken > 0 || all || !waited {
            self.times.written_us = now_us;
        }
        if spoke {
            self.times.spoken_us = Some(now_us);
        }
        if !all {
            return false;
        }
        if let Some(stream) = &mut self.stream {
            stream.handle_written();
            self.carry_out(buffers);
        }
        self.finish(cx, buffers) || waited
    }

    /// Takes the last steps, once everything is written.
    fn finish(&mut self, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        let Phase::Closing { eof } = self.phase else { return false };
        self.link.say_end(buffers);
        let flushed = self.link.flush(cx, buffers);
        let shut = self.link.poll_shutdown(cx);
        // Where the end cannot be said at once, it is not said: nothing of the stream is lost by
        // that.
        let said = matches!((flushed, shut), (Ok((_, true)), Poll::Ready(Ok(()))));
        self.phase = match said && !eof {
            true => Phase::Lingering { discarded: 0 },
            false => Phase::Over,
        };
        true
    }

    fn discard(&mut self, before: usize, cx: &mut Context<'_>, buffers: &mut Buffers) -> bool {
        match self.link.poll_discard(cx, buffers) {
            Poll::Pending => return false,
            Poll::Ready(Ok(bytes)) if bytes > 0 && before + bytes <= LINGER_BYTES_MAX => {
                self.phase = Phase::Lingering { discarded: before + bytes };
            }
            Poll::Ready(_) => self.phase = Phase::Over,
        }
        true
    }

    /// The connection is lost; the alert, if there is one, gets one try.
    fn fail(&mut self, fault: &LinkFault, cx: &mut Context<'_>, buffers: &mut Buffers) {
        let metrics = &self.berth.shared.metrics;
        match fault {
            LinkFault::Tls(fault) => {
                metrics.tls_faults.add(1);
                tracing::debug!(slot = self.berth.id.slot, %fault, "connection ends");
                let _ = self.link.flush(cx, buffers);
            }
            LinkFault::Socket(error) => {
                if error.kind() == std::io::ErrorKind::TimedOut {
                    metrics.silent.add(1);
                }
                tracing::debug!(slot = self.berth.id.slot, %error, "connection lost");
            }
        }
        if let Some(stream) = &mut self.stream {
            stream.handle_eof();
            self.carry_out(buffers);
        }
        self.phase = Phase::Over;
    }

    /// Lets the stream say why it ends. Before there is one, there is nobody to say it.
    fn shut_down(&mut self, condition: StreamCondition, buffers: &mut Buffers) {
        match &mut self.stream {
            Some(stream) if !self.link.is_handshaking() => {
                stream.handle_shutdown(condition, &mut buffers.text);
                self.carry_out(buffers);
            }
            _ => self.phase = Phase::Over,
        }
    }

    /// Sends the client to another edge, where its session goes on.
    fn hand_off(&mut self, buffers: &mut Buffers) {
        let location = self.berth.shared.drain.location();
        match (&mut self.stream, location) {
            // Not before the client knows that it is us, and we who it is.
            (Some(stream), Some(host)) if self.link.is_protected() && stream.is_established() => {
                stream.handle_redirect(&host, &mut buffers.text);
                self.carry_out(buffers);
            }
            _ => self.shut_down(StreamCondition::SystemShutdown, buffers),
        }
    }

    /// Looks which deadlines have passed.
    fn check_times(&mut self, buffers: &mut Buffers) {
        let now_us = self.live.core.now_us();
        let passed = |at_us: Option<u64>| at_us.is_some_and(|at_us| at_us <= now_us);
        if passed(self.end_us()) {
            self.phase = Phase::Over;
        }
        if passed(self.stall_us()) {
            self.berth.shared.metrics.slow_readers.add(1);
            self.phase = Phase::Over;
        }
        if passed(self.handshake_us()) {
            self.berth.shared.metrics.handshake_timeouts.add(1);
            self.shut_down(StreamCondition::ConnectionTimeout, buffers);
        }
        if passed(self.quiet_us()) {
            self.times.spoken_us = None;
            if let Some(stream) = &mut self.stream {
                stream.handle_idle(&mut buffers.text);
                self.carry_out(buffers);
            }
            // What it says when it is quiet does not ask for another quiet.
            self.times.spoken_us = None;
        }
    }

    /// Asks the wheel for the next deadline.
    fn arm(&mut self) {
        let deadlines = [self.end_us(), self.stall_us(), self.handshake_us(), self.quiet_us()];
        if let Some(next_us) = deadlines.into_iter().flatten().min()
            && next_us < self.times.armed_us
        {
            self.times.armed_us = self.live.core.arm(self.berth.id.slot, next_us);
        }
    }

    /// From accept to session, whatever the client does meanwhile (security case 126).
    fn handshake_us(&self) -> Option<u64> {
        let open = self.phase == Phase::Open && !self.berth.is_session;
        open.then(|| self.times.accepted_us + self.berth.shared.config.limits.handshake_us)
    }

    fn stall_us(&self) -> Option<u64> {
        (self.link.unsent() > 0).then(|| self.times.written_us + WRITE_STALL_US)
    }

    fn quiet_us(&self) -> Option<u64> {
        let spoken_us = self.times.spoken_us.filter(|_| self.berth.is_session);
        spoken_us.map(|spoken_us| spoken_us + QUIET_US)
    }

    fn end_us(&self) -> Option<u64> {
        (self.phase != Phase::Open).then(|| self.times.closing_us + LINGER_US)
    }
}

/// The task of a connection on one core; empty once it is over or has gone to another core.
struct Drive(Option<Connection>);

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.0 else { return Poll::Ready(()) };
        let core = Rc::clone(&connection.live.core);
        // No turn runs inside another: a turn wakes others, it does not poll them.
        let mut buffers = core.buffers.borrow_mut();
        buffers.clear();
        match connection.turn(cx, &mut buffers) {
            Turn::Rest => return Poll::Pending,
            Turn::Over => self.0 = None,
            Turn::Move(to) => match self.0.take().map(Connection::depart) {
                Some(Ok(Some(voyage))) => core.shared.send_to_core(to, voyage),
                Some(Err(error)) => Voyage::fail(&error),
                Some(Ok(None)) | None => {}
            },
        }
        Poll::Ready(())
    }
}

/// Takes in the connections that other cores send, for as long as the core runs.
pub(crate) async fn welcome(core: Rc<Core>) {
    loop {
        let arrived = poll_fn(|cx| core.dock().map_or(Poll::Pending, |dock| dock.poll(cx))).await;
        for voyage in arrived {
            match Connection::arrive(Rc::clone(&core), voyage) {
                Ok(connection) => drop(spawn_local(Drive(Some(connection)))),
                Err(error) => Voyage::fail(&error),
            }
        }
    }
}

/// Accepts and admits: what a listener does with one socket.
pub(crate) fn admit(core: &Rc<Core>, socket: TcpStream, from: IpAddr, entry: Entry) {
    let Some(admitted) = core.shared.admit(from, core.now_us()) else { return };
    if let Some(connection) = Connection::new(Rc::clone(core), socket, entry, admitted) {
        spawn_local(Drive(Some(connection)));
    }
}

/// Whether a connection that has `own` bytes under way may be read, when the node has `all`. One
/// that has none always may, or nobody would wake it.
fn node_has_room(all: u64, own: u64) -> bool {
    all < IN_FLIGHT_BYTES_MAX || own == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_node_reads_from_nobody_who_has_something_under_way() {
        for (all, own, may_read) in [
            (IN_FLIGHT_BYTES_MAX - 1, 1, true),
            (IN_FLIGHT_BYTES_MAX, 1, false),
            (IN_FLIGHT_BYTES_MAX, 0, true),
            (u64::MAX, 0, true),
        ] {
            assert_eq!(node_has_room(all, own), may_read, "{all} {own}");
        }
    }

    /// Design §9: an idle session. What TLS holds comes on top (tests/memory.rs).
    #[test]
    fn a_connection_at_rest_is_small() {
        let size = size_of::<Drive>();
        println!("Connection {size}, of this C2s {}, Link {}", size_of::<C2s>(), size_of::<Link>());
        assert!(size <= 1024, "{size}");
    }
}
