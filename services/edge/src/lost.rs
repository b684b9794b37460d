//! Which lost connections an edge of a cluster still knows: a session that waits for its client
//! would die with its owner if nobody told the next one of it.

use std::collections::{BTreeMap, HashMap};

use crate::limits::{LOST_BYTES_EACH, LOST_BYTES_MAX, LOST_MAX, LOST_US};

/// Lost connections by slot, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    by_age: BTreeMap<u64, Entry>,
    ages: HashMap<u64, u64>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    slot: u64,
    until_us: u64,
    bytes: usize,
}

impl Lost {
    /// Keeps one for which `bytes` are held; returns the oldest ones, which have no room any more.
    pub(crate) fn keep(&mut self, slot: u64, bytes: usize, now_us: u64) -> Vec<u64> {
        let bytes = bytes + LOST_BYTES_EACH;
        let age = self.next;
        self.next += 1;
        self.ages.insert(slot, age);
        self.by_age.insert(age, Entry { slot, until_us: now_us + LOST_US, bytes });
        self.bytes += bytes;
        let mut dropped = Vec::new();
        while self.by_age.len() > LOST_MAX || self.bytes > LOST_BYTES_MAX {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Whether one is among them.
    pub(crate) fn has(&self, slot: u64) -> bool {
        self.ages.contains_key(&slot)
    }

    /// Forgets one; `false`: it is not among them.
    pub(crate) fn forget(&mut self, slot: u64) -> bool {
        let Some(entry) = self.ages.remove(&slot).and_then(|age| self.by_age.remove(&age)) else {
            return false;
        };
        self.bytes -= entry.bytes;
        true
    }

    /// Forgets those whose sessions cannot be resumed any more, and returns them.
    pub(crate) fn expire(&mut self, now_us: u64) -> Vec<u64> {
        let mut over = Vec::new();
        while self.by_age.first_key_value().is_some_and(|(_, oldest)| oldest.until_us <= now_us) {
            over.extend(self.pop());
        }
        if self.by_age.is_empty() {
            self.ages = HashMap::new();
        }
        over
    }

    fn pop(&mut self) -> Option<u64> {
        let (_, entry) = self.by_age.pop_first()?;
        self.ages.remove(&entry.slot);
        self.bytes -= entry.bytes;
        Some(entry.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_oldest_goes() {
        let mut lost = Lost::default();
        for slot in 0..LOST_MAX as u64 {
            assert!(lost.keep(slot, 0, slot).is_empty(), "{slot}");
        }
        assert!(lost.has(3) && lost.forget(3) && !lost.has(3) && !lost.forget(3));
        assert!(lost.keep(1_000_000, 0, 0).is_empty(), "one has gone");
        assert_eq!(lost.keep(1_000_001, 0, 0), [0]);
        assert_eq!(lost.keep(1_000_002, 0, 0), [1]);
        assert!(!lost.forget(0) && lost.forget(2));
    }

    #[test]
    fn of_too_many_bytes_the_oldest_go() {
        let mut lost = Lost::default();
        let half = LOST_BYTES_MAX / 2 - LOST_BYTES_EACH;
        assert!(lost.keep(1, half - 1, 0).is_empty());
        assert!(lost.keep(2, half + 1, 0).is_empty(), "all room is taken");
        assert_eq!(lost.keep(3, 0, 0), [1]);
        assert_eq!(lost.keep(4, half + 1, 0), [2]);
        assert!(lost.forget(3) && lost.forget(4));
        assert_eq!((lost.bytes, lost.by_age.len(), lost.ages.len()), (0, 0, 0));
    }

    #[test]
    fn each_has_its_time() {
        let mut lost = Lost::default();
        for slot in 1..=3 {
            assert!(lost.keep(slot, 0, slot * 1000).is_empty());
        }
        assert!(lost.expire(LOST_US + 999).is_empty());
        assert_eq!(lost.expire(LOST_US + 1000), [1]);
        assert!(lost.forget(2));
        assert_eq!(lost.expire(LOST_US + 3000), [3]);
    }
}
