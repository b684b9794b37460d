//! Messages of one client to one recipient are archived in the order in which they were sent, and a
//! log only grows at its end.

use super::{Checked, hold};
use crate::ledger::{Ledger, Row};

/// A row is new in an account's log.
///
/// # Errors
/// If a row above it was there, or a later message of the same client to the same recipient.
pub fn row(ledger: &Ledger, account: usize, id: u64, row: &Row) -> Checked {
    let log = &ledger.logs[account];
    if let Some((last, _)) = log.last_key_value() {
        hold(*last < id, "order", || {
            format!("row {id} of account {account} was written below {last}")
        })?;
    }
    let message = &ledger.messages[row.message];
    // Numbers of messages grow with their sending.
    let before = log.values().rev().find(|other| {
        let of = &ledger.messages[other.message];
        other.outgoing == row.outgoing && of.client == message.client && of.to == message.to
    });
    let last = before.map(|other| other.message);
    hold(last.is_none_or(|last| last < row.message), "order", || {
        format!("m{} was archived after m{last:?} of the same client", row.message)
    })
}
