//! SASL (RFC 6120 §6): which mechanisms there are and what is offered, and the exchanges of each.

mod channel;
mod plain;
mod scram;

pub(crate) use channel::Secured;
pub(crate) use plain::{Credentials, HASH as PLAIN_HASH};
pub(crate) use scram::Opening;

use xmpp::error::SaslCondition;
use xmpp::jid::{self, Jid};
use xmpp::scram::Hash;

use crate::Config;

/// A way to authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: the password itself. Offered only inside TLS.
    Plain,
    /// RFC 5802 and 7677: proof of the password.
    Scram(Hash),
    /// The same, bound to the TLS session. Offered only where there is channel binding data.
    ScramPlus(Hash),
}

impl Mechanism {
    /// All of them, best first.
    pub const ALL: [Self; 7] = [
        Self::ScramPlus(Hash::Sha512),
        Self::ScramPlus(Hash::Sha256),
        Self::ScramPlus(Hash::Sha1),
        Self::Scram(Hash::Sha512),
        Self::Scram(Hash::Sha256),
        Self::Scram(Hash::Sha1),
        Self::Plain,
    ];

    /// The name by which it is registered.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(hash) => hash.mechanism(),
            Self::ScramPlus(hash) => hash.mechanism_plus(),
        }
    }

    /// The mechanism of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Whether it may be used on such a stream.
    fn fits(self, secured: &Secured) -> bool {
        match self {
            Self::Plain => secured.has_tls(),
            Self::Scram(_) => true,
            Self::ScramPlus(_) => secured.bindings().next().is_some(),
        }
    }
}

/// What is offered on such a stream, best first. Only these are accepted (security case 33).
pub(crate) fn offered<'a>(
    config: &'a Config,
    secured: &'a Secured,
) -> impl Iterator<Item = Mechanism> + 'a {
    config.mechanisms.iter().copied().filter(|mechanism| mechanism.fits(secured))
}

/// The channel bindings that are offered: none without a mechanism that uses them, so that `y` is
/// then no downgrade.
pub(crate) fn offered_bindings<'a>(
    config: &'a Config,
    secured: &'a Secured,
) -> impl Iterator<Item = (&'static str, &'a [u8])> {
    let plus = offered(config, secured).any(|m| matches!(m, Mechanism::ScramPlus(_)));
    secured.bindings().filter(move |_| plus)
}

/// The account that a client names in a mechanism, in the domain of its stream (security case 32).
///
/// # Errors
/// A name that cannot be an account is answered as an unknown one.
pub(crate) fn account(name: &str, domain: &str) -> Result<Jid, SaslCondition> {
    Jid::from_parts(Some(&jid::prepare_username(name)), domain, None)
        .map_err(|_| SaslCondition::NotAuthorized)
}

/// Checks the identity that a client wants to act as: its own account and nobody else's (RFC 6120
/// §6.3.8, security case 30).
pub(crate) fn check_authzid(authzid: Option<&str>, account: &Jid) -> Result<(), SaslCondition> {
    match authzid {
        None => Ok(()),
        Some(text) => match Jid::parse(text) {
            Ok(jid) if jid == *account => Ok(()),
            _ => Err(SaslCondition::InvalidAuthzid),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
        }
        for name in ["", "plain", "ANONYMOUS", "EXTERNAL", "DIGEST-MD5", "SCRAM-SHA-1-PLUS "] {
            assert_eq!(Mechanism::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn nobody_acts_as_somebody_else_case_30() {
        let account = account("juliet", "a.example").unwrap();
        assert_eq!(check_authzid(None, &account), Ok(()));
        assert_eq!(check_authzid(Some("Juliet@A.example"), &account), Ok(()));
        for other in [
            "",
            "juliet",
            "romeo@a.example",
            "juliet@b.example",
            "juliet@a.example/balcony",
            "a.example",
            "@a.example",
            "juliet@a.example/",
        ] {
            let wanted = Err(SaslCondition::InvalidAuthzid);
            assert_eq!(check_authzid(Some(other), &account), wanted, "{other}");
        }
    }

    #[test]
    fn a_name_stays_in_its_domain_case_32() {
        for name in ["romeo@b.example", "romeo/x", "", "a b", "romeo@"] {
            assert_eq!(account(name, "a.example"), Err(SaslCondition::NotAuthorized), "{name}");
        }
        assert_eq!(account("Romeo", "a.example").unwrap().as_str(), "romeo@a.example");
    }
}
