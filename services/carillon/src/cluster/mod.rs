//! A node of a cluster: who it is, where frames go, what its control nodes decide.
//!
//! ```text
//! edge (Hub) ──▶ Switch ──▶ Router        in this process, as they are
//!                  │  ▲
//!                  ▼  │
//!               Channels ── links ── other nodes
//!
//! Watch: maps ──▶ Switch;  heartbeats, suspicions, moves ──▶ the control plane
//! ```

mod control;
mod folder;
mod member;
mod setup;
mod switch;
mod view;
mod watch;

pub(crate) use folder::Folder;
pub(crate) use member::{Asked, Inflow, Member};
pub(crate) use setup::{init, join, micros, now, token};
pub(crate) use switch::Switch;
pub(crate) use view::view;
pub use view::{ClusterView, MemberView};
pub(crate) use watch::{give_up, leave};
