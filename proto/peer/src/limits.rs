//! Limits of what nodes tell each other.

/// Bytes of stanzas that one shard may have unconfirmed at another shard; beyond it the source
/// refuses new work for that destination with `resource-constraint`. A quarter of what one commit
/// may carry, so that a window that is resent whole still fits one batch.
pub const WINDOW_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Frames that one shard may have unconfirmed at another: bounds the resend after a change of
/// owner.
pub const WINDOW_FRAMES_MAX: usize = 4096;

const _: () = assert!(WINDOW_BYTES_MAX <= 10_000_000 / 4);

/// Bytes of one frame between nodes, without its length. The largest are those of the remote store:
/// a whole batch, and what one range read found.
pub const FRAME_BYTES_MAX: usize = 5 * 1024 * 1024;

/// A frame of at least so many bytes is read into a buffer of its own, which what is kept of it may
/// share. Smaller ones come many to a buffer, and what is kept of them is copied.
pub const OWN_BUFFER_BYTES: usize = 64 * 1024;

/// Items of one list in a frame: as many as the largest batch has mutations. A list grows while it
/// is read, so this bounds what a lie about its length can cost.
pub const ITEMS_MAX: usize = 256 * 1024;

const _: () = {
    assert!(OWN_BUFFER_BYTES < FRAME_BYTES_MAX);
    // A batch's own account of its bytes holds more for each entry than its frame needs.
    assert!(kv::limits::BATCH_BYTES_MAX < FRAME_BYTES_MAX);
    assert!(kv::limits::BATCH_BYTES_MAX / kv::limits::ENTRY_BYTES_OVERHEAD <= ITEMS_MAX);
    // Two lengths for each row that a range read found.
    let lengths = 8 * kv::limits::RANGE_ROWS_MAX as usize;
    assert!(kv::limits::RANGE_BYTES_MAX as usize + lengths < FRAME_BYTES_MAX - 64 * 1024);
    // The largest stanza that is read, with what was added to it.
    assert!(xmpp::limits::ReadLimits::OWN.element_bytes as usize * 2 < FRAME_BYTES_MAX);
};
