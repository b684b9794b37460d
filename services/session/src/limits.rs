//! Limits of the engine. Each has its reason; neighbours are held together by assertions.

/// Bytes of stanzas that a session may hold released and not yet taken by its client. Beyond it a
/// stored message is only a position in the log (design: "Sessions").
pub const SESSION_WINDOW_BYTES: usize = 64 * 1024;

/// Bytes that a session may hold in all, with what cannot be read again from the log (presence,
/// results). Beyond it the session is closed with `resource-constraint`.
pub const SESSION_QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the row in which an orderly stop stores a session: its queue, its presence, whom it
/// sent presence directly. Only a client that reads nothing for long, beside large presence or
/// hundreds of the longest addresses, comes near; such a session is not stored, which is logged,
/// and its client binds anew and takes what is in the log.
pub const SESSION_ROW_BYTES_MAX: usize = kv::limits::VALUE_BYTES_MAX;

/// What a stanza counts for in windows and queues besides what it takes on the wire: its place in
/// the queue and its own structure in memory. It bounds their number too: a queue holds no more
/// than about four thousand of the smallest.
pub const STANZA_BYTES_OVERHEAD: usize = 192;

/// Resources of one account at a time (RFC 6120 §7.6.2.1; XEP-0205 §2).
pub const RESOURCES_MAX: usize = 16;

/// How long a lost session waits to be resumed, in seconds (XEP-0198 §3 `max`).
pub const RESUME_S: u32 = 300;

/// How far back a retry is looked for in a log, in microseconds (design: "Retries").
pub const RETRY_HORIZON_US: u64 = 600 * 1_000_000;

/// How long after a failed resumption the stanzas of the new session are compared with those of the
/// old, in microseconds. A client resends at once.
pub const RESENT_US: u64 = 120 * 1_000_000;

/// Rows of a log's tail that are read at once to look for what may come again.
pub const TAIL_ROWS: u32 = 2000;

/// Rows of a log's tail that are read for what may come again: those of ten minutes, if no more
/// than 54 came in each second. What is sent again and is further back may be stored twice.
pub const TAIL_MAX: usize = 32_768;

/// Rows of a log's tail that are known in memory, some 100 bytes each, while something may come
/// again. When so many have been written, the tail is read anew.
pub const RECENT_MAX: usize = 65_536;

const _: () = assert!(TAIL_MAX + TAIL_ROWS as usize <= RECENT_MAX);

/// Events that wait for one account's rows. The edge's credit bounds them already; this bounds a
/// fault.
pub const WAITING_MAX: usize = 4096;

/// Bytes of events that wait for one account. Enough for the windows of its own sessions; others
/// get `internal-server-error` beyond it and try again.
pub const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rounds of `Again` that a module may ask for in one decision.
pub const ROUNDS_MAX: usize = 3;

/// Parts of a log of which an account knows all, between parts of which it does not: each owner
/// that dies while nobody reads leaves one. Of the oldest it is forgotten.
pub const SETTLED_MAX: usize = 8;

/// Rows of the log that one page of a catch-up reads.
pub const FEED_ROWS: u32 = 50;

/// Rows of a deleted account that one batch deletes, and bytes of their keys: well below what makes
/// a batch full.
pub const DELETE_PAGE_ROWS: u32 = 1000;
/// See [`DELETE_PAGE_ROWS`].
pub const DELETE_PAGE_BYTES: u32 = 64 * 1024;

/// Messages that an account without a resource keeps in memory as not yet taken; the rest is only
/// in the log.
pub const OPEN_MAX: usize = 256;

/// How long a message that no archive keeps may go without a row, in microseconds (design: "One log
/// per account"): its sender waits so long for its `h`, and no longer.
pub const UNWRITTEN_US: u64 = 200_000;

/// How often an account's cursor is written while it moves, in microseconds.
pub const CURSOR_US: u64 = 1_000_000;

/// How long an account without sessions stays in memory, in microseconds.
pub const ACCOUNT_IDLE_US: u64 = 120 * 1_000_000;

/// How long a shard remembers what it took from a shard that is silent, in microseconds: longer
/// than a dead link can keep a frame (its idle time-out is shorter).
pub const WINDOW_IDLE_US: u64 = 60 * 1_000_000;

/// Bytes of one shard's growing batch beyond which it takes no more work until the one in flight is
/// done.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// How long to wait before a batch that the store could not take is offered again, in microseconds.
pub const STORE_RETRY_US: u64 = 100_000;

/// Shards that a worker claims at a time: each is a commit of its own, and a store on another node
/// takes 256 at a time from all workers of one.
pub const CLAIMS_MAX: usize = 64;

/// How long a shard that panicked stays closed, in microseconds: twice as long each time, so that
/// what makes it panic again and again does not take the node's time.
pub const FALL_WAIT_US: u64 = 250_000;

