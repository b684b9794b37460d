//! Shards that move with their memory, from the side of both owners (design: "Hand-over").
//!
//! Whoever gives one up takes no new work for it, lets it come to rest, and then leaves it as it
//! is, while its pages go to the next owner, some at a time. When control names that one, this
//! worker loses the shard as always. If nothing comes of it, the shard goes on as if nothing had
//! been.

use std::collections::VecDeque;

use bytes::Bytes;
use peer::moving::{HandOver, HandOverRefusal};
use peer::{Between, Epoch, Page, ShardId};

use super::{Output, Slot, Worker};
use crate::limits::{HAND_OVER_BYTES_MAX, HAND_OVER_US, PAGES_WINDOW};
use crate::shard::{self, Env};

/// A shard that is being given up.
pub(super) struct Giving {
    /// Its pages that are not sent; none before it has come to rest.
    pages: Option<VecDeque<Bytes>>,
    /// The number of the next page.
    next: u32,
    /// If nothing has come of it by then, nothing will.
    until: u64,
}

/// Pages that have come for a shard which may be granted.
pub(super) struct Pages {
    /// That of the owner who has sent them.
    pub(super) epoch: Epoch,
    pub(super) whole: bool,
    pub(super) bodies: Vec<Bytes>,
    bytes: usize,
}

impl Worker {
    /// Control moves a shard away from this worker.
    pub(super) fn give_up(&mut self, id: ShardId, env: &mut Env<'_>) {
        if self.giving.contains_key(&id) || !matches!(self.slots.get(&id), Some(Slot::Owned(..))) {
            return;
        }
        let until = env.steady + HAND_OVER_US;
        self.giving.insert(id, Giving { pages: None, next: 0, until });
        self.step(id, |shard| shard.give_up(env));
        self.collect(id);
        self.give_pages(id);
    }

    /// An input for a shard that is being given up. Work waits; but what other shards send is taken
    /// as long as this one waits for them, for they may be given up too.
    pub(super) fn give_given(&mut self, id: ShardId, input: shard::Input, env: &mut Env<'_>) {
        let rests = self.giving.get(&id).is_some_and(|giving| giving.pages.is_some());
        let Some(Slot::Owned(shard, backlog)) = self.slots.get_mut(&id) else { return };
        let pass = matches!(input, shard::Input::Between(Between::Pass(_)));
        let taken = pass && !self.lapsed && shard.waits_for_others();
        if input.is_work() && (rests || !taken) {
            if let Some(input) = backlog.push(input) {
                let epoch = shard.epoch();
                self.refuse(id, epoch, input);
            }
        } else if !rests {
            self.step(id, |shard| shard.handle(input, env));
            self.collect(id);
        }
    }

    /// Makes the pages of a shard, if it has come to rest.
    pub(super) fn give_pages(&mut self, id: ShardId) {
        let Some(giving) = self.giving.get_mut(&id) else { return };
        if giving.pages.is_some() {
            // It is not woken while it rests.
            return self.deadlines.set(id, None);
        }
        let Some(Slot::Owned(shard, _)) = self.slots.get(&id) else { return };
        let in_flight = self.flight.as_ref().is_some_and(|flight| flight.shards.contains(&id));
        if in_flight || self.dirty.contains(&id) || !shard.is_settled() || shard.is_rebuilding() {
            return;
        }
        giving.pages = Some(shard.pages().into());
        self.deadlines.set(id, None);
        self.send_pages(id, PAGES_WINDOW);
    }

    fn send_pages(&mut self, id: ShardId, until: u32) {
        let Some(Slot::Owned(shard, _)) = self.slots.get(&id) else { return };
        let epoch = shard.epoch();
        let Some(giving) = self.giving.get_mut(&id) else { return };
        let Some(pages) = &mut giving.pages else { return };
        while giving.next < until
            && let Some(body) = pages.pop_front()
        {
            let (number, last) = (giving.next, pages.is_empty());
            giving.next += 1;
            self.out.push_back(Output::Page(Page { shard: id, epoch, number, last, body }));
        }
    }

    /// The next owner has answered.
    pub(super) fn handed_over(
        &mut self,
        id: ShardId,
        epoch: Epoch,
        said: HandOver,
        env: &mut Env<'_>,
    ) {
        let own = match self.slots.get(&id) {
            Some(Slot::Owned(shard, _)) => shard.epoch(),
            _ => return,
        };
        if own != epoch {
            return;
        }
        match said {
            HandOver::Taken { next, window } => self.send_pages(id, next.saturating_add(window)),
            HandOver::Complete => {}
            HandOver::Refused(_) => self.keep_on(id, env),
        }
    }

    /// Nothing comes of a move: the shard goes on with what it has.
    pub(super) fn keep_on(&mut self, id: ShardId, env: &mut Env<'_>) {
        if let Some(giving) = self.giving.remove(&id) {
            self.step(id, |shard| shard.keep_on(giving.pages.is_some()));
            self.give(id, shard::Input::Timeout, env);
            self.go_on(id, env);
        }
    }

    /// When a shard that is being given up goes on, if control says nothing.
    pub(super) fn giving_until(&self) -> Option<u64> {
        self.giving.values().map(|giving| giving.until).min()
    }

    /// Shards of which control has said nothing for too long go on.
    pub(super) fn end_giving(&mut self, env: &mut Env<'_>) {
        let over = self.giving.iter().filter(|(_, giving)| giving.until <= env.steady);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.keep_on(id, env);
        }
    }

    /// A page of a shard has come, which control may grant to this worker.
    pub(super) fn page(&mut self, page: Page) {
        let (id, epoch) = (page.shard, page.epoch);
        if let Some(said) = self.take_page(page) {
            self.out.push_back(Output::HandOver(id, epoch, said));
        }
    }

    fn take_page(&mut self, page: Page) -> Option<HandOver> {
        let cluster = self.cluster.as_mut()?;
        let known = cluster.known(page.shard);
        if known > page.epoch {
            return Some(HandOver::Refused(HandOverRefusal::NotExpected));
        }
        if page.number == 0 {
            let pages = Pages { epoch: page.epoch, whole: false, bodies: Vec::new(), bytes: 0 };
            cluster.pages.insert(page.shard, pages);
        }
        let room = cluster.pages.values().map(|pages| pages.bytes).sum::<usize>();
        let there = cluster.pages.get_mut(&page.shard).filter(|pages| pages.epoch == page.epoch);
        let Some(pages) = there.filter(|pages| pages.bodies.len() as u32 == page.number) else {
            return Some(HandOver::Refused(HandOverRefusal::Gap));
        };
        if room + page.body.len() > HAND_OVER_BYTES_MAX {
            cluster.pages.remove(&page.shard);
            return Some(HandOver::Refused(HandOverRefusal::Full));
        }
        pages.bytes += page.body.len();
        pages.bodies.push(page.body);
        pages.whole = page.last;
        let next = page.number + 1;
        Some(match page.last {
            true => HandOver::Complete,
            false => HandOver::Taken { next, window: PAGES_WINDOW },
        })
    }
}
