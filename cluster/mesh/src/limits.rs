//! Limits of the mesh and of the control plane's replica.

use std::time::Duration;

/// Bytes of one frame: the codec's longest, and the head.
pub const FRAME_BYTES_MAX: usize = peer::limits::FRAME_BYTES_MAX + 16;

/// Lanes of one link and direction: one for each worker of the target, and the control lane.
pub const LANES_MAX: usize = 33;

/// Bytes of work that one lane may have on its way: queued, in flight, or not digested by the
/// worker at the other end.
pub const WORK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Frames of work that one lane may have on its way.
pub const WORK_FRAMES_MAX: usize = 8192;

/// Bytes of confirmations and results that one lane may have queued. They answer admitted work,
/// whose count is bounded; a link that has this much unsent is not read at the other end.
pub const RESERVED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Frames of confirmations and results that one lane may have queued: for all work that the
/// other side may have under way, a confirmation and three results.
pub const RESERVED_FRAMES_MAX: usize = 4 * WORK_FRAMES_MAX;

/// What a writer takes from its queue before it writes.
pub const BATCH_BYTES: usize = 64 * 1024;

/// Calls that one link may have open in each direction.
pub const CALLS_MAX: usize = 128;

/// Of these, calls between replicas: others cannot take the room that an election needs.
pub const RAFT_CALLS_MAX: usize = 32;

/// Addresses that are tried of those that one name stands for.
pub const ADDRESSES_MAX: usize = 4;

/// Bytes of one call's request or answer: a snapshot of the control plane is the largest.
pub const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Until when a call's request must have arrived.
pub const CALL_READ: Duration = Duration::from_secs(10);

/// Links that have not finished their handshake.
pub const HANDSHAKES_MAX: usize = 256;

/// From the first packet to both hellos.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// An idle link says so much more often than it is suspected.
pub const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// A node that has said nothing for so long is suspected.
pub const SUSPICION: Duration = Duration::from_millis(1500);

/// A link on which nothing arrived for so long is lost. Later than the suspicion, so that a blip
/// costs no link and those who decide on deaths still see it.
pub const LINK_SILENCE: Duration = Duration::from_millis(2500);

/// How often a link looks at what it has heard, and tells what it has digested.
pub const TICK: Duration = Duration::from_millis(250);

/// Bytes of one frame's body on a channel: the codec's longest.
pub const BODY_BYTES_MAX: usize = peer::limits::FRAME_BYTES_MAX;

/// Bytes that a channel keeps for one process until it has taken them. Four windows of the busiest
/// shards and all that is on its way on every lane fit; who has not taken so much is as good as
/// dead.
pub const CHANNEL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a kept frame counts beside its body, so that empty ones are bounded too.
pub const KEPT_FRAME_BYTES: usize = 64;

/// Processes with a channel: every member, and the one that a member was before.
pub const CHANNELS_MAX: usize = 2 * peer::limits::MEMBERS_MAX;

/// Frames that were taken and of which the sender was not told.
pub const TAKEN_FRAMES_UNTOLD: usize = 64;

/// Bytes of them.
pub const TAKEN_BYTES_UNTOLD: usize = 256 * 1024;

/// The sender is told of what was taken after so long at most.
pub const TAKEN_TELL: Duration = Duration::from_millis(100);

/// Bytes of a node's name.
pub const NODE_NAME_BYTES_MAX: usize = 63;

/// Bytes of a join request or its answer.
pub const JOIN_BYTES_MAX: usize = 64 * 1024;

/// How far the clocks of two nodes may be apart when one joins. Order and ids never depend on
/// clocks, times that people see do.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a node's certificate is valid.
pub const CERTIFICATE_VALID: Duration = Duration::from_secs(90 * 24 * 3600);

/// The certificate is renewed when this much of its time is left.
pub const CERTIFICATE_RENEW: Duration = Duration::from_secs(30 * 24 * 3600);

/// One record of the replica's log: the largest command, with its head.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One command of the control plane.
pub const COMMAND_BYTES_MAX: usize = 1024 * 1024;

/// Entries that one message to another replica carries, unless the first alone is longer.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The replica's log is written anew when this much of it, and three quarters, are gone.
pub const LOG_COMPACT_BYTES: usize = 1024 * 1024;

/// A snapshot of the control plane's state.
pub const SNAPSHOT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// How long the control plane is asked before the answer is that nobody leads: an election and
/// some more.
pub const CONTROL_WITHIN: Duration = Duration::from_secs(6);

/// Entries after which the replica stores the state.
pub const LOG_PER_SNAPSHOT: u64 = 1000;

/// Entries that are kept behind a snapshot, for replicas that lag a little.
pub const LOG_KEPT: u64 = 200;

/// How long a follower's question for news stays open when there are none.
pub const NEWS_WAIT: Duration = Duration::from_secs(10);

/// Operations on the log that wait for the disk.
pub const LOG_QUEUE_MAX: usize = 1024;

const _: () = assert!(FRAME_BYTES_MAX <= WORK_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(WORK_BYTES_MAX + BODY_BYTES_MAX <= CHANNEL_BYTES_MAX);
const _: () = assert!(TAKEN_BYTES_UNTOLD * 8 <= WORK_BYTES_MAX);
const _: () = assert!(WORK_BYTES_MAX <= RESERVED_BYTES_MAX);
const _: () = assert!(KEEP_ALIVE.as_millis() * 3 <= SUSPICION.as_millis());
const _: () = assert!(SUSPICION.as_millis() < LINK_SILENCE.as_millis());
const _: () = assert!(TICK.as_millis() * 2 <= KEEP_ALIVE.as_millis());
const _: () = assert!(RAFT_CALLS_MAX * 2 <= CALLS_MAX);
const _: () = assert!(COMMAND_BYTES_MAX * 2 <= RECORD_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX + 2 * COMMAND_BYTES_MAX <= CALL_BYTES_MAX);
const _: () = assert!(SNAPSHOT_BYTES_MAX + COMMAND_BYTES_MAX <= CALL_BYTES_MAX);
const _: () = assert!(CERTIFICATE_RENEW.as_secs() * 2 < CERTIFICATE_VALID.as_secs());
