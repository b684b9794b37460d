//! The server under load: where it is, how one talks to it, and where its accounts come from.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// The server under load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Where it listens. Clients are spread over these in turn: the edges of a cluster.
    pub addresses: Vec<SocketAddr>,
    /// How the stream begins.
    pub transport: Transport,
    /// How clients log in.
    pub sasl: Sasl,
    /// The domain.
    pub domain: String,
    /// Localparts are this and a number.
    pub prefix: String,
    /// The password of all accounts.
    pub password: String,
    /// Whether clients use stream management (XEP-0198) in chats.
    pub sm: bool,
    /// Whether clients offer only X25519 and no post-quantum key exchange.
    pub classic: bool,
    /// Whether logins go on from TLS sessions of earlier ones.
    pub tickets: bool,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where accounts come from.
    pub accounts: Accounts,
    /// The server's processes, for figures from /proc; their children count too.
    pub pids: Vec<u32>,
}

/// How a client's stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// No TLS: only servers that were told to allow it.
    Plain,
    /// TLS after the first features.
    Starttls,
    /// TLS from the first byte (XEP-0368).
    Tls,
}

impl Transport {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Starttls => "starttls",
            Self::Tls => "tls",
        }
    }
}

/// The SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sasl {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-1: what all servers have.
    #[value(name = "scram-sha-1")]
    ScramSha1,
    /// SCRAM-SHA-256.
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// XMPP.
    Xmpp,
    /// Lines: `NAME` once, then `RECIPIENT STANZA`, as the bare relay of `limit` takes them.
    Lines,
}

/// Where accounts come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accounts {
    /// They are there.
    Exist,
    /// Each is registered by its client first (XEP-0077).
    Register,
    /// A shell command makes one, with `{user}`, `{domain}` and `{password}` filled in.
    Command(String),
    /// Carillon's administration socket; several, if there are several nodes: workers take them in
    /// turn.
    Admin(Vec<PathBuf>),
}

impl Target {
    /// Where the client of a number connects.
    #[must_use]
    pub fn address(&self, index: usize) -> SocketAddr {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        self.addresses.get(index % self.addresses.len().max(1)).copied().unwrap_or(any)
    }

    /// The localpart of an account.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        format!("{}{index}", self.prefix)
    }

    /// The bare JID of an account.
    #[must_use]
    pub fn jid(&self, index: usize) -> String {
        format!("{}{index}@{}", self.prefix, self.domain)
    }

    /// Refuses targets that are not this machine, unless `remote`: load is never sent elsewhere by
    /// mistake.
    ///
    /// # Errors
    /// If there is no address, or one is not loopback.
    pub fn check(&self, remote: bool) -> Result<(), Failure> {
        if self.addresses.is_empty() {
            return Err("no address to send load to".into());
        }
        let Some(other) = self.addresses.iter().find(|it| !it.ip().is_loopback() && !remote) else {
            return Ok(());
        };
        Err(format!(
            "{other} is not a loopback address: load is sent to this machine only, unless --remote \
             says that the other machine's owner agrees"
        )
        .into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn target(address: &str) -> Target {
        Target {
            addresses: vec![address.parse().unwrap()],
            transport: Transport::Plain,
            sasl: Sasl::ScramSha1,
            domain: "localhost".into(),
            prefix: "load".into(),
            password: "secret".into(),
            sm: false,
            classic: false,
            tickets: false,
            protocol: Protocol::Xmpp,
            accounts: Accounts::Exist,
            pids: Vec::new(),
        }
    }

    #[test]
    fn clients_are_spread_over_the_addresses() {
        let mut target = target("127.0.0.1:1");
        assert_eq!(target.address(7).port(), 1);
        target.addresses.push("127.0.0.1:2".parse().unwrap());
        let ports: Vec<u16> = (0..4).map(|index| target.address(index).port()).collect();
        assert_eq!(ports, [1, 2, 1, 2]);
        target.addresses.push("192.0.2.1:3".parse().unwrap());
        assert!(target.check(false).unwrap_err().to_string().contains("192.0.2.1"));
        target.addresses.clear();
        assert!(target.check(true).is_err());
    }

    #[test]
    fn other_machines_are_refused() {
        assert!(target("127.0.0.1:5222").check(false).is_ok());
        assert!(target("127.9.8.7:5222").check(false).is_ok());
        assert!(target("[::1]:5222").check(false).is_ok());
        for other in ["192.0.2.1:5222", "0.0.0.0:5222", "[2001:db8::1]:5222"] {
            let why = target(other).check(false).unwrap_err().to_string();
            assert!(why.contains("--remote"), "{why}");
            assert!(target(other).check(true).is_ok());
        }
    }
}
