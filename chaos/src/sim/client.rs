//! A client: it binds, turns stream management on, sends messages until they are acknowledged, and
//! comes back wherever it can. It is a good client; what it loses is the server's fault.

use std::collections::VecDeque;

use peer::{Down, ResumeRefusal, SessionId};
use session::attachment::Attachment;
use xmpp::blocks::ids;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, MessageType, PresenceType, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

use super::World;
use super::plan::{Plan, SECOND};
use super::queue::Event;
use super::rng::Rng;
use crate::invariants::{Checked, acknowledged, addressee, prefix, resumes, unnoticed};
use crate::ledger::{Fate, number};

/// How long it waits for an answer.
const ANSWER_US: u64 = 15 * SECOND;

/// A client.
pub(crate) struct Client {
    pub(crate) account: usize,
    resource: String,
    /// Whether it uses stream management.
    managed: bool,
    phase: Phase,
    conn: Option<(usize, u64)>,
    /// Counted up whenever what it had in mind is off.
    token: u64,
    stream: Option<Stream>,
    /// Messages of a session that was lost, to be sent again first.
    again: VecDeque<usize>,
    /// When it last saw something happen.
    alive_us: u64,
    /// When its socket was lost.
    lost_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Away,
    Binding,
    Enabling,
    Resuming,
    Online,
}

/// What a client knows of a session.
struct Stream {
    session: SessionId,
    began_us: u64,
    sent: u64,
    /// What was not acknowledged: the number, and the message if it is one.
    open: VecDeque<(u64, Option<usize>)>,
    /// Whether its presence was.
    present: bool,
    handled: u64,
    received: u64,
    told: u64,
}

impl Stream {
    fn new(session: SessionId, began_us: u64) -> Self {
        Self {
            session,
            began_us,
            sent: 0,
            open: VecDeque::new(),
            present: false,
            handled: 0,
            received: 0,
            told: 0,
        }
    }
}

/// The clients of a run: one for each account, and for some accounts a second one.
pub(crate) fn all(rng: &mut Rng, plan: &Plan, accounts: usize) -> Vec<Client> {
    let mut all = Vec::new();
    for account in 0..accounts {
        let count = 1 + usize::from(rng.chance(plan.resources));
        for index in 0..count {
            all.push(Client {
                account,
                resource: format!("r{index}"),
                managed: !rng.chance(plan.unmanaged),
                phase: Phase::Away,
                conn: None,
                token: 0,
                stream: None,
                again: VecDeque::new(),
                alive_us: 0,
                lost_us: 0,
            });
        }
    }
    all
}

impl Client {
    /// Its session, if it is there with an available presence that was acknowledged.
    pub(crate) fn presence(&self) -> Option<SessionId> {
        let stream = self.stream.as_ref().filter(|_| self.phase == Phase::Online)?;
        stream.present.then_some(stream.session)
    }

    /// It is online and waits for nothing.
    pub(crate) fn is_content(&self) -> bool {
        let open = self.stream.as_ref().is_some_and(|s| s.open.iter().any(|(_, m)| m.is_some()));
        self.phase == Phase::Online && self.again.is_empty() && !open
    }
}

impl World {
    /// A client does something, if it is still what it was going to do.
    pub(crate) fn client_acts(&mut self, index: usize, token: u64) -> Checked {
        let client = &self.clients[index];
        if client.token != token {
            return Ok(());
        }
        match client.phase {
            Phase::Away if self.leaving => {}
            Phase::Away => self.connect(index),
            Phase::Binding | Phase::Enabling | Phase::Resuming => {
                self.lose_socket(index, "waits in vain");
            }
            Phase::Online => self.act(index),
        }
        Ok(())
    }

    fn later(&mut self, index: usize, delay: u64) {
        let client = &mut self.clients[index];
        client.token += 1;
        self.queue.put(self.now + delay, Event::Client(index, client.token));
    }

    fn connect(&mut self, index: usize) {
        let edge = self.rng.below(self.edges.len() as u64) as usize;
        let Some(slot) = self.open(edge, index) else {
            let delay = self.rng.about(SECOND / 2);
            return self.later(index, delay);
        };
        let client = &mut self.clients[index];
        client.conn = Some((edge, slot));
        client.alive_us = self.now;
        let resume = client.stream.as_ref().map(|s| (s.session, s.received as u32));
        match resume {
            Some((session, h)) => {
                client.phase = Phase::Resuming;
                self.note(|| {
                    format!("client {index} on edge {edge}/{slot} resumes {session:?} {h}")
                });
                self.say(edge, slot, |half| half.resume(&session.to_sm_id(), h));
            }
            None => self.bind(index),
        }
        self.later(index, ANSWER_US);
    }

