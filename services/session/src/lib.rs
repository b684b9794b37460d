//! The pure engine: shard, account, session, module trait, pipeline, and the edge's half of a
//! session.
//!
//! Everything here takes time and random bits as arguments and gives back what is to be done as
//! values, so that the simulation runs all of it. `worker` is the outermost part: the router drives
//! it. `attachment` is the edge's part.

pub mod account;
pub mod admin;
pub mod attachment;
mod auth;
pub mod config;
pub mod content;
mod deletion;
pub mod delivery;
pub mod discover;
mod hash;
pub mod keys;
pub mod limits;
pub mod module;
mod passing;
pub mod presence;
mod recent;
mod recover;
pub mod roster;
pub mod rows;
pub mod session;
pub mod shard;
mod snapshot;
pub mod spec;
mod stored;
pub mod subscription;
#[cfg(feature = "testing")]
pub mod testing;
mod turn;
pub mod worker;
