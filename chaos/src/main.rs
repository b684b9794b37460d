//! `chaos seeds FROM COUNT`: looks for seeds that break an invariant. `chaos seed N`: tells one.
//! With `panics` behind it, shards panic too; with `cluster`, there are routers and control; with
//! the name of a `Tamper`, the engine has that defect.

#![expect(clippy::print_stdout, reason = "a tool for the command line")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use chaos::sim::tamper::{ALL, CLUSTER};
use chaos::sim::{Options, run};

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let cluster = words.pop_if(|word| word == "cluster").is_some();
    let panics = words.pop_if(|word| word == "panics").is_some();
    let known = ALL.iter().chain(CLUSTER).map(|(tamper, _)| *tamper);
    let named = |word: &str| known.clone().find(|tamper| format!("{tamper:?}") == word);
    let tamper = words.last().and_then(|word| named(word));
    words.truncate(words.len() - usize::from(tamper.is_some()));
    let options = Options { panics, cluster, tamper, ..Options::default() };
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    match (words.first().map(String::as_str), number(1), number(2)) {
        (Some("seeds"), Some(from), Some(count)) => seeds(from, count, options),
        (Some("seed"), Some(seed), None) => {
            let outcome = run(seed, Options { trace: true, ..options });
            outcome.trace.iter().for_each(|line| println!("{line}"));
            println!("{} messages, {} events", outcome.messages, outcome.events);
            ExitCode::from(u8::from(outcome.violation.is_some()))
        }
        _ => {
            println!("chaos (seeds FROM COUNT | seed N) [TAMPER] [panics] [cluster]");
            ExitCode::from(2)
        }
    }
}

fn seeds(from: u64, count: u64, options: Options) -> ExitCode {
    let (mut bad, mut messages, mut events, mut fallen, mut moved) = (0u64, 0, 0, 0, 0);
    for seed in from..from + count {
        match catch_unwind(AssertUnwindSafe(|| run(seed, options))) {
            Ok(outcome) => {
                messages += outcome.messages;
                events += outcome.events;
                fallen += outcome.fallen;
                moved += outcome.moved;
                if let Some(violation) = outcome.violation {
                    bad += 1;
                    println!("seed {seed}: {}: {}", violation.invariant, violation.what);
                }
            }
            Err(_) => {
                bad += 1;
                println!("seed {seed}: the engine panicked");
            }
        }
    }
    println!("{count} seeds, {bad} bad, {messages} messages, {events} events");
    println!("{fallen} shards panicked, {moved} moved");
    ExitCode::from(u8::from(bad > 0))
}
