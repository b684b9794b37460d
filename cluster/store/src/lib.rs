//! The store's backends that need a disk or a network.
//!
//! [`Embedded`] keeps the rows in a directory of this machine. [`remote`] asks another node for
//! them. Each backend has a folder of its own, implements [`kv::Store`] and passes
//! [`kv::conformance`].

pub mod embedded;
mod oneshot;
pub mod remote;

pub use embedded::{Embedded, OpenError, Options};
