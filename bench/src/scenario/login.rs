//! A storm of logins: connect, TLS, SASL, binding; then the client leaves in order.

use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::crowd;
use super::{Figure, Less, within};
use crate::Failure;
use crate::client::{Client, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};

/// Many logins.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Login {
    /// How many logins are measured
    #[arg(long, default_value_t = 2000)]
    pub logins: usize,
    /// Of how many accounts
    #[arg(long, default_value_t = 500)]
    pub accounts: usize,
    /// How many are under way at once
    #[arg(long, default_value_t = 32)]
    pub at_once: usize,
}

impl Default for Login {
    fn default() -> Self {
        Self { logins: 2000, accounts: 500, at_once: 32 }
    }
}

impl Login {
    pub(super) fn check(&self) -> Result<(), Failure> {
        within("--logins", self.logins, SESSIONS_MAX)?;
        within("--accounts", self.accounts, SESSIONS_MAX)?;
        within("--at-once", self.at_once, 5000)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let accounts = job.share(self.accounts);
        crowd::accounts(&shared, port, accounts.clone()).await?;
        let at_once = self.at_once.div_ceil(job.workers);
        // Each account once before: keys are derived, and the server has it in memory.
        self.storm(&shared, port, accounts.clone(), accounts.len(), at_once).await?;
        port.wait("begin").await?;
        let begun = Instant::now();
        let logins = job.share(self.logins).len();
        let mut outcome = Outcome::default();
        for (took, at, resumed) in self.storm(&shared, port, accounts, logins, at_once).await? {
            outcome.latency("login").record(took);
            outcome.count("logins", 1);
            outcome.count("TLS resumed", u64::from(resumed));
            let second = usize::try_from(at.duration_since(begun).as_secs())?;
            outcome.seconds.resize(outcome.seconds.len().max(second + 1), 0);
            outcome.seconds[second] += 1;
        }
        port.wait("end").await?;
        Ok(outcome)
    }

    /// Logs in `count` times, the accounts in turn.
    async fn storm(
        &self,
        shared: &Rc<Shared>,
        port: &Port,
        accounts: std::ops::Range<usize>,
        count: usize,
        at_once: usize,
    ) -> Result<Vec<(u64, Instant, bool)>, Failure> {
        let (first, number) = (accounts.start, accounts.len().max(1));
        crowd::each(0..count, at_once, port, "logins", |index| {
            let shared = shared.clone();
            async move {
                let begun = Instant::now();
                let client = Client::login(&shared, first + index % number).await?;
                let took = crowd::since_us(begun);
                let resumed = client.tls_resumed;
                client.conn.close().await?;
                Ok((took, Instant::now(), resumed))
            }
        })
        .await
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let logins = seen.outcome.counted("logins");
        let mut figures = Figure::cpu(seen, "begin", "end", logins, "login");
        figures.push(Figure::rate(seen, "begin", "end", logins, "logins"));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("login"), "login"));
        let share = seen.outcome.counted("TLS resumed") as f64 * 100.0 / logins.max(1) as f64;
        figures.push(Figure::new("TLS resumed", "%", share, Less::Neither));
        figures
    }
}
