//! One client's stream (RFC 6120, XEP-0198), from its first byte to its last.
//!
//! `handle_…` takes one input; afterwards [`C2s::poll`] gives what is to be done, until it gives
//! nothing. What is written goes to the end of `out`, which the shell sends in order;
//! [`Output::StartTls`] and [`Output::Close`] mean "once everything in `out` is sent".
//!
//! Each step of the negotiation is a state named `Expect…` that is consumed by what it expects and
//! gives the next. While an answer of the owner is awaited, what the client sends is kept, within
//! limits, and read afterwards.

mod auth;
mod bind;
mod header;
mod session;
mod tls;

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use xmpp::error::{StreamCondition, StreamError};
use xmpp::jid::Jid;
use xmpp::scram::Keys;
use xmpp::xml::{Item, Reader};

use crate::sm::TooHigh;
use crate::{Answer, Ask, Config, Output, Random, TlsInfo, Transport, framing, limits};
use auth::ExpectVerdict;
use auth::{Authenticated, ExpectAuth, ExpectFinal, ExpectFirst, ExpectKeys, ExpectSalt};
use bind::{ExpectBind, ExpectBound, ExpectResumed};
use header::{ExpectHeader, Stage};
use session::Session;
use tls::{ExpectHandshake, ExpectStartTls};

/// One client's stream.
pub struct C2s {
    config: Arc<Config>,
    reader: Reader,
    phase: Phase,
    outputs: VecDeque<Output>,
    /// What the client sent ahead while an answer is awaited.
    pending: Vec<u8>,
}

/// Where the stream is. The negotiation is boxed: it is gone when the session begins.
enum Phase {
    Negotiation(Box<Negotiation>),
    Session(Session),
    Closed,
}

/// Everything before the session.
struct Negotiation {
    /// `None` only while a state is being consumed.
    state: Option<State>,
    memory: Memory,
}

/// What outlives the states of a negotiation.
struct Memory {
    random: Random,
    /// The domain of the stream, once a header named it; it never changes (security case 31).
    domain: Option<String>,
    /// Who the client said it is; it never changes either.
    from: Option<Jid>,
    /// Whether our header of the present stream is written.
    opened: bool,
    auth_failures: u8,
    bind_failures: u8,
}

/// The states of a negotiation, in their order.
enum State {
    Header(ExpectHeader),
    StartTls(ExpectStartTls),
    Handshake(ExpectHandshake),
    Auth(ExpectAuth),
    First(ExpectFirst),
    Salt(ExpectSalt),
    Final(ExpectFinal),
    Keys(ExpectKeys),
    Verdict(ExpectVerdict),
    Bind(ExpectBind),
    Bound(ExpectBound),
    Resumed(ExpectResumed),
}

/// What a state has led to.
enum Step {
    Next(State),
    Session(Session),
}

/// Why a stream ends.
enum End {
    /// By a stream error.
    Error(StreamError),
    /// The client acknowledged what it was not sent.
    TooHigh(TooHigh),
    /// As the client wished.
    Orderly,
    /// Without a word: nothing can be said at this point.
    Cut,
}

/// What a state may use.
struct Context<'a> {
    config: &'a Config,
    reader: &'a mut Reader,
    memory: &'a mut Memory,
    outputs: &'a mut VecDeque<Output>,
    out: &'a mut Vec<u8>,
}

impl From<StreamCondition> for End {
    fn from(condition: StreamCondition) -> Self {
        Self::Error(condition.into())
    }
}

impl C2s {
    /// A stream whose connection was just accepted; inside TLS, just after the handshake.
    pub fn new(config: Arc<Config>, transport: Transport, random: Random) -> Self {
        let memory = Memory {
            random,
            domain: None,
            from: None,
            opened: false,
            auth_failures: 0,
            bind_failures: 0,
        };
        let state = State::Header(ExpectHeader(Stage::of(transport)));
        Self {
            reader: Reader::new(config.before_auth),
            phase: Phase::Negotiation(Box::new(Negotiation { state: Some(state), memory })),
            outputs: VecDeque::new(),
            pending: Vec::new(),
            config,
        }
    }

