//! Messages that no archive keeps, while it is open whether they need a row at all (design: "One
//! log per account"): one that its recipient acknowledges soon is never written, and one that was
//! written goes when it was taken and no retry of it can come any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kv::Value;

use crate::limits;
use crate::shard::Arrived;

/// What an account has of them. Most of the time that is nothing, and takes no memory.
#[derive(Default)]
pub(crate) struct Passing(Option<Box<Inner>>);

#[derive(Default)]
struct Inner {
    /// Delivered, not taken and not written, by their ids.
    unwritten: BTreeMap<u64, Unwritten>,
    /// A timer will write them.
    timer: bool,
    /// Written and not taken.
    written: BTreeSet<u64>,
    /// Written and taken.
    spent: VecDeque<u64>,
}

/// A row that may never be written.
struct Unwritten {
    row: Value,
    since_us: u64,
    /// Who waits for it to be taken or written.
    origin: Option<Arrived>,
}

/// A row that is to be written now, and who waits for it.
pub(crate) struct Due {
    pub(crate) id: u64,
    pub(crate) row: Value,
    pub(crate) origin: Option<Arrived>,
}

impl Passing {
    fn inner(&mut self) -> &mut Inner {
        self.0.get_or_insert_default()
    }

    /// Gives the memory back when nothing is left.
    fn shrink(&mut self) {
        self.0.take_if(|inner| {
            let rows = inner.unwritten.is_empty() && !inner.timer;
            rows && inner.written.is_empty() && inner.spent.is_empty()
        });
    }

    /// A message is about to be delivered without a row. Returns whether a timer is to be set.
    pub(crate) fn begin(&mut self, id: u64, row: Value, now: u64) -> bool {
        let inner = self.inner();
        inner.unwritten.insert(id, Unwritten { row, since_us: now, origin: None });
        !std::mem::replace(&mut inner.timer, true)
    }

    /// Whoever waits for a message waits until it is taken or written; given back if neither is
    /// open any more.
    pub(crate) fn wait(&mut self, id: u64, origin: Arrived) -> Option<Arrived> {
        let unwritten = self.0.as_mut().and_then(|inner| inner.unwritten.get_mut(&id));
        match unwritten {
            Some(unwritten) => {
                unwritten.origin = Some(origin);
                None
            }
            None => Some(origin),
        }
    }

    /// A message that has no row was taken, or goes to nobody: it never gets one. Returns who
    /// waited for it.
    pub(crate) fn drop(&mut self, id: u64) -> Option<Option<Arrived>> {
        let unwritten = self.0.as_mut()?.unwritten.remove(&id)?;
        self.shrink();
        Some(unwritten.origin)
    }

    /// Takes all rows that may never be written, oldest first: they are.
    pub(crate) fn due(&mut self) -> Vec<Due> {
        let Some(inner) = &mut self.0 else { return Vec::new() };
        let all = std::mem::take(&mut inner.unwritten).into_iter();
        all.map(|(id, Unwritten { row, origin, .. })| Due { id, row, origin }).collect()
    }

    /// The timer has come: takes the rows that have waited for long enough. Returns them, and when
    /// the timer is to come again.
    pub(crate) fn timeout(&mut self, now: u64) -> (Vec<Due>, Option<u64>) {
        let Some(inner) = &mut self.0 else { return (Vec::new(), None) };
        let mut due = Vec::new();
        while let Some(first) = inner.unwritten.first_entry()
            && first.get().since_us + limits::UNWRITTEN_US <= now
        {
            let (id, Unwritten { row, origin, .. }) = first.remove_entry();
            due.push(Due { id, row, origin });
        }
        let next = inner.unwritten.values().next();
        let next = next.map(|unwritten| unwritten.since_us + limits::UNWRITTEN_US);
        inner.timer = next.is_some();
        self.shrink();
        (due, next)
    }

    /// A row is in the log that no archive keeps.
    pub(crate) fn written(&mut self, id: u64) {
        let inner = self.inner();
        // What is beyond this stays in the log.
        if inner.written.len() < limits::OPEN_MAX {
            inner.written.insert(id);
        }
        self.shrink();
    }

    /// A message of the log was taken.
    pub(crate) fn taken(&mut self, id: u64) {
        let Some(inner) = &mut self.0 else { return };
        if inner.written.remove(&id) && inner.spent.len() < limits::OPEN_MAX {
            inner.spent.push_back(id);
        }
        self.shrink();
    }

    /// Whether a message has no row.
    pub(crate) fn is_unwritten(&self, id: u64) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.unwritten.contains_key(&id))
    }

    /// Whether nothing is open.
    pub(crate) fn at_rest(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.unwritten.is_empty() && !inner.timer)
    }

    /// Takes the ids of rows that can go: a retry is looked for from `horizon` on.
    pub(crate) fn purge(&mut self, horizon: u64) -> Vec<u64> {
        let Some(inner) = &mut self.0 else { return Vec::new() };
        let (gone, spent) = inner.spent.iter().partition(|id| **id < horizon);
        inner.spent = spent;
        self.shrink();
        Vec::from(gone)
    }

    /// The ids of rows that were taken and are still there.
    pub(crate) fn spent(&self) -> Vec<u64> {
        self.0.iter().flat_map(|inner| inner.spent.iter().copied()).collect()
    }

    /// Takes what the cursor's row says of them.
    pub(crate) fn load(&mut self, spent: Vec<u64>) {
        if !spent.is_empty() {
            self.inner().spent = spent.into();
        }
    }
}
