//! Which of two links between the same two nodes stays. Pure.

/// What is known of a link when it comes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// This node dialled it.
    pub(super) dialled: bool,
    /// The other node's process, from its hello.
    pub(super) boot: u64,
    /// How many links to this node the other node had lost when it said hello.
    pub(super) lost: u64,
}

/// Whether `new` takes the place of `old`, which this node has not lost. Both nodes come to the
/// same answer, in whatever order they see the two links.
pub(super) fn replaces(old: Claim, new: Claim, this_is_smaller: bool) -> bool {
    if new.boot != old.boot {
        return true; // The other process was started anew, so the old link is dead.
    }
    if new.lost != old.lost {
        return new.lost > old.lost; // The other node knows that the old link is dead.
    }
    if new.dialled == old.dialled {
        return true; // One side dials one after the other.
    }
    // Dialled at the same time from both sides: the one of the smaller name stays.
    new.dialled == this_is_smaller
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Claim = Claim { dialled: true, boot: 1, lost: 3 };
    const THEIRS: Claim = Claim { dialled: false, ..MINE };

    #[test]
    fn links_dialled_at_once_settle_on_the_same_one() {
        // The smaller node sees its own as `dialled`, the larger one as not.
        for (old, new) in [(MINE, THEIRS), (THEIRS, MINE)] {
            let small_keeps_small =
                if old.dialled { !replaces(old, new, true) } else { replaces(old, new, true) };
            let large_keeps_small =
                if old.dialled { replaces(old, new, false) } else { !replaces(old, new, false) };
            assert!(small_keeps_small && large_keeps_small);
        }
    }

    #[test]
    fn a_dead_link_is_replaced_whoever_dials() {
        for (old, new) in [(MINE, THEIRS), (THEIRS, MINE), (MINE, MINE)] {
            for smaller in [true, false] {
                assert!(replaces(old, Claim { boot: 2, ..new }, smaller), "restarted");
                assert!(replaces(old, Claim { lost: 4, ..new }, smaller), "lost");
                assert!(!replaces(Claim { lost: 4, ..old }, new, smaller), "late");
            }
        }
        assert!(replaces(THEIRS, THEIRS, true) && replaces(THEIRS, THEIRS, false));
    }
}
