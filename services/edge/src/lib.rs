//! The shell of an edge node: listeners, TLS, one task per socket. No rule of the protocol is in
//! it.
//!
//! ```text
//! socket ─ Link (TLS) ─ C2s (the stream) ─ Attachment (the session's half) ─ Uplink ─▶ owner
//!                                                                 task ◀─ inbox ─ Hub ◀─┘
//! ```
//!
//! Each core has its listeners, its timer wheel, its buffers and its connections; a connection is
//! one task and owns no buffer at rest.

mod admission;
mod berth;
mod buffers;
mod core;
mod derive;
mod driver;
mod edge;
mod handoff;
mod hub;
mod inbox;
pub mod limits;
mod link;
mod listen;
mod lost;
mod metrics;
mod owner;
mod post;
mod sources;
pub mod tls;
mod wheel;

pub use edge::{Config, Drain, Edge, Limits};
pub use hub::Hub;
pub use listen::{Listen, Listeners};
pub use metrics::{Counter, Gauge, Metrics};
pub use sources::SourceLimits;
