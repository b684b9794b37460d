//! Limits of a roster. Each has its reason; neighbours are held together by assertions.

/// Entries of one roster: items, and tombstones of items removed within [`TOMBSTONE_US`]. A person
/// has hundreds of contacts; a roster of thousands is a gateway's or a bot's.
pub const ITEMS_MAX: usize = 4000;

/// Bytes of text of one roster: JIDs, names and groups. Together with the tags it fits what one
/// session may hold unsent.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// Bytes of an item's name: what a resourcepart may have (RFC 6121 §2.3.3 leaves it to the server).
pub const NAME_BYTES_MAX: usize = 1023;

/// Bytes of the name of a group.
pub const GROUP_BYTES_MAX: usize = 1023;

/// Groups of one item.
pub const GROUPS_MAX: usize = 32;

/// Subscription requests that one account keeps unanswered; what a flood of strangers can cost
/// (§3.1.3, security warning).
pub const REQUESTS_MAX: usize = 100;

/// Bytes of a subscription request that is kept whole; a longer one is kept without its content.
pub const REQUEST_BYTES_MAX: usize = 2048;

/// How long a removed item is remembered, in microseconds: a client that was away for longer gets
/// the whole roster.
pub const TOMBSTONE_US: u64 = 30 * 24 * 3600 * 1_000_000;

/// The most bytes that a row can have: a bare JID of two parts of 1023, and what stands above.
const ROW_BYTES_MAX: usize =
    2 * 1024 + NAME_BYTES_MAX + GROUPS_MAX * (GROUP_BYTES_MAX + 2) + REQUEST_BYTES_MAX + 64;

const _: () = assert!(ROW_BYTES_MAX <= kv::limits::VALUE_BYTES_MAX);
const _: () = assert!(TEXT_BYTES_MAX + REQUESTS_MAX * REQUEST_BYTES_MAX < u32::MAX as usize);