    /// Bytes came from the client. They may be cut anywhere.
    pub fn handle_bytes(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while self.reads() {
            match self.reader.read(&mut rest) {
                Ok(None) => return,
                Ok(Some(item)) => self.handle_item(item, out),
                Err(error) => self.end(StreamError::from(error.condition()).into(), out),
            }
        }
        self.keep(rest, out);
    }

    /// The TLS handshake that [`Output::StartTls`] asked for is done.
    pub fn handle_tls(&mut self, info: TlsInfo) {
        // Nothing can be written before the client's next header, and nothing is.
        let mut out = Vec::new();
        self.step(&mut out, |state, cx| match state {
            State::Handshake(state) => state.handle_tls(info, cx),
            _ => Err(End::Cut),
        });
        debug_assert!(out.is_empty());
    }

    /// The owner of the account says something. A word that does not fit the state is a bug of ours
    /// and ends the stream.
    pub fn handle_answer(&mut self, answer: Answer, out: &mut Vec<u8>) {
        if let Answer::Close { condition } = answer {
            return self.end(condition.into(), out);
        }
        if let Phase::Session(session) = &mut self.phase {
            let result = session.handle_answer(answer, &self.config, out);
            if let Err(end) = result {
                self.end(end, out);
            }
        } else {
            self.step(out, |state, cx| state.handle_answer(answer, cx));
        }
        self.resume_reading(out);
    }

    /// What came of [`Output::Derive`]: `None` if no account can have that password.
    pub fn handle_derived(&mut self, keys: Option<Keys>, out: &mut Vec<u8>) {
        self.step(out, |state, cx| match state {
            State::Keys(state) => state.handle_keys(keys, cx),
            state => Ok(Step::Next(state)),
        });
        self.resume_reading(out);
    }

    /// All of `out` reached the kernel. Without stream management this is what "taken" means.
    pub fn handle_written(&mut self) {
        if let Phase::Session(session) = &mut self.phase {
            self.outputs.extend(session.handle_written());
        }
    }

    /// Nothing was written for a while, a second or so: asks the client for what it has not
    /// acknowledged yet.
    pub fn handle_idle(&mut self, out: &mut Vec<u8>) {
        if let Phase::Session(session) = &mut self.phase {
            session.handle_idle(out);
        }
    }

    /// The connection is gone, or the client said that it sends no more without closing its stream.
    pub fn handle_eof(&mut self) {
        self.end(End::Cut, &mut Vec::new());
    }

    /// The server closes the stream: it stops, or the client was silent for too long, or took too
    /// long to log in.
    pub fn handle_shutdown(&mut self, condition: StreamCondition, out: &mut Vec<u8>) {
        self.end(condition.into(), out);
    }

