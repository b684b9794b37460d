//! Pairs of clients at work, each on a thread of its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use super::client::{CLOSING, Client, DRAINING, GIVEN_UP, Shared};
use super::ledger::{Book, Stats, judge};
use super::nodes::{Cluster, PATIENCE};

/// Pairs, unless the full length is asked for.
const PAIRS: u32 = 3;
const PAIRS_FULL: u32 = 20;

/// Whether the full length is asked for.
pub(crate) fn is_full() -> bool {
    std::env::var_os("CARILLON_FULL").is_some()
}

/// Clients at work. They end when it is dropped.
pub(crate) struct Load {
    clients: Vec<(Arc<Shared>, Option<JoinHandle<Book>>)>,
}

impl Load {
    /// Pairs whose two come to different edges first.
    pub(crate) fn start(cluster: &mut Cluster) -> Self {
        let pairs = if is_full() { PAIRS_FULL } else { PAIRS };
        let names = cluster.accounts(pairs * 2);
        let ports = cluster.ports();
        let begin = |(index, name): (usize, &String)| {
            let (shared, mut ports) = (Arc::new(Shared::default()), ports.clone());
            ports.rotate_left(index % 2);
            let client = Client::new(name, &names[index ^ 1], ports, shared.clone());
            (shared, Some(std::thread::spawn(move || client.run())))
        };
        let load = Self { clients: names.iter().enumerate().map(begin).collect() };
        load.flows(cluster);
        load
    }

    /// Waits until each client has had more messages acknowledged, and got more.
    pub(crate) fn flows(&self, cluster: &Cluster) {
        let more = if is_full() { 500 } else { 10 };
        let now = |it: &Shared| (it.acked.load(Ordering::Relaxed), it.had.load(Ordering::Relaxed));
        let wanted: Vec<_> = self.clients.iter().map(|it| now(&it.0)).collect();
        cluster.until_or(
            "messages flow",
            |_| {
                let mut each = self.clients.iter().zip(&wanted);
                each.all(|((shared, _), before)| {
                    let now = now(shared);
                    now.0 >= before.0 + more && now.1 >= before.1 + more
                })
                .then_some(())
            },
            || self.shown(),
        );
    }

    /// How each client stands, for people.
    fn shown(&self) -> String {
        let mut text = String::new();
        for (shared, _) in &self.clients {
            let of = |it: &AtomicU32| it.load(Ordering::Relaxed);
            let (sent, acked, had) = (of(&shared.sent), of(&shared.acked), of(&shared.had));
            let breaks = shared.breaks.lock();
            let last = &breaks[breaks.len().saturating_sub(3)..];
            let _ = writeln!(text, "sent {sent}, acked {acked}, had {had}; broke: {last:?}");
        }
        text
    }

    fn phase(&self, phase: u8) {
        self.clients.iter().for_each(|it| it.0.phase.store(phase, Ordering::Relaxed));
    }

    /// Lets them come to their end, and judges. What happened to all sessions together.
    pub(crate) fn finish(mut self, cluster: &Cluster) -> Stats {
        self.phase(DRAINING);
        // They look at the phase between two steps.
        sleep(Duration::from_millis(50));
        cluster.until_or(
            "all is acknowledged",
            |_| {
                let done = |it: &Shared| {
                    it.acked.load(Ordering::Relaxed) == it.sent.load(Ordering::Relaxed)
                };
                self.clients.iter().all(|it| done(&it.0)).then_some(())
            },
            || self.shown(),
        );
        self.phase(CLOSING);
        let begun = Instant::now();
        let ended = |it: &(Arc<Shared>, Option<JoinHandle<Book>>)| {
            it.1.as_ref().is_none_or(JoinHandle::is_finished)
        };
        while !self.clients.iter().all(ended) && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
        self.phase(GIVEN_UP);
        let join = |it: &mut (Arc<Shared>, Option<JoinHandle<Book>>)| it.1.take().unwrap().join();
        let books: Vec<Book> = self.clients.iter_mut().map(|it| join(it).unwrap()).collect();
        let found: Vec<String> =
            books.chunks(2).flat_map(|pair| judge(&pair[0], &pair[1])).collect();
        let mut all = Stats::default();
        for book in &books {
            all.broken += book.stats.broken;
            all.resumed += book.stats.resumed;
            all.lost += book.stats.lost;
            all.again += book.stats.again;
        }
        let sent: u32 = books.iter().map(|it| it.sent).sum();
        println!("{sent} messages, {all:?}");
        assert!(found.is_empty(), "{all:?}\n{}\n{}", found.join("\n"), cluster.logs());
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.phase(GIVEN_UP);
    }
}
