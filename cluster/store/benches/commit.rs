//! What a row costs: group commits of 1, 10 and 100 rows of 300 bytes from 1 and 64 writers, and a
//! page of 50 rows.
//!
//! criterion measures the time; rows per second and the CPU of the whole process (user and system,
//! engine threads included, from `/proc/self/stat`) are printed for each case.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench talks, and stops at the first failure"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kv::conformance::block_on;
use kv::{Batch, Expect, Key, KeyWriter, RangeRead, Reads, Store, Value};
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use store::{Embedded, Options};

const ROW_BYTES: usize = 300;

// As the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn options() -> Options {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let default = Options::default();
    // To compare settings.
    Options {
        memtable_bytes: number("MEMTABLE_MIB", default.memtable_bytes >> 20) << 20,
        worker_threads: number("WORKERS", default.worker_threads as u64) as usize,
        reader_threads: number("READERS", default.reader_threads as u64) as usize,
        ..default
    }
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> =
        after_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    // Clock ticks are hundredths of a second on Linux.
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn row_key(writer: u64, n: u64) -> Key {
    // As an archive: accounts spread, rows of one account in order.
    let account = n.wrapping_mul(64).wrapping_add(writer) % 10_000;
    KeyWriter::new(b"a").u64(account).fixed(b"@chat.example.org").u8(3).u64(n).finish()
}

fn body(n: u64) -> Value {
    // Text-like, so that compression finds what it would find in stanzas.
    let mut text = format!("<message id='{n:x}' from='u{n}@example.org/{:x}'><body>", n * 7919);
    while text.len() < ROW_BYTES {
        text.push_str(&format!("{:x} words ", n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20));
    }
    text.truncate(ROW_BYTES);
    Value::from(text)
}

struct Writer {
    id: u64,
    next: u64,
    fence: Key,
    /// Made before, so that the bench measures the store and not itself.
    bodies: Vec<Value>,
}

impl Writer {
    fn new(id: u64) -> Self {
        let bodies = (0..500).map(|n| body(id * 1_000 + n)).collect();
        Self { id, next: id << 40, fence: Key::from(format!("e{id}")), bodies }
    }

    fn batch(&mut self, rows: u64) -> Batch {
        let mut batch = Batch::new(self.next);
        batch.fence(self.fence.clone(), Expect::Equals(Value::from_static(b"1")));
        for _ in 0..rows {
            let body = &self.bodies[(self.next % 500) as usize];
            batch.set(row_key(self.id, self.next), body.clone());
            self.next += 1;
        }
        batch
    }
}

/// Drives one commit of each writer at a time, all on this thread, as a shard worker does.
fn drive(store: &Embedded, writers: &mut [Writer], rows: u64, commits: u64) {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut flights: Vec<Option<kv::CommitFuture>> = writers.iter().map(|_| None).collect();
    let (mut begun, mut done) = (0, 0);
    while done < commits {
        let mut moved = false;
        for (writer, flight) in writers.iter_mut().zip(&mut flights) {
            if let Some(commit) = flight
                && let Poll::Ready(result) = Pin::new(commit).poll(&mut context)
            {
                assert_eq!(result, Ok(()));
                *flight = None;
                done += 1;
                moved = true;
            }
            if flight.is_none() && begun < commits {
                *flight = Some(store.commit(writer.batch(rows)));
                begun += 1;
                moved = true;
            }
        }
        if !moved {
            std::thread::park();
        }
    }
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (writers, rows) in [(1, 1), (1, 10), (1, 100), (64, 1), (64, 10), (64, 100)] {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path(), &options()).unwrap();
        let mut all: Vec<Writer> = (0..writers).map(Writer::new).collect();
        let mut own = Batch::new(0);
        for writer in &all {
            own.set(writer.fence.clone(), Value::from_static(b"1"));
        }
        assert_eq!(block_on(store.commit(own)), Ok(()));
        let (mut total, mut used, mut took) = (0u64, Duration::ZERO, Duration::ZERO);
        group.throughput(Throughput::Elements(rows));
        group.bench_function(format!("{rows} rows, {writers} writers"), |bencher| {
            bencher.iter_custom(|iterations| {
                let (began, before) = (Instant::now(), cpu());
                drive(&store, &mut all, rows, iterations);
                let elapsed = began.elapsed();
                total += iterations * rows;
                used += cpu() - before;
                took += elapsed;
                elapsed
            });
        });
        if total == 0 {
            continue;
        }
        println!(
            "    {writers} writers x {rows} rows: {:.0} rows/s, {:.2} us CPU per row, RSS {} MiB, \
             disk {} MiB",
            total as f64 / took.as_secs_f64(),
            used.as_secs_f64() * 1e6 / total as f64,
            rss_kib() / 1024,
            store.size_on_disk() >> 20,
        );
    }
    // What the bench itself spends on making rows, to subtract.
    let mut writer = Writer::new(0);
    let before = cpu();
    for _ in 0..5_000 {
        black_box(writer.batch(100));
    }
    println!("    making rows alone: {:.2} us per row", (cpu() - before).as_secs_f64() * 2.0);
    group.finish();
}

fn pages(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), &options()).unwrap();
    let accounts = 2_000u64;
    for n in 0..100u64 {
        let mut batch = Batch::new(n);
        for account in 0..accounts {
            let key = KeyWriter::new(b"a").str(&format!("user{account}@example.org")).u64(n);
            batch.set(key.finish(), body(n * accounts + account));
        }
        assert_eq!(block_on(store.commit(batch)), Ok(()));
    }
    let mut group = criterion.benchmark_group("read");
    group.measurement_time(Duration::from_secs(3));
    let mut account = 0;
    let mut next = |keys: u64| {
        account = (account + 7_919) % keys;
        KeyWriter::new(b"a").str(&format!("user{account}@example.org"))
    };
    for (name, spread) in [("page of 50, warm account", 20), ("page of 50, any account", accounts)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let range = RangeRead::prefix(next(spread).finish()).reverse().rows(50);
                let rows = block_on(store.read(Reads::range(range)));
                assert_eq!(rows.map(|rows| rows.rows(0).len()), Ok(50));
            });
        });
    }
    for (name, spread) in [("one row, warm account", 20), ("one row, any account", accounts)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let rows = block_on(store.read(Reads::get(next(spread).u64(50).finish())));
                assert!(rows.is_ok_and(|rows| rows.value(0).is_some()));
            });
        });
    }
    group.finish();
    println!("    RSS {} MiB", rss_kib() / 1024);
}

criterion_group!(benches, commits, pages);
criterion_main!(benches);
