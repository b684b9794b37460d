//! Load on XMPP servers and what it costs there; the comparison of Carillon with its peers; and
//! the gate that holds instruction counts of the hot paths.

pub mod gate;

#[cfg(feature = "load")]
pub mod client;
#[cfg(feature = "load")]
pub mod cluster;
#[cfg(feature = "load")]
pub mod compare;
#[cfg(feature = "load")]
pub mod frames;
#[cfg(feature = "load")]
pub mod limits;
#[cfg(feature = "load")]
pub mod measure;
#[cfg(feature = "load")]
pub mod progress;
#[cfg(feature = "load")]
pub mod relay;
#[cfg(feature = "load")]
pub mod report;
#[cfg(feature = "load")]
pub mod run;
#[cfg(feature = "load")]
pub mod scenario;
#[cfg(feature = "load")]
pub mod server;
#[cfg(feature = "load")]
pub mod stop;
#[cfg(feature = "load")]
pub mod target;
#[cfg(feature = "load")]
pub mod template;

/// What stops a run: said to the person who started it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
