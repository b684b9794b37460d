//! In which order a server begins the commits of one client, and which of them have not ended.

use super::limits;
use std::collections::BTreeSet;

/// Whether a commit may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is the next one.
    Now,
    /// One before it has not come yet.
    Later,
    /// Its client has settled past it: it never begins.
    Gone,
    /// Too many have not ended.
    Full,
}

/// The commits of one client.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: u64,
    under_way: BTreeSet<u64>,
}

impl Turns {
    /// Whether the commit of this number may begin.
    pub(super) fn turn(&self, number: u64) -> Turn {
        match number.cmp(&self.next) {
            std::cmp::Ordering::Less => Turn::Gone,
            std::cmp::Ordering::Greater => Turn::Later,
            _ if self.under_way.len() >= limits::ASKER_COMMITS_MAX => Turn::Full,
            _ => Turn::Now,
        }
    }

    /// Begins the commit of this number, if it still may.
    pub(super) fn begin(&mut self, number: u64) -> Turn {
        let turn = self.turn(number);
        if turn == Turn::Now {
            self.under_way.insert(number);
            self.next += 1;
        }
        turn
    }

    /// The commit of this number has ended, whatever became of it.
    pub(super) fn end(&mut self, number: u64) {
        self.under_way.remove(&number);
    }

    /// Commits below `first` that have not begun never will. An older settling that comes late
    /// changes nothing.
    pub(super) fn settle(&mut self, first: u64) {
        self.next = self.next.max(first);
    }

    /// Whether all commits below `first` have ended.
    pub(super) fn is_settled(&self, first: u64) -> bool {
        self.next >= first && self.under_way.first().is_none_or(|number| *number >= first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_begin_in_their_order() {
        let mut turns = Turns::default();
        turns.settle(5);
        assert_eq!(turns.begin(6), Turn::Later);
        assert_eq!(turns.begin(5), Turn::Now);
        assert_eq!(turns.begin(5), Turn::Gone, "once");
        assert_eq!(turns.begin(6), Turn::Now);
        assert_eq!(turns.turn(7), Turn::Now);
    }

    #[test]
    fn what_is_settled_has_ended_or_never_begins() {
        let mut turns = Turns::default();
        assert_eq!((turns.begin(0), turns.begin(1)), (Turn::Now, Turn::Now));
        assert_eq!(turns.begin(3), Turn::Later, "2 is lost");
        turns.settle(3);
        assert_eq!(turns.turn(2), Turn::Gone);
        assert!(!turns.is_settled(3));
        assert_eq!(turns.begin(3), Turn::Now);
        turns.end(1);
        assert!(!turns.is_settled(3));
        turns.end(0);
        assert!(turns.is_settled(3), "3 is later");
        turns.settle(1);
        assert_eq!(turns.turn(4), Turn::Now, "an older settling comes late");
    }

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let mut turns = Turns::default();
        let most = limits::ASKER_COMMITS_MAX as u64;
        for number in 0..most {
            assert_eq!(turns.begin(number), Turn::Now);
        }
        assert_eq!(turns.begin(most), Turn::Full);
        turns.end(3);
        assert_eq!(turns.begin(most), Turn::Now);
        assert_eq!(turns.begin(most + 1), Turn::Full);
    }
}
