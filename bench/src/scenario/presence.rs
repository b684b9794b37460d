//! A storm of logins of accounts whose contacts come online with them: everyone tells everyone.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::contacts::{befriend, group};
use super::crowd;
use super::{Figure, within};
use crate::client::{Client, Inbox, Outbox, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};
use crate::{Failure, frames};

/// Nothing more comes when nothing has come for this long.
const QUIET: Duration = Duration::from_secs(2);

/// Logins with contacts online.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Presence {
    /// Groups of accounts; in each, everyone is subscribed to everyone
    #[arg(long, default_value_t = 20)]
    pub groups: usize,
    /// Online contacts of each account: the size of a group, less one
    #[arg(long, default_value_t = 20)]
    pub contacts: usize,
    /// How often all of them come and go
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

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let size = self.contacts + 1;
        let groups = job.share(self.groups);
        let users = groups.start * size..groups.end * size;
        crowd::accounts(&shared, port, users.clone()).await?;
        befriend(&shared, port, users.clone(), size).await?;
        let mut outcome = Outcome::default();
        let delivered = Rc::new(Cell::new(0u64));
        let clients = crowd::sessions(&shared, port, users.clone()).await?;
        let mut outs: Vec<Outbox> = Vec::new();
        for client in clients {
            let (inbox, out) = client.conn.split();
            tokio::task::spawn_local(count(inbox, client.jid, delivered.clone()));
            outs.push(out);
        }
        crowd::rest(1).await;
        port.wait("begin").await?;
        for _ in 0..self.times {
            for presence in ["<presence/>", "<presence type='unavailable'/>"] {
                for out in &mut outs {
                    out.say(presence.as_bytes()).await?;
                }
                quiet(&delivered).await;
            }
        }
        let deliveries = delivered.get();
        port.wait("end").await?;
        // In each storm, each hears of each other at least once: as contact or by probe.
        let pairs: usize = users.map(|user| group(user, size).len() - 1).sum();
        let least = u64::try_from(pairs * self.times * 3 / 2)?;
        outcome.count("deliveries", deliveries);
        outcome.count("lost", least.saturating_sub(deliveries));
        Ok(outcome)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let deliveries = seen.outcome.counted("deliveries");
        let mut figures = Figure::cpu(seen, "begin", "end", deliveries, "delivery");
        figures.push(Figure::counted(seen, "lost"));
        figures.push(super::figure::done("deliveries", deliveries));
        figures
    }
}

/// Counts presence of others.
async fn count(mut inbox: Inbox, own: String, delivered: Rc<Cell<u64>>) {
    while let Ok(frame) = inbox.hear().await {
        let from = frames::attribute(frame, "from");
        if frames::is(frame, "presence") && from != Some(own.as_bytes()) {
            delivered.set(delivered.get() + 1);
        }
    }
}

/// Waits until nothing more arrives.
async fn quiet(delivered: &Cell<u64>) {
    let mut before = u64::MAX;
    while before != delivered.get() {
        before = delivered.get();
        tokio::time::sleep(QUIET).await;
    }
}

/// Logs in, with the login's own presence, for scenarios that need one more client.
pub(super) async fn online(shared: &Shared, user: usize) -> Result<Client, Failure> {
    let mut client = Client::login(shared, user).await?;
    client.available(shared).await?;
    Ok(client)
}
