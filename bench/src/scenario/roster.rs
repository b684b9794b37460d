//! Rosters: read whole, as a client does that has no version of it.

use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::needs::{Contacts, Needs};
use super::{Figure, contacts, crowd, within};
use crate::client::{Client, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};
use crate::{Failure, frames};

/// Rosters read.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Roster {
    /// Accounts
    #[arg(long, default_value_t = 100)]
    pub accounts: usize,
    /// Contacts in each roster
    #[arg(long, default_value_t = 100)]
    pub contacts: usize,
    /// How often each account reads its roster
    #[arg(long, default_value_t = 50)]
    pub times: usize,
}

impl Roster {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--accounts", self.accounts, SESSIONS_MAX)?;
        within("--contacts", self.contacts, 1000)?;
        within("--times", self.times, 100_000)?;
        crowd::fits(self.accounts, workers)
    }

    pub(super) fn needs(&self) -> Needs {
        let accounts = self.accounts;
        Needs { accounts, rosters: accounts, contacts: Contacts::Strangers(self.contacts) }
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let users = job.share(self.accounts);
        crowd::accounts(&shared, port, users.clone()).await?;
        let count = self.contacts;
        let clients = crowd::each(users, crowd::AT_ONCE, port, "rosters", |user| {
            let shared = shared.clone();
            async move {
                let mut client = Client::login(&shared, user).await?;
                contacts::strangers(&mut client, count).await?;
                Ok(client)
            }
        })
        .await?;
        port.wait("begin").await?;
        let mut tasks = tokio::task::JoinSet::new();
        for client in clients {
            tasks.spawn_local(read(client, self.times));
        }
        let mut outcome = Outcome::default();
        while let Some(result) = tasks.join_next().await {
            for took in result?? {
                outcome.latency("roster").record(took);
                outcome.count("rosters", 1);
            }
        }
        port.wait("end").await?;
        Ok(outcome)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let rosters = seen.outcome.counted("rosters");
        let mut figures = Figure::cpu(seen, "begin", "end", rosters, "roster");
        figures.push(Figure::rate(seen, "begin", "end", rosters, "rosters"));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("roster"), "roster"));
        figures
    }
}

async fn read(mut client: Client, times: usize) -> Result<Vec<u64>, Failure> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        let get = "<iq type='get' id='get'><query xmlns='jabber:iq:roster'/></iq>";
        let is_it = |frame: &[u8]| frames::attribute(frame, "id") == Some(b"get");
        client.ask(get, is_it).await?;
        took.push(crowd::since_us(begun));
    }
    Ok(took)
}
