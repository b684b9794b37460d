//! Pairs that chat: one of each pair sends as fast as the other receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::client::{Client, Socket};
use crate::proc::Cpu;
use crate::{Failure, Target, accounts};

/// Messages of one pair that may be on their way.
const WINDOW: u64 = 64;

/// Messages that a sender writes at once.
const BURST: u64 = 8;

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// Messages that arrived.
    pub messages: u64,
    /// How long it took.
    pub took: Duration,
    /// CPU of the server.
    pub cpu: Cpu,
}

struct Pair {
    sent: AtomicU64,
    received: AtomicU64,
    moved: Notify,
}

/// Has `pairs` pairs chat for some time.
///
/// # Errors
/// If a login fails, a stream breaks or a message is lost.
pub async fn run(target: &Target, pairs: usize, time: Duration) -> Result<Report, Failure> {
    accounts::make(target, 2 * pairs).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut states = Vec::new();
    let mut tasks = Vec::new();
    for index in 0..pairs {
        let mut from = Client::login(target, &accounts::name(2 * index), 1).await?;
        let mut to = Client::login(target, &accounts::name(2 * index + 1), 2).await?;
        from.ask("<presence/>", "<presence").await?;
        to.ask("<presence/>", "<presence").await?;
        let pair = Arc::new(Pair {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            moved: Notify::new(),
        });
        states.push(pair.clone());
        tasks.push(tokio::spawn(send(from.socket, to.jid, pair.clone(), stop.clone())));
        tasks.push(tokio::spawn(receive(to.socket, pair)));
    }
    // Rows of the first messages (day rows, windows, buffers) are not what is measured.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let count = || states.iter().map(|pair| pair.received.load(Ordering::Relaxed)).sum::<u64>();
    let (before, cpu, begun) = (count(), Cpu::of(target.pid)?, Instant::now());
    tokio::time::sleep(time).await;
    let report = Report {
        messages: count() - before,
        took: begun.elapsed(),
        cpu: Cpu::of(target.pid)?.since(cpu),
    };
    stop.store(true, Ordering::Relaxed);
    drain(&states).await?;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(report)
}

/// Waits until all that was sent has arrived.
async fn drain(states: &[Arc<Pair>]) -> Result<(), Failure> {
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let missing: u64 = states
            .iter()
            .map(|p| p.sent.load(Ordering::Relaxed) - p.received.load(Ordering::Relaxed))
            .sum();
        if missing == 0 {
            return Ok(());
        }
    }
    Err("messages were lost: not all that was sent has arrived after 10 s".into())
}

async fn send(mut socket: Socket, to: String, pair: Arc<Pair>, stop: Arc<AtomicBool>) {
    let mut id = 0u64;
    let mut bytes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = pair.sent.load(Ordering::Relaxed);
        if sent.saturating_sub(pair.received.load(Ordering::Relaxed)) + BURST > WINDOW {
            pair.moved.notified().await;
            continue;
        }
        bytes.clear();
        for _ in 0..BURST {
            id += 1;
            let stanza = format!(
                "<message to='{to}' type='chat' id='m{id}'><body>What&apos;s in a name? That which \
                 we call a rose by any other name would smell as sweet.</body><active \
                 xmlns='http://jabber.org/protocol/chatstates'/><origin-id \
                 xmlns='urn:xmpp:sid:0' id='m{id}'/></message>"
            );
            bytes.extend_from_slice(stanza.as_bytes());
        }
        pair.sent.fetch_add(BURST, Ordering::Relaxed);
        if socket.write_all(&bytes).await.is_err() || socket.flush().await.is_err() {
            return;
        }
    }
    // The socket stays open until all has arrived.
    std::future::pending::<()>().await;
}

async fn receive(mut socket: Socket, pair: Arc<Pair>) {
    let finder = memmem::Finder::new(b"</message>");
    let mut buffer = vec![0; 64 * 1024];
    let mut kept = 0;
    loop {
        let Ok(read @ 1..) = socket.read(&mut buffer[kept..]).await else { return };
        let filled = &buffer[..kept + read];
        let found = finder.find_iter(filled).count() as u64;
        // An end tag may be cut in two: what could be its beginning is kept.
        let last = finder.find_iter(filled).last().map_or(0, |at| at + 10);
        let tail = (filled.len() - last).min(9);
        let from = filled.len() - tail;
        buffer.copy_within(from..from + tail, 0);
        kept = tail;
        if found > 0 {
            pair.received.fetch_add(found, Ordering::Relaxed);
            pair.moved.notify_one();
        }
    }
}
