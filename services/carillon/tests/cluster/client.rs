//! One client of a pair: it sends numbered messages to its partner through any edge, resumes when
//! its socket breaks, and keeps a ledger.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xmpp::ns;
use xmpp::xml::Element;

use super::ledger::{self, Book};
use super::wire::{Broken, Wire};

/// What all clients do.
pub(crate) const SENDING: u8 = 0;
/// They wait for what they sent to be acknowledged.
pub(crate) const DRAINING: u8 = 1;
/// They read their archives, wait for what is in there, and end.
pub(crate) const CLOSING: u8 = 2;
/// They end at once.
pub(crate) const GIVEN_UP: u8 = 3;

/// One message of each client in this time.
const PACE: Duration = Duration::from_millis(40);
const UNACKED_MAX: usize = 40;
const ASK_EVERY: u32 = 5;
/// A client that hears nothing for so long although it asked looks for another edge.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a session that cannot be resumed just now is asked for.
const RETRIES: Duration = Duration::from_secs(60);
/// How long what is in the archive may take to come.
const ARRIVAL: Duration = Duration::from_secs(30);
const PAGE: u32 = 100;

/// What a client's thread shares with the test.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) phase: AtomicU8,
    pub(crate) sent: AtomicU32,
    pub(crate) acked: AtomicU32,
    pub(crate) had: AtomicU32,
    /// Why its last sockets broke.
    pub(crate) breaks: Mutex<Vec<String>>,
}

pub(crate) struct Client {
    book: Book,
    partner: String,
    ports: Vec<u16>,
    /// Which of the ports comes next.
    turn: usize,
    shared: Arc<Shared>,
    wire: Option<Wire>,
    /// The session, if it can be resumed.
    session: Option<String>,
    /// Stanzas of the session that were sent, acknowledged, and taken.
    sent: u32,
    acked: u32,
    handled: u32,
    /// Not acknowledged: number of the stanza, of the message if it is one, text.
    unacked: VecDeque<(u32, Option<u32>, String)>,
    /// Messages that go out first in the next session.
    again: Vec<u32>,
    /// Since when it has heard nothing.
    heard: Instant,
    /// Since when the session cannot be resumed.
    refused: Option<Instant>,
    asked: Instant,
    /// A query of the archive: its number, what came, the last row's id, whether it was answered.
    query: u32,
    rows: Vec<String>,
    last_row: Option<String>,
    complete: Option<bool>,
}

