//! The addresses that can be listened on here.

use std::io::ErrorKind;
use std::net::SocketAddr;

use edge::Listen;
use edge::tls::Entry;
use tokio::net::TcpListener;
use tracing::warn;

use crate::config::Config;
use crate::exit::Failure;

/// Addresses that are free.
pub(super) struct Usable {
    /// For clients.
    pub(super) clients: Vec<Listen>,
    http: Vec<SocketAddr>,
}

/// Tries every address once, before anything is opened to clients.
///
/// # Errors
/// A sentence with the first address that cannot be had. IPv6 addresses on a machine without IPv6
/// are only warned about where the same list has another address: the defaults name both.
pub(super) fn usable(config: &Config) -> Result<Usable, Failure> {
    let lists = [
        ("listen.c2s", &config.listen.c2s),
        ("listen.c2s_tls", &config.listen.c2s_tls),
        ("listen.http", &config.listen.http),
    ];
    let [starttls, direct, http] = lists.map(|(name, list)| free(name, list));
    let with = |list: Vec<SocketAddr>, entry| {
        list.into_iter().map(move |address| Listen { address, entry })
    };
    let clients = with(starttls?, Entry::StartTls).chain(with(direct?, Entry::Direct)).collect();
    Ok(Usable { clients, http: http? })
}

fn free(name: &str, list: &[SocketAddr]) -> Result<Vec<SocketAddr>, Failure> {
    let mut free = Vec::new();
    for address in list {
        // The edge's sockets share their address among the cores, so a second server of the same
        // user could listen beside us unnoticed; a socket that does not share finds it.
        match std::net::TcpListener::bind(address) {
            Ok(_) => free.push(*address),
            Err(why) if address.is_ipv6() && list.len() > 1 && is_without_ipv6(&why) => {
                warn!(%address, %why, "this machine has no such address; {name} goes on without");
            }
            Err(why) => return Err(cannot(name, *address, &why)),
        }
    }
    Ok(free)
}

fn is_without_ipv6(why: &std::io::Error) -> bool {
    const NOT_SUPPORTED: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    why.kind() == ErrorKind::AddrNotAvailable || why.raw_os_error() == Some(NOT_SUPPORTED)
}

fn cannot(name: &str, address: SocketAddr, why: &std::io::Error) -> Failure {
    let hint = match why.kind() {
        ErrorKind::AddrInUse => "another program listens there",
        ErrorKind::AddrNotAvailable => "this machine does not have that address",
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege",
        _ => return Failure::new(format!("cannot listen on {address} ({name}): {why}")),
    };
    Failure::new(format!("cannot listen on {address} ({name}): {hint}"))
}

impl Usable {
    /// Listens for HTTP.
    ///
    /// # Errors
    /// A sentence with the first address that cannot be had.
    pub(super) async fn bind_http(&self) -> Result<Vec<TcpListener>, Failure> {
        let mut bound = Vec::new();
        for address in &self.http {
            if !address.ip().is_loopback() {
                warn!(%address, "metrics can be read from other machines, without a password");
            }
            let listener = TcpListener::bind(address).await;
            bound.push(listener.map_err(|why| cannot("listen.http", *address, &why))?);
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_named_with_its_key() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut config = Config::default();
        config.listen.c2s = vec!["127.0.0.1:0".parse().unwrap()];
        config.listen.c2s_tls = vec![address];
        config.listen.http = vec![];
        let Err(why) = usable(&config) else { panic!("{address} is taken") };
        let told =
            format!("cannot listen on {address} (listen.c2s_tls): another program listens there");
        assert_eq!(why.text, told);
    }

    #[test]
    fn a_second_server_on_the_same_addresses_is_noticed() {
        let listen = Listen { address: "127.0.0.1:0".parse().unwrap(), entry: Entry::StartTls };
        let ours = edge::Listeners::bind(&[listen], 2).unwrap();
        let address = ours[0].addresses()[0].address;
        assert!(free("listen.c2s", &[address]).is_err());
    }

    #[test]
    fn an_address_that_the_machine_lacks_may_be_left_out_beside_another() {
        let (absent, here): (SocketAddr, SocketAddr) =
            ("[2001:db8::1]:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap());
        assert_eq!(free("listen.c2s", &[absent, here]).unwrap(), [here]);
        assert!(free("listen.c2s", &[absent]).is_err());
        let absent: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let why = free("listen.c2s", &[absent, here]).unwrap_err();
        assert!(why.text.contains("does not have that address"), "{why}");
    }
}
