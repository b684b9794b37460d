//! The count of handled stanzas never goes back within a session, never skips, and never covers
//! what was not sent; the same holds of what the client is given.

use super::{Checked, hold};

/// A session's stanzas up to `handled` were acknowledged; before it was `known`, and `sent` were
/// sent.
///
/// # Errors
/// If it goes back or too far.
pub fn handled(known: u64, handled: u64, sent: u64) -> Checked {
    hold(handled > known, "prefix", || format!("handled {handled} after {known}"))?;
    hold(handled <= sent, "prefix", || format!("handled {handled} of {sent} sent"))
}

/// A session was resumed.
///
/// # Errors
/// If the counts of either side went back or too far.
pub fn resumed(known: u64, handled: u64, sent: u64, received: u64, taken: u64) -> Checked {
    hold(handled >= known, "prefix", || format!("resumed with {handled}, after {known}"))?;
    hold(handled <= sent, "prefix", || format!("resumed with {handled} of {sent} sent"))?;
    hold(taken == received, "prefix", || {
        format!("resumed from {taken}, and the client has {received}")
    })
}

/// A session could not be resumed, and this much of it was handled.
///
/// # Errors
/// If that is more than was sent.
pub fn lost(handled: u64, sent: u64) -> Checked {
    hold(handled <= sent, "prefix", || format!("lost with {handled} of {sent} sent"))
}

/// A stanza was given to the client under a number.
///
/// # Errors
/// If it is not the next one.
pub fn given(received: u64, number: u64) -> Checked {
    hold(number == received + 1, "prefix", || format!("stanza {number} came after {received}"))
}
