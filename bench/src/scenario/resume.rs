//! All connections are cut at once, and all sessions come back (XEP-0198).

use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Figure, Less, crowd, within};
use crate::Failure;
use crate::client::{Client, Resumable, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};

/// A cut, and resumption of all.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Resume {
    /// Sessions
    #[arg(long, default_value_t = 1000)]
    pub sessions: usize,
    /// How many come back at once
    #[arg(long, default_value_t = 64)]
    pub at_once: usize,
}

impl Resume {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--sessions", self.sessions, SESSIONS_MAX)?;
        within("--at-once", self.at_once, 5000)?;
        crowd::fits(self.sessions, workers)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let users = job.share(self.sessions);
        crowd::accounts(&shared, port, users.clone()).await?;
        let made = crowd::each(users, crowd::AT_ONCE, port, "sessions", |user| {
            let shared = shared.clone();
            async move {
                let mut client = Client::login(&shared, user).await?;
                let id = client.enable(true).await?.ok_or("sessions cannot be resumed here")?;
                client.available(&shared).await?;
                // Its own presence came back to it: one stanza taken.
                Ok((client, Resumable { user, id, taken: 1 }))
            }
        })
        .await?;
        let mut cut = Vec::with_capacity(made.len());
        for (client, session) in made {
            // Without the end of the stream: the network is gone, not the client.
            drop(client);
            cut.push(session);
        }
        crowd::rest(3).await;
        port.wait("begin").await?;
        let cut = Rc::new(cut);
        let at_once = self.at_once.div_ceil(job.workers);
        let back = crowd::each(0..cut.len(), at_once, port, "resumptions", |index| {
            let (shared, cut) = (shared.clone(), cut.clone());
            async move {
                let begun = Instant::now();
                let client = Client::resume(&shared, &cut[index]).await?;
                Ok((client, crowd::since_us(begun)))
            }
        })
        .await?;
        port.wait("end").await?;
        let mut outcome = Outcome::default();
        for (client, took) in &back {
            outcome.latency("resumption").record(*took);
            outcome.count("resumptions", u64::from(client.is_some()));
            outcome.count("not resumed", u64::from(client.is_none()));
        }
        Ok(outcome)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let number = seen.outcome.counted("resumptions");
        let mut figures = Figure::cpu(seen, "begin", "end", number, "resumption");
        let mut rate = Figure::rate(seen, "begin", "end", number, "resumptions");
        rate.less = Less::Worse;
        figures.push(rate);
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("resumption"), "resumption"));
        figures.push(Figure::counted(seen, "not resumed"));
        figures
    }
}
