//! A run comes to its end: nothing answers itself for ever.

use super::{Checked, hold};

/// Events of one run, many times what the busiest of the known seeds has.
const EVENTS_MAX: u64 = 200_000;

/// So many events have happened.
///
/// # Errors
/// If that is more than a run can need.
pub fn ends(events: u64) -> Checked {
    hold(events <= EVENTS_MAX, "storm", || format!("{events} events, and no end"))
}
