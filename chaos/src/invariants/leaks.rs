//! When everybody has gone and the time to resume is over, nothing of them is left in memory.

use session::worker::Worker;

use super::{Checked, hold};

/// Nobody has been here for long.
///
/// # Errors
/// If a worker still holds something.
pub fn empty(worker: &Worker) -> Checked {
    for shard in worker.shards() {
        let id = shard.id();
        let sessions = shard.sessions();
        hold(sessions == 0, "leaks", || format!("{id:?} still has {sessions} sessions"))?;
        hold(shard.queue_bytes() == 0, "leaks", || format!("{id:?} still has queues"))?;
        hold(shard.is_settled(), "leaks", || format!("{id:?} is not settled"))?;
        let accounts = shard.accounts();
        hold(accounts == 0, "leaks", || format!("{id:?} still has {accounts} accounts"))?;
    }
    Ok(())
}