    fn bind(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some((edge, slot)) = client.conn else { return };
        client.phase = Phase::Binding;
        let resource = Text::from(client.resource.as_str());
        self.note(|| format!("client {index} on edge {edge}/{slot} binds"));
        self.say(edge, slot, |half| half.bind(Some(resource)));
    }

    /// A client's socket is lost.
    pub(crate) fn lose_socket(&mut self, index: usize, why: &str) {
        let client = &mut self.clients[index];
        if client.phase == Phase::Online {
            client.lost_us = self.now;
        }
        client.phase = Phase::Away;
        if let Some((edge, slot)) = client.conn.take() {
            self.close(edge, slot);
            self.note(|| format!("client {index} {why}"));
        }
        let client = &mut self.clients[index];
        if !client.managed {
            self.give_up(index);
        }
        let delay = self.rng.about(SECOND / 2);
        self.later(index, delay);
    }

    /// What is not acknowledged will not be sent again.
    fn give_up(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let open = client.stream.take().into_iter().flat_map(|stream| stream.open);
        let open = open.filter_map(|(_, message)| message).chain(client.again.drain(..));
        for message in open.collect::<Vec<_>>() {
            self.ledger.messages[message].fate = Fate::GivenUp;
        }
    }

    fn act(&mut self, index: usize) {
        let plan = &self.plan;
        let (dice, every) = (self.rng.below(1000), plan.act_every_us);
        let (lose, leave, take) = (plan.drop_socket, plan.leave, plan.take);
        let silent = self.clients[index].alive_us + 20 * SECOND < self.now;
        if silent && !self.clients[index].is_content() {
            return self.lose_socket(index, "hears nothing and gives its connection up");
        }
        if self.healed {
            self.take(index);
            let delay = self.rng.about(SECOND / 2);
            return self.later(index, delay);
        }
        if dice < lose {
            return self.lose_socket(index, "loses its socket");
        }
        if dice < lose + leave {
            return self.leave(index);
        }
        if dice < lose + leave + take {
            self.take(index);
        } else {
            self.compose(index);
        }
        let delay = self.rng.about(every);
        self.later(index, delay);
    }

    /// The client closes its stream in order, and comes again later.
    fn leave(&mut self, index: usize) {
        let client = &self.clients[index];
        let Some((edge, slot)) = client.conn else { return };
        // A good client waits for what it has sent.
        if client.is_content() {
            self.note(|| format!("client {index} leaves"));
            self.say(edge, slot, Attachment::ended);
            self.give_up(index);
        }
        self.lose_socket(index, "closes its socket");
        let delay = self.rng.about(3 * SECOND);
        self.later(index, delay);
    }

    /// The client acknowledges what it got.
    fn take(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let (Some((edge, slot)), Some(stream)) = (client.conn, &mut client.stream) else { return };
        if stream.told < stream.received {
            stream.told = stream.received;
            let number = stream.received;
            self.note(|| format!("client {index} has taken {number}"));
            self.say(edge, slot, |half| half.taken(number));
        }
    }

    /// The client writes something to somebody.
    fn compose(&mut self, index: usize) {
        let from = self.clients[index].account;
        let to = self.rng.below(self.ledger.accounts.len() as u64) as usize;
        let address = self.ledger.accounts[to].jid.clone();
        let dice = self.rng.below(1000);
        if dice < 60 {
            let mut asks = Stanza::new(Kind::Iq(IqType::Get));
            asks.id = Some(Text::from("roster"));
            asks.body = body(&format!("<query xmlns='{}'/>", ns::ROSTER));
            return self.client_sends(index, asks, None);
        }
        if dice < 120 {
            let mut state = Stanza::new(Kind::Message(MessageType::Chat));
            state.to = Some(address);
            state.body = body(&format!("<composing xmlns='{}'/>", ns::CHAT_STATES));
            return self.client_sends(index, state, None);
        }
        let full = (dice < 250).then(|| address.with_resource("r0").ok()).flatten();
        let message = self.ledger.send(index, from, to, full.is_some());
        let stanza = chat(message, full.unwrap_or(address), self.plan.bulk);
        self.client_sends(index, stanza, Some(message));
    }