    /// The server sends the client elsewhere, where its session goes on: `host` or `host:port`,
    /// IPv6 in brackets (RFC 6120 §4.9.3.19). Only for a stream that TLS protects: on another one,
    /// anybody could have said it.
    pub fn handle_redirect(&mut self, host: &str, out: &mut Vec<u8>) {
        let host = Some(host.into());
        self.end(StreamError { host, ..StreamCondition::SeeOtherHost.into() }.into(), out);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > 0 {
            // A stream at rest owns no queue.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Whether the session has begun. Until then the deadline of the handshake counts.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Session(_))
    }

    /// Whether the stream is over; [`Output::Close`] was or will be given.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether reading from the socket makes sense: not while an answer is awaited, nor before TLS
    /// is there.
    pub fn wants_input(&self) -> bool {
        self.reads()
    }

    /// Whether the client can resume this session on another connection if this one is lost.
    pub fn is_resumable(&self) -> bool {
        matches!(&self.phase, Phase::Session(session) if session.is_resumable())
    }

    /// The full JID, once there is one.
    pub fn jid(&self) -> Option<&Jid> {
        match &self.phase {
            Phase::Session(session) => Some(session.jid()),
            _ => None,
        }
    }

    /// Whether the state at hand takes bytes of the client.
    fn reads(&self) -> bool {
        match &self.phase {
            Phase::Negotiation(negotiation) => negotiation.state.as_ref().is_some_and(State::reads),
            Phase::Session(session) => session.reads(),
            Phase::Closed => false,
        }
    }

    fn handle_item(&mut self, item: Item, out: &mut Vec<u8>) {
        let Phase::Session(session) = &mut self.phase else {
            return self.step(out, |state, cx| state.handle_item(item, cx));
        };
        let result = match item {
            Item::Element(element) => {
                session.handle_element(element, &self.config, &mut self.outputs, out)
            }
            Item::Close => Err(End::Orderly),
            // The reader gives one header per stream.
            Item::Open(_) => Err(StreamCondition::BadFormat.into()),
        };
        if let Err(end) = result {
            self.end(end, out);
        }
    }

    /// Lets the state be consumed and puts the next one in its place.
    fn step(
        &mut self,
        out: &mut Vec<u8>,
        consume: impl FnOnce(State, &mut Context<'_>) -> Result<Step, End>,
    ) {
        let Phase::Negotiation(negotiation) = &mut self.phase else { return };
        let Some(state) = negotiation.state.take() else { return };
        let mut context = Context {
            config: &self.config,
            reader: &mut self.reader,
            memory: &mut negotiation.memory,
            outputs: &mut self.outputs,
            out,
        };
        match consume(state, &mut context) {
            Ok(Step::Next(state)) => negotiation.state = Some(state),
            Ok(Step::Session(session)) => self.phase = Phase::Session(session),
            Err(end) => self.end(end, out),
        }
    }

    /// Keeps what cannot be read yet.
    fn keep(&mut self, rest: &[u8], out: &mut Vec<u8>) {
        let most = match &self.phase {
            _ if rest.is_empty() => return,
            Phase::Closed => return,
            // Bytes in the clear that want to be read inside TLS (security case 55).
            Phase::Negotiation(negotiation) if negotiation.is_before_handshake() => {
                return self.end(End::Cut, out);
            }
            Phase::Negotiation(negotiation) if !negotiation.is_authenticated() => {
                limits::PENDING_BEFORE_AUTH_BYTES_MAX
            }
            Phase::Negotiation(_) | Phase::Session(_) => limits::PENDING_BYTES_MAX,
        };
        if self.pending.len() + rest.len() > most {
            return self.end(StreamCondition::PolicyViolation.into(), out);
        }
        self.pending.extend_from_slice(rest);
    }

    /// Reads what was kept, if the answer that it waited for is there.
    fn resume_reading(&mut self, out: &mut Vec<u8>) {
        if self.reads() && !self.pending.is_empty() {
            let pending = mem::take(&mut self.pending);
            self.handle_bytes(&pending, out);
        }
    }

    /// Ends the stream. Whatever comes later has no effect.
    fn end(&mut self, end: End, out: &mut Vec<u8>) {
        match &mut self.phase {
            Phase::Closed => return,
            Phase::Session(session) => match &end {
                End::Cut => {}
                End::Orderly => {
                    session.acknowledge_last(out);
                    self.outputs.push_back(Output::Ask(Ask::Ended));
                }
                End::Error(_) | End::TooHigh(_) => session.acknowledge_last(out),
            },
            Phase::Negotiation(negotiation) => {
                if negotiation.is_before_handshake() {
                    // Between `<proceed/>` and TLS there is no stream to speak on, and no handshake
                    // after this.
                    self.outputs.clear();
                    return self.close();
                }
                if matches!(end, End::Error(_) | End::TooHigh(_)) {
                    negotiation.memory.open(&self.config, None, out);
                }
            }
        }
        match end {
            End::Error(error) => framing::fail(out, |out| error.write(out)),
            End::TooHigh(too_high) => framing::fail(out, |out| too_high.write(out)),
            End::Orderly => framing::close(out),
            End::Cut => {}
        }
        self.close();
    }

    fn close(&mut self) {
        self.outputs.push_back(Output::Close);
        self.phase = Phase::Closed;
        self.pending = Vec::new();
        self.reader = Reader::new(self.config.before_auth);
    }
}

impl From<StreamError> for End {
    fn from(error: StreamError) -> Self {
        Self::Error(error)
    }
}

impl Negotiation {
    /// Between `<proceed/>` and the end of the TLS handshake.
    fn is_before_handshake(&self) -> bool {
        matches!(self.state, Some(State::Handshake(_)))
    }

    fn is_authenticated(&self) -> bool {
        let state = self.state.as_ref();
        state.is_some_and(|state| {
            matches!(state, State::Bind(_) | State::Bound(_) | State::Resumed(_))
        })
    }
}

impl Memory {
    /// Writes our header, if the present stream does not have it yet.
    fn open(&mut self, config: &Config, to: Option<&str>, out: &mut Vec<u8>) {
        if mem::replace(&mut self.opened, true) {
            return;
        }
        let ours = config.domains.first().map_or("", String::as_str);
        let from = self.domain.as_deref().unwrap_or(ours);
        let id = self.random.text().unwrap_or_default();
        framing::open(out, &framing::Opening { from, to, id: &id });
    }
}

impl Context<'_> {
    /// The client must begin a new stream on the same connection (RFC 6120 §4.3.3).
    fn restart(&mut self, stage: Stage) -> Result<Step, End> {
        self.reader.reset();
        self.memory.opened = false;
        Ok(Step::Next(State::Header(ExpectHeader(stage))))
    }
}

impl State {
    /// Whether the state takes bytes of the client.
    fn reads(&self) -> bool {
        match self {
            Self::Header(_) | Self::StartTls(_) | Self::Auth(_) => true,
            Self::First(_) | Self::Final(_) | Self::Bind(_) => true,
            Self::Handshake(_) | Self::Salt(_) | Self::Keys(_) | Self::Verdict(_) => false,
            Self::Bound(_) | Self::Resumed(_) => false,
        }
    }

