//! What one message costs the engine: the sender's step and the recipient's, with both archives
//! written and with none, on a store that takes no time.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]

use std::hint::black_box;

use carillon_bench::gate::{CHAT, Rig, stanza};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kv::Batch;

/// Messages of one turn: what a busy worker finds in its mailbox.
const TURN: u64 = 64;

fn messages(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Elements(TURN));
    for (name, archive, stores) in [
        ("no archive", false, true),
        ("both archives, commits forgotten", true, false),
        ("both archives, store in memory", true, true),
    ] {
        let mut rig = Rig::new(archive).unwrap();
        rig.stores = stores;
        let message = stanza(CHAT).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| black_box(rig.messages(&message, TURN).unwrap()));
        });
    }
    group.finish();
}

/// What building a batch of one row costs, as a yardstick.
fn batch(c: &mut Criterion) {
    c.bench_function("batch of one row", |b| {
        b.iter(|| {
            let mut batch = Batch::new(1);
            batch.set(vec![b'e'; 26].into(), vec![1; 400].into());
            black_box(batch.bytes())
        });
    });
}

criterion_group!(benches, messages, batch);
criterion_main!(benches);
