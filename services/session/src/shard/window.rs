//! The windows between shards: what one has sent and another not confirmed, and what was taken.

use std::collections::{BTreeMap, VecDeque};

use peer::limits::{WINDOW_BYTES_MAX, WINDOW_FRAMES_MAX};
use peer::{Epoch, Pass, ShardId};

use super::commit::BatchNo;
use crate::session;

/// How long copies of a window have before it is sent again for another gap, in microseconds.
const GAP_US: u64 = 200_000;

/// Parcels to one other shard.
pub(crate) struct Outgoing<O> {
    sent: VecDeque<Sent<O>>,
    bytes: usize,
    /// The batch that the last parcel waits for, so that nothing passes it.
    pub(crate) held_after: BatchNo,
    /// How often all was sent again without a confirmation.
    resent: u32,
    /// The first parcel when all was last sent again for a gap, and when that was.
    gap: (u64, u64),
}

/// One parcel, and whom its confirmation concerns.
struct Sent<O> {
    pass: Pass,
    origin: O,
    /// Not yet handed to the link: it waits for a batch.
    held: bool,
}

impl<O> Default for Outgoing<O> {
    fn default() -> Self {
        Self { sent: VecDeque::new(), bytes: 0, held_after: 0, resent: 0, gap: (0, 0) }
    }
}

impl<O> Outgoing<O> {
    /// Whether another parcel would go beyond the window.
    pub(crate) fn full(&self) -> bool {
        self.bytes > WINDOW_BYTES_MAX || self.sent.len() >= WINDOW_FRAMES_MAX
    }

    /// The number of the last parcel that is not confirmed, or zero.
    pub(crate) fn last(&self) -> u64 {
        self.sent.back().map_or(0, |sent| sent.pass.number)
    }

    /// The number of the first parcel that is not confirmed, or zero.
    pub(crate) fn first(&self) -> u64 {
        self.sent.front().map_or(0, |sent| sent.pass.number)
    }

    /// Keeps a parcel until it is confirmed. `held`: it is not to be sent before
    /// [`Outgoing::release`].
    pub(crate) fn push(&mut self, pass: Pass, origin: O, held: bool) {
        debug_assert!(pass.number > self.last());
        self.bytes += weight(&pass);
        self.sent.push_back(Sent { pass, origin, held });
    }

    /// A held parcel may go now.
    pub(crate) fn release(&mut self, number: u64) -> Option<Pass> {
        let index = self.sent.binary_search_by_key(&number, |sent| sent.pass.number).ok()?;
        let sent = self.sent.get_mut(index)?;
        sent.held = false;
        Some(sent.pass.clone())
    }

    /// All parcels up to `number` are confirmed: whom that concerns.
    pub(crate) fn confirm(&mut self, number: u64) -> Vec<O> {
        let mut origins = Vec::new();
        while let Some(sent) =
            self.sent.pop_front_if(|sent| sent.pass.number <= number && !sent.held)
        {
            self.bytes -= weight(&sent.pass);
            origins.push(sent.origin);
        }
        origins
    }

    /// Whether nothing was confirmed since it was last asked. Returns how many times the usual time
    /// to wait before it is asked again: who cannot keep up is not helped by copies.
    pub(crate) fn stands_still(&mut self, still: bool) -> u64 {
        let wait = if still { 1 << self.resent } else { 1 };
        self.resent = if still { (self.resent + 1).min(3) } else { 0 };
        wait
    }

    /// Whether all is to be sent again because something is missing: not if that was just done.
    /// Each parcel behind a gap is answered with one, and copies of copies would never end.
    pub(crate) fn may_fill(&mut self, now: u64) -> bool {
        let (first, at) = self.gap;
        let fill = first != self.first() || now >= at + GAP_US;
        if fill {
            self.gap = (self.first(), now);
        }
        fill
    }

    /// Everything that was sent and not confirmed, again, as retries and in order; the first one
    /// opens the window anew.
    pub(crate) fn resend(&mut self) -> Vec<Pass> {
        let mut prev = 0;
        let mut again = Vec::new();
        for sent in &mut self.sent {
            sent.pass.prev = prev;
            prev = sent.pass.number;
            if !sent.held {
                sent.pass.retry = true;
                again.push(sent.pass.clone());
            }
        }
        again
    }

    /// Whether nothing is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

fn weight(pass: &Pass) -> usize {
    session::weight(&pass.parcel.stanza) + pass.parcel.to.as_str().len()
}

/// What was taken from one other shard.
pub(crate) struct Incoming {
    /// The epoch of its owner; frames of a lower one are refused.
    pub(crate) epoch: Epoch,
    taken: u64,
    open: VecDeque<(u64, Progress)>,
    /// The batch for which a confirmation is already held.
    pub(crate) confirm_at: BatchNo,
    /// When something was last taken, in microseconds.
    pub(crate) last_us: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Open,
    Waits(BatchNo),
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self { epoch: Epoch(0), taken: 0, open: VecDeque::new(), confirm_at: 0, last_us: 0 }
    }

