//! Links between nodes: QUIC with mutual TLS, and the cluster's own authority.
//!
//! - [`link`] moves framed bytes between two nodes and answers calls. It is the only place that
//!   names the QUIC library.
//! - [`authority`] and [`identity`] say who a node is.

pub mod authority;
pub mod backoff;
pub mod identity;
pub mod limits;
pub mod link;
mod octets;

pub use authority::{Authority, CertificateError, Credentials, NodeKey};
pub use identity::{ClusterId, Identity, NodeName, Role, Roles};
pub use link::{Class, Frame, Handler, Link, LinkError, Mesh, Refusal};

#[cfg(test)]
mod testing;
