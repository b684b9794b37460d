//! Two clients, one direction: a task that sends, one that receives, one that hears bounces.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::Failure;
use crate::client::{Conn, Inbox, Outbox};
use crate::frames;
use crate::measure::Latency;
use crate::run::Outcome;
use crate::scenario::crowd::Clock;
use crate::target::Protocol;
use crate::template::{HOLE, Template, numbers};

/// Due messages of one pair that may wait for its socket.
const DUE_MAX: usize = 100_000;

/// A message that leaves this long after it was due was sent late: the load generator, or the
/// socket that the server did not read, held it up.
const LATE_US: u64 = 1000;

/// In the open loop an acknowledgement is asked for after this many messages.
const ACK_EVERY: u64 = 8;

/// The message: a body, a chat state and an origin id; about 300 bytes.
pub(super) fn template(protocol: Protocol, to: &str) -> Template {
    let (to, name) = (to.split('/').next().unwrap_or(to), to);
    let (before, after) = match protocol {
        Protocol::Xmpp => (String::new(), ""),
        Protocol::Lines => (format!("{name} "), "\n"),
    };
    Template::new(&format!(
        "{before}<message to='{to}' type='chat' id='m{HOLE}-{HOLE}'><body>What&apos;s in a name? \
         That which we call a rose by any other name would smell as sweet.</body><active \
         xmlns='http://jabber.org/protocol/chatstates'/><origin-id xmlns='urn:xmpp:sid:0' \
         id='m{HOLE}-{HOLE}'/></message>{after}"
    ))
}

/// Whether the server ends the stream.
fn ends(frame: &[u8]) -> bool {
    frames::is(frame, "stream:error") || frame.starts_with(b"</stream:stream")
}

/// What a pair has seen.
#[derive(Default)]
struct Seen {
    delivery: Latency,
    ack: Latency,
    seconds: Vec<u64>,
    /// When acknowledgements were asked for: messages sent by then, and the time.
    asked: VecDeque<(u64, u64)>,
    broken: Option<String>,
}

/// Two clients.
pub(super) struct Pair {
    sent: Cell<u64>,
    received: Cell<u64>,
    bounced: Cell<u64>,
    /// The least number that may come next.
    expected: Cell<u64>,
    out_of_order: Cell<u64>,
    acknowledged: Cell<u64>,
    late: Cell<u64>,
    /// The measured time, in microseconds of the clock.
    from: Cell<u64>,
    until: Cell<u64>,
    /// Due and not sent: number and time.
    due: RefCell<VecDeque<(u64, u64)>>,
    moved: Notify,
    seen: RefCell<Seen>,
    sm: bool,
    clock: Clock,
}

impl Pair {
    /// Sets the tasks of a pair going. `window`: closed loop, messages on their way and at once.
    pub(super) fn start(
        from: Conn,
        to: Conn,
        template: Template,
        window: Option<(u64, u64)>,
        sm: bool,
        clock: Clock,
    ) -> Rc<Self> {
        let pair = Rc::new(Self {
            sent: Cell::default(),
            received: Cell::default(),
            bounced: Cell::default(),
            expected: Cell::default(),
            out_of_order: Cell::default(),
            acknowledged: Cell::default(),
            late: Cell::default(),
            from: Cell::new(u64::MAX),
            until: Cell::new(u64::MAX),
            due: RefCell::default(),
            moved: Notify::new(),
            seen: RefCell::default(),
            sm,
            clock,
        });
        let (back, out) = from.split();
        let (inbox, answers) = to.split();
        pair.spawn(pair.clone().send(out, template, window));
        pair.spawn(pair.clone().hear_back(back));
        pair.spawn(pair.clone().receive(inbox, answers));
        pair
    }

    /// Runs a task; what breaks it is kept, and ends the run.
    fn spawn(self: &Rc<Self>, task: impl Future<Output = Result<(), Failure>> + 'static) {
        let pair = self.clone();
        tokio::task::spawn_local(async move {
            if let Err(why) = task.await {
                pair.seen.borrow_mut().broken.get_or_insert(why.to_string());
            }
        });
    }

    /// What is due from now on is measured.
    pub(super) fn begin(&self, now: u64) {
        self.from.set(now);
    }

    /// Nothing more is sent.
    pub(super) fn end(&self, now: u64) {
        self.until.set(now);
        self.due.borrow_mut().clear();
        self.moved.notify_one();
    }

    pub(super) fn arrived(&self) -> u64 {
        self.received.get()
    }

    /// Whether nothing is on its way.
    pub(super) fn settled(&self) -> bool {
        let broken = self.seen.borrow().broken.is_some();
        let sent = self.sent.get();
        let arrived = self.received.get() + self.bounced.get() >= sent;
        broken || arrived && (!self.sm || self.acknowledged.get() >= sent)
    }

    /// A message is due.
    pub(super) fn give(&self, number: u64, due: u64) -> Result<(), Failure> {
        let mut queue = self.due.borrow_mut();
        if queue.len() >= DUE_MAX {
            return Err("the server takes less than the rate: 100,000 messages wait".into());
        }
        queue.push_back((number, due));
        self.moved.notify_one();
        Ok(())
    }

    /// The load cannot go on for this pair.
    pub(super) fn fail(&self, why: &Failure) {
        self.seen.borrow_mut().broken.get_or_insert(why.to_string());
    }

    fn ended(&self) -> bool {
        self.until.get() != u64::MAX
    }

