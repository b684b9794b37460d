//! Listening sockets: one per core and address, between which the kernel shares the connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use crate::limits::{BACKLOG, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES, KEEPALIVE_S, WRITE_STALL_US};
use crate::tls::Entry;

/// An address to listen on, and how clients that come there begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// With STARTTLS or with TLS from the first byte.
    pub entry: Entry,
}

/// The listening sockets of one core.
#[derive(Debug)]
pub struct Listeners {
    core: u16,
    sockets: Vec<(TcpListener, Entry)>,
}

impl Listeners {
    /// Binds every address once for each of `cores`.
    ///
    /// # Errors
    /// The first address that cannot be had; the text names it.
    pub fn bind(addresses: &[Listen], cores: u16) -> io::Result<Vec<Self>> {
        let none = |core| Self { core, sockets: Vec::new() };
        let mut all: Vec<Self> = (0..cores.max(1)).map(none).collect();
        for listen in addresses {
            let mut address = listen.address;
            for listeners in &mut all {
                let socket = listener(address)
                    .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
                // Port 0 is chosen once.
                address = socket.local_addr()?;
                listeners.sockets.push((socket, listen.entry));
            }
        }
        Ok(all)
    }

    /// The addresses, with the ports that were chosen.
    pub fn addresses(&self) -> Vec<Listen> {
        let address = |(socket, entry): &(TcpListener, Entry)| {
            Some(Listen { address: socket.local_addr().ok()?, entry: *entry })
        };
        self.sockets.iter().filter_map(address).collect()
    }

    /// The core that they are for, counted from zero.
    pub(crate) fn core(&self) -> u16 {
        self.core
    }

    pub(crate) fn into_sockets(self) -> Vec<(TcpListener, Entry)> {
        self.sockets
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that `[::]` and `0.0.0.0` can both be given.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Options of an accepted socket. A client that vanished is noticed by the kernel: by its probes
/// when nothing is said, and by what is not acknowledged when something is.
pub(crate) fn prepare(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(KEEPALIVE_S))
        .with_interval(Duration::from_secs(KEEPALIVE_INTERVAL_S))
        .with_retries(KEEPALIVE_PROBES);
    let options = SockRef::from(socket);
    options.set_tcp_keepalive(&keepalive)?;
    options.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(Duration::from_micros(WRITE_STALL_US)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_has_a_socket_on_the_same_address() {
        let listen =
            Listen { address: "127.0.0.1:0".parse().expect("an address"), entry: Entry::Direct };
        let cores = Listeners::bind(&[listen], 3).expect("bound");
        let addresses: Vec<_> = cores.iter().map(Listeners::addresses).collect();
        assert_eq!(addresses.len(), 3);
        assert_ne!(addresses[0][0].address.port(), 0);
        assert!(addresses.iter().all(|core| *core == addresses[0]));
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = taken.local_addr().expect("an address");
        let listen = Listen { address, entry: Entry::StartTls };
        let error = Listeners::bind(&[listen], 1).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
}