    fn handle_item(self, item: Item, cx: &mut Context<'_>) -> Result<Step, End> {
        let element = match (item, self) {
            (Item::Open(header), Self::Header(state)) => return state.handle_header(&header, cx),
            (Item::Close, _) => return Err(End::Orderly),
            (Item::Element(element), state) => (element, state),
            (Item::Open(_), _) => return Err(StreamCondition::BadFormat.into()),
        };
        match element {
            (element, Self::StartTls(state)) => state.handle_element(&element, cx),
            (element, Self::Auth(state)) => state.handle_element(&element, cx),
            (element, Self::First(state)) => state.handle_element(&element, cx),
            (element, Self::Final(state)) => state.handle_element(&element, cx),
            (element, Self::Bind(state)) => state.handle_element(&element, cx),
            // The reader gives a header first, and the others do not read.
            _ => Err(StreamCondition::InternalServerError.into()),
        }
    }

    fn handle_answer(self, answer: Answer, cx: &mut Context<'_>) -> Result<Step, End> {
        match self {
            Self::Salt(state) => state.handle_answer(answer, cx),
            Self::Keys(state) => state.handle_answer(answer, cx),
            Self::Verdict(state) => state.handle_answer(answer, cx),
            Self::Bound(state) => state.handle_answer(answer, cx),
            Self::Resumed(state) => state.handle_answer(answer, cx),
            _ => Err(StreamCondition::InternalServerError.into()),
        }
    }
}

impl fmt::Debug for C2s {
    /// The phase and nothing else: all the rest has been in the hands of a client that was logging
    /// in (security case 59).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.phase {
            Phase::Negotiation(_) => "C2s(negotiation)",
            Phase::Session(_) => "C2s(session)",
            Phase::Closed => "C2s(closed)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_at_rest_is_small() {
        // The budget of an idle session counts it (docs: budgets). The reader and the queue own
        // nothing at rest.
        assert!(size_of::<C2s>() <= 208, "{}", size_of::<C2s>());
    }
}
