//! What a seed decides beforehand: which faults there are in its run, and how often. Runs with few
//! kinds of fault find what runs with all of them hide.

use super::rng::Rng;

/// One second of simulated time.
pub const SECOND: u64 = 1_000_000;

/// Something that goes wrong at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A link between an edge and a worker breaks, for a while.
    EdgeLink,
    /// The link between two workers breaks, for a while.
    WorkerLink,
    /// A worker is killed: its memory is gone.
    Kill,
    /// All workers and edges are killed at once, as one process is.
    KillAll,
    /// A worker stores its sessions and stops.
    Stop,
    /// A new worker takes over while the old one is there and does not know.
    TakeOver,
    /// An edge dies with all its sockets.
    KillEdge,
    /// All clocks jump forward.
    Jump,
    /// The store does not answer for a while.
    Outage,
    /// A router cannot reach the store for a while, and everybody else can.
    Away,
    /// A shard moves to another router with its memory.
    Move,
    /// A router and an edge die at once.
    KillBoth,
    /// The link between an edge and a router of a cluster stands still for a while, and loses
    /// nothing.
    Stall,
    /// A router of a cluster stores its sessions and stops.
    Halt,
    /// A shard panics in one of its next decisions. No seed draws it: [`super::Options::panics`]
    /// does.
    Panic,
}

const FAULTS: [Fault; 9] = [
    Fault::EdgeLink,
    Fault::WorkerLink,
    Fault::Kill,
    Fault::KillAll,
    Fault::Stop,
    Fault::TakeOver,
    Fault::KillEdge,
    Fault::Jump,
    Fault::Outage,
];

/// In a cluster, `Stop` is a process that stands still and goes on, `TakeOver` a shard that control
/// gives to another router.
const CLUSTER_FAULTS: [Fault; 14] = [
    Fault::Move,
    Fault::Move,
    Fault::WorkerLink,
    Fault::Kill,
    Fault::Kill,
    Fault::KillBoth,
    Fault::Stop,
    Fault::Stall,
    Fault::Halt,
    Fault::TakeOver,
    Fault::KillEdge,
    Fault::Jump,
    Fault::Outage,
    Fault::Away,
];

/// The circumstances of one run. Times in microseconds, rates of a thousand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long things go wrong.
    pub chaos_us: u64,
    /// Delay of a frame on a link.
    pub link_us: (u64, u64),
    /// Delay of a commit until it is applied, and again until it is answered.
    pub commit_us: (u64, u64),
    /// Delay of a read until it is made, and again until it is answered.
    pub read_us: (u64, u64),
    /// Commits that the store refuses.
    pub unavailable: u64,
    /// Commits of which it is not known what became of them.
    pub unknown: u64,
    /// Reads that fail.
    pub read_fails: u64,
    /// How far clocks of workers may differ.
    pub skew_us: u64,
    /// How far a clock may jump at once.
    pub jump_us: u64,
    /// The kinds of fault of this run.
    pub faults: Vec<Fault>,
    /// How often one happens, about.
    pub fault_every_us: u64,
    /// How often an online client does something, about.
    pub act_every_us: u64,
    /// Of a client's doings, how many are to lose its socket.
    pub drop_socket: u64,
    /// Of a client's doings, how many are to leave in order.
    pub leave: u64,
    /// Of a client's doings, how many are to acknowledge what it got.
    pub take: u64,
    /// How many clients use no stream management.
    pub unmanaged: u64,
    /// Whether accounts have more than one client.
    pub resources: u64,
    /// Bytes that are added to each message: with many, a session's window is soon full.
    pub bulk: usize,
    /// How long a lost session is kept, in seconds.
    pub resume_s: u32,
    /// How long a worker's mailbox gathers before it is emptied.
    pub wake_us: u64,
    /// How long it takes until somebody hears of what control decides.
    pub control_us: (u64, u64),
}

impl Plan {
    /// The plan of a seed.
    pub fn new(rng: &mut Rng, cluster: bool) -> Self {
        let density = rng.pick(&[150, 350, 700]).unwrap_or(350);
        let faults: &[Fault] = if cluster { &CLUSTER_FAULTS } else { &FAULTS };
        let faults = faults.iter().copied().filter(|_| rng.chance(density)).collect();
        let slow = rng.chance(300);
        let rough = rng.chance(500);
        Self {
            chaos_us: rng.within((6, 20)) * SECOND,
            link_us: rng.pick(&[(50, 500), (200, 5_000), (1_000, 80_000)]).unwrap_or((50, 500)),
            commit_us: if slow { (5_000, 300_000) } else { (200, 8_000) },
            read_us: if slow { (1_000, 150_000) } else { (50, 3_000) },
            unavailable: if rough { rng.below(80) } else { 0 },
            unknown: if rough { rng.below(80) } else { 0 },
            read_fails: if rough { rng.below(60) } else { 0 },
            skew_us: rng.pick(&[0, 5_000, 2 * SECOND, 90 * SECOND]).unwrap_or(0),
            jump_us: rng.pick(&[SECOND, 40 * SECOND, 1000 * SECOND]).unwrap_or(SECOND),
            faults,
            fault_every_us: rng.within((500_000, 4 * SECOND)),
            act_every_us: rng.within((100_000, 500_000)),
            drop_socket: rng.pick(&[0, 10, 60]).unwrap_or(0),
            leave: rng.pick(&[0, 10, 40]).unwrap_or(0),
            take: rng.pick(&[100, 300, 500]).unwrap_or(300),
            unmanaged: rng.pick(&[0, 0, 250]).unwrap_or(0),
            resources: rng.pick(&[0, 300, 800]).unwrap_or(0),
            bulk: rng.pick(&[0, 0, 0, 9_000]).unwrap_or(0),
            resume_s: rng.pick(&[5, 60, 300]).unwrap_or(300),
            wake_us: rng.pick(&[1, 200, 5_000]).unwrap_or(1),
            control_us: match cluster {
                true => {
                    rng.pick(&[(50, 500), (1_000, 50_000), (5_000, 1_500_000)]).unwrap_or((50, 500))
                }
                false => (0, 0),
            },
        }
    }
}
