//! The server under load: where it is, how one talks to it, and where its accounts come from.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// The server under load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
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
    /// The server's first process, for figures from /proc; its children count too.
    pub pid: Option<u32>,
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
    /// Carillon's administration socket.
    Admin(PathBuf),
}

impl Target {
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
    /// If the address is not loopback.
    pub fn check(&self, remote: bool) -> Result<(), Failure> {
        if remote || self.address.ip().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "{} is not a loopback address: load is sent to this machine only, unless --remote says \
             that the other machine's owner agrees",
            self.address
        )
        .into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn target(address: &str) -> Target {
        Target {
            address: address.parse().unwrap(),
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
            pid: None,
        }
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
