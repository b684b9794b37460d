//! XEP-0297 (1.0): Stanza Forwarding. Nothing of the server's part is left out. Archive and carbons
//! write it with `xmpp::blocks::forward`; what clients forward is carried as it is.

use session::spec::Spec;

use crate::Stated;

/// What it is. A server announces what it forwards with (§4), not forwarding itself.
pub(crate) static FORWARD: Stated = Stated(Spec::new(297, "Stanza Forwarding", "1.0"));