/// The longest time that a shard which panicked stays closed, in microseconds.
pub const FALL_WAIT_MAX_US: u64 = 30 * 1_000_000;

/// After how much time without a panic earlier ones count no more, in microseconds.
pub const FALL_FORGOTTEN_US: u64 = 600 * 1_000_000;

/// Bytes of what waits in front of a shard: for its grant, its claim, a batch with room, the lease.
/// Beyond it, whoever comes again is refused: clients that log in, parcels, operators.
pub const BACKLOG_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of what waits for a shard to be granted or claimed, with what edges report of its
/// sessions, which is never refused: 64 KiB for each of a thousand. Beyond it the shard is given
/// back, to be granted anew.
pub const CLAIM_BYTES_MAX: usize = 64 * 1024 * 1024;

const _: () = assert!(BACKLOG_BYTES_MAX + 2 * SESSION_QUEUE_BYTES_MAX < CLAIM_BYTES_MAX);

/// The highest number of a stanza and the highest id of a row that an edge is believed: there is
/// room to count on.
pub const COUNT_MAX: u64 = u64::MAX / 2;

/// How long it is kept what an edge says that a session was given, in microseconds, before the
/// report that it belongs to: edges say both at once.
pub const KEPT_US: u64 = 60 * 1_000_000;

/// How often a worker of a cluster asks the store whether its shards are its own, in microseconds.
pub const LEASE_REFRESH_US: u64 = 1_000_000;

/// How long a worker takes itself for the owner of its shards after it asked, in microseconds:
/// beyond it, it delivers and accepts nothing. Below the time in which another owner is named.
pub const LEASE_US: u64 = 3_000_000;

const _: () = assert!(2 * LEASE_REFRESH_US < LEASE_US && STORE_RETRY_US < LEASE_REFRESH_US);

/// All fences are one page of a read.
const _: () = assert!((peer::SHARDS as u32) < kv::limits::RANGE_ROWS_MAX);

/// How long a shard that was granted waits for edges that do not say what sessions they have, in
/// microseconds: what depends on sessions waits too.
pub const REBUILD_US: u64 = 5_000_000;

/// Bytes that a shard keeps meanwhile; beyond it parcels are left to be sent again.
pub const REBUILD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Ids of messages that an edge remembers as taken, for each session: those of the second or so
/// that the owner's cursor is behind.
pub const RECENT_TAKEN_MAX: usize = 256;

/// Bytes of a page of a shard that moves, about: one session's queue may be more.
pub const PAGE_BYTES: usize = 256 * 1024;

/// Pages that are on their way at a time.
pub const PAGES_WINDOW: u32 = 8;

/// How long a shard is kept at rest that is to move, in microseconds, if control says nothing more.
pub const HAND_OVER_US: u64 = 10_000_000;

/// Bytes of pages that a worker keeps for shards that may be granted to it.
pub const HAND_OVER_BYTES_MAX: usize = 128 * 1024 * 1024;

const _: () = assert!(2 * SESSION_QUEUE_BYTES_MAX + PAGE_BYTES < peer::limits::FRAME_BYTES_MAX);

/// SCRAM iterations of accounts that do not exist: the same as of those that do (RFC 7677 §4 asks
/// for at least 4096).
pub const SCRAM_ITERATIONS: u32 = 10_000;

/// Bytes of the commit that a worker's shards share, about: a shard's batch that begins below it
/// still goes in (FoundationDB wants transactions well below a megabyte).
pub const GROUP_BYTES_MAX: usize = 256 * 1024;

const _: () = assert!(SESSION_WINDOW_BYTES < SESSION_QUEUE_BYTES_MAX);
const _: () = assert!(
    DELETE_PAGE_BYTES as usize + DELETE_PAGE_ROWS as usize * kv::limits::ENTRY_BYTES_OVERHEAD
        < BATCH_BYTES_MAX
);
const _: () = assert!(RESOURCES_MAX <= crate::delivery::Targets::CAPACITY);
const _: () = assert!(FALL_WAIT_US < FALL_WAIT_MAX_US && FALL_WAIT_MAX_US < FALL_FORGOTTEN_US);
const _: () = assert!(RESENT_US < RETRY_HORIZON_US);
const _: () = assert!((RESUME_S as u64) * 1_000_000 <= RETRY_HORIZON_US);
const _: () = assert!(SESSION_ROW_BYTES_MAX <= kv::limits::VALUE_BYTES_MAX);
/// A shard's batch is closed when it is full, so it holds one decision more at the most: a
/// session's row, or a few stanzas.
const _: () = assert!(
    GROUP_BYTES_MAX + BATCH_BYTES_MAX + 2 * SESSION_ROW_BYTES_MAX < kv::limits::BATCH_BYTES_MAX
);
