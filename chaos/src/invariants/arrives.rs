//! After healing, what a client goes on trying to send is acknowledged, and whatever is in the log
//! of an account with a client online has been given to one.

use super::{Checked, hold};
use crate::ledger::{Fate, Ledger};

/// All is healed and time has passed.
///
/// # Errors
/// If something has not arrived.
pub fn arrived(ledger: &Ledger) -> Checked {
    for (number, message) in ledger.messages.iter().enumerate() {
        hold(message.fate != Fate::Trying, "arrives", || {
            format!("m{number} of client {} was never acknowledged", message.client)
        })?;
        hold(message.kept_rows.is_empty() || !message.received.is_empty(), "arrives", || {
            format!("m{number} is in the log of account {} and was given to nobody", message.to)
        })?;
    }
    Ok(())
}

/// All is healed and time has passed; `waits` is a client that still waits for something.
///
/// # Errors
/// If there is one.
pub fn settled(waits: Option<usize>) -> Checked {
    hold(waits.is_none(), "arrives", || format!("client {waits:?} is not online and at rest"))
}

/// Whether [`arrived`] would hold.
pub fn is_done(ledger: &Ledger) -> bool {
    ledger.messages.iter().all(|message| {
        message.fate != Fate::Trying
            && (message.kept_rows.is_empty() || !message.received.is_empty())
    })
}
