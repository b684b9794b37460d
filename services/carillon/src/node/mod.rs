//! A node: the parts of a running server and how they hang together.

mod desk;
mod engine;
mod figures;
mod forward;
mod joined;
mod listen;
mod offline;
mod pace;
mod parts;
mod serve;
mod tls;

use std::sync::Arc;

use peer::NodeId;
use tracing::warn;
use xmpp::limits::ReadLimits;

pub use engine::Engine;
pub use figures::Figures;
pub use offline::Offline;
pub use serve::{Node, Start};

use crate::config::Config;
use crate::exit::Failure;
use parts::Parts;

/// The number of the only node of a cluster of one.
const ALONE: u32 = 1;

/// Which node this is, and what it has.
#[derive(Clone, Copy)]
struct Place {
    node: NodeId,
    is_clustered: bool,
    cores: u16,
}

/// The server's capabilities as a feature of streams (XEP-0115 §6.3): who knows them already need
/// not ask. They are those of an authenticated client's server, so nobody else is told.
fn caps((node, ver): &(String, String)) -> stream::Feature {
    let attributes = [("hash", "sha-1"), ("node", node), ("ver", ver)];
    let attributes = attributes.map(|(name, value)| (name, value.to_owned())).to_vec();
    stream::Feature { attributes, ..stream::Feature::new("c", xmpp::ns::CAPS) }
}

/// The part of the configuration that the edge cares for.
fn edge_config(
    config: &Config,
    parts: &Parts,
    place: Place,
    tls: Arc<edge::tls::Tls>,
) -> Result<edge::Config, Failure> {
    let limits = &config.limits;
    let mut stream = stream::Config::new(config.domains.clone());
    stream.require_tls = !config.listen.clear_text;
    stream.features.push(caps(&parts.caps));
    let before = limits.stanza_size_before_login;
    stream.before_auth = ReadLimits { element_bytes: before, ..stream.before_auth };
    stream.after_auth = ReadLimits { element_bytes: limits.stanza_size, ..stream.after_auth };
    let possible = edge::Limits::default();
    let connections_max = match limits.connections {
        0 => possible.connections_max,
        wanted if wanted > possible.connections_max => {
            let files = possible.connections_max;
            warn!(
                wanted,
                files, "the limit of open files leaves fewer connections than configured"
            );
            files
        }
        wanted => wanted,
    };
    Ok(edge::Config {
        node: place.node,
        cluster: place.is_clustered,
        cores: place.cores,
        hash_key: parts.hash,
        stream: Arc::new(stream),
        tls,
        limits: edge::Limits {
            connections_max,
            source: edge::SourceLimits {
                connections_max: limits.connections_per_source,
                rate: limits.connects_per_source_per_second,
                burst: limits.connects_per_source_at_once,
            },
            handshake_us: u64::try_from(limits.login_time.as_micros()).unwrap_or(u64::MAX),
            ..possible
        },
    })
}
