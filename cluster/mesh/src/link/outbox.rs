//! What one lane has to send: a queue that refuses, and the window of work at the other end. Pure.

use std::collections::VecDeque;

use super::frame::{Class, Item};

/// How much a lane may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Work on its way: queued here, in flight, or not digested there.
    pub(crate) work_bytes: usize,
    pub(crate) work_frames: usize,
    /// Confirmations and results that are queued here.
    pub(crate) reserved_bytes: usize,
    pub(crate) reserved_frames: usize,
}

/// Why a lane did not take a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No room for more work; `room` will be told.
    Full,
    /// The reserved room is used up: the other end does not read.
    Overrun,
}

/// What a lane's owner at the other end has digested since the link came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digested {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// The sending half of one lane. What is queued may hold a guard, which leaves with it.
#[derive(Debug)]
pub(crate) struct Outbox<G> {
    room: Room,
    queue: VecDeque<(Item, Option<G>)>,
    reserved_frames: usize,
    reserved_bytes: usize,
    /// Work that was ever taken; what is on its way is this less what was digested.
    taken: Digested,
    digested: Digested,
    /// Somebody was refused and wants to know when there is room.
    wanted: bool,
}

impl<G> Outbox<G> {
    pub(crate) fn new(room: Room) -> Outbox<G> {
        Outbox {
            room,
            queue: VecDeque::new(),
            reserved_frames: 0,
            reserved_bytes: 0,
            taken: Digested::default(),
            digested: Digested::default(),
            wanted: false,
        }
    }

    /// The other end's hello says how much work it takes.
    pub(crate) fn handle_window(&mut self, frames: usize, bytes: usize) {
        self.room.work_frames = self.room.work_frames.min(frames.max(1));
        self.room.work_bytes = self.room.work_bytes.min(bytes.max(1));
    }

    /// Queues a frame, or refuses it at once. One frame always has room when nothing is on its
    /// way, however long it is.
    pub(crate) fn handle_item(&mut self, item: Item, guard: Option<G>) -> Result<(), Refused> {
        let bytes = item.bytes();
        match &item {
            Item::Frame(frame) if frame.class == Class::Work => {
                let (frames, under_way) = self.under_way();
                let full = frames >= self.room.work_frames as u64
                    || (frames > 0 && under_way + bytes as u64 > self.room.work_bytes as u64);
                if full {
                    self.wanted = true;
                    return Err(Refused::Full);
                }
                self.taken.frames += 1;
                self.taken.bytes += bytes as u64;
            }
            Item::Frame(_) => {
                if self.reserved_frames >= self.room.reserved_frames
                    || self.reserved_bytes + bytes > self.room.reserved_bytes
                {
                    return Err(Refused::Overrun);
                }
                self.reserved_frames += 1;
                self.reserved_bytes += bytes;
            }
            Item::Hello(_) | Item::Credit(_) => {}
        }
        self.queue.push_back((item, guard));
        Ok(())
    }

    /// Whether so many bytes leave seven eighths of the reserved room free.
    pub(crate) fn has_spare_room(&self, bytes: usize) -> bool {
        self.reserved_frames < (self.room.reserved_frames / 8).max(1)
            && self.reserved_bytes + bytes <= self.room.reserved_bytes / 8
    }

    /// The link is gone: nothing of the queue is written. What it held leaves with its guards.
    pub(crate) fn handle_end(&mut self) -> VecDeque<(Item, Option<G>)> {
        (self.reserved_frames, self.reserved_bytes) = (0, 0);
        std::mem::take(&mut self.queue)
    }

    /// What the other end has digested so far. True if somebody waits for room and there is some.
    /// A count that goes back, or beyond what was sent, is `None`.
    pub(crate) fn handle_credit(&mut self, digested: Digested) -> Option<bool> {
        let back = digested.frames < self.digested.frames || digested.bytes < self.digested.bytes;
        let beyond = digested.frames > self.taken.frames || digested.bytes > self.taken.bytes;
        if back || beyond {
            return None;
        }
        self.digested = digested;
        let (frames, bytes) = self.under_way();
        let half =
            frames * 2 <= self.room.work_frames as u64 && bytes * 2 <= self.room.work_bytes as u64;
        Some(half && std::mem::take(&mut self.wanted))
    }

    /// Takes what is queued, up to about `bytes_max`. Nothing taken means nothing queued.
    pub(crate) fn poll_batch(&mut self, bytes_max: usize) -> Vec<(Item, Option<G>)> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            let Some((item, guard)) = self.queue.pop_front() else { break };
            bytes += item.bytes();
            if let Item::Frame(frame) = &item
                && frame.class == Class::Reserved
            {
                self.reserved_frames -= 1;
                self.reserved_bytes -= item.bytes();
            }
            batch.push((item, guard));
        }
        batch
    }

    /// Frames and bytes of work on their way.
    pub(crate) fn under_way(&self) -> (u64, u64) {
        let frames = self.taken.frames - self.digested.frames;
        (frames, self.taken.bytes - self.digested.bytes)
    }
}

/// The receiving half: counts what was digested and says when it is time to tell.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    digested: Digested,
    told: Digested,
}

impl Intake {
    /// A frame of work of `bytes` was digested. True when a quarter of the window is untold: then
    /// the other end is told at once, and otherwise with the next tick.
    pub(crate) fn handle_digested(&mut self, bytes: usize, room: &Room) -> bool {
        self.digested.frames += 1;
        self.digested.bytes += bytes as u64;
        let frames = self.digested.frames - self.told.frames;
        let bytes = self.digested.bytes - self.told.bytes;
        frames * 4 >= room.work_frames as u64 || bytes * 4 >= room.work_bytes as u64
    }

