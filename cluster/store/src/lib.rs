//! The store's backends that need a disk or a network.
//!
//! [`Embedded`] keeps the rows in a directory of this machine. Backends on other machines get a
//! folder of their own beside `embedded/`; each implements [`kv::Store`] and passes
//! [`kv::conformance`].

pub mod embedded;
mod oneshot;

pub use embedded::{Embedded, OpenError, Options};
