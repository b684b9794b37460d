//! Limits of the ordered store, each with its reason. They are those of the smallest backend, so
//! that what one backend takes every backend takes.

/// Longest key, in bytes. FoundationDB refuses longer ones. Good keys are below 100 bytes.
pub const KEY_BYTES_MAX: usize = 10_000;

/// First byte that no key of a caller may begin with; it and everything above belong to the
/// backends (chunks of long values, the embedded store's own records, FoundationDB's system keys at
/// `FF`).
pub const KEY_RESERVED_FROM: u8 = 0xFE;

/// Longest value of a caller, in bytes. Nothing longer than a large avatar belongs into rows.
pub const VALUE_BYTES_MAX: usize = 1_048_576;

/// Values longer than this are split into rows of at most this many bytes, in backends that have to
/// split. FoundationDB's hard limit is 100,000; its advice is far below.
pub const CHUNK_BYTES_MAX: usize = 65_536;

/// FoundationDB's limit for one stored value, in bytes.
pub const ROW_BYTES_HARD: usize = 100_000;

/// FoundationDB's limit for one transaction, in bytes, keys of conflict ranges included.
pub const TRANSACTION_BYTES_HARD: usize = 10_000_000;

/// Largest batch, by [`Batch::bytes`](crate::Batch::bytes). Less than half of the transaction
/// limit, because a backend adds conflict ranges and chunk keys to what we count. Batches of 256
/// KiB and less are the ones that do well.
pub const BATCH_BYTES_MAX: usize = 4_000_000;

/// Added to the bytes of each check and mutation in the account of a batch: what a backend spends
/// on framing.
pub const ENTRY_BYTES_OVERHEAD: usize = 16;

/// Most reads in one call: a decision that needs more should ask for a range.
pub const READS_MAX: usize = 256;

/// Most rows that one range read returns, whatever it asks for.
pub const RANGE_ROWS_MAX: u32 = 10_000;

/// Most bytes (keys and values) that one range read returns, except that the first row always fits.
pub const RANGE_BYTES_MAX: u32 = 4_194_304;

/// Most rows that the range deletes of one batch may find: rows that are there before the batch,
/// one in two ranges counted twice. A backend without a cheap range delete writes one tombstone for
/// each. Every backend counts and refuses, also one that could do more; delete more in steps.
pub const DELETE_RANGE_ROWS_MAX: usize = 100_000;

const _: () = assert!(CHUNK_BYTES_MAX < ROW_BYTES_HARD);
const _: () = assert!(VALUE_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX * 2 < TRANSACTION_BYTES_HARD);
const _: () = assert!(VALUE_BYTES_MAX.div_ceil(CHUNK_BYTES_MAX) < u16::MAX as usize);
const _: () = assert!(RANGE_BYTES_MAX as usize > VALUE_BYTES_MAX + KEY_BYTES_MAX);
