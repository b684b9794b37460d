//! PLAIN (RFC 4616). The client sends its password; the stream then does what a SCRAM client would
//! do, so that verifiers never leave the owner of the account.

use xmpp::error::SaslCondition;
use xmpp::jid::Jid;
use xmpp::scram::{Hash, Secret};

use crate::sasl;

/// Which of an account's verifiers a password is held against: all accounts have this one.
pub(crate) const HASH: Hash = Hash::Sha256;

/// What a client says in PLAIN, checked as far as that is possible without the account.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// Bare JID.
    pub(crate) account: Jid,
    /// As the client sent it.
    pub(crate) password: Secret,
}

impl Credentials {
    /// Reads `[authzid] NUL authcid NUL passwd`.
    pub(crate) fn parse(message: &[u8], domain: &str) -> Result<Self, SaslCondition> {
        let malformed = SaslCondition::MalformedRequest;
        let text = std::str::from_utf8(message).map_err(|_| malformed)?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        if authcid.is_empty() || password.is_empty() {
            return Err(malformed);
        }
        let account = sasl::account(authcid, domain)?;
        sasl::check_authzid((!authzid.is_empty()).then_some(authzid), &account)?;
        Ok(Self { account, password: Secret::from(password) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_or_refused_cases_30_and_59() {
        let parse = |message: &[u8]| Credentials::parse(message, "a.example");
        let credentials = parse(b"\0juliet\0canary").unwrap();
        assert_eq!(credentials.account.as_str(), "juliet@a.example");
        assert_eq!(credentials.password.expose(), b"canary");
        assert!(!format!("{credentials:?}").contains("canary"));
        assert!(parse(b"juliet@a.example\0juliet\0canary").is_ok());

        use SaslCondition::{InvalidAuthzid, MalformedRequest, NotAuthorized};
        for (message, refusal) in [
            (&b""[..], MalformedRequest),
            (b"juliet", MalformedRequest),
            (b"\0juliet", MalformedRequest),
            (b"\0juliet\0", MalformedRequest),
            (b"\0\0pass", MalformedRequest),
            (b"\0juliet\0pass\0", MalformedRequest),
            (b"\0juliet\0\xff", MalformedRequest),
            (b"\0juliet@b.example\0pass", NotAuthorized),
            (b"romeo@a.example\0juliet\0pass", InvalidAuthzid),
            (b"juliet@b.example\0juliet\0pass", InvalidAuthzid),
            (b"juliet@a.example/x\0juliet\0pass", InvalidAuthzid),
            (b"juliet\0juliet\0pass", InvalidAuthzid),
        ] {
            let text = String::from_utf8_lossy(message);
            assert_eq!(parse(message).err(), Some(refusal), "{text:?}");
        }
    }
}