    fn client_sends(&mut self, index: usize, stanza: Stanza, message: Option<usize>) {
        let client = &mut self.clients[index];
        let (Some((edge, slot)), Some(stream)) = (client.conn, &mut client.stream) else { return };
        stream.sent += 1;
        if stream.open.is_empty() {
            client.alive_us = self.now;
        }
        let sent = stream.sent;
        stream.open.push_back((sent, message));
        if let (Some(number), Some(to)) = (message, &stanza.to) {
            let to = to.clone();
            self.note(|| format!("client {index} sends {sent}: m{number} to {to}"));
        }
        self.say(edge, slot, |half| half.stanza(sent, stanza));
    }

    /// The owner says something to a client.
    pub(crate) fn client_hears(&mut self, index: usize, frame: Down) -> Checked {
        self.clients[index].alive_us = self.now;
        match frame {
            Down::Bound { session, .. } => self.bound(index, session),
            Down::Enabled { session, .. } => self.online(index, session),
            Down::Resumed { handled, taken, .. } => return self.resumed(index, handled, taken),
            Down::ResumeFailed { why, handled } => return self.not_resumed(index, why, handled),
            Down::Stanza { number, stanza, .. } => return self.stanza(index, number, &stanza),
            Down::Handled { number } => return self.handled(index, number),
            Down::Close { condition } => {
                let online = self.clients[index].phase == Phase::Online;
                let (plan, cluster) = (&self.plan, self.options.cluster);
                unnoticed::closed(plan, cluster, online, index, condition)?;
                self.lose_socket(index, "is closed");
            }
            Down::BindRefused(_) => self.lose_socket(index, "is refused"),
            Down::Challenge { .. }
            | Down::Verified { .. }
            | Down::Refused(_)
            | Down::Snapshot { .. } => {}
        }
        Ok(())
    }

    fn bound(&mut self, index: usize, session: SessionId) {
        let client = &mut self.clients[index];
        let Some((edge, slot)) = client.conn else { return };
        if client.managed {
            client.phase = Phase::Enabling;
            self.say(edge, slot, |half| half.enable(true));
            self.later(index, ANSWER_US);
        } else {
            self.online(index, session);
        }
    }

    fn online(&mut self, index: usize, session: SessionId) {
        let client = &mut self.clients[index];
        client.phase = Phase::Online;
        // The session before it is lost for good: what it left is sent again, in its order.
        let old = client.stream.replace(Stream::new(session, self.now));
        let open = old.into_iter().flat_map(|stream| stream.open);
        client.again.extend(open.filter_map(|(_, message)| message));
        self.send_presence(index);
        let again = std::mem::take(&mut self.clients[index].again);
        for message in again {
            self.send_again(index, message);
        }
        let delay = self.rng.about(self.plan.act_every_us);
        self.later(index, delay);
    }

    fn send_presence(&mut self, index: usize) {
        let mut presence = Stanza::new(Kind::Presence(PresenceType::Available));
        if index % 3 == 1 {
            presence.body = body("<priority>2</priority>");
        }
        self.client_sends(index, presence, None);
    }

    fn send_again(&mut self, index: usize, message: usize) {
        let to = self.ledger.messages[message].to;
        // To the bare JID or the full one, as at the first time.
        let stanza = chat(message, self.addressee(message, to), self.plan.bulk);
        self.client_sends(index, stanza, Some(message));
    }

    fn addressee(&self, message: usize, to: usize) -> Jid {
        let address = self.ledger.accounts[to].jid.clone();
        if self.ledger.messages[message].full {
            address.with_resource("r0").unwrap_or(address)
        } else {
            address
        }
    }

    fn resumed(&mut self, index: usize, handled: u64, taken: u64) -> Checked {
        let client = &mut self.clients[index];
        client.phase = Phase::Online;
        let Some(stream) = &mut client.stream else { return Ok(()) };
        let (known, sent) = (stream.handled, stream.sent);
        prefix::resumed(known, handled, sent, stream.received, taken)?;
        stream.told = stream.received;
        self.acknowledged(index, handled)?;
        let Some(stream) = &mut self.clients[index].stream else { return Ok(()) };
        // What the server has not handled is sent again, under the numbers that follow.
        stream.sent = handled;
        let open = std::mem::take(&mut stream.open);
        if !stream.present {
            self.send_presence(index);
        }
        for message in open.into_iter().filter_map(|(_, message)| message) {
            self.send_again(index, message);
        }
        let delay = self.rng.about(self.plan.act_every_us);
        self.later(index, delay);
        Ok(())
    }

