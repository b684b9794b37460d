//! XEP-0334 (1.0.0): Message Processing Hints. Nothing is left out. What they mean is decided in
//! `session::content`, because archive, offline storage and carbons all ask.

use session::spec::Spec;
use xmpp::ns;

use crate::Stated;

/// What it is.
pub(crate) static HINTS: Stated = Stated(Spec {
    domain_features: &[ns::HINTS],
    account_features: &[ns::HINTS],
    ..Spec::new(334, "Message Processing Hints", "1.0.0")
});
