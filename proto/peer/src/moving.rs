//! What the next owner of a shard answers to the [`Page`](crate::Page)s of the one that gives it
//! up.

/// From the receiver of a hand-over to the owner that gives the shard up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// All pages below this number are taken; so many may be on their way beyond it.
    Taken {
        /// The number of the next page.
        next: u32,
        /// Pages that may be sent before the next answer.
        window: u32,
    },
    /// The last page is taken, and the shard can be granted.
    Complete,
    /// The receiver takes nothing more of it; the owner goes on serving.
    Refused(HandOverRefusal),
}

/// Why a hand-over was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOverRefusal {
    /// The map does not say that the shard moves here.
    NotExpected,
    /// A page before this one is missing.
    Gap,
    /// A page cannot be read: another version, or damaged.
    Unreadable,
    /// There is no room for it, or the lease is not fresh.
    Full,
}