    fn not_resumed(&mut self, index: usize, why: ResumeRefusal, handled: Option<u64>) -> Checked {
        if let Some(handled) = handled {
            let sent = self.clients[index].stream.as_ref().map_or(0, |stream| stream.sent);
            prefix::lost(handled, sent)?;
            self.acknowledged(index, handled)?;
        }
        let waited = self.now - self.clients[index].lost_us;
        let began = self.clients[index].stream.as_ref().map_or(0, |stream| stream.began_us);
        let edges = self.options.cluster && self.edge_died_us < began;
        let known = edges && why == ResumeRefusal::ItemNotFound;
        resumes::refused(&self.plan, known, index, waited)?;
        self.note(|| format!("client {index} is not resumed: {why:?}"));
        self.bind(index);
        self.later(index, ANSWER_US);
        Ok(())
    }

    fn handled(&mut self, index: usize, handled: u64) -> Checked {
        let Some(stream) = &mut self.clients[index].stream else { return Ok(()) };
        prefix::handled(stream.handled, handled, stream.sent)?;
        self.acknowledged(index, handled)
    }

    /// Everything up to this number is acknowledged.
    fn acknowledged(&mut self, index: usize, handled: u64) -> Checked {
        let Some(stream) = &mut self.clients[index].stream else { return Ok(()) };
        stream.handled = stream.handled.max(handled);
        // It is the first stanza of each session.
        stream.present |= handled > 0;
        while let Some((_, message)) = stream.open.pop_front_if(|(sent, _)| *sent <= handled) {
            if let Some(message) = message {
                acknowledged::acknowledged(&self.ledger, message)?;
                self.ledger.messages[message].fate = Fate::Acknowledged;
            }
        }
        Ok(())
    }

    fn stanza(&mut self, index: usize, place: u64, stanza: &Stanza) -> Checked {
        let client = &mut self.clients[index];
        let (account, managed) = (client.account, client.managed);
        if client.phase == Phase::Enabling {
            // Before stream management is on, nothing counts.
            if let Some(message) = message_of(stanza) {
                addressee::delivered(&self.ledger, account, stanza, message)?;
                self.ledger.messages[message].received.push((index, SessionId(0)));
            }
            return Ok(());
        }
        let Some(stream) = &mut client.stream else { return Ok(()) };
        prefix::given(stream.received, place)?;
        stream.received = place;
        let session = stream.session;
        if let Some(message) = message_of(stanza) {
            addressee::delivered(&self.ledger, account, stanza, message)?;
            self.ledger.messages[message].received.push((index, session));
            if let Some(log) = log_of(stanza) {
                let live = self.ledger.sessions.entry(session).or_default();
                live.got(log, is_late(stanza), message)?;
            }
        } else if let Some(message) = stanza.id.as_deref().and_then(number) {
            self.note(|| format!("client {index} gets m{message} back as an error"));
            self.ledger.messages[message].bounced = true;
        }
        if !managed {
            self.take(index);
        }
        Ok(())
    }
}

fn chat(message: usize, to: Jid, bulk: usize) -> Stanza {
    let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
    stanza.to = Some(to);
    stanza.id = Some(Text::from(format!("m{message}").as_str()));
    let bulk = "o".repeat(bulk);
    stanza.body = body(&format!("<body>m{message}{bulk}</body>"));
    stanza
}

fn body(content: &str) -> Body {
    Body::parse(content.as_bytes()).unwrap_or_default()
}

/// The message that a stanza holds, if it is not one that came back.
pub(crate) fn message_of(stanza: &Stanza) -> Option<usize> {
    let message = matches!(stanza.kind, Kind::Message(_)) && !stanza.kind.is_error();
    stanza.id.as_deref().filter(|_| message).and_then(number)
}

/// The id that the stanza has in its account's archive.
pub(crate) fn log_of(stanza: &Stanza) -> Option<u64> {
    let added = std::str::from_utf8(&stanza.added).ok()?;
    let (_, rest) = added.split_once("<stanza-id")?;
    let (_, rest) = rest.split_once(" id='")?;
    ids::parse(rest.get(..ids::ID_BYTES)?)
}

/// Whether a stanza says that it has waited.
pub(crate) fn is_late(stanza: &Stanza) -> bool {
    stanza.added.windows(6).any(|bytes| bytes == b"<delay")
}
