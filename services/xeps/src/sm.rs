//! XEP-0198 (1.6.3): Stream Management. Nothing of the server's part is left out; `location` is
//! never given, for any edge resumes any session. The stream negotiates it, the engine keeps the
//! sessions.

use session::spec::Spec;

use crate::Stated;

/// What it is. It is a feature of streams, not of an entity (§2), so discovery says nothing of it.
pub(crate) static SM: Stated = Stated(Spec::new(198, "Stream Management", "1.6.3"));
