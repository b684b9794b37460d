//! What must hold, one file each.

pub mod acknowledged;
pub mod addressee;
pub mod arrives;
pub mod durable;
pub mod epochs;
pub mod fence;
pub mod leaks;
pub mod lease;
pub mod model;
pub mod once;
pub mod order;
pub mod prefix;
pub mod presence;
pub mod repeats;
pub mod resumes;
pub mod storm;
pub mod unnoticed;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: the name of its file.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// Whether an invariant holds.
pub type Checked = Result<(), Violation>;

/// Holds if `holds` is so.
///
/// # Errors
/// The violation otherwise.
pub fn hold(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}
