//! A client that speaks raw XMPP: prepared bytes out, boundaries looked for in what comes back.

mod login;
mod register;
mod scram;
mod socket;
mod tls;

pub use login::{Client, Resumable};
pub use register::register;
pub use scram::KeyCache;
pub use socket::{Conn, Inbox, Outbox};
pub use tls::Tls;

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use crate::Failure;
use crate::limits::SESSIONS_PER_SOURCE;
use crate::target::Target;

/// What the clients of one worker share.
pub struct Shared {
    /// The server.
    pub target: Target,
    /// TLS settings and tickets.
    pub tls: Tls,
    /// Keys derived from the password.
    pub keys: KeyCache,
    /// The worker's number: the second part of its source addresses.
    pub worker: usize,
}

impl Shared {
    /// For one worker.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(target: Target, worker: usize) -> Result<Self, Failure> {
        let tls = Tls::new(&target)?;
        Ok(Self { target, tls, keys: KeyCache::default(), worker })
    }

    /// Opens a connection; `index` spreads them over source addresses.
    async fn tcp(&self, index: usize) -> Result<TcpStream, Failure> {
        let address = self.target.address(index);
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let IpAddr::V4(ip) = address.ip()
            && ip.is_loopback()
        {
            socket.bind(SocketAddr::new(source(self.worker, index), 0))?;
        }
        let stream = socket.connect(address).await.map_err(|why| format!("{address}: {why}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The address that a connection comes from: `127.WORKER.HIGH.LOW`.
fn source(worker: usize, index: usize) -> IpAddr {
    let block = index / SESSIONS_PER_SOURCE;
    let byte = |value: usize| u8::try_from(value % 250).unwrap_or_default() + 1;
    IpAddr::from([127, byte(worker), byte(block / 250), byte(block)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_loopback_and_differ() {
        assert_eq!(source(0, 0).to_string(), "127.1.1.1");
        assert_eq!(source(2, SESSIONS_PER_SOURCE).to_string(), "127.3.1.2");
        assert_ne!(source(1, 0), source(0, 0));
        assert!(source(63, 500_000).is_loopback());
    }
}
