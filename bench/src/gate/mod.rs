//! The gate: instruction counts of the hot paths, held against committed baselines. Counts, unlike
//! times, are nearly the same on every run and on a busy machine.

mod baseline;
mod callgrind;
mod case;
mod rig;

pub use baseline::{Baseline, Verdict};
pub use callgrind::count;
pub use case::{CASES, Case};
pub use rig::{CHAT, Rig, stanza};
