//! What the binary's own parts may take, and the range of what the configuration may set; each with
//! its reason.

use std::time::Duration;

/// Most worker threads: more than any machine has cores, so a larger number is a mistake.
pub const WORKERS_MAX: usize = 1024;

/// Range of `limits.login_time`: below a second no mobile client logs in, above ten minutes the
/// limit is none.
pub const LOGIN_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// Range of `limits.stanza_size`: RFC 6120 §13.12 forbids less than 10,000 bytes; 256 KiB is what
/// the edge has room for beside a session's window.
pub const STANZA_SIZE: (u32, u32) = (10 << 10, 256 << 10);

const _: () = assert!(
    edge::limits::INBOX_BYTES_MAX > edge::limits::OUTPUT_PAUSE_BYTES + STANZA_SIZE.1 as usize
);

/// Range of `limits.stanza_size_before_login`: a client certificate and a SASL token must fit.
pub const STANZA_SIZE_BEFORE_LOGIN: (u32, u32) = (4 << 10, 256 << 10);

/// Most clients of one account: each costs a copy of every message, and delivery tells no more of
/// them apart.
pub const RESOURCES_MAX: usize = 32;

const _: () = assert!(RESOURCES_MAX <= session::delivery::Targets::CAPACITY);

/// Range of `limits.resume_time`: above ten minutes retries could meet rows that were forgotten
/// (the retry horizon of the log).
pub const RESUME_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// Largest PEM file read: a chain of a dozen certificates is 30 KiB.
pub const PEM_BYTES_MAX: u64 = 1 << 20;

/// Longest password taken, in bytes, before its preparation; longer ones are a file piped in by
/// mistake.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Longest line of the admin protocol, in bytes.
pub const ADMIN_LINE_MAX: usize = 8 << 20;

/// A page of the engine's longest list: each address twice, for what JSON escapes, and its frame.
const _: () = assert!(
    session::admin::LIST_PAGE as usize * (2 * xmpp::jid::JID_BYTES_MAX + 64) < ADMIN_LINE_MAX,
    "a page of the longest addresses fits"
);

/// Admin connections at once: each is one command of a person or a script.
pub const ADMIN_CONNECTIONS_MAX: usize = 16;

/// How long an admin connection may take for a line.
pub const ADMIN_LINE_TIME: Duration = Duration::from_secs(10);

/// Largest head of an HTTP request, in bytes (security case 146).
pub const HTTP_HEAD_MAX: usize = 8 << 10;

/// HTTP connections at once: a few scrapers.
pub const HTTP_CONNECTIONS_MAX: usize = 32;

/// How long an HTTP client may take from connection to the end of its answer.
pub const HTTP_TIME: Duration = Duration::from_secs(10);

/// How long an orderly stop may take before the process ends anyway.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What of `DRAIN_TIME` is kept for storing the sessions, after the streams.
pub const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Longest path of a Unix socket (`sun_path` of Linux less its terminator, and some room).
pub const SOCKET_PATH_MAX: usize = 100;

/// Longest field of a log event, in bytes; the longest address fits.
pub const LOG_LINE_MAX: usize = 4096;

/// Log events that wait for a slow reader; beyond that they are lost, and counted.
pub const LOG_QUEUE: usize = 4096;

/// How long a command waits for its answer: deleting an account with a large archive takes time.
pub const ADMIN_ANSWER_TIME: Duration = Duration::from_mins(1);

/// Rounds of PBKDF2 in new verifiers: what the large servers ask of phones; about 10 ms of CPU for
/// all three hashes.
pub const SCRAM_ITERATIONS: u32 = 10_000;

/// How long is waited for another process that has the data open: a server that starts may replay
/// its journal, one that stops has `DRAIN_TIME`.
pub const LOCK_TIME: Duration = Duration::from_secs(15);

const _: () = assert!(LOCK_TIME.as_secs() > DRAIN_TIME.as_secs());

/// The port of the mesh, where none is named.
pub const MESH_PORT: u16 = 5270;

/// How long a join token is good.
pub const TOKEN_TIME: Duration = Duration::from_hours(24);

/// How long a node that joins waits for each address: the control plane may be electing.
pub const JOIN_TIME: Duration = Duration::from_secs(15);

/// How often a node that starts says so again while nobody in the control plane answers.
pub const START_RETRY: Duration = Duration::from_millis(250);

/// How often a member looks who is there, tells the others that it is, and, where it leads the
/// control plane, what is to be done.
pub const WATCH: Duration = Duration::from_millis(250);

const _: () = assert!(WATCH.as_micros() as u64 * 2 <= peer::limits::HEARTBEAT_US);

/// What other nodes say to this one that it has not heard yet: some seconds of a thousand members'
/// heartbeats.
pub const EVENTS_MAX: usize = 8192;

/// How long another node may take to do what an operator asks of an account that it owns.
pub const FORWARD_TIME: Duration = Duration::from_secs(10);

/// Requests of operators at other nodes that wait for this one.
pub const FORWARDED_MAX: usize = 256;

/// How often a node that stops looks whether the others have heard all.
pub const FLUSH_LOOK: Duration = Duration::from_millis(10);

/// Clients that a drained edge hands to others in a second, where the setting `drain-rate` of the
/// cluster says nothing else: each logs in again elsewhere, or resumes, in about half a
/// millisecond.
pub const HAND_OFF_RATE: u32 = 500;

/// How long a router that stops waits for its shards to move away with their memory.
pub const LEAVE_TIME: Duration = Duration::from_secs(30);

/// Ports that a demonstration chooses from: no service of note has them, and no system gives them
/// to outgoing connections.
pub const DEMO_PORTS: std::ops::Range<u16> = 20_000..30_000;

/// How often a demonstration looks at its processes.
pub const DEMO_LOOK: Duration = Duration::from_millis(200);

/// When a demonstration starts a node again that has ended: late enough to see what the others do
/// without it. A node that ends again soon waits a multiple of it.
pub const DEMO_RESTART: Duration = Duration::from_secs(5);

/// A node of a demonstration that ran for so long has started well.
pub const DEMO_STEADY: Duration = Duration::from_secs(10);

/// How often a demonstration says what it waits for.
pub const DEMO_TELL: Duration = Duration::from_secs(10);

/// How long nodes of a demonstration may take to stop, before they are killed.
pub const DEMO_STOP: Duration = Duration::from_secs(50);

const _: () = assert!(DEMO_STOP.as_secs() > DRAIN_TIME.as_secs() + LEAVE_TIME.as_secs());

/// How long a process may take to stop in order whose parent is gone: it may wait for others that
/// are gone too.
pub const ORPHAN_TIME: Duration = Duration::from_secs(15);

/// How long a core under load rests before it looks at its sockets, in microseconds. It delays
/// what comes to it by half of this on average, a hundredth of what a phone's network does.
pub const REST_US: u64 = 1_000;

/// A core whose waits for its sockets are shorter than this on average is under load, in
/// microseconds: it is woken more than a thousand times a second.
pub const SHORT_WAIT_US: u64 = 500;

const _: () = assert!(SHORT_WAIT_US < REST_US);
