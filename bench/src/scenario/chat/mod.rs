//! Pairs that chat. Closed loop: one of each pair sends as fast as the other receives. Open loop:
//! messages are due at fixed times, and latency counts from when a message was due, so that a
//! server that stalls cannot hide it by stalling the load (no coordinated omission).

mod open;
mod pair;

use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::crowd::{self, Clock};
use super::{Figure, Less, within};
use crate::Failure;
use crate::client::{Client, Shared};
use crate::limits::{RATE_MAX, SECONDS_MAX, SESSIONS_MAX};
use crate::run::{Job, Outcome, Port, Seen};
use pair::Pair;

/// How long messages may still be on their way when the load has ended.
const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Pairs that chat.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Chat {
    /// How many pairs
    #[arg(long, default_value_t = 100)]
    pub pairs: usize,
    /// For how long, in seconds
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Seconds before that, which are not measured
    #[arg(long, default_value_t = 3)]
    pub warm_up: u64,
    /// Open loop: messages a second, all pairs together; without it each goes as fast as it can
    #[arg(long)]
    pub rate: Option<u64>,
    /// Closed loop: messages of one pair that may be on their way
    #[arg(long, default_value_t = 64)]
    pub window: u64,
    /// Closed loop: messages that a sender writes at once
    #[arg(long, default_value_t = 8)]
    pub burst: u64,
}

impl Chat {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--pairs", self.pairs, SESSIONS_MAX / 2)?;
        within("--seconds", usize::try_from(self.seconds)?, usize::try_from(SECONDS_MAX)?)?;
        within("--window", usize::try_from(self.window)?, 100_000)?;
        within("--burst", usize::try_from(self.burst)?, usize::try_from(self.window)?)?;
        if let Some(rate) = self.rate {
            within("--rate", usize::try_from(rate)?, usize::try_from(RATE_MAX)?)?;
        }
        crowd::fits(2 * self.pairs, workers)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let share = job.share(self.pairs);
        let users = 2 * share.start..2 * share.end;
        crowd::accounts(&shared, port, users.clone()).await?;
        let clock = Clock::start();
        let pairs = self.pairs(&shared, port, users, clock).await?;
        port.wait("ready").await?;
        let driver = self.rate.map(|rate| {
            let part = open::Schedule::new(rate, job.worker, job.workers);
            tokio::task::spawn_local(open::drive(pairs.clone(), part, clock))
        });
        crowd::rest(self.warm_up).await;
        port.wait("begin").await?;
        let begun = clock.now_us();
        pairs.iter().for_each(|pair| pair.begin(begun));
        let before: u64 = pairs.iter().map(|pair| pair.arrived()).sum();
        for second in 0..self.seconds {
            crowd::rest(1).await;
            port.progress("seconds", usize::try_from(second + 1)?, usize::try_from(self.seconds)?);
        }
        let messages = pairs.iter().map(|pair| pair.arrived()).sum::<u64>() - before;
        port.wait("end").await?;
        pairs.iter().for_each(|pair| pair.end(clock.now_us()));
        if let Some(driver) = driver {
            driver.abort();
        }
        drain(&pairs).await;
        let mut outcome = Outcome::default();
        outcome.count("messages", messages);
        for pair in &pairs {
            pair.tell(&mut outcome)?;
        }
        Ok(outcome)
    }

    /// Logs the pairs in and sets their tasks going.
    async fn pairs(
        &self,
        shared: &Rc<Shared>,
        port: &Port,
        users: std::ops::Range<usize>,
        clock: Clock,
    ) -> Result<Vec<Rc<Pair>>, Failure> {
        let sm = shared.target.sm;
        let clients = crowd::each(users, crowd::AT_ONCE, port, "sessions", |user| {
            let shared = shared.clone();
            async move {
                let mut client = Client::login(&shared, user).await?;
                if shared.target.sm {
                    client.enable(false).await?;
                }
                client.available(&shared).await?;
                Ok(client)
            }
        })
        .await?;
        let mut pairs = Vec::new();
        let mut clients = clients.into_iter();
        while let (Some(from), Some(to)) = (clients.next(), clients.next()) {
            let template = pair::template(shared.target.protocol, &to.jid);
            let window = self.rate.is_none().then_some((self.window, self.burst));
            pairs.push(Pair::start(from.conn, to.conn, template, window, sm, clock));
        }
        Ok(pairs)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let messages = seen.outcome.counted("messages");
        let mut figures = Figure::cpu(seen, "begin", "end", messages, "message");
        let mut rate = Figure::rate(seen, "begin", "end", messages, "messages");
        if self.rate.is_some() {
            rate.less = Less::Neither;
        }
        figures.push(rate);
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("delivery"), "delivery"));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("ack"), "ack"));
        let bad = ["lost", "bounced", "out of order", "not acknowledged", "sent late"];
        figures.extend(bad.map(|what| Figure::counted(seen, what)));
        let pss = seen.sample("end").pss as f64 / f64::from(1 << 20);
        figures.push(Figure::new("memory", "MiB", pss, Less::Neither));
        figures
    }
}

/// Waits until all that was sent has arrived, or nothing arrives any more.
async fn drain(pairs: &[Rc<Pair>]) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < DRAIN_MAX && pairs.iter().any(|pair| !pair.settled()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
