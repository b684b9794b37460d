//! Limits of the extensions, each with its reason.

/// Messages on a page of the archive that does not say how many (XEP-0313 §4.3.1: the server may
/// choose). What fits on a screen or two.
pub(crate) const PAGE_DEFAULT: u32 = 50;

/// Most messages on a page: bounds what one request costs, and is what clients ask for at most.
pub(crate) const PAGE_MAX: u32 = 100;

/// Bytes of messages on a page; the first one always fits. A page goes into the session's queue as
/// a whole, which holds a megabyte.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// Bytes that a session may have queued when it asks for another page.
pub(crate) const QUEUED_BYTES: usize = 512 * 1024;

/// Messages that one request may name. A call to the store has 256 reads.
pub(crate) const IDS_MAX: usize = 100;

/// Days that one round of a query by contact reads.
pub(crate) const DAYS_MAX: usize = 64;

/// Bytes that one round of a query reads, about.
pub(crate) const ROUND_BYTES: u32 = 1024 * 1024;

const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX);
const _: () = assert!(PAGE_BYTES + QUEUED_BYTES < session::limits::SESSION_QUEUE_BYTES_MAX);
const _: () = assert!(IDS_MAX + 4 <= kv::limits::READS_MAX && DAYS_MAX <= kv::limits::READS_MAX);
