//! Nothing is delivered to somebody else, and nobody speaks for somebody else.

use xmpp::stanza::Stanza;

use super::{Checked, hold};
use crate::ledger::Ledger;

/// A client of `account` got a stanza that holds a message.
///
/// # Errors
/// If it is not for that account, or not from its sender.
pub fn delivered(ledger: &Ledger, account: usize, stanza: &Stanza, number: usize) -> Checked {
    let message = &ledger.messages[number];
    let own = &ledger.accounts[account].jid;
    let to = stanza.to.as_ref().is_none_or(|to| to.same_bare(own));
    hold(message.to == account && to, "addressee", || {
        format!("m{number} is for account {} and was given to {account}", message.to)
    })?;
    let from = &ledger.accounts[message.from].jid;
    let true_from = stanza.from.as_ref().is_some_and(|of| of.same_bare(from));
    hold(true_from, "addressee", || format!("m{number} came from {:?}", stanza.from))
}
