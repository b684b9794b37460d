//! The shell of an owner node: it drives the workers, fetches rows, commits, and hands frames on.
//! It has no rule of the protocol.

mod driver;
mod identity;
mod mailbox;
mod metrics;
mod random;

pub use driver::{Outside, Router, WorkerDriver};
pub use identity::{Identity, IdentityError, identity};
pub use metrics::{COMMIT_BUCKETS_US, Metrics};
