//! The store of another node: a [`Client`] asks over the mesh, a [`Server`] there answers from the
//! store that it has. A test rig with one point of failure, for clusters without FoundationDB.
//!
//! **Order.** A server begins the commits of a client in the order in which the client was given
//! them, as every backend does: they carry numbers without a gap ([`numbers`], [`turns`]).
//!
//! **Unknown results.** The trait promises that a batch whose commit answered "unknown" is applied
//! by then or never, so that whoever looks for its `op_id` learns the truth. A client cannot know
//! what becomes of a batch when its link is gone, but it can keep the promise where it counts:
//! after such an answer, and on every new link, it *settles* before it sends anything else. The
//! server then forgets about commits that have not begun, and answers when those that had begun
//! have ended.

mod client;
pub mod limits;
mod numbers;
mod server;
mod turns;
mod wire;

pub use client::Client;
pub use server::Server;