    /// What the owner before has taken, and has handed over.
    pub(crate) fn taken_over(epoch: Epoch, taken: u64, now: u64) -> Self {
        Self { epoch, taken, last_us: now, ..Self::new() }
    }

    /// The shard has a new owner, whose numbers need not be above the old one's.
    pub(crate) fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.taken = 0;
        self.open.clear();
    }

    /// The number of the last parcel taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes a parcel, or refuses it because it was taken before or one before it is missing.
    pub(crate) fn take(&mut self, pass: &Pass, now: u64) -> bool {
        let expected = pass.prev == 0 || pass.prev == self.taken;
        if pass.number <= self.taken || !expected {
            return false;
        }
        self.taken = pass.number;
        self.last_us = now;
        self.open.push_back((pass.number, Progress::Open));
        true
    }

    /// The parcel was decided; what it led to is durable with this batch (zero: at once).
    pub(crate) fn decided(&mut self, number: u64, batch: BatchNo) {
        if let Ok(index) = self.open.binary_search_by_key(&number, |(number, _)| *number) {
            self.open[index].1 = Progress::Waits(batch);
        }
    }

    /// The highest number that may be confirmed now, if any is new.
    pub(crate) fn confirm(&mut self, committed: BatchNo) -> Option<u64> {
        let mut highest = None;
        while let Some((number, _)) = self
            .open
            .pop_front_if(|(_, progress)| matches!(progress, Progress::Waits(b) if *b <= committed))
        {
            highest = Some(number);
        }
        highest
    }

    /// The highest number taken: a retry of it or below is confirmed again at once if nothing below
    /// it is open.
    pub(crate) fn settled(&self) -> u64 {
        self.open.front().map_or(self.taken, |(number, _)| number - 1)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

/// All windows of one shard. Ordered, so that a resend is the same in every run.
pub(crate) struct Windows<O> {
    pub(crate) out: BTreeMap<ShardId, Outgoing<O>>,
    pub(crate) incoming: BTreeMap<ShardId, Incoming>,
}

impl<O> Windows<O> {
    pub(crate) fn new() -> Self {
        Self { out: BTreeMap::new(), incoming: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use peer::Parcel;
    use xmpp::jid::Jid;
    use xmpp::stanza::{Kind, MessageType, Stanza};
    use xmpp::text::Text;

    use super::*;

    /// A parcel whose stanza has so many bytes in its id.
    fn pass(number: u64, id: usize) -> Pass {
        let mut stanza = Stanza::new(Kind::Message(MessageType::Chat));
        stanza.id = Some(Text::from("i".repeat(id)));
        let to = Jid::parse("romeo@montague.example").expect("a JID");
        let parcel = Parcel::new(to, stanza);
        let (source, target) = (ShardId(1), ShardId(2));
        Pass {
            source,
            source_epoch: Epoch(1),
            target,
            target_epoch: Epoch(0),
            number,
            prev: 0,
            retry: false,
            parcel,
        }
    }

    #[test]
    fn a_window_is_full_of_bytes() {
        let empty = weight(&pass(1, 0));
        for (more, full) in [(0, false), (1, true)] {
            let mut window = Outgoing::default();
            window.push(pass(1, WINDOW_BYTES_MAX / 2), (), false);
            let left = WINDOW_BYTES_MAX - WINDOW_BYTES_MAX / 2 - 2 * empty;
            window.push(pass(2, left + more), (), false);
            assert_eq!(window.full(), full, "{more}");
            assert_eq!(window.confirm(2).len(), 2);
            assert!(!window.full() && window.bytes == 0);
        }
    }

    #[test]
    fn a_window_is_sent_again_once_for_the_gaps_of_a_while() {
        let mut window = Outgoing::default();
        window.push(pass(1, 0), (), false);
        window.push(pass(2, 0), (), false);
        assert!(window.may_fill(10));
        assert!(!window.may_fill(10 + GAP_US - 1));
        assert!(window.may_fill(10 + GAP_US));
        window.confirm(1);
        assert!(window.may_fill(11 + GAP_US), "something else is missing");
    }

    #[test]
    fn a_window_is_full_of_frames() {
        let mut window = Outgoing::default();
        for number in 1..=WINDOW_FRAMES_MAX as u64 {
            assert!(!window.full(), "{number}");
            window.push(pass(number, 0), (), false);
        }
        assert!(window.full());
        window.confirm(1);
        assert!(!window.full());
    }
}
