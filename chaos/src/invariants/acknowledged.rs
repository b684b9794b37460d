//! What was acknowledged is stored: in the log of the sender and in that of the recipient.

use super::{Checked, hold};
use crate::ledger::Ledger;

/// A message was acknowledged to its sender.
///
/// # Errors
/// If one of the two logs does not have it.
pub fn acknowledged(ledger: &Ledger, number: usize) -> Checked {
    let message = &ledger.messages[number];
    // What an account sends to itself has one row.
    let sent = !message.sent_rows.is_empty() || message.from == message.to;
    hold(sent, "acknowledged", || format!("m{number} is not in its sender's log"))?;
    let kept = !message.kept_rows.is_empty();
    hold(kept, "acknowledged", || format!("m{number} is not in its recipient's log"))
}
