//! XEP-0203 (2.0): Delayed Delivery. Nothing of the server's part is left out. The engine stamps
//! messages that waited; here stamps are taken out that claim to be ours.

use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::Spec;
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::xml::Child;

use crate::strip;

/// The module.
pub(crate) struct Delay;

impl Module for Delay {
    fn spec(&self) -> Spec {
        Spec { domain_features: &[ns::DELAY], ..Spec::new(203, "Delayed Delivery", "2.0") }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Inbound]
    }

    fn decide(&self, _at: Phase, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        strip(event, out, |child| claims_ours(child, cx));
        Verdict::Pass
    }
}

/// Whether it is a stamp by this server: by one of its domains, or by the account that it is for
/// (§5: who did not delay a stanza must not say when).
fn claims_ours(child: Child<'_>, cx: &Cx<'_>) -> bool {
    if !child.is("delay", ns::DELAY) {
        return false;
    }
    let Some(Ok(from)) = child.attr("from").map(|from| Jid::parse(&from)) else { return false };
    from == cx.account.jid || (from.local().is_none() && cx.config.serves(&from))
}
