//! Whoever owns a shard, a session that was lost can be resumed as long as the edge is alive that
//! had it.

use super::{Checked, hold};
use crate::sim::plan::{Plan, SECOND};

/// A client's session is not known, so long after its socket was lost; `edges`: in a cluster, and
/// no edge has died since it was bound. Owners may have.
///
/// # Errors
/// If the time to resume is not over.
pub fn refused(plan: &Plan, edges: bool, client: usize, waited_us: u64) -> Checked {
    // A client that takes nothing has so much in its queue that its session ends.
    let small = plan.bulk == 0;
    let early = waited_us < u64::from(plan.resume_s) * SECOND;
    hold(!(edges && small && early), "resumes", || {
        format!("client {client} was not resumed after {waited_us} us")
    })
}
