//! An edge hears no owner of whom it knows that there is a later one.

use peer::Epoch;

use super::{Checked, hold};
use crate::sim::queue::Proc;

/// A connection has heard an owner. `known`: the owner that its edge knows of.
///
/// # Errors
/// If that one is later.
pub fn heard(known: Option<&(Proc, Epoch)>, epoch: Epoch) -> Checked {
    hold(known.is_none_or(|(_, known)| *known <= epoch), "epochs", || {
        format!("an owner under {epoch:?} was heard, and {known:?} is known")
    })
}
