//! Limits of a store on another node, each with its reason.

use std::time::Duration;

/// Reads of one client that are at the other node at a time.
pub const READS_UNDER_WAY_MAX: usize = 32;

/// Reads of one client that have no answer, those that wait for their call among them. Above it
/// reads are refused: whoever asks faster than is answered has to hear of it.
pub const READS_MAX: usize = 1_024;

/// Commits of one client that are at the other node at a time: enough that it finds a group to
/// commit together whenever its disk is ready.
pub const COMMITS_UNDER_WAY_MAX: usize = 32;

/// Commits of one client that have no answer, those that wait for their call among them. The engine
/// has one for each worker, and a few more while shards are claimed.
pub const COMMITS_MAX: usize = 256;

/// Bytes of these commits: as many as the embedded store lets wait.
pub const COMMIT_BYTES_MAX: usize = crate::embedded::limits::QUEUE_BYTES_MAX;

/// From a call of the store's verbs to its answer. Longer than a busy disk takes for its longest
/// group, and three times the lease of an owner, which by then does not act any more.
pub const WITHIN: Duration = Duration::from_secs(10);

/// Bytes of an answer: what one call of the mesh carries, without what the mesh adds. Only reads of
/// several ranges, or of many long values, can find more; they are refused.
pub const ANSWER_BYTES_MAX: usize = mesh::limits::CALL_BYTES_MAX - 1024;

/// Commits of one client that the serving store has not answered. Twice what a client has under way
/// on one link, for those of the link before.
pub const ASKER_COMMITS_MAX: usize = 2 * COMMITS_UNDER_WAY_MAX;

/// Clients whose numbers a server remembers: one for each member of the cluster, however often it
/// was started, as those that have nothing under way make room.
pub const ASKERS_MAX: usize = 1_024;

// A commit never waits for a stream that one behind it has taken, and other calls find some too.
const _: () = assert!(READS_UNDER_WAY_MAX + COMMITS_UNDER_WAY_MAX < mesh::limits::CALLS_MAX);
const _: () = assert!(READS_UNDER_WAY_MAX <= READS_MAX && COMMITS_UNDER_WAY_MAX <= COMMITS_MAX);
const _: () = assert!(kv::limits::BATCH_BYTES_MAX < COMMIT_BYTES_MAX);
const _: () = assert!(COMMIT_BYTES_MAX < u32::MAX as usize);
// One range read always has an answer.
const _: () = assert!(2 * peer::limits::STORE_PART_BYTES < ANSWER_BYTES_MAX);
const _: () = assert!(peer::limits::FRAME_BYTES_MAX < mesh::limits::CALL_BYTES_MAX);
const _: () = assert!(ASKERS_MAX >= peer::limits::MEMBERS_MAX);
