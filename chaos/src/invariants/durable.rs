//! What is delivered is durable before, and a session is given its log in the order of the log,
//! each entry once.

use std::collections::BTreeSet;

use super::{Checked, hold};
use crate::ledger::Ledger;

/// What a session got from its account's log.
#[derive(Debug, Default)]
pub struct Live {
    last: u64,
    all: BTreeSet<u64>,
}

impl Live {
    /// It got an entry. `late`: with a stamp that says it has waited, which takes it out of the
    /// order.
    ///
    /// # Errors
    /// If it had it, or a later one.
    pub fn got(&mut self, log: u64, late: bool, number: usize) -> Checked {
        hold(self.all.insert(log), "durable", || {
            format!("m{number} (row {log}) was given to one session twice")
        })?;
        if !late {
            let last = std::mem::replace(&mut self.last, log);
            hold(last < log, "durable", || {
                format!("m{number} (row {log}) was given to a session after row {last}")
            })?;
        }
        Ok(())
    }
}

/// An owner hands a message out under an id of the account's archive.
///
/// # Errors
/// If the store does not hold it under this id at this moment.
pub fn released(ledger: &Ledger, account: usize, log: u64, number: usize) -> Checked {
    let row = ledger.logs[account].get(&log);
    hold(row.is_some_and(|row| row.message == number && !row.outgoing), "durable", || {
        format!("m{number} was handed out as row {log} of account {account}, which is {row:?}")
    })
}
