//! Limits of what nodes tell each other.

/// Bytes of stanzas that one shard may have unconfirmed at another shard; beyond it the source
/// refuses new work for that destination with `resource-constraint`. A quarter of what one commit
/// may carry, so that a window that is resent whole still fits one batch.
pub const WINDOW_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Frames that one shard may have unconfirmed at another: bounds the resend after a change of
/// owner.
pub const WINDOW_FRAMES_MAX: usize = 4096;

const _: () = assert!(WINDOW_BYTES_MAX <= 10_000_000 / 4);
