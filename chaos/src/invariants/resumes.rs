//! Whoever owns a shard, a session that was lost can be resumed as long as the edge is alive that
//! had it.

use super::{Checked, hold};
use crate::sim::plan::{Fault, Plan, SECOND};

/// A client's session is not known, so long after its socket was lost.
///
/// # Errors
/// If no edge has died in the run, and the time to resume is not over.
pub fn refused(plan: &Plan, cluster: bool, client: usize, waited_us: u64) -> Checked {
    let edges = [Fault::KillEdge, Fault::KillAll, Fault::KillBoth];
    let live = !plan.faults.iter().any(|fault| edges.contains(fault));
    // A client that takes nothing has so much in its queue that its session ends.
    let small = plan.bulk == 0;
    let early = waited_us < u64::from(plan.resume_s) * SECOND;
    hold(!(cluster && live && small && early), "resumes", || {
        format!("client {client} was not resumed after {waited_us} us")
    })
}
