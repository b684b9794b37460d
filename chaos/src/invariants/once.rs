//! Each message is in each log once, however often it was sent; and a row stays what it was.

use super::{Checked, hold};
use crate::ledger::{Ledger, Row};

/// A row is new in an account's log.
///
/// # Errors
/// If the message was there, or in a log that is not its own.
pub fn row(ledger: &Ledger, account: usize, id: u64, row: &Row) -> Checked {
    let number = row.message;
    let Some(message) = ledger.messages.get(number) else {
        return hold(false, "once", || format!("m{number} was never sent"));
    };
    let (own, rows) = if row.outgoing {
        (message.from, &message.sent_rows)
    } else {
        (message.to, &message.kept_rows)
    };
    hold(own == account, "once", || format!("m{number} is in the log of account {account}"))?;
    hold(rows.is_empty(), "once", || {
        let way = if row.outgoing { "sender" } else { "recipient" };
        format!("m{number} is twice in the log of its {way}: at {rows:?} and {id}")
    })
}

/// A row is written again.
///
/// # Errors
/// If it is another one than before.
pub fn rewritten(same: bool, account: usize, id: u64, row: &Row) -> Checked {
    hold(same, "once", || {
        format!("row {id} of account {account} was written over with m{}", row.message)
    })
}
