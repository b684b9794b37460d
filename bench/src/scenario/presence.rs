//! A storm of logins of accounts whose contacts come online with them: everyone tells everyone.

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::contacts::befriend;
use super::crowd;
use super::needs::{Contacts, Needs};
use super::{Figure, Less, figure, within};
use crate::client::{Client, Inbox, Outbox, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};
use crate::{Failure, frames};

/// Nothing more comes when all that must come is there and it was silent for this long.
const QUIET: Duration = Duration::from_secs(1);

/// What has not come when nothing has come for this long is lost.
const SILENCE: Duration = Duration::from_secs(10);

/// Logins with contacts online.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Presence {
    /// Groups of accounts; in each, everyone is subscribed to everyone
    #[arg(long, default_value_t = 20)]
    pub groups: usize,
    /// Online contacts of each account: the size of a group, less one
    #[arg(long, default_value_t = 20)]
    pub contacts: usize,
    /// How often all of them log in, come and go
    #[arg(long, default_value_t = 3)]
    pub times: usize,
}

impl Presence {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--contacts", self.contacts, 1000)?;
        within("--times", self.times, 1000)?;
        within("--groups", self.groups, SESSIONS_MAX / (self.contacts + 1))?;
        crowd::fits(self.groups * (self.contacts + 1), workers)
    }

    pub(super) fn needs(&self) -> Needs {
        let accounts = self.groups * (self.contacts + 1);
        Needs { accounts, rosters: accounts, contacts: Contacts::Friends(self.contacts + 1) }
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let size = self.contacts + 1;
        let groups = job.share(self.groups);
        let users = groups.start * size..groups.end * size;
        crowd::accounts(&shared, port, users.clone()).await?;
        befriend(&shared, port, users.clone(), size).await?;
        let mut outcome = Outcome::default();
        for time in 0..self.times {
            self.storm(&shared, port, users.clone(), time, &mut outcome).await?;
        }
        Ok(outcome)
    }

    /// All log in, come, and go.
    async fn storm(
        &self,
        shared: &Rc<Shared>,
        port: &mut Port,
        users: std::ops::Range<usize>,
        time: usize,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let pairs = u64::try_from(users.len() * self.contacts)?;
        port.wait(&format!("login {time}")).await?;
        let heard = Rc::new(Heard::default());
        let mut outs: Vec<Outbox> = Vec::new();
        for client in crowd::sessions(shared, port, users).await? {
            let (inbox, out) = client.conn.split();
            tokio::task::spawn_local(listen(inbox, client.jid, heard.clone()));
            outs.push(out);
        }
        port.wait(&format!("bound {time}")).await?;
        // Whoever comes is told of those who are there, and those are told: each hears of each.
        for out in &mut outs {
            out.say(b"<presence/>").await?;
        }
        heard.all(pairs).await;
        outcome.count("lost", pairs.saturating_sub(heard.others.get()));
        // Of one who goes, those hear who are still there: how many that are is a matter of chance.
        for out in &mut outs {
            out.say(b"<presence type='unavailable'/>").await?;
        }
        heard.all(0).await;
        outcome.count("deliveries", heard.deliveries.get());
        port.wait(&format!("gone {time}")).await?;
        for out in &mut outs {
            out.say(b"</stream:stream>").await?;
        }
        Ok(())
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let deliveries = seen.outcome.counted("deliveries");
        let spans = |from: &str| -> Vec<(String, String)> {
            (0..self.times).map(|time| (format!("{from} {time}"), format!("gone {time}"))).collect()
        };
        let mut figures = Figure::cpu_of(seen, &spans("bound"), deliveries, "delivery");
        let whole = Figure::cpu_of(seen, &spans("login"), deliveries, "delivery");
        figures.extend(whole.into_iter().take(1).map(|figure| Figure {
            name: "CPU with the logins".to_owned(),
            less: Less::Neither,
            ..figure
        }));
        figures.push(Figure::counted(seen, "lost"));
        figures.push(figure::done("deliveries", deliveries));
        figures
    }
}

/// What all have heard of others.
#[derive(Default)]
struct Heard {
    deliveries: Cell<u64>,
    /// Each of each, counted once.
    others: Cell<u64>,
}

/// Counts presence of others.
async fn listen(mut inbox: Inbox, own: String, heard: Rc<Heard>) {
    let mut others = HashSet::new();
    while let Ok(frame) = inbox.hear().await {
        let from = frames::attribute(frame, "from").unwrap_or_default();
        if frames::is(frame, "presence") && from != own.as_bytes() {
            heard.deliveries.set(heard.deliveries.get() + 1);
            if others.insert(from.to_vec()) {
                heard.others.set(heard.others.get() + 1);
            }
        }
    }
}

impl Heard {
    /// Waits until so many have heard of others and nothing more comes, or until all is silent.
    async fn all(&self, wanted: u64) {
        let (mut before, mut last) = (self.deliveries.get(), Instant::now());
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.deliveries.get() != before {
                (before, last) = (self.deliveries.get(), Instant::now());
            }
            let enough = if self.others.get() >= wanted { QUIET } else { SILENCE };
            if last.elapsed() > enough {
                return;
            }
        }
    }
}

/// Logs in, with the login's own presence, for scenarios that need one more client.
pub(super) async fn online(shared: &Shared, user: usize) -> Result<Client, Failure> {
    let mut client = Client::login(shared, user).await?;
    client.available(shared).await?;
    Ok(client)
}
