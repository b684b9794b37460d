//! Who is not the owner of a shard any more says nothing for it, once its lease is over.

use peer::{Down, ShardId};
use session::limits::LEASE_US;

use super::{Checked, hold};
use crate::invariants::fence::Fence;
use crate::sim::queue::Proc;

/// A worker says something to a connection.
///
/// # Errors
/// If somebody else has owned the shard for longer than a lease.
pub fn speaks(fence: &Fence, worker: Proc, shard: ShardId, now: u64, frame: &Down) -> Checked {
    let says = !matches!(frame, Down::Snapshot { .. } | Down::Challenge { .. });
    let since = fence.replaced(worker, shard).filter(|_| says);
    hold(since.is_none_or(|since| now <= since + LEASE_US), "lease", || {
        format!("{worker:?} spoke for {shard:?} at {now}, which is not its own since {since:?}")
    })
}
