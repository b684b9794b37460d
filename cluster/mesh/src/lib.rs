//! Links between nodes: QUIC with mutual TLS, the cluster's own authority, and the Raft replica of
//! the control plane.
//!
//! - [`link`] moves framed bytes between two nodes and answers calls. It is the only place that
//!   names the QUIC library.
//! - [`channel`] keeps frames for another process until it has taken them, whatever becomes of
//!   links.
//! - [`authority`] and [`identity`] say who a node is; [`join`] is how it comes to be one.
//! - [`raft`] keeps the control plane's log, votes and snapshots, and runs the state machine that
//!   it is given. It is the only place that names the Raft library.
//! - [`known`] says whom the map knows, for those who link and those who speak.
//! - [`plane`] gives it the state machine of `peer`, and [`frames`] puts the frames of `peer` on
//!   links.

pub mod authority;
pub mod backoff;
pub mod channel;
pub mod frames;
pub mod identity;
pub mod join;
pub mod known;
pub mod limits;
pub mod link;
mod octets;
pub mod plane;
pub mod raft;

pub use authority::{Authority, CertificateError, Credentials, NodeKey};
pub use channel::{ChannelError, Channels, Receiver};
pub use identity::{ClusterId, Identity, NodeName, Role, Roles};
pub use link::{Class, Frame, Handler, Judge, Link, LinkError, Mesh, Refusal};

#[cfg(test)]
mod testing;
