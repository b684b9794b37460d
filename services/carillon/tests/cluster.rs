//! A cluster of real processes, under load, to which the faults of the list of promises happen.
//! Ledgers that clients keep are held against what is stored and what came: no acknowledged message
//! is lost, none is doubled in an archive, and each sender's stay in order.
//!
//! The tests take turns with one cluster; one that fails takes it along, and the next one makes its
//! own. Between nodes is a network that can be cut. What is not here: clocks that go wrong (F32),
//! for which a program's clock would have to be replaced; and two releases (F36), unless one is
//! named. `CARILLON_FULL=1` runs them at full length, `CARILLON_KEEP=FOLDER` keeps the logs where
//! something fails, `CARILLON_OTHER=PROGRAM` gives half of the nodes another release.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod cluster {
    pub(crate) mod client;
    pub(crate) mod faults;
    pub(crate) mod guard;
    pub(crate) mod ledger;
    pub(crate) mod load;
    pub(crate) mod net;
    pub(crate) mod nodes;
    pub(crate) mod wire;
}
