//! What is under way, and what of it happens next.

use std::collections::{BTreeMap, VecDeque};

use kv::Batch;
use peer::{ConnId, Down};

use crate::worker::Input;

/// In which order things under way happen. Inside one lane order is always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In the order in which they began.
    Prompt,
    /// The store answers when nothing else is left to do.
    LateStore,
    /// Any; from a seed.
    Random(u64),
}

/// A way that something takes; what is on it stays in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// From one client to a worker.
    Up(ConnId),
    /// From a worker to one client.
    Down(ConnId),
    /// From one worker to another.
    Between(u16, u16),
    /// From an operator.
    Admin,
    /// One read; each goes its own way.
    Read(u16, u64),
    /// A worker's commit and its answer.
    Commit(u16),
}

/// Something under way.
#[derive(Debug)]
pub(super) enum Action {
    Input(u16, Input),
    Down(ConnId, Down),
    Read(u16, u64, kv::Reads),
    Commit(u16, Batch),
}

/// Everything under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    order: Order,
    lanes: BTreeMap<Lane, VecDeque<(u64, Action)>>,
    count: u64,
}

impl UnderWay {
    pub(super) fn new(order: Order) -> Self {
        Self { order, lanes: BTreeMap::new(), count: 0 }
    }

    pub(super) fn push(&mut self, lane: Lane, action: Action) {
        self.count += 1;
        self.lanes.entry(lane).or_default().push_back((self.count, action));
    }

    /// Takes what happens next.
    pub(super) fn pop(&mut self) -> Option<(Lane, Action)> {
        let first = |(lane, queue): (&Lane, &VecDeque<(u64, Action)>)| {
            let is_store = matches!(lane, Lane::Read(..) | Lane::Commit(_));
            (is_store, queue.front().map_or(0, |(number, _)| *number), *lane)
        };
        let lane = match &mut self.order {
            Order::Prompt => self.lanes.iter().map(first).min_by_key(|(_, at, _)| *at)?.2,
            Order::LateStore => self.lanes.iter().map(first).min()?.2,
            Order::Random(seed) => {
                if self.lanes.is_empty() {
                    return None;
                }
                let chosen = (next(seed) % self.lanes.len() as u64) as usize;
                *self.lanes.keys().nth(chosen)?
            }
        };
        let queue = self.lanes.get_mut(&lane)?;
        let (_, action) = queue.pop_front()?;
        if queue.is_empty() {
            self.lanes.remove(&lane);
        }
        Some((lane, action))
    }

    /// What is on a lane is lost.
    pub(super) fn lose(&mut self, lane: Lane) {
        self.lanes.remove(&lane);
    }

    /// Everything is lost.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }
}

/// The next of a row of numbers from a seed (SplitMix64).
pub(super) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
