//! The replica of the control plane: its log, votes and snapshots on disk, elections and
//! replication over links, and the handle through which the rest of the node uses it.
//!
//! All of the Raft library is behind this folder. What the control plane decides is not: a replica
//! runs whatever [`StateMachine`] it is given, and sees its commands as bytes.

mod control;
mod file;
mod folder;
mod follow;
mod machine;
mod network;
mod record;
mod replica;
mod serve;
mod store;
mod types;

#[cfg(test)]
mod suite;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use control::{ControlError, MemberChange, Standing, Status};
pub use folder::{OpenError, Starts};
pub use follow::Follower;
pub use machine::{Copied, StateMachine};
pub use network::{Calling, Carrier};
pub use replica::{Failure, Opening, Replica, Timing};
pub use types::Seat;
