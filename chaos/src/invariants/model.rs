//! What the archives hold in the end, against a model that knows only what clients sent and what
//! they were told: one list for each client and recipient, in the order of sending.

use std::collections::BTreeMap;

use kv::{MemTable, RangeRead, Reads};
use session::keys::tag;
use session::rows::LogRow;

use super::{Checked, Violation, hold};
use crate::ledger::{Fate, Ledger, number};

/// All is over and healed.
///
/// # Errors
/// If a log lacks what was acknowledged, has something twice, out of order, or that is not its own.
pub fn agrees(table: &MemTable, ledger: &Ledger) -> Checked {
    for account in 0..ledger.accounts.len() {
        for outgoing in [true, false] {
            let found = read(table, ledger, account, outgoing)?;
            let mut lists: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
            for message in found {
                let Some(sent) = ledger.messages.get(message) else {
                    return hold(false, "model", || format!("m{message} was never sent"));
                };
                lists.entry((sent.client, sent.to)).or_default().push(message);
            }
            for (number, message) in ledger.messages.iter().enumerate() {
                let own = if outgoing { message.from } else { message.to };
                let wanted = message.fate == Fate::Acknowledged && own == account;
                // What an account sends to itself has one row.
                let wanted = wanted && !(outgoing && message.from == message.to);
                let there = lists.get(&(message.client, message.to));
                let there = there.is_some_and(|list| list.contains(&number));
                hold(there || !wanted, "model", || {
                    format!("account {account} lacks m{number}, outgoing: {outgoing}")
                })?;
            }
            for list in lists.values() {
                let rises = list.windows(2).all(|pair| pair[0] < pair[1]);
                hold(rises, "model", || format!("account {account} has {list:?}"))?;
            }
        }
    }
    Ok(())
}

/// The messages of a log, oldest first.
fn read(
    table: &MemTable,
    ledger: &Ledger,
    account: usize,
    outgoing: bool,
) -> Result<Vec<usize>, Violation> {
    let (start, end) = ledger.accounts[account].entity.span(tag::LOG);
    let mut range = RangeRead::new(start, end);
    let mut all = Vec::new();
    loop {
        let Ok(rows) = table.read_now(&Reads::range(range.clone())) else { break };
        for row in rows.rows(0) {
            if let Ok(row) = LogRow::decode(&row.value)
                && row.outgoing == outgoing
                && let Some(message) = row.id.and_then(number)
            {
                all.push(message);
            }
        }
        match rows.more(0) {
            Some(more) => range = range.after(more.clone()),
            None => break,
        }
    }
    Ok(all)
}
