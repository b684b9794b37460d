//! A client with a socket notices nothing of a change of owner: its connection stays.

use xmpp::error::StreamCondition;

use super::{Checked, hold};
use crate::sim::plan::Plan;

/// A connection is closed by an owner; `online`: that of a client that had logged in, and that
/// nobody has displaced.
///
/// # Errors
/// If its queue is not too long.
pub fn closed(
    plan: &Plan,
    cluster: bool,
    online: bool,
    client: usize,
    condition: StreamCondition,
) -> Checked {
    let full = condition == StreamCondition::ResourceConstraint && plan.bulk > 0;
    let noticed = online && !full || condition == StreamCondition::Reset;
    hold(!cluster || !noticed, "unnoticed", || {
        format!("client {client} was closed with {condition:?}")
    })
}