    async fn send(
        self: Rc<Self>,
        mut out: Outbox,
        template: Template,
        window: Option<(u64, u64)>,
    ) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        while !self.ended() {
            bytes.clear();
            let before = self.sent.get();
            match window {
                Some((window, burst)) => self.burst(&template, window, burst, &mut bytes),
                None => self.whatever_is_due(&template, &mut bytes),
            }
            if bytes.is_empty() {
                self.moved.notified().await;
                continue;
            }
            let sent = self.sent.get();
            if self.sm && (window.is_some() || before / ACK_EVERY != sent / ACK_EVERY) {
                bytes.extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
                self.seen.borrow_mut().asked.push_back((sent, self.clock.now_us()));
            }
            out.say(&bytes).await?;
        }
        if self.sm {
            out.say(b"<r xmlns='urn:xmpp:sm:3'/>").await?;
        }
        // The socket stays open until all has arrived.
        std::future::pending().await
    }

    fn burst(&self, template: &Template, window: u64, burst: u64, bytes: &mut Vec<u8>) {
        let sent = self.sent.get();
        let gone = self.received.get() + self.bounced.get();
        if sent.saturating_sub(gone) + burst > window {
            return;
        }
        let now = self.clock.now_us();
        for number in sent..sent + burst {
            template.write(number, now, bytes);
        }
        self.sent.set(sent + burst);
    }

    fn whatever_is_due(&self, template: &Template, bytes: &mut Vec<u8>) {
        let now = self.clock.now_us();
        for (number, due) in self.due.borrow_mut().drain(..) {
            template.write(number, due, bytes);
            self.sent.set(self.sent.get() + 1);
            if now > due + LATE_US && due >= self.from.get() {
                self.late.set(self.late.get() + 1);
            }
        }
    }

    async fn hear_back(self: Rc<Self>, mut inbox: Inbox) -> Result<(), Failure> {
        loop {
            let frame = inbox.hear().await?;
            if frames::is(frame, "a") {
                let h = frames::attribute(frame, "h").and_then(|h| std::str::from_utf8(h).ok());
                // The presence of the start counts too.
                let h = h.and_then(|h| h.parse::<u64>().ok()).ok_or("an odd acknowledgement")?;
                self.acknowledge(h.saturating_sub(1));
            } else if frames::is(frame, "message") {
                self.bounced.set(self.bounced.get() + 1);
                self.moved.notify_one();
            } else if ends(frame) {
                return Err(String::from_utf8_lossy(frame).into());
            }
        }
    }

    fn acknowledge(&self, number: u64) {
        let now = self.clock.now_us();
        self.acknowledged.set(number);
        let mut seen = self.seen.borrow_mut();
        while let Some((_, at)) = seen.asked.pop_front_if(|(sent, _)| *sent <= number) {
            if at >= self.from.get() && !self.ended() {
                seen.ack.record(now - at);
            }
        }
    }

    async fn receive(self: Rc<Self>, mut inbox: Inbox, mut out: Outbox) -> Result<(), Failure> {
        let mut taken = 0u32;
        loop {
            let mut asked = false;
            while let Some(frame) = inbox.heard()? {
                if frames::is(frame, "message") {
                    taken = taken.wrapping_add(1);
                    self.take(frame)?;
                } else if frames::is(frame, "r") {
                    asked = true;
                } else if frames::is(frame, "iq") || frames::is(frame, "presence") {
                    taken = taken.wrapping_add(1);
                } else if ends(frame) {
                    return Err(String::from_utf8_lossy(frame).into());
                }
            }
            // What came in one read is one event: one wake-up of the sender, one answer.
            self.moved.notify_one();
            if asked {
                out.say(format!("<a xmlns='urn:xmpp:sm:3' h='{taken}'/>").as_bytes()).await?;
            }
            inbox.more().await?;
        }
    }

    fn take(&self, frame: &[u8]) -> Result<(), Failure> {
        let id = frames::attribute(frame, "id").unwrap_or_default();
        let (number, due) = numbers(id).ok_or("a message of somebody else arrived")?;
        self.received.set(self.received.get() + 1);
        if number < self.expected.get() {
            self.out_of_order.set(self.out_of_order.get() + 1);
        }
        self.expected.set(number + 1);
        let (now, from) = (self.clock.now_us(), self.from.get());
        if now < from {
            return Ok(());
        }
        let mut seen = self.seen.borrow_mut();
        if due >= from && due < self.until.get() {
            seen.delivery.record(now - due);
        }
        if !self.ended() {
            let second = usize::try_from((now - from) / 1_000_000)?;
            let length = seen.seconds.len().max(second + 1);
            seen.seconds.resize(length, 0);
            seen.seconds[second] += 1;
        }
        Ok(())
    }

    /// Adds what the pair saw.
    pub(super) fn tell(&self, outcome: &mut Outcome) -> Result<(), Failure> {
        let seen = self.seen.borrow();
        if let Some(why) = &seen.broken {
            return Err(format!("a chat broke: {why}").into());
        }
        let gone = self.received.get() + self.bounced.get();
        outcome.count("sent", self.sent.get());
        outcome.count("lost", self.sent.get().saturating_sub(gone));
        outcome.count("bounced", self.bounced.get());
        outcome.count("out of order", self.out_of_order.get());
        outcome.count("sent late", self.late.get());
        if self.sm {
            let missing = self.sent.get().saturating_sub(self.acknowledged.get());
            outcome.count("not acknowledged", missing);
        }
        outcome.latency("delivery").add(&seen.delivery);
        outcome.latency("ack").add(&seen.ack);
        let length = outcome.seconds.len().max(seen.seconds.len());
        outcome.seconds.resize(length, 0);
        for (sum, number) in outcome.seconds.iter_mut().zip(&seen.seconds) {
            *sum += number;
        }
        Ok(())
    }
}
