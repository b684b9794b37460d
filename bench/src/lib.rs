//! Load on a running server, and what it costs there: CPU and memory of the server's process.

pub mod accounts;
pub mod chat;
pub mod client;
pub mod idle;
pub mod proc;

use std::path::PathBuf;

/// What stops a run: said to the person who started it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens, `ADDRESS:PORT`.
    pub address: std::net::SocketAddr,
    /// How the stream begins.
    pub transport: Transport,
    /// The domain.
    pub domain: String,
    /// Its process, for figures.
    pub pid: u32,
    /// Its data folder, for making accounts.
    pub data: PathBuf,
}

/// How a client's stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// No TLS: only servers that were told to allow it.
    Plain,
    /// TLS from the first byte (XEP-0368).
    Tls,
}

impl Target {
    /// Refuses targets that are not this machine: load is never sent elsewhere by mistake.
    ///
    /// # Errors
    /// If the address is not loopback.
    pub fn check(&self) -> Result<(), Failure> {
        if self.address.ip().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "{} is not a loopback address: load is only sent to this machine",
            self.address
        )
        .into())
    }
}
