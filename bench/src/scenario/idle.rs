//! Sessions at rest: the memory of one more is the slope between two numbers of sessions.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::crowd::{self, AT_ONCE};
use super::needs::{Contacts, Needs};
use super::{Figure, Less, contacts, within};
use crate::Failure;
use crate::client::{Client, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};

/// Sessions at rest.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Idle {
    /// Numbers of sessions to look at, rising
    #[arg(long, value_delimiter = ',', default_values_t = [5000, 15000])]
    pub sessions: Vec<usize>,
    /// Contacts in each roster
    #[arg(long, default_value_t = 20)]
    pub contacts: usize,
    /// Seconds at rest before each look
    #[arg(long, default_value_t = 60)]
    pub rest: u64,
}

impl Idle {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        let most = self.sessions.last().copied().unwrap_or_default();
        within("--sessions", most, SESSIONS_MAX)?;
        within("--rest", usize::try_from(self.rest)?.max(1), 600)?;
        if !self.sessions.is_sorted() {
            return Err("--sessions: the numbers must rise".into());
        }
        crowd::fits(most, workers)
    }

    pub(super) fn needs(&self) -> Needs {
        let accounts = self.sessions.last().copied().unwrap_or_default();
        Needs { accounts, rosters: accounts, contacts: Contacts::Strangers(self.contacts) }
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let most = self.sessions.last().copied().unwrap_or_default();
        let share = job.share(most);
        port.wait("empty").await?;
        crowd::accounts(&shared, port, share.clone()).await?;
        let mut clients = Vec::new();
        for step in &self.sessions {
            let until = share.start + job.share(*step).len();
            let from = share.start + clients.len();
            clients.extend(self.more(&shared, port, from..until).await?);
            // All rest together: none may still be making sessions.
            port.wait(&format!("made {step}")).await?;
            crowd::rest(self.rest).await;
            port.wait(&format!("rest {step}")).await?;
        }
        let mut outcome = Outcome::default();
        outcome.count("sessions", clients.len() as u64);
        Ok(outcome)
    }

    async fn more(
        &self,
        shared: &Rc<Shared>,
        port: &Port,
        range: std::ops::Range<usize>,
    ) -> Result<Vec<Client>, Failure> {
        let count = self.contacts;
        crowd::each(range, AT_ONCE, port, "sessions", |user| {
            let shared = shared.clone();
            async move {
                let mut client = Client::login(&shared, user).await?;
                contacts::strangers(&mut client, count).await?;
                client.available(&shared).await?;
                Ok(client)
            }
        })
        .await
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let kib = |bytes: u64| bytes as f64 / 1024.0;
        let at = |step: &usize| seen.sample(&format!("rest {step}")).pss;
        let mut figures = Vec::new();
        if let [.., low, high] = self.sessions.as_slice() {
            let slope = (kib(at(high)) - kib(at(low))) / (high - low).max(1) as f64;
            figures.push(Figure::new("memory", "KiB/session", slope, Less::Better));
        }
        let base = kib(seen.sample("empty").pss) / 1024.0;
        figures.push(Figure::new("memory when empty", "MiB", base, Less::Neither));
        for step in &self.sessions {
            let name = format!("memory at {step}");
            figures.push(Figure::new(&name, "MiB", kib(at(step)) / 1024.0, Less::Neither));
        }
        figures
    }
}
