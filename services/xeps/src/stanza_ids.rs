//! XEP-0359 (0.7.0): Unique and Stable Stanza IDs. Nothing of the server's part is left out. The
//! engine adds the id that a message has in the archive; here forged ones are taken out.

use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::Spec;
use xmpp::blocks::ids;
use xmpp::ns;

use crate::strip;

/// The module.
pub(crate) struct StanzaIds;

impl Module for StanzaIds {
    fn spec(&self) -> Spec {
        Spec {
            domain_features: &[ns::STANZA_ID],
            account_features: &[ns::STANZA_ID],
            ..Spec::new(359, "Unique and Stable Stanza IDs", "0.7.0")
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Outbound, Phase::Inbound]
    }

    /// §3 rule 2: an id by this account is only ever ours, whoever sends it and however often.
    fn decide(&self, _at: Phase, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        strip(event, out, |child| ids::is_stanza_id_by(child, &cx.account.jid));
        Verdict::Pass
    }
}
