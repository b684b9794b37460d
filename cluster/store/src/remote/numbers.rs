//! The numbers of a client's commits, and whether it has to settle before it asks.

/// Bits that count; the ones above tell clients of one process apart. A million million commits.
const COUNTER_BITS: u32 = 40;

/// Which client of a node a number belongs to.
pub(super) fn client_of(number: u64) -> u64 {
    number >> COUNTER_BITS
}

/// What a client knows of its commits. Not settled at first.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Of the next commit.
    next: u64,
    /// The link on which it was settled last.
    link: Option<u64>,
    /// Commits so far that the server may or may not have begun.
    lost: u64,
    /// How many of them are settled.
    settled: u64,
}

/// A settling that is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settling {
    /// Commits below this number that have not begun never will.
    pub(super) first: u64,
    link: u64,
    lost: u64,
}

impl Numbers {
    /// The numbers of a client with these random bits.
    pub(super) fn new(random: u64) -> Self {
        Self { next: random << COUNTER_BITS, link: None, lost: 0, settled: 0 }
    }

    /// Whether reads and commits may go over this link.
    pub(super) fn are_settled(&self, link: u64) -> bool {
        self.link == Some(link) && self.lost == self.settled
    }

    /// What has to be settled before anything goes over this link.
    pub(super) fn begin_settling(&self, link: u64) -> Option<Settling> {
        let Self { next: first, lost, .. } = *self;
        (!self.are_settled(link)).then_some(Settling { first, link, lost })
    }

    /// The server has said that this is settled. What was lost meanwhile is not.
    pub(super) fn handle_settled(&mut self, settling: Settling) {
        self.link = Some(settling.link);
        self.settled = self.settled.max(settling.lost);
    }

    /// The number of a commit that is sent now.
    pub(super) fn take(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// A commit with a number has no answer of the store: the server waits for it, has refused it,
    /// or has begun it.
    pub(super) fn handle_lost(&mut self) {
        self.lost += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_and_each_loss_is_settled_before_anything_else() {
        let mut numbers = Numbers::new(3);
        let settle = |numbers: &mut Numbers, link| {
            let settling = numbers.begin_settling(link).expect("it is to be settled");
            numbers.handle_settled(settling);
            settling.first
        };
        assert!(!numbers.are_settled(1));
        assert_eq!(settle(&mut numbers, 1), 3 << COUNTER_BITS);
        assert!(numbers.are_settled(1) && numbers.begin_settling(1).is_none());
        assert_eq!((numbers.take(), numbers.take()), (3 << COUNTER_BITS, (3 << COUNTER_BITS) + 1));
        assert!(!numbers.are_settled(2), "another link");
        numbers.handle_lost();
        assert!(!numbers.are_settled(1));
        assert_eq!(settle(&mut numbers, 2), (3 << COUNTER_BITS) + 2);
        assert!(numbers.are_settled(2) && !numbers.are_settled(1));
    }

    #[test]
    fn what_is_lost_while_it_settles_is_settled_again() {
        let mut numbers = Numbers::new(0);
        let settling = numbers.begin_settling(1).expect("a new link");
        numbers.take();
        numbers.handle_lost();
        numbers.handle_settled(settling);
        assert!(!numbers.are_settled(1));
        let settling = numbers.begin_settling(1).expect("a loss");
        assert_eq!(settling.first, 1);
        numbers.handle_settled(settling);
        assert!(numbers.are_settled(1));
    }

    #[test]
    fn clients_are_told_apart_by_their_random_bits() {
        let first = |random| Numbers::new(random).take();
        assert_eq!(client_of(first(7)), 7);
        assert_eq!(client_of(first(7) + (1 << COUNTER_BITS) - 1), 7);
        assert_ne!(client_of(first(u64::MAX)), client_of(first(u64::MAX - 1)));
    }
}
