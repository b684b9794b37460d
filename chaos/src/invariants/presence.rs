//! A session that lives through a change of owner, or is resumed, is as present as it was.

use session::session::Session;

use super::{Checked, hold};

/// A client is online, and its presence was acknowledged.
///
/// # Errors
/// If its owner does not know that it is there.
pub fn kept(client: usize, session: Option<&Session>) -> Checked {
    let presence = session.and_then(Session::available);
    let priority = if client % 3 == 1 { 2 } else { 0 };
    hold(presence.is_some_and(|presence| presence.priority == priority), "presence", || {
        let known = session.is_some();
        format!("client {client} is online; its owner knows the session: {known}")
    })
}
