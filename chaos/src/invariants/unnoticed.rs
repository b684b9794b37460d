//! A client with a socket notices nothing of a change of owner: its connection stays.

use xmpp::error::StreamCondition;

use super::{Checked, hold};

/// A connection is closed by an owner.
///
/// # Errors
/// If that is because owners have changed.
pub fn closed(cluster: bool, client: usize, condition: StreamCondition) -> Checked {
    let by_owner = matches!(condition, StreamCondition::Reset);
    hold(!cluster || !by_owner, "unnoticed", || {
        format!("client {client} was closed with {condition:?}")
    })
}