    /// What to tell, if something changed since it was told.
    pub(crate) fn poll_credit(&mut self) -> Option<Digested> {
        if self.told == self.digested {
            return None;
        }
        self.told = self.digested;
        Some(self.digested)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::frame::{Frame, HEAD};
    use super::*;

    const ROOM: Room =
        Room { work_bytes: 100, work_frames: 3, reserved_bytes: 60, reserved_frames: 4 };

    const NONE: Option<()> = None;

    fn item(class: Class, bytes: usize) -> Item {
        Item::Frame(Frame { class, shard: 7, body: Bytes::from(vec![0; bytes - HEAD]) })
    }

    #[test]
    fn work_is_refused_beyond_the_window_until_it_is_digested() {
        let mut outbox = Outbox::new(ROOM);
        for _ in 0..3 {
            outbox.handle_item(item(Class::Work, 10), NONE).unwrap();
        }
        assert_eq!(outbox.handle_item(item(Class::Work, 10), NONE), Err(Refused::Full));
        // That it was written changes nothing: the other end has not digested it.
        assert_eq!(outbox.poll_batch(1000).len(), 3);
        assert_eq!(outbox.handle_item(item(Class::Work, 10), NONE), Err(Refused::Full));
        assert_eq!(outbox.handle_credit(Digested { frames: 1, bytes: 10 }), Some(false));
        assert_eq!(outbox.handle_credit(Digested { frames: 2, bytes: 20 }), Some(true));
        assert_eq!(outbox.handle_credit(Digested { frames: 3, bytes: 30 }), Some(false), "once");
        assert_eq!(outbox.under_way(), (0, 0));
    }

    #[test]
    fn bytes_are_counted_and_one_frame_always_fits() {
        let mut outbox = Outbox::new(ROOM);
        outbox.handle_item(item(Class::Work, 90), NONE).unwrap();
        assert_eq!(outbox.handle_item(item(Class::Work, 11), NONE), Err(Refused::Full));
        outbox.handle_item(item(Class::Work, 10), NONE).unwrap();
        let mut outbox = Outbox::new(ROOM);
        outbox.handle_item(item(Class::Work, 500), NONE).unwrap();
        assert_eq!(outbox.handle_item(item(Class::Work, 8), NONE), Err(Refused::Full));
    }

    #[test]
    fn confirmations_have_room_when_work_has_none() {
        let mut outbox = Outbox::new(ROOM);
        while outbox.handle_item(item(Class::Work, 10), NONE).is_ok() {}
        for _ in 0..4 {
            outbox.handle_item(item(Class::Reserved, 15), NONE).unwrap();
        }
        assert_eq!(outbox.handle_item(item(Class::Reserved, 8), NONE), Err(Refused::Overrun));
        outbox.handle_item(Item::Credit(Bytes::new()), NONE).unwrap();
        assert_eq!(outbox.poll_batch(1).len(), 1);
        assert_eq!(outbox.poll_batch(10_000).len(), 7);
        outbox.handle_item(item(Class::Reserved, 15), NONE).unwrap();
        assert_eq!(outbox.poll_batch(1000).len(), 1);
        assert!(outbox.poll_batch(1000).is_empty());
    }

    #[test]
    fn an_eighth_of_the_reserved_room_is_for_what_can_wait() {
        let mut outbox = Outbox::new(Room { reserved_bytes: 160, reserved_frames: 16, ..ROOM });
        assert!(outbox.has_spare_room(20) && !outbox.has_spare_room(21));
        outbox.handle_item(item(Class::Reserved, 8), NONE).unwrap();
        assert!(outbox.has_spare_room(12) && !outbox.has_spare_room(13));
        outbox.handle_item(item(Class::Reserved, 8), NONE).unwrap();
        assert!(!outbox.has_spare_room(0), "two frames of sixteen");
        assert_eq!(outbox.handle_end().len(), 2);
        assert!(outbox.has_spare_room(20) && outbox.poll_batch(1000).is_empty());
    }

    #[test]
    fn the_smaller_window_counts() {
        let mut outbox = Outbox::new(ROOM);
        outbox.handle_window(1, 1000);
        outbox.handle_item(item(Class::Work, 10), NONE).unwrap();
        assert_eq!(outbox.handle_item(item(Class::Work, 10), NONE), Err(Refused::Full));
    }

    #[test]
    fn credit_that_cannot_be_is_refused() {
        let mut outbox = Outbox::new(ROOM);
        outbox.handle_item(item(Class::Work, 10), NONE).unwrap();
        outbox.handle_item(item(Class::Work, 10), NONE).unwrap();
        assert_eq!(outbox.handle_credit(Digested { frames: 3, bytes: 20 }), None);
        assert_eq!(outbox.handle_credit(Digested { frames: 2, bytes: 21 }), None);
        assert_eq!(outbox.handle_credit(Digested { frames: 2, bytes: 20 }), Some(false));
        assert_eq!(outbox.handle_credit(Digested { frames: 1, bytes: 20 }), None);
    }

    #[test]
    fn credit_is_told_by_the_quarter_and_with_the_tick() {
        let room = Room { work_frames: 8, ..ROOM };
        let mut intake = Intake::default();
        assert!(!intake.handle_digested(10, &room));
        assert!(intake.handle_digested(10, &room), "two of eight frames");
        assert_eq!(intake.poll_credit(), Some(Digested { frames: 2, bytes: 20 }));
        assert_eq!(intake.poll_credit(), None);
        assert!(intake.handle_digested(25, &room), "a quarter of the bytes");
        let told = intake.poll_credit().unwrap();
        assert!(!intake.handle_digested(1, &room));
        assert_eq!(intake.poll_credit().unwrap().frames, told.frames + 1);
    }
}
