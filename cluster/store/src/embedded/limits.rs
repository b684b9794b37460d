//! Limits of the embedded store, each with its reason.

use std::time::Duration;

/// Bytes of batches that one group commits together. Larger groups no longer save fsyncs that
/// matter, but make everybody in them wait for the copy.
pub const GROUP_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of batches that wait for the committer. Above it commits are refused: whoever writes
/// faster than the disk has to hear of it while there is still memory.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Calls that wait for a reader thread.
pub const READ_QUEUE_MAX: usize = 4_096;

/// Row reads that a caller's own thread does: a handful of look-ups costs less than handing them
/// over.
pub const INLINE_GETS_MAX: usize = 16;

/// Values of fence rows that the committer remembers, so that a commit need not look them up. A
/// cluster has 4,096 shards; an entry is a short key and a few bytes.
pub const FENCES_REMEMBERED_MAX: usize = 16_384;

/// Longest value of a fence row that is remembered, in bytes.
pub const FENCE_BYTES_MAX: usize = 256;

/// Groups of which the store keeps a record, to notice a hole among them. The records must reach
/// further back than what the engine may still have to replay from its journals (64 MiB); a group
/// of one message takes about 1 KiB.
pub const GUARD_SLOTS: u64 = 65_536;

/// The high-water mark is written at least this often while there are commits.
pub const HIGH_WATER_EVERY: Duration = Duration::from_secs(1);

/// And whenever this many bytes were committed since.
pub const HIGH_WATER_BYTES: u64 = 1024 * 1024;

/// Least memory for cached blocks, in bytes: below it every scan reads from the disk.
pub const CACHE_BYTES_MIN: u64 = 1024 * 1024;

const _: () = assert!(GROUP_BYTES_MAX < QUEUE_BYTES_MAX);
const _: () = assert!(kv::limits::BATCH_BYTES_MAX < QUEUE_BYTES_MAX);
const _: () = assert!(INLINE_GETS_MAX <= kv::limits::READS_MAX);
