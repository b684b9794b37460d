//! What nodes tell each other.
//!
//! Three kinds of frame, each a closed enum: [`Up`] from an edge to the owner of an account,
//! [`Down`] from that owner to one client connection of an edge, and [`Between`] from the owner of
//! one shard to the owner of another. Inside one process they are handed over as they are; between
//! processes they travel in a [`Frame`], which [`codec`] turns into bytes.

pub mod between;
pub mod call;
pub mod codec;
pub mod control;
pub mod credit;
pub mod down;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod link;
pub mod moving;
pub mod node;
pub mod report;
pub mod shard;
pub mod up;

pub use between::{Ack, Between, Parcel, Pass, Retried};
pub use down::{AuthRefusal, BindRefusal, Down, ResumeRefusal};
pub use frame::{Epochs, Frame, NodeSaid, Owner, Place};
pub use ids::{ConnId, Epoch, IngestKey, NodeId, SessionId};
pub use link::{Downlink, Uplink};
pub use report::{Complete, Page, Report};
pub use shard::{SHARDS, ShardId, shard_of};
pub use up::Up;
