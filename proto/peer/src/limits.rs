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

/// Bytes of rows, and what frames them, in one part of a remote store's answer. One range read may
/// need all of it.
pub const STORE_PART_BYTES: usize = 4 * 1024 * 1024 + 512 * 1024;

/// Deltas of the map that a control node keeps for those that follow it. Under 100 a second, it is
/// a minute at least; who is further behind takes the map.
pub const FEED_DELTAS_MAX: usize = 8192;

/// Changes in all of these deltas: eight times the shards, some megabytes.
pub const FEED_CHANGES_MAX: usize = 32 * 1024;

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
    // Two lengths for each row that a range read found, and the key where it goes on.
    let lengths = 10 * kv::limits::RANGE_ROWS_MAX as usize + kv::limits::KEY_BYTES_MAX;
    assert!(kv::limits::RANGE_BYTES_MAX as usize + lengths + 1024 < STORE_PART_BYTES);
    assert!(STORE_PART_BYTES + 64 * 1024 < FRAME_BYTES_MAX);
    // The largest stanza that is read, with what was added to it.
    assert!(xmpp::limits::ReadLimits::OWN.element_bytes as usize * 2 < FRAME_BYTES_MAX);
};

/// Members of a cluster, those that are down counted.
pub const MEMBERS_MAX: usize = 1024;

/// Join tokens that are neither used nor expired.
pub const TOKENS_MAX: usize = 1024;

/// Join tokens, those included that are used or expired: beyond it the oldest of these are
/// forgotten.
pub const TOKENS_KEPT_MAX: usize = 4 * TOKENS_MAX;

/// For how long a token is known after its time, in microseconds, so that who comes late is told
/// so.
pub const TOKEN_KEPT_US: u64 = 24 * 3_600_000_000;

/// Domains of a cluster.
pub const DOMAINS_MAX: usize = 8192;

/// Settings of a cluster.
pub const SETTINGS_MAX: usize = 512;

/// Bytes of the names that operators give: of a node, a zone, a setting.
pub const NAME_BYTES_MAX: usize = 63;

/// Bytes of a node's address: a name of DNS, a colon and a port, or an address literal.
pub const ADDRESS_BYTES_MAX: usize = 261;

/// Bytes of a domain. DNS allows 253; one that is not in DNS may be written otherwise.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Bytes of a setting's value.
pub const SETTING_BYTES_MAX: usize = 1024;

/// How far a node's clock may be off when it joins, in microseconds. Ids and order do not depend on
/// clocks, but time stamps that people see do.
pub const CLOCK_OFF_MAX_US: u64 = 30 * 1_000_000;

/// The highest epoch above which those of a cluster may begin: from there to the last one there are
/// more than a shard can ever move.
pub const FIRST_EPOCH_MAX: u64 = u64::MAX / 2;

/// How old the store's word on an owner may be, in microseconds: after that it delivers and accepts
/// nothing, and takes no shard (design: "Ownership").
pub const LEASE_US: u64 = 3_000_000;

/// How long a router's lease may stay lost before it gives its shards to those that the store still
/// answers, in microseconds: a store that is away for all moves nothing, one that is away for one
/// router alone does.
pub const LEASE_LOST_US: u64 = 10_000_000;

/// How long shards that nobody has wait for further routers, in microseconds: nodes of a cluster
/// are started within a moment of each other, and what is granted too early must be moved.
pub const FREE_WAIT_US: u64 = 3_000_000;

/// How long a change of replicas may take before it is begun anew, in microseconds: above what one
/// call of the control plane waits.
pub const REPLICA_US: u64 = 10_000_000;

/// How many versions of the map a replica may be behind when it gets a vote: what changes within a
/// heartbeat, below a hundred a second.
pub const MAP_BEHIND_MAX: u64 = 64;

/// How often a node says that it is there, and looks who else is, in microseconds.
pub const HEARTBEAT_US: u64 = 500_000;

/// After how long a silence a node is suspected, in microseconds. A second without any frame moves
/// nothing.
pub const SUSPICION_US: u64 = 1_500_000;

/// For how long a suspicion counts that is not said again, in microseconds.
pub const VERDICT_US: u64 = 1_500_000;

const _: () = assert!(SUSPICION_US > 1_000_000 && SUSPICION_US >= 2 * HEARTBEAT_US);
const _: () = assert!(LEASE_LOST_US > LEASE_US + SUSPICION_US && REPLICA_US > HEARTBEAT_US);
// A heartbeat that is lost takes no lease away.
const _: () = assert!(LEASE_US > 2 * HEARTBEAT_US);
const _: () = assert!(VERDICT_US >= 2 * HEARTBEAT_US);

/// Shards that move at a time: 1% (design: "Hand-over").
pub const MOVING_MAX: usize = crate::SHARDS as usize / 100;

/// How long a hand-over may take, in microseconds, before its owner gives it up: longer than the
/// owner's worker waits for the next owner.
pub const MOVE_US: u64 = 12_000_000;

/// By how much the epoch of a frame from an edge may be above what its reader knows: edges may hear
/// of a change of owner first, but not of many.
pub const EPOCHS_AHEAD_MAX: u64 = 16;

/// How uneven shards may be before some are moved: a tenth of the mean, above or below.
pub const UNEVEN_TENTHS: usize = 1;

const _: () = {
    let member = 3 * NAME_BYTES_MAX + ADDRESS_BYTES_MAX + 128;
    let slot = 1 + 2 * 10 + 10;
    // A map is one frame, whatever is in it.
    assert!(
        MEMBERS_MAX * member
            + crate::SHARDS as usize * slot
            + DOMAINS_MAX * (DOMAIN_BYTES_MAX + 4)
            + SETTINGS_MAX * (NAME_BYTES_MAX + SETTING_BYTES_MAX + 8)
            + 1024
            <= FRAME_BYTES_MAX
    );
};
