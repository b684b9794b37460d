//! XEP-0059 (1.0): Result Set Management, as `xmpp::blocks::rsm` reads and writes it and the
//! archive uses it. Left out: pages by index (§2.6) and counts (§2.7), which would cost a read of
//! all.

use session::spec::{Spec, Status};
use xmpp::ns;

use crate::Stated;

/// What it is.
pub(crate) static RSM: Stated = Stated(Spec {
    status: Status::Partial,
    gaps: "pages by index and counts, which would cost a read of the whole set",
    account_features: &[ns::RSM],
    ..Spec::new(59, "Result Set Management", "1.0")
});
