//! Bounds on what one run may ask for: a slip of the finger never becomes an hour of load.

use std::time::Duration;

/// Worker processes of one run.
pub const WORKERS_MAX: usize = 64;

/// Sessions of one run, all workers together: a million is what a cluster is tested with.
pub const SESSIONS_MAX: usize = 1_000_000;

/// Measured time of one run, in seconds.
pub const SECONDS_MAX: u64 = 3600;

/// Messages a second in the open loop.
pub const RATE_MAX: u64 = 1_000_000;

/// How long all workers may be silent before the run is given up.
pub const SILENCE_MAX: Duration = Duration::from_mins(5);

/// How long one answer of the server may take while a session is being made.
pub const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);

/// The largest stanza that is taken from a server, in bytes.
pub const STANZA_MAX: usize = 1 << 20;

/// Sessions that one source address carries: ephemeral ports of one address are few.
pub const SESSIONS_PER_SOURCE: usize = 4000;

/// Descriptors that a worker keeps for itself (standard streams, epoll, timers).
pub const DESCRIPTORS_KEPT: u64 = 64;

/// Tickets of TLS sessions that a worker keeps.
pub const TICKETS_MAX: usize = 100_000;

/// How long a server may take to start, on a machine that does much else.
pub const SERVER_TIME_MAX: Duration = Duration::from_mins(2);

/// How long the others may take to own what a killed router had.
pub const LOSS_TIME_MAX: Duration = Duration::from_mins(1);

/// How often a node of a cluster is asked whether it is ready.
pub const JOIN_RETRY: Duration = Duration::from_millis(200);

/// How long it may take to write accounts that are prepared, and end.
pub const SEED_TIME_MAX: Duration = Duration::from_mins(8);

/// How long it may take to end in order.
pub const SERVER_END_MAX: Duration = Duration::from_secs(10);
