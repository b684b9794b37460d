//! Limits of an edge node, each with its reason.

/// Bytes of one core's read buffer, the most that one wake-up takes from one socket. Two full TLS
/// records, so that one record that is cut anywhere still fits with what follows it; and a fair
/// share of a core for each socket.
pub const READ_BUFFER_BYTES: usize = 40 * 1024;

/// Bytes that may wait in front of a TLS connection for the rest of a record or of a handshake
/// message. The largest record is 16 KiB and 2 KiB of overhead (RFC 5246 §6.2.3); no honest
/// ClientHello comes near this.
pub const TLS_PENDING_BYTES_MAX: usize = 20 * 1024;

const _: () = assert!(TLS_PENDING_BYTES_MAX >= (16 + 2) * 1024 + 5);
const _: () = assert!(READ_BUFFER_BYTES >= TLS_PENDING_BYTES_MAX + (16 + 2) * 1024);

/// How long one key of the session tickets is used, in seconds. Six hours: a stolen node loses at
/// most two such spans.
pub const TICKET_KEY_LIFETIME_S: u64 = 6 * 60 * 60;

/// The longest ticket that is looked at. Ours are below 300 bytes; the rest is somebody's attempt.
pub const TICKET_BYTES_MAX: usize = 1024;

/// Bytes of a certificate chain or key file. A chain of four with RSA-4096 is below 16 KiB.
pub const PEM_FILE_BYTES_MAX: u64 = 256 * 1024;

/// Source addresses that are told apart besides those that have a connection: who came and went.
/// 40 bytes each; what comes beyond shares one account.
pub const SOURCES_SPARE: usize = 100_000;

/// How often source addresses at rest are forgotten where they fill the map, in microseconds. All
/// are looked at under one lock, so not for each connection.
pub const SOURCES_PURGE_US: u64 = 1_000_000;

/// Bytes of output that a connection may hold before it takes no more frames and reads no more
/// input (security cases 44 and 106). As much as an owner's window: a client that takes nothing
/// costs this much and what its inbox may hold.
pub const OUTPUT_PAUSE_BYTES: usize = 64 * 1024;

/// Bytes of frames that may wait for one connection. An owner may say all that it keeps for a
/// session at once, when the session is resumed; it ends a session that has more than its queue may
/// hold. Beyond twice that is a broken owner, and the connection ends rather than grow.
pub const INBOX_BYTES_MAX: usize = 2 * session::limits::SESSION_QUEUE_BYTES_MAX;

const _: () = assert!(INBOX_BYTES_MAX > OUTPUT_PAUSE_BYTES + 256 * 1024);

/// What a frame counts for besides its stanza.
pub const FRAME_BYTES: usize = 128;

/// Capacity that a core's shared buffers keep after a large turn.
pub const BUFFER_KEPT_BYTES: usize = 256 * 1024;

/// Rounds of mail, input and output that one connection may do before others have their turn.
pub const ROUNDS_PER_TURN: usize = 4;

/// Bytes of a node's stanzas that were sent to owners and are not confirmed. Beyond this, a
/// connection that has some itself is not read: its owner will wake it. So nobody starves, and
/// 100,000 sessions cannot fill the memory.
pub const IN_FLIGHT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How often the timers of a core turn, in microseconds. A deadline is late by this much at most.
pub const TICK_US: u64 = 250_000;

/// Lists of the timer wheel: two minutes of ticks; later deadlines look again when they come
/// around.
pub const WHEEL_LISTS: usize = 512;

/// How long a connection may take nothing of what waits for it, in microseconds, before it is lost.
pub const WRITE_STALL_US: u64 = 60_000_000;

/// How long an ended stream waits for its last bytes to be taken and for the client's end, in
/// microseconds. Closing at once would destroy what is under way where the client is still sending.
pub const LINGER_US: u64 = 3_000_000;

/// Bytes of a lingering client that are thrown away before it is cut.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;

/// How long after its last output a stream is told that it is quiet, in microseconds: it may ask
/// for acknowledgements.
pub const QUIET_US: u64 = 1_000_000;

/// Passwords that may wait for a CPU: at 5 ms each, half a second.
pub const DERIVATIONS_WAITING_MAX: usize = 100;

/// So many passwords that wait for a CPU make the node busy: new connections are let in only as far
/// as sessions may be resumed there. Below the limit, so that logins that have begun find room.
pub const DERIVATIONS_BUSY: usize = 75;

const _: () = assert!(DERIVATIONS_BUSY < DERIVATIONS_WAITING_MAX);

/// Questions of logins that wait for their owners, on a node: what one core answers in a second
/// (2,800 logins, three questions each). Clients wait longer than that; whoever comes beyond it
/// would wait so long that it gives up and comes again, and what was done for it is lost.
pub const LOGINS_MAX: u64 = 8192;

/// One of so many of these is for clients that have been here before: they have sessions to resume,
/// which costs less than a new one and ends what others wait for.
pub const RETURNING_SHARE: u64 = 4;

const _: () = assert!(LOGINS_MAX / RETURNING_SHARE > 0);

/// Connections without a session that a node always has room for, however few connections it may
/// have.
pub const ARRIVING_MIN: u64 = 256;

/// Connections in the kernel's queue of one listener.
pub const BACKLOG: i32 = 1024;

/// File descriptors that are not for clients: store, mesh, logs.
pub const RESERVED_FILES: u64 = 256;

/// TCP keep-alive: seconds of silence before the first probe, between probes, and how many. Below
/// the five minutes after which common NATs forget a connection.
pub const KEEPALIVE_S: u64 = 240;
/// See [`KEEPALIVE_S`].
pub const KEEPALIVE_INTERVAL_S: u64 = 30;
/// See [`KEEPALIVE_S`].
pub const KEEPALIVE_PROBES: u32 = 3;

/// How often the certificate files are looked at, in seconds.
pub const CERTIFICATE_POLL_S: u64 = 30;

/// How long an edge of a cluster knows a lost connection at most, in microseconds. As long as a
/// session may be resumed by any configuration; its owner says earlier when it is over.
pub const LOST_US: u64 = 600 * 1_000_000;

const _: () = assert!(LOST_US >= session::limits::RESUME_S as u64 * 1_000_000);

/// Lost connections that an edge of a cluster knows; of more, the oldest is forgotten. All that a
/// large edge has, when its network fails.
pub const LOST_MAX: usize = 100_000;

/// Bytes of what is kept for them. Most have a few hundred; some have a full queue.
pub const LOST_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What each counts for besides what it holds: its place in the table and its half of a session.
pub const LOST_BYTES_EACH: usize = 1024;

const _: () = assert!(LOST_MAX * LOST_BYTES_EACH < LOST_BYTES_MAX);
const _: () = assert!(
    LOST_BYTES_MAX
        > session::limits::SESSION_QUEUE_BYTES_MAX + session::limits::SESSION_WINDOW_BYTES
);

/// How often those whose time is over are forgotten, in microseconds.
pub const LOST_SWEEP_US: u64 = 5_000_000;
