//! XEP-0082 (1.1.1): XMPP Date and Time Profiles, as `xmpp::blocks::datetime` reads and writes
//! them. Left out: the profiles Date and Time, which nothing here speaks.

use session::spec::{Spec, Status};

use crate::Stated;

/// What it is.
pub(crate) static DATETIME: Stated = Stated(Spec {
    status: Status::Partial,
    gaps: "the profiles Date and Time, which nothing here speaks",
    ..Spec::new(82, "XMPP Date and Time Profiles", "1.1.1")
});
