//! The stream header (RFC 6120 §4.7): at the start, after TLS, after authentication.

use xmpp::error::StreamCondition;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::xml::StreamHeader;

use super::{Authenticated, Context, End, ExpectAuth, ExpectBind, ExpectStartTls, State, Step};
use crate::sasl::Secured;
use crate::{Transport, features};

/// Expects the client's stream header.
pub(super) struct ExpectHeader(pub(super) Stage);

/// How far the connection is, by what was proved on it.
pub(super) enum Stage {
    /// Nothing yet, and in the clear.
    Clear,
    /// TLS is there.
    Secured(Secured),
    /// The client has authenticated.
    Authenticated(Authenticated),
}

impl Stage {
    /// The stage at which a connection begins.
    pub(super) fn of(transport: Transport) -> Self {
        match transport {
            Transport::Plain => Self::Clear,
            Transport::Tls(info) => Self::Secured(Secured::by_tls(info)),
        }
    }
}

impl ExpectHeader {
    pub(super) fn handle_header(
        self,
        header: &StreamHeader,
        cx: &mut Context<'_>,
    ) -> Result<Step, End> {
        if header.content_ns != Some(ns::CLIENT) {
            return Err(StreamCondition::InvalidNamespace.into());
        }
        self.check_to(header, cx)?;
        let from = self.check_from(header, cx)?;
        if !speaks_xmpp_1(header.version.as_deref()) {
            return Err(StreamCondition::UnsupportedVersion.into());
        }
        cx.memory.open(cx.config, from.as_ref().map(Jid::as_str), cx.out);
        Ok(Step::Next(match self.0 {
            Stage::Clear => match Secured::by_configuration(cx.config) {
                Some(secured) => expect_auth(secured, cx),
                None => {
                    features::before_tls(cx.out);
                    State::StartTls(ExpectStartTls)
                }
            },
            Stage::Secured(secured) => expect_auth(secured, cx),
            Stage::Authenticated(authenticated) => {
                features::after_auth(cx.out, cx.config);
                State::Bind(ExpectBind(authenticated))
            }
        }))
    }

    /// The domain must be one of ours, and the same after each restart (security case 31).
    fn check_to(&self, header: &StreamHeader, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(to) = header.to.as_deref() else {
            return Err(StreamCondition::ImproperAddressing.into());
        };
        let to = Jid::parse(to).map_err(|_| StreamCondition::HostUnknown)?;
        match &cx.memory.domain {
            Some(before) if before == to.as_str() => Ok(()),
            Some(_) => Err(StreamCondition::NotAuthorized.into()),
            None if cx.config.serves(to.as_str()) => {
                cx.memory.domain = Some(to.as_str().to_owned());
                Ok(())
            }
            None => Err(StreamCondition::HostUnknown.into()),
        }
    }

    /// Who the client says it is: nobody else later, and at last the one who has authenticated (RFC
    /// 6120 §4.7.1).
    fn check_from(
        &self,
        header: &StreamHeader,
        cx: &mut Context<'_>,
    ) -> Result<Option<Jid>, StreamCondition> {
        let Some(from) = header.from.as_deref() else { return Ok(None) };
        let from = Jid::parse(from).map_err(|_| StreamCondition::InvalidFrom)?;
        let before = cx.memory.from.get_or_insert_with(|| from.clone());
        let changed = !before.same_bare(&from);
        let foreign = match &self.0 {
            Stage::Authenticated(who) => !who.account().same_bare(&from),
            _ => false,
        };
        if changed || foreign {
            return Err(StreamCondition::InvalidFrom);
        }
        Ok(Some(from))
    }
}

fn expect_auth(secured: Secured, cx: &mut Context<'_>) -> State {
    features::before_auth(cx.out, cx.config, &secured);
    State::Auth(ExpectAuth(secured))
}

/// Whether the version is 1.0 or later: `major.minor`, each a number (RFC 6120 §4.7.5).
fn speaks_xmpp_1(version: Option<&str>) -> bool {
    let Some((major, minor)) = version.and_then(|version| version.split_once('.')) else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    number(major) && number(minor) && major.bytes().any(|b| b != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for version in ["1.0", "1.1", "01.0", "2.0", "10.0", "1.00"] {
            assert!(speaks_xmpp_1(Some(version)), "{version}");
        }
        for version in ["0.9", "1", "", ".", "1.", ".0", "00.1", "1.0.0", "-1.0", "1.0 ", "x.0"] {
            assert!(!speaks_xmpp_1(Some(version)), "{version}");
        }
        assert!(!speaks_xmpp_1(None));
    }
}
