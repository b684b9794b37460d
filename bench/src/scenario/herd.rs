//! A herd: all clients are cut at once, and all come back at once, with full logins. What is asked
//! is whether the server goes on letting people in as fast as it can, or chokes on those who wait.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Figure, Less, crowd, within};
use crate::Failure;
use crate::client::{Client, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};

/// A client's first rest after it was turned away, and its longest: it doubles, and each waits a
/// little longer or shorter than the others, as clients do who were told to.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

/// From when on so few are still out that the rate says nothing of the server, in percent.
const TAIL: u64 = 10;

/// A herd.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Herd {
    /// Clients
    #[arg(long, default_value_t = 15_000)]
    pub clients: usize,
    /// How many log in at once where capacity is measured, before the herd
    #[arg(long, default_value_t = 64)]
    pub at_once: usize,
    /// Seconds after which a client of the herd gives up
    #[arg(long, default_value_t = 120)]
    pub patience: u64,
}

/// What a worker's part of the herd met.
#[derive(Default)]
struct Met {
    back: Vec<Client>,
    outcome: Outcome,
}

impl Herd {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--clients", self.clients, SESSIONS_MAX)?;
        within("--at-once", self.at_once, 5000)?;
        within("--patience", usize::try_from(self.patience)?, 600)?;
        crowd::fits(self.clients, workers)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let users = job.share(self.clients);
        crowd::accounts(&shared, port, users.clone()).await?;
        // The first time, accounts come into the server's memory; the second time is measured.
        drop(self.politely(&shared, port, users.clone(), job.workers).await?);
        crowd::rest(3).await;
        port.wait("polite").await?;
        let polite = self.politely(&shared, port, users.clone(), job.workers).await?;
        port.wait("polite end").await?;
        drop(polite);
        crowd::rest(3).await;
        port.wait("begin").await?;
        let met = self.herd(&shared, users).await?;
        port.wait("end").await?;
        Ok(met.outcome)
    }

    async fn politely(
        &self,
        shared: &Rc<Shared>,
        port: &Port,
        users: std::ops::Range<usize>,
        workers: usize,
    ) -> Result<Vec<Client>, Failure> {
        let at_once = self.at_once.div_ceil(workers);
        crowd::each(users, at_once, port, "sessions", |user| {
            let shared = shared.clone();
            async move { Client::login(&shared, user).await }
        })
        .await
    }

    async fn herd(
        &self,
        shared: &Rc<Shared>,
        users: std::ops::Range<usize>,
    ) -> Result<Met, Failure> {
        let met = Rc::new(RefCell::new(Met::default()));
        let begun = Instant::now();
        let patience = Duration::from_secs(self.patience);
        let mut tasks = tokio::task::JoinSet::new();
        for user in users {
            let (shared, met) = (shared.clone(), met.clone());
            tasks.spawn_local(async move { come_back(&shared, user, begun, patience, &met).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended?;
        }
        Ok(met.take())
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let (clients, back) = (self.clients as u64, seen.outcome.counted("back"));
        let capacity = Figure::rate(seen, "polite", "polite end", clients, "logins");
        let worst = worst_second(&seen.outcome.seconds, clients);
        // The last tenth is of clients that were told to wait, and of what they wait.
        let most = seen.outcome.latencies.get("login").map_or(0, |it| it.at(90.0));
        let goodput = back as f64 * 0.9 * 1e6 / most.max(1) as f64;
        let share = |rate: f64| rate * 100.0 / capacity.value.max(1.0);
        let shares = (share(goodput), share(worst as f64));
        let mut figures = Figure::cpu(seen, "begin", "end", back, "login");
        let polite = Figure::cpu(seen, "polite", "polite end", clients, "login");
        figures.extend(
            polite
                .into_iter()
                .take(1)
                .map(|it| Figure::new("CPU when polite", &it.unit, it.value, Less::Neither)),
        );
        figures.push(Figure::new("capacity", "logins/s", capacity.value, Less::Neither));
        figures.push(Figure::rate(seen, "begin", "end", back, "logins"));
        figures.push(Figure::new("goodput until 90% are in", "logins/s", goodput, Less::Worse));
        figures.push(Figure::new("goodput of capacity", "%", shares.0, Less::Worse));
        figures.push(Figure::new("worst second", "logins", worst as f64, Less::Worse));
        figures.push(Figure::new("worst second of capacity", "%", shares.1, Less::Worse));
        figures.push(super::figure::done("back", back));
        figures.extend(Figure::percentiles(seen.outcome.latencies.get("login"), "login"));
        let bad = ["not authorized", "gave up", "asked to wait", "cut off", "refused otherwise"];
        figures.extend(bad.map(|what| Figure::counted(seen, what)));
        figures
    }
}

/// One client, until it is in.
async fn come_back(
    shared: &Shared,
    user: usize,
    begun: Instant,
    patience: Duration,
    met: &RefCell<Met>,
) {
    for attempt in 0_u32.. {
        let why = match Client::login(shared, user).await {
            Ok(client) => {
                let mut met = met.borrow_mut();
                let second = usize::try_from(begun.elapsed().as_secs()).unwrap_or_default();
                let seconds = &mut met.outcome.seconds;
                seconds.resize(seconds.len().max(second + 1), 0);
                seconds[second] += 1;
                met.outcome.latency("login").record(crowd::since_us(begun));
                met.outcome.count("back", 1);
                met.back.push(client);
                return;
            }
            Err(why) => why.to_string(),
        };
        let late = begun.elapsed() > patience;
        if turned_away(&mut met.borrow_mut().outcome, &why) || late {
            met.borrow_mut().outcome.count("gave up", 1);
            return;
        }
        tokio::time::sleep(backoff(attempt, user)).await;
    }
}

/// Counts a refusal; whether it is one after which no client comes again.
fn turned_away(outcome: &mut Outcome, why: &str) -> bool {
    let what = kind(why);
    if what == "refused otherwise" && outcome.counted(what) == 0 {
        outcome.count(&format!("e.g. {}", why.chars().take(200).collect::<String>()), 1);
    }
    outcome.count(what, 1);
    what == "not authorized"
}

/// What kind of refusal it was.
fn kind(why: &str) -> &'static str {
    let has = |any: &[&str]| any.iter().any(|part| why.contains(part));
    if has(&["not-authorized"]) {
        "not authorized"
    } else if has(&["temporary-auth-failure", "resource-constraint", "policy-violation"]) {
        "asked to wait"
    } else if has(&["closed", "reset", "eof", "Broken pipe", "refused (os error"]) {
        "cut off"
    } else {
        "refused otherwise"
    }
}

