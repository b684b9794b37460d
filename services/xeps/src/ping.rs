//! XEP-0199 (2.0.1): XMPP Ping. Answered for the server and, to itself, for the account. Nothing is
//! left out; the server itself does not ping, for it has other ways to find a dead connection.

use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::Spec;
use xmpp::error::{Condition, StanzaError};
use xmpp::ns;
use xmpp::stanza::{IqType, Kind};

/// The module.
pub(crate) struct Ping;

impl Module for Ping {
    fn spec(&self) -> Spec {
        Spec {
            domain_features: &[ns::PING],
            account_features: &[ns::PING],
            iqs: &[ns::PING],
            ..Spec::new(199, "XMPP Ping", "2.0.1")
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Iq]
    }

    fn decide(&self, _at: Phase, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        if !matches!(event.stanza.kind, Kind::Iq(IqType::Get)) {
            return Verdict::Refuse(StanzaError::new(Condition::BadRequest));
        }
        // RFC 6120 §13.10.2: to others an account looks the same whether it exists or not.
        let to_account = event.stanza.to.as_ref().is_some_and(|to| to.local().is_some());
        if to_account && !cx.knows(event.stanza.from.as_ref()) {
            return Verdict::Pass;
        }
        out.reply(event.stanza.reply_result(""));
        Verdict::Done
    }
}
