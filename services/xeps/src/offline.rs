//! XEP-0160 (1.0.1): Best Practices for Handling Offline Messages. The log keeps them and the
//! engine delivers them; here what can not be kept is refused. Left out: a limit on how many are
//! kept.

use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::{Spec, Status};
use xmpp::error::{Condition, StanzaError};
use xmpp::ns;

/// The module.
pub(crate) struct Offline;

impl Module for Offline {
    fn spec(&self) -> Spec {
        Spec {
            status: Status::Partial,
            gaps: "there is no limit on how many messages are kept for an account",
            domain_features: &[ns::MSGOFFLINE],
            account_features: &[ns::MSGOFFLINE],
            ..Spec::new(160, "Best Practices for Handling Offline Messages", "1.0.1")
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Inbound]
    }

    /// §2 step 3: what nobody takes and what may not be kept goes back to its sender, if somebody
    /// said something in it. The rest (chat states) is of the moment, and the moment is over.
    fn decide(&self, _at: Phase, event: &Event, _cx: &Cx<'_>, _out: &mut Outcome) -> Verdict {
        let said = event.stanza.body.has_child("body", ns::CLIENT);
        if said && event.targets.is_empty() && !event.offline {
            return Verdict::Refuse(StanzaError::new(Condition::ServiceUnavailable));
        }
        Verdict::Pass
    }
}