impl Client {
    /// A client that comes to the first of these ports first.
    pub(crate) fn new(name: &str, partner: &str, ports: Vec<u16>, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            book: Book::new(name),
            partner: partner.to_owned(),
            ports,
            turn: 0,
            shared,
            wire: None,
            session: None,
            sent: 0,
            acked: 0,
            handled: 0,
            unacked: VecDeque::new(),
            again: Vec::new(),
            heard: now,
            refused: None,
            asked: now,
            query: 0,
            rows: Vec::new(),
            last_row: None,
            complete: None,
        }
    }

    fn phase(&self) -> u8 {
        self.shared.phase.load(Ordering::Relaxed)
    }

    /// Lives until the test ends it; its ledger.
    pub(crate) fn run(mut self) -> Book {
        let mut next = Instant::now();
        let mut closing = None;
        while self.phase() != GIVEN_UP {
            if let Err(why) = self.step(&mut next) {
                self.broke(&why);
                continue;
            }
            if self.phase() == CLOSING {
                let since = *closing.get_or_insert_with(Instant::now);
                match self.look_back() {
                    Ok(all) if all || since.elapsed() > ARRIVAL => break,
                    Ok(_) => sleep(Duration::from_millis(200)),
                    Err(why) => self.broke(&why),
                }
            }
        }
        if let Some(wire) = &mut self.wire {
            let _ = wire.say("</stream:stream>");
        }
        self.book
    }

    fn broke(&mut self, why: &Broken) {
        if why.0.contains("not-authorized") {
            self.book.wrong.push(format!("{}: {}", self.book.name, why.0));
        }
        self.shared.breaks.lock().push(why.0.clone());
        if self.wire.take().is_some() {
            self.book.stats.broken += 1;
        }
        self.turn += 1;
        sleep(Duration::from_millis(100));
    }

    fn step(&mut self, next: &mut Instant) -> Result<(), Broken> {
        if self.wire.is_none() {
            self.connect()?;
        }
        let now = Instant::now();
        if self.phase() == SENDING && self.unacked.len() < UNACKED_MAX && now >= *next {
            *next = now + PACE;
            let number = self.book.sent;
            self.book.sent += 1;
            self.message(number)?;
            if self.book.sent.is_multiple_of(ASK_EVERY) {
                self.ask()?;
            }
        }
        if !self.unacked.is_empty() && self.asked.elapsed() > PACE * 5 {
            self.ask()?;
        }
        if !self.unacked.is_empty() && self.heard.elapsed() > SILENCE {
            return Err(Broken("silence".to_owned()));
        }
        self.hear(Duration::from_millis(5))
    }

    /// Takes what comes within this time.
    fn hear(&mut self, within: Duration) -> Result<(), Broken> {
        let mut left = within;
        while let Some(wire) = &mut self.wire
            && let Some(element) = wire.next(left)?
        {
            self.take(&element)?;
            left = Duration::ZERO;
        }
        self.shared.sent.store(self.book.sent, Ordering::Relaxed);
        Ok(())
    }

    fn say(&mut self, text: &str) -> Result<(), Broken> {
        match &mut self.wire {
            Some(wire) => wire.say(text),
            None => Err(Broken("no socket".to_owned())),
        }
    }

    fn ask(&mut self) -> Result<(), Broken> {
        self.asked = Instant::now();
        self.say(&format!("<r xmlns='{}'/>", ns::SM))
    }

    /// Sends a stanza, and keeps it until it is acknowledged.
    fn stanza(&mut self, message: Option<u32>, text: String) -> Result<(), Broken> {
        self.sent += 1;
        if self.unacked.is_empty() {
            self.heard = Instant::now();
        }
        self.unacked.push_back((self.sent, message, text.clone()));
        self.say(&text)
    }

    fn message(&mut self, number: u32) -> Result<(), Broken> {
        let id = ledger::id(&self.book.name, number);
        let partner = &self.partner;
        let text = format!(
            "<message to='{partner}@localhost' id='{id}' type='chat'><body>{number}</body></message>"
        );
        self.stanza(Some(number), text)
    }

    // What comes

    fn take(&mut self, element: &Element) -> Result<(), Broken> {
        self.heard = Instant::now();
        if element.is("r", ns::SM) {
            let handled = self.handled;
            return self.say(&format!("<a xmlns='{}' h='{handled}'/>", ns::SM));
        }
        if element.is("a", ns::SM) {
            let h = element.attr("h").and_then(|it| it.parse().ok());
            return self.acknowledged(h.unwrap_or(u32::MAX));
        }
        if element.ns() == ns::CLIENT {
            self.handled += 1;
        }
        match element.name() {
            "message" => self.take_message(element),
            "iq" if element.attr("id") == Some(&format!("q{}", self.query)) => {
                let fin = element.body();
                let fin = fin.child("fin", ns::MAM);
                self.complete = fin.map(|it| it.attr("complete").as_deref() == Some("true"));
                if self.complete.is_none() {
                    return Err(Broken(format!("no archive: {element:?}")));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take_message(&mut self, element: &Element) {
        let body = element.body();
        if let Some(result) = body.child("result", ns::MAM) {
            if result.attr("queryid").as_deref() == Some(&format!("q{}", self.query)) {
                self.last_row = result.attr("id").map(|it| it.to_string());
                let text = String::from_utf8_lossy(result.as_bytes()).into_owned();
                let pair = [&self.book.name, &self.partner];
                let ids = text.split(['"', '\'']);
                let mut ids =
                    ids.filter(|id| pair.iter().any(|it| ledger::number(it, id).is_some()));
                self.rows.extend(ids.next().map(str::to_owned));
            }
            return;
        }
        let id = element.attr("id").unwrap_or_default();
        if element.attr("type") == Some("error") {
            self.book.wrong.push(format!("BOUNCED: {}: {element:?}", self.book.name));
        } else if let Some(number) = ledger::number(&self.partner, id) {
            if let Some(session) = self.book.sessions.last_mut() {
                session.push(number);
            }
            self.shared.had.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn acknowledged(&mut self, h: u32) -> Result<(), Broken> {
        if h < self.acked || h > self.sent {
            let what = format!("h={h} is not from {} to {}", self.acked, self.sent);
            self.book.wrong.push(format!("COUNT: {}: {what}", self.book.name));
            return Err(Broken(what));
        }
        self.acked = h;
        while let Some((number, message, _)) = self.unacked.front()
            && *number <= h
        {
            self.book.acked.extend(*message);
            self.unacked.pop_front();
        }
        self.shared.acked.store(self.book.acked.len() as u32, Ordering::Relaxed);
        Ok(())
    }

    // Sessions

    fn connect(&mut self) -> Result<(), Broken> {
        let port = self.ports[self.turn % self.ports.len()];
        let mut wire = Wire::connect(port)?;
        wire.log_in(&self.book.name)?;
        self.heard = Instant::now();
        if let Some(id) = self.session.clone() {
            let said = wire.resume(&id, self.handled)?;
            let h = said.attr("h").and_then(|it| it.parse::<u32>().ok());
            if said.is("resumed", ns::SM) {
                self.wire = Some(wire);
                return self.resumed(h.unwrap_or(u32::MAX));
            }
            let is_gone = said.body().has_child("item-not-found", ns::STANZA_ERRORS);
            let since = *self.refused.get_or_insert_with(Instant::now);
            if !is_gone && since.elapsed() < RETRIES {
                return Err(Broken(format!("not resumed: {said:?}")));
            }
            self.lost(h)?;
        }
        self.session = Some(wire.bind("x")?);
        self.wire = Some(wire);
        self.refused = None;
        (self.sent, self.acked, self.handled) = (0, 0, 0);
        self.book.sessions.push(Vec::new());
        self.begin()
    }

    fn resumed(&mut self, h: u32) -> Result<(), Broken> {
        self.refused = None;
        self.book.stats.resumed += 1;
        self.acknowledged(h)?;
        let texts: Vec<String> = self.unacked.iter().map(|it| it.2.clone()).collect();
        texts.iter().try_for_each(|text| self.say(text))
    }

    /// A session is lost: what was not acknowledged goes out in the next one.
    fn lost(&mut self, h: Option<u32>) -> Result<(), Broken> {
        self.session = None;
        self.book.stats.lost += 1;
        self.acknowledged(h.unwrap_or(0).max(self.acked))?;
        let mut beyond: Vec<u32> = self.unacked.drain(..).filter_map(|it| it.1).collect();
        beyond.append(&mut self.again);
        self.again = beyond;
        Ok(())
    }

    /// What a client does first in a new session: it reads what it missed, is there for others, and
    /// sends again what is not in its archive.
    fn begin(&mut self) -> Result<(), Broken> {
        if self.book.sessions.len() > 1 {
            let rows = self.archive()?;
            let theirs = rows.iter().filter_map(|id| ledger::number(&self.partner, id));
            self.book.read.extend(theirs);
            let ours: BTreeSet<u32> =
                rows.iter().filter_map(|id| ledger::number(&self.book.name, id)).collect();
            self.again.retain(|it| !ours.contains(it));
        }
        self.stanza(None, "<presence/>".to_owned())?;
        let again = std::mem::take(&mut self.again);
        // All are in `unacked` before one of them can fail: those after it would be lost otherwise.
        let mut failed = Ok(());
        for number in again {
            self.book.stats.again += 1;
            failed = failed.and(self.message(number));
        }
        failed
    }

    /// The ids in its archive, in its order.
    fn archive(&mut self) -> Result<Vec<String>, Broken> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            self.query += 1;
            (self.complete, self.last_row) = (None, None);
            self.rows.clear();
            let id = format!("q{}", self.query);
            let text = format!(
                "<iq type='set' id='{id}'><query xmlns='{}' queryid='{id}'><set \
                 xmlns='{}'><max>{PAGE}</max>{after}</set></query></iq>",
                ns::MAM,
                ns::RSM
            );
            self.stanza(None, text)?;
            let begun = Instant::now();
            while self.complete.is_none() {
                if begun.elapsed() > SILENCE * 2 || self.phase() == GIVEN_UP {
                    return Err(Broken("no answer of the archive".to_owned()));
                }
                self.hear(Duration::from_millis(50))?;
            }
            all.append(&mut self.rows);
            match (&self.last_row, self.complete) {
                (Some(row), Some(false)) => after = format!("<after>{row}</after>"),
                _ => return Ok(all),
            }
        }
    }

    /// Reads its archive to the end; whether all in there has come to it.
    fn look_back(&mut self) -> Result<bool, Broken> {
        let rows = self.archive()?;
        self.book.archive = rows;
        let theirs: BTreeSet<u32> = self.book.archived(&self.partner).into_iter().collect();
        Ok(theirs.is_subset(&self.book.had()))
    }
}
