//! Deliberate defects. The simulator makes them, outside of the engine, to show that the invariants
//! would find an engine that had them.

/// One defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// The worker is told that a commit succeeded, and some commits are then lost.
    AckBeforeCommit,
    /// The worker is told that a commit succeeded before it is applied.
    ReleaseBeforeCommit,
    /// A commit of which it is not known what became of it counts as done.
    UnknownIsDone,
    /// The store does not look at fences.
    IgnoreFences,
    /// Parcels that are sent again are not marked as retries.
    ForgetRetry,
    /// Parcels carry the highest epoch instead of their source's.
    ForgetEpoch,
    /// What a session has not taken is not sent again when it resumes.
    LoseQueue,
    /// A new owner does not learn the clock of the one before.
    ForgetClock,
    /// An acknowledgement covers one stanza more.
    HandledTooHigh,
    /// The count of a resumed session goes back by one.
    HandledGoesBack,
    /// Some deliveries go to another connection.
    WrongConnection,
    /// Owners are not told that sockets are lost.
    ForgetLost,
    /// Parcels between workers are confirmed when they are sent.
    ConfirmAtOnce,
    /// In a cluster: the store says that it is still the owner to whoever asks.
    ServeWithoutLease,
    /// In a cluster: a new owner waits for no edge.
    LeaveRebuildEarly,
    /// In a cluster: edges hear owners that are none any more.
    AcceptOldEpoch,
    /// In a cluster: edges do not say what clients were given and have not taken.
    ForgetKept,
    /// In a cluster: edges do not send again what is not confirmed.
    ForgetUnconfirmed,
    /// In a cluster: edges do not mark what they send again.
    ForgetMark,
    /// In a cluster: edges keep what a session meant at first.
    StaleSnapshot,
    /// In a cluster: edges say that they have reported all before they do.
    CompleteTooEarly,
    /// In a cluster: edges do not say what clients have taken of late.
    ForgetTaken,
    /// In a cluster: control gives a shard to another owner under the same epoch.
    SameEpoch,
}

/// Those that only a cluster has, or has in its own way, and the invariants of which one must find
/// it.
pub const CLUSTER: &[(Tamper, &[&str])] = &[
    (Tamper::AckBeforeCommit, &["acknowledged", "durable"]),
    (Tamper::IgnoreFences, &["fence"]),
    (Tamper::LoseQueue, &["prefix", "arrives"]),
    (Tamper::ServeWithoutLease, &["lease"]),
    (Tamper::LeaveRebuildEarly, &["resumes", "once"]),
    (Tamper::AcceptOldEpoch, &["epochs"]),
    (Tamper::ForgetKept, &["prefix"]),
    (Tamper::ForgetUnconfirmed, &["arrives", "prefix", "once"]),
    (Tamper::ForgetMark, &["once"]),
    (Tamper::StaleSnapshot, &["presence", "arrives"]),
    (Tamper::CompleteTooEarly, &["resumes", "once"]),
    (Tamper::ForgetTaken, &["durable", "repeats"]),
    (Tamper::SameEpoch, &["fence", "arrives"]),
];

/// All of them, and the invariants of which one must find it.
pub const ALL: &[(Tamper, &[&str])] = &[
    (Tamper::AckBeforeCommit, &["acknowledged", "durable"]),
    (Tamper::ReleaseBeforeCommit, &["acknowledged", "durable"]),
    (Tamper::UnknownIsDone, &["acknowledged", "durable"]),
    (Tamper::IgnoreFences, &["fence"]),
    (Tamper::ForgetRetry, &["once"]),
    (Tamper::ForgetEpoch, &["once", "order", "arrives", "leaks", "storm"]),
    (Tamper::LoseQueue, &["prefix", "arrives"]),
    (Tamper::ForgetClock, &["once", "order"]),
    (Tamper::HandledTooHigh, &["acknowledged", "prefix"]),
    (Tamper::HandledGoesBack, &["prefix"]),
    (Tamper::WrongConnection, &["addressee", "prefix"]),
    (Tamper::ForgetLost, &["leaks"]),
    (Tamper::ConfirmAtOnce, &["acknowledged", "arrives"]),
];
