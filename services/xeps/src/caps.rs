//! XEP-0115 (1.6.0): Entity Capabilities, answering: the stream's features carry the server's own
//! `<c/>` (`session::discover::caps`), and discovery answers its node. Left out: looking at what
//! clients can do, and the optimisation of presence (§8.4).

use session::spec::{Spec, Status};
use xmpp::ns;

use crate::Stated;

/// What it is.
pub(crate) static CAPS: Stated = Stated(Spec {
    status: Status::Partial,
    gaps: "the server does not look at what clients can do; presence is never thinned out (§8.4)",
    domain_features: &[ns::CAPS],
    ..Spec::new(115, "Entity Capabilities", "1.6.0")
});