/// How long a client rests before it comes again.
fn backoff(attempt: u32, user: usize) -> Duration {
    let (first, most) = BACKOFF;
    let whole = first.saturating_mul(1 << attempt.min(16)).min(most);
    // Anything that differs between clients and attempts will do.
    let spread = (user * 7919 + attempt as usize * 104_729) % 1000;
    whole.mul_f64(0.5 + spread as f64 / 1000.0)
}

/// The fewest logins of a whole second, while more than a tenth of the clients were still out. The
/// first second is of the clients, who all begin at once on the machine that they share.
fn worst_second(seconds: &[u64], clients: u64) -> u64 {
    let mut out = clients;
    let mut worst = u64::MAX;
    for (second, number) in seconds.iter().enumerate() {
        out = out.saturating_sub(*number);
        if out * 100 < clients * TAIL {
            break;
        }
        if second > 0 {
            worst = worst.min(*number);
        }
    }
    if worst == u64::MAX { 0 } else { worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_and_the_first_second_do_not_count() {
        assert_eq!(worst_second(&[1, 40, 30, 25, 4], 100), 30);
        assert_eq!(worst_second(&[100], 100), 0);
        assert_eq!(worst_second(&[0, 20, 0, 80], 100), 0);
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(kind("u1 may not log in: <failure><not-authorized/>"), "not authorized");
        assert_eq!(kind("u1 may not log in: <temporary-auth-failure/>"), "asked to wait");
        assert_eq!(kind("the server closed the connection"), "cut off");
        assert_eq!(kind("something else"), "refused otherwise");
    }

    #[test]
    fn clients_wait_longer_each_time_and_differ() {
        assert!(backoff(0, 1) < backoff(5, 1));
        assert!(backoff(40, 7) <= BACKOFF.1.mul_f64(1.5));
        assert_ne!(backoff(0, 1), backoff(0, 2));
    }
}
