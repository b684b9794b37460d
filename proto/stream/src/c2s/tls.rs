//! STARTTLS (RFC 6120 §5).

use xmpp::error::{SaslCondition, StreamCondition};
use xmpp::ns;
use xmpp::xml::Element;

use super::{Context, End, Stage, State, Step, auth};
use crate::framing::put;
use crate::sasl::Secured;
use crate::{Output, TlsInfo};

/// Expects `<starttls/>` and takes nothing else (security cases 12, 54 and 57).
pub(super) struct ExpectStartTls;

/// Expects the end of the TLS handshake and no byte of the client.
pub(super) struct ExpectHandshake;

impl ExpectStartTls {
    pub(super) fn handle_element(
        self,
        element: &Element,
        cx: &mut Context<'_>,
    ) -> Result<Step, End> {
        if element.is("starttls", ns::TLS) {
            return Ok(proceed(cx));
        }
        if element.is("auth", ns::SASL) {
            // The password may be in the clear already; the client is told what it did wrong.
            auth::write_failure(cx.out, SaslCondition::EncryptionRequired);
            return Err(StreamCondition::PolicyViolation.into());
        }
        Err(StreamCondition::NotAuthorized.into())
    }
}

impl ExpectHandshake {
    pub(super) fn handle_tls(self, info: TlsInfo, cx: &mut Context<'_>) -> Result<Step, End> {
        cx.restart(Stage::Secured(Secured::by_tls(info)))
    }
}

/// The client may begin the handshake.
pub(super) fn proceed(cx: &mut Context<'_>) -> Step {
    put(cx.out, &["<proceed xmlns='", ns::TLS, "'/>"]);
    cx.outputs.push_back(Output::StartTls);
    Step::Next(State::Handshake(ExpectHandshake))
}
