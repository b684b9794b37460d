//! Very many sessions at rest, a few of which are active; then the leader may take a part of the
//! server away, and all must be served again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Figure, Less, crowd, figure, within};
use crate::client::{Client, Inbox, Outbox, Shared};
use crate::limits::SESSIONS_MAX;
use crate::measure::Latency;
use crate::run::{Job, Outcome, Port, Seen};
use crate::{Failure, frames};

/// How often an active session asks for something.
const BETWEEN: Duration = Duration::from_millis(500);

/// How long an answer may take before the session counts as lost.
const ANSWER_MAX: Duration = Duration::from_secs(45);

/// Sessions that are asked at once, when all are.
const ASKED_AT_ONCE: usize = 200;

/// Many sessions.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Many {
    /// Sessions
    #[arg(long, default_value_t = 15_000)]
    pub sessions: usize,
    /// One of so many is active: it sends itself a message twice a second
    #[arg(long, default_value_t = 100)]
    pub active: usize,
    /// Seconds at rest before memory is read
    #[arg(long, default_value_t = 30)]
    pub rest: u64,
    /// Seconds between what the leader takes away and the last look
    #[arg(long, default_value_t = 20)]
    pub after: u64,
    /// How many logins are under way at once in each worker
    #[arg(long, default_value_t = 32)]
    pub at_once: usize,
}

/// What the active sessions saw.
#[derive(Default)]
struct Watch {
    /// Answers that come now are those after the loss.
    lost: Cell<bool>,
    before: RefCell<Latency>,
    after: RefCell<Latency>,
    stalled: Cell<u64>,
    ended: Cell<u64>,
}

impl Many {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--sessions", self.sessions, SESSIONS_MAX)?;
        within("--active", self.active, SESSIONS_MAX)?;
        within("--rest", usize::try_from(self.rest)?.max(1), 600)?;
        within("--after", usize::try_from(self.after)?.max(1), 600)?;
        within("--at-once", self.at_once, 5000)?;
        crowd::fits(self.sessions, workers)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let users = job.share(self.sessions);
        crowd::accounts(&shared, port, users.clone()).await?;
        port.wait("empty").await?;
        let clients = crowd::each(users, self.at_once, port, "sessions", |user| {
            let shared = shared.clone();
            async move {
                let mut client = Client::login(&shared, user).await?;
                client.available(&shared).await?;
                Ok(client)
            }
        })
        .await?;
        port.wait("made").await?;
        let watch = Rc::new(Watch::default());
        let mut idle = Vec::new();
        for (number, client) in clients.into_iter().enumerate() {
            if number.is_multiple_of(self.active) {
                watch.clone().follow(client);
            } else {
                idle.push(client);
            }
        }
        crowd::rest(self.rest).await;
        port.wait("rest").await?;
        watch.lost.set(true);
        port.wait("loss").await?;
        crowd::rest(self.after).await;
        port.wait("after").await?;
        let mut outcome = watch.outcome();
        outcome.count("sessions", idle.len() as u64);
        let answered = ask_all(idle, port).await?;
        outcome.count("answered in the end", answered);
        port.wait("end").await?;
        Ok(outcome)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let kib = |phase: &str| seen.sample(phase).pss as f64 / 1024.0;
        let sessions = self.sessions as u64;
        let each = (kib("rest") - kib("empty")) / sessions.max(1) as f64;
        let mut figures = vec![
            Figure::new("memory", "KiB/session", each, Less::Better),
            Figure::new("memory when empty", "MiB", kib("empty") / 1024.0, Less::Neither),
            Figure::new("memory at rest", "MiB", kib("rest") / 1024.0, Less::Neither),
            Figure::rate(seen, "empty", "made", sessions, "logins"),
        ];
        let cpu = Figure::cpu(seen, "empty", "made", sessions, "login");
        figures.extend(cpu.into_iter().take(1));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("before"), "before"));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("after"), "after"));
        figures.push(figure::done("stalled over 1 s", seen.outcome.counted("stalled")));
        figures.push(Figure::counted(seen, "active and ended"));
        let (idle, answered) =
            (seen.outcome.counted("sessions"), seen.outcome.counted("answered in the end"));
        figures.push(figure::done("idle", idle));
        let silent = idle.saturating_sub(answered) as f64;
        figures.push(Figure::new("silent in the end", "", silent, Less::Better));
        figures
    }
}

impl Watch {
    /// Has a session send itself a message now and then, and times how long each takes.
    fn follow(self: Rc<Self>, client: Client) {
        tokio::task::spawn_local(async move {
            let jid = client.jid;
            let (mut inbox, mut outbox) = client.conn.split();
            for number in 0_u64.. {
                let sent = Instant::now();
                let talk = talk(&mut inbox, &mut outbox, &jid, number);
                let answered = tokio::time::timeout(ANSWER_MAX, talk).await;
                if !matches!(answered, Ok(Ok(()))) {
                    self.ended.set(self.ended.get() + 1);
                    return;
                }
                self.took(sent);
                tokio::time::sleep(BETWEEN).await;
            }
        });
    }

    fn took(&self, sent: Instant) {
        let took = crowd::since_us(sent);
        // What was on its way when the loss came counts as after it.
        let after = self.lost.get();
        let latency = if after { &self.after } else { &self.before };
        latency.borrow_mut().record(took);
        if after && took > 1_000_000 {
            self.stalled.set(self.stalled.get() + 1);
        }
    }

    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.latency("before").add(&self.before.borrow());
        outcome.latency("after").add(&self.after.borrow());
        outcome.count("stalled", self.stalled.get());
        outcome.count("active and ended", self.ended.get());
        outcome
    }
}

async fn talk(
    inbox: &mut Inbox,
    outbox: &mut Outbox,
    jid: &str,
    number: u64,
) -> Result<(), Failure> {
    let text =
        format!("<message to='{jid}' type='chat' id='m{number}'><body>still here</body></message>");
    outbox.say(text.as_bytes()).await?;
    let id = format!("m{number}");
    loop {
        let frame = inbox.hear().await?;
        if frames::is(frame, "message") && frames::attribute(frame, "id") == Some(id.as_bytes()) {
            return match frames::attribute(frame, "type") {
                Some(b"error") => {
                    Err(format!("bounced: {}", String::from_utf8_lossy(frame)).into())
                }
                _ => Ok(()),
            };
        }
        if frame.starts_with(b"<stream:error") || frame.starts_with(b"</stream:stream") {
            return Err("the stream ended".into());
        }
    }
}

/// Asks every session for its roster: how many answer.
async fn ask_all(clients: Vec<Client>, port: &Port) -> Result<u64, Failure> {
    let clients: Vec<_> = clients.into_iter().map(|it| Rc::new(RefCell::new(Some(it)))).collect();
    let answers = crowd::each(0..clients.len(), ASKED_AT_ONCE, port, "last look", |index| {
        let client = clients[index].clone();
        async move {
            let taken = client.borrow_mut().take();
            let Some(mut client) = taken else { return Ok(None) };
            let asked = "<iq type='get' id='last'><query xmlns='jabber:iq:roster'/></iq>";
            let fits = |frame: &[u8]| {
                frames::is(frame, "iq") && frames::attribute(frame, "id") == Some(b"last")
            };
            let answer = tokio::time::timeout(ANSWER_MAX, client.ask(asked, fits)).await;
            // Those who answered stay until all were asked: a logout would be load too.
            Ok(matches!(answer, Ok(Ok(_))).then_some(client))
        }
    })
    .await?;
    Ok(answers.iter().flatten().count() as u64)
}
