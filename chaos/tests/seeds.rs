//! Seeds: many of them, those that once found something, and those that must find what is broken on
//! purpose.
#![allow(clippy::panic, clippy::print_stdout, reason = "a test tells its seed and stops")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use chaos::invariants::Violation;
use chaos::sim::tamper::{ALL, CLUSTER, Tamper};
use chaos::sim::{Options, run};

/// How many seeds each run of the tests takes.
const SEEDS: u64 = 1000;

/// Seeds that once broke an invariant, and why.
const REGRESSIONS: &[(u64, &str)] = &[
    (682, "a page that is read settles what waits up to its end, not only the last page"),
    (744, "what was taken of a part of the log that was never read whole was forgotten at rest"),
    (
        961,
        "a parcel that came before the shard was claimed had been sent again to an owner between",
    ),
    (1906, "a session that reads its log stopped and was given what it had"),
    (1962, "a session that read what had waited did not know after a stop that it had waited"),
    (2173, "a client that never took all that waited was given the beginning again and again"),
    (3449, "the loss of an edge passed an acknowledgement that waited behind a look-up"),
    (
        4879,
        "who owns a shard no more cannot know what was taken since: the invariant asked too much",
    ),
    (7869, "the loss of an edge passed an acknowledgement that waited behind a look-up"),
    (8249, "a row that a later session had taken over was not known for the earlier one"),
    (8433, "the loss of an edge passed an acknowledgement that waited behind a look-up"),
    (10492, "the loss of an edge passed an acknowledgement that waited behind a look-up"),
    (21087, "the loss of an edge passed an acknowledgement that waited behind a look-up"),
    (21960, "an owner that had nothing to write never learned that it was not the owner any more"),
    (26546, "the loss of an edge passed an acknowledgement that waited behind a look-up"),
];

/// The same, with routers and control.
const CLUSTER_REGRESSIONS: &[(u64, &str)] = &[
    (412, "a session came back from a lost connection under numbers that its client had seen used"),
    (
        2177,
        "a session came back from a lost connection under numbers that its client had seen used",
    ),
    (
        3280,
        "a session came back from a lost connection under numbers that its client had seen used",
    ),
    (5395, "a session that had been displaced was taken for the later one"),
    (8898, "what was taken while a shard was given up was not written down"),
    (2206, "a late grant took away what had come for a later one"),
    (3171, "a late grant took away what had come for a later one"),
    (3869, "a late grant took away what had come for a later one"),
    (6126, "a late grant took away what had come for a later one"),
];

/// The last lines of a trace are the ones that tell.
const LINES: usize = 120;

fn find(seed: u64, tamper: Option<Tamper>) -> Option<Violation> {
    find_with(seed, Options { tamper, ..Options::default() })
}

fn find_with(seed: u64, options: Options) -> Option<Violation> {
    match catch_unwind(AssertUnwindSafe(|| run(seed, options).violation)) {
        Ok(violation) => violation,
        Err(_) => Some(Violation { invariant: "panic", what: "the engine panicked".to_owned() }),
    }
}

/// Fails with the trace of the seed, if it breaks something.
fn check(seed: u64) {
    check_with(seed, Options::default());
}

fn check_with(seed: u64, options: Options) {
    let Some(violation) = find_with(seed, options) else { return };
    if violation.invariant != "panic" {
        let trace = run(seed, Options { trace: true, ..options }).trace;
        let from = trace.len().saturating_sub(LINES);
        for line in &trace[from..] {
            println!("{line}");
        }
    }
    panic!(
        "seed {seed} breaks `{}`: {}\nSEED={seed} cargo test -p chaos one_seed -- --nocapture",
        violation.invariant, violation.what
    );
}

/// Runs seeds on all cores until one breaks something.
fn all(seeds: u64, test: impl Fn(u64) -> bool + Sync) -> Option<u64> {
    let next = AtomicU64::new(0);
    let found = AtomicU64::new(u64::MAX);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || found.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    if test(seed) {
                        found.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let found = found.into_inner();
    (found != u64::MAX).then_some(found)
}

#[test]
fn a_thousand_seeds() {
    if let Some(seed) = all(SEEDS, |seed| find(seed, None).is_some()) {
        check(seed);
    }
}

/// Routers, edges and control: shards move, owners and edges die, leases end.
#[test]
fn a_thousand_seeds_of_a_cluster() {
    let options = Options { cluster: true, ..Options::default() };
    let found = all(SEEDS, |seed| find_with(seed, options).is_some());
    assert_eq!(found, None, "{:?}", found.and_then(|seed| find_with(seed, options)));
}

/// Shards that panic cost what they had in memory, and nothing that was acknowledged.
#[test]
fn three_hundred_seeds_with_panics() {
    let options = Options { panics: true, ..Options::default() };
    let found = all(300, |seed| find_with(seed, options).is_some());
    assert_eq!(found, None, "{:?}", found.and_then(|seed| find_with(seed, options)));
    let fallen: u64 = (0..20).map(|seed| run(seed, options).fallen).sum();
    assert!(fallen > 10, "only {fallen} shards panicked");
}

#[test]
fn seeds_that_found_something() {
    for (seed, why) in REGRESSIONS {
        println!("{seed}: {why}");
        check(*seed);
    }
    for (seed, why) in CLUSTER_REGRESSIONS {
        println!("{seed} of a cluster: {why}");
        check_with(*seed, Options { cluster: true, ..Options::default() });
    }
}

/// `SEED=… cargo test -p chaos one_seed -- --nocapture` tells what happens in one run.
#[test]
fn one_seed() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let outcome = run(seed.unwrap_or(0), Options { trace: true, ..Options::default() });
    if seed.is_some() {
        for line in &outcome.trace {
            println!("{line}");
        }
    }
    assert_eq!(outcome.violation, None);
    assert!(outcome.messages > 0 && outcome.trace.len() > 100);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let options = Options { trace: true, ..Options::default() };
        let (one, other) = (run(seed, options), run(seed, options));
        let differs = one.trace.iter().zip(&other.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.fingerprint, other.fingerprint, "seed {seed}");
    }
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    for (tamper, invariants) in ALL {
        let finds =
            |seed| find(seed, Some(*tamper)).is_some_and(|v| invariants.contains(&v.invariant));
        let seed = all(SEEDS, finds);
        println!("{tamper:?}: seed {seed:?}");
        assert!(seed.is_some(), "{tamper:?} is not found by {invariants:?} in {SEEDS} seeds");
    }
}

#[test]
fn what_is_broken_on_purpose_in_a_cluster_is_found() {
    for (tamper, invariants) in CLUSTER {
        let options = Options { tamper: Some(*tamper), cluster: true, ..Options::default() };
        let finds =
            |seed| find_with(seed, options).is_some_and(|v| invariants.contains(&v.invariant));
        let seed = all(SEEDS, finds);
        println!("{tamper:?}: seed {seed:?}");
        assert!(seed.is_some(), "{tamper:?} is not found by {invariants:?} in {SEEDS} seeds");
    }
}
