//! Simulation from a seed, fault injection, one file per invariant.
//!
//! One seed is one run of a small cluster in one thread, without a clock of its own: workers of the
//! engine, edges, clients, a store and the links between them. First everything fails that may
//! fail, and safety is checked after each step; then all is healed, and what was promised must come
//! true.
//!
//! A seed that finds something is printed, and run again with
//! `SEED=… cargo test -p chaos one_seed -- --nocapture`, which tells what happened.

pub mod invariants;
pub mod ledger;
pub mod sim;
