//! A provider's hour, made small. For a million users online the design plans with about 550
//! logins, 3,000 messages and 30,000 deliveries of presence a second; one login comes with one
//! look into the archive. So a unit of this load is one login with roster and archive page, five
//! messages, and three changes of presence, each of which twenty contacts hear of.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::contacts::befriend;
use super::crowd::{self, Clock};
use super::needs::{Contacts, Needs};
use super::presence::online;
use super::{Figure, Less, within};
use crate::client::{Client, Inbox, Outbox, Shared};
use crate::limits::{SECONDS_MAX, SESSIONS_MAX};
use crate::measure::Latency;
use crate::run::{Job, Outcome, Port, Seen};
use crate::template::{HOLE, Template, numbers};
use crate::{Failure, frames};

/// Contacts of each account, all online.
const CONTACTS: usize = 20;
const MESSAGES: usize = 5;
const CHANGES: usize = 3;
/// Accounts that only log in and leave, over and over.
const GUESTS: usize = 100;

/// Logins, messages, presence and archive queries together.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Mixed {
    /// Groups of 21 sessions that stay online
    #[arg(long, default_value_t = 20)]
    pub groups: usize,
    /// Units of load a second: each a login, 5 messages and 3 changes of presence
    #[arg(long, default_value_t = 20)]
    pub rate: u64,
    /// For how long, in seconds
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
}

/// What the sessions that stay have heard.
#[derive(Default)]
struct Heard {
    messages: Cell<u64>,
    presence: Cell<u64>,
    delivery: RefCell<Latency>,
}

impl Mixed {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--groups", self.groups, SESSIONS_MAX / (CONTACTS + 1))?;
        within("--rate", usize::try_from(self.rate)?, 10_000)?;
        within("--seconds", usize::try_from(self.seconds)?, usize::try_from(SECONDS_MAX)?)?;
        crowd::fits(self.groups * (CONTACTS + 1) + 1000, workers)
    }

    pub(super) fn needs(&self, workers: usize) -> Needs {
        let rosters = self.groups * (CONTACTS + 1);
        let accounts = rosters + workers * GUESTS;
        Needs { accounts, rosters, contacts: Contacts::Friends(CONTACTS + 1) }
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let size = CONTACTS + 1;
        let groups = job.share(self.groups);
        let users = groups.start * size..groups.end * size;
        let first_guest = self.groups * size + job.worker * GUESTS;
        crowd::accounts(&shared, port, users.clone()).await?;
        crowd::accounts(&shared, port, first_guest..first_guest + GUESTS).await?;
        befriend(&shared, port, users.clone(), size).await?;
        let clock = Clock::start();
        let heard = Rc::new(Heard::default());
        let mut outs = Vec::new();
        for user in users {
            let client = online(&shared, user).await?;
            let jid = client.jid.split('/').next().unwrap_or_default().to_owned();
            let (inbox, out) = client.conn.split();
            tokio::task::spawn_local(listen(inbox, heard.clone(), clock));
            outs.push((out, message(&jid)));
        }
        crowd::rest(2).await;
        port.wait("begin").await?;
        let before = (heard.messages.get(), heard.presence.get());
        let outcome = self.drive(&shared, job.workers, first_guest, &mut outs, clock).await?;
        let mut outcome = outcome;
        let arrived = heard.messages.get() - before.0;
        outcome.count("deliveries of presence", heard.presence.get() - before.1);
        outcome.count("lost", outcome.counted("messages").saturating_sub(arrived));
        outcome.latency("delivery").add(&heard.delivery.borrow());
        port.wait("end").await?;
        Ok(outcome)
    }

    async fn drive(
        &self,
        shared: &Rc<Shared>,
        workers: usize,
        first_guest: usize,
        outs: &mut [(Outbox, Template)],
        clock: Clock,
    ) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let units = self.rate * self.seconds / workers as u64;
        let between = Duration::from_secs(self.seconds) / u32::try_from(units.max(1))?;
        let mut ticks = tokio::time::interval(between);
        let mut guests = JoinSet::new();
        let (mut turn, mut bytes, count) = (0, Vec::new(), outs.len());
        for unit in 0..usize::try_from(units)? {
            ticks.tick().await;
            let (shared, guest) = (shared.clone(), first_guest + unit % GUESTS);
            guests.spawn_local(async move { visit(&shared, guest, unit).await });
            for _ in 0..MESSAGES {
                turn += 1;
                bytes.clear();
                outs[(turn + 1) % count].1.write(turn as u64, clock.now_us(), &mut bytes);
                outs[turn % count].0.say(&bytes).await?;
            }
            for change in 0..CHANGES {
                turn += 1;
                let show = if (turn + change).is_multiple_of(2) { "away" } else { "dnd" };
                let presence = format!("<presence><show>{show}</show></presence>");
                outs[turn % count].0.say(presence.as_bytes()).await?;
            }
        }
        outcome.count("units", units);
        outcome.count("messages", units * MESSAGES as u64);
        while let Some(result) = guests.join_next().await {
            outcome.latency("login").record(result??);
        }
        crowd::rest(1).await;
        Ok(outcome)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let units = seen.outcome.counted("units");
        let mut figures = Figure::cpu(seen, "begin", "end", units, "unit");
        let mut rate = Figure::rate(seen, "begin", "end", units, "units");
        rate.less = Less::Neither;
        figures.push(rate);
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("delivery"), "delivery"));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("login"), "login"));
        figures.push(Figure::counted(seen, "lost"));
        let heard = seen.outcome.counted("deliveries of presence");
        figures.push(super::figure::done("deliveries of presence", heard));
        figures
    }
}

fn message(to: &str) -> Template {
    Template::new(&format!(
        "<message to='{to}' type='chat' id='m{HOLE}-{HOLE}'><body>What&apos;s in a name? That \
         which we call a rose by any other name would smell as sweet.</body></message>"
    ))
}

async fn listen(mut inbox: Inbox, heard: Rc<Heard>, clock: Clock) {
    while let Ok(frame) = inbox.hear().await {
        if frames::is(frame, "presence") {
            heard.presence.set(heard.presence.get() + 1);
        } else if frames::is(frame, "message") {
            heard.messages.set(heard.messages.get() + 1);
            let id = frames::attribute(frame, "id").unwrap_or_default();
            if let Some((_, sent)) = numbers(id) {
                heard.delivery.borrow_mut().record(clock.now_us() - sent);
            }
        }
    }
}

/// One who logs in, reads roster and archive, and leaves: how long until it had all. Where the
/// server is slow the account's earlier visit is still there, with a resource of its own.
async fn visit(shared: &Shared, user: usize, number: usize) -> Result<u64, Failure> {
    let begun = Instant::now();
    let mut client = Client::login_as(shared, user, &format!("visit{number}")).await?;
    client.available(shared).await?;
    for (id, query) in [
        ("roster", "<query xmlns='jabber:iq:roster'/>"),
        (
            "page",
            "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>50\
             </max><before/></set></query>",
        ),
    ] {
        let kind = if id == "page" { "set" } else { "get" };
        let ask = format!("<iq type='{kind}' id='{id}'>{query}</iq>");
        // Where there is no archive, the refusal is an answer, too.
        client.ask(&ask, |frame| frames::attribute(frame, "id") == Some(id.as_bytes())).await?;
    }
    let took = crowd::since_us(begun);
    client.conn.close().await?;
    Ok(took)
}
