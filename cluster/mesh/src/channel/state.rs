//! What is kept for another process, what was taken from it, and who has spoken on a link. Pure.
//!
//! Numbers of links grow within this process; what is said of another link than the present one is
//! not listened to.

use std::collections::VecDeque;

use bytes::Bytes;
use peer::NodeId;

use super::{ChannelError, Limits};
use crate::limits::{KEPT_FRAME_BYTES, TAKEN_BYTES_UNTOLD, TAKEN_FRAMES_UNTOLD};
use crate::link::lane_of;

/// The other side said what cannot be: the link is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Where the sending half stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    NoLink,
    /// The other side has not said on this link what it has taken.
    Greeted(u64),
    Open(u64),
}

/// The frames that one process has not taken yet.
#[derive(Debug)]
pub(super) struct Kept {
    limits: Limits,
    bytes: usize,
    /// Frames for a process that was never linked, so that its lanes are not known.
    early: VecDeque<(u16, Bytes)>,
    lanes: Vec<Lane>,
    standing: Standing,
    end: Option<ChannelError>,
}

#[derive(Debug, Default)]
struct Lane {
    /// How many the other side has taken: the number of the first in the queue.
    taken: u64,
    queue: VecDeque<(u16, Bytes)>,
    /// How many of the queue were handed to the present link.
    sent: usize,
    /// The highest count that was ever handed to any link. The other side cannot have more.
    ever: u64,
}

impl Kept {
    pub(super) fn new(limits: Limits) -> Kept {
        Kept {
            limits,
            bytes: 0,
            early: VecDeque::new(),
            lanes: Vec::new(),
            standing: Standing::NoLink,
            end: None,
        }
    }

    /// Keeps a frame, and says to which lane it belongs.
    pub(super) fn handle_send(&mut self, shard: u16, body: Bytes) -> Result<usize, ChannelError> {
        if let Some(end) = self.end {
            return Err(end);
        }
        if body.len() > self.limits.body_bytes {
            return Err(ChannelError::TooLong);
        }
        let bytes = self.bytes + body.len() + KEPT_FRAME_BYTES;
        if bytes > self.limits.channel_bytes {
            self.handle_end(ChannelError::Full);
            return Err(ChannelError::Full);
        }
        self.bytes = bytes;
        let at = lane_of(shard, self.lanes.len());
        match self.lanes.get_mut(at) {
            Some(lane) => lane.queue.push_back((shard, body)),
            None => self.early.push_back((shard, body)),
        }
        Ok(at)
    }

    /// Nothing is kept any more, and nothing taken.
    pub(super) fn handle_end(&mut self, why: ChannelError) {
        self.end = Some(why);
        self.bytes = 0;
        self.early = VecDeque::new();
        self.lanes.iter_mut().for_each(|lane| lane.queue = VecDeque::new());
    }

    /// A link to the process stands. A process reads as many lanes as it read at first.
    pub(super) fn handle_link(&mut self, link: u64, lanes: usize) -> Result<(), Broken> {
        if self.lanes.is_empty() {
            self.lanes.resize_with(lanes, Lane::default);
            for (shard, body) in std::mem::take(&mut self.early) {
                if let Some(lane) = self.lanes.get_mut(lane_of(shard, lanes)) {
                    lane.queue.push_back((shard, body));
                }
            }
        }
        if self.lanes.len() != lanes {
            return Err(Broken);
        }
        self.standing = Standing::Greeted(link);
        Ok(())
    }

    pub(super) fn handle_down(&mut self, link: u64) {
        if matches!(self.standing, Standing::Greeted(it) | Standing::Open(it) if it == link) {
            self.standing = Standing::NoLink;
        }
    }

    /// The other side says on a link how much it has taken in all. What it has not goes, when it
    /// says so first on this link, over it once more.
    pub(super) fn handle_taken(&mut self, link: u64, counts: &[u64]) -> Result<(), Broken> {
        let first = match self.standing {
            Standing::Greeted(it) if it == link => true,
            Standing::Open(it) if it == link => false,
            _ => return Ok(()),
        };
        if counts.len() != self.lanes.len() {
            return Err(Broken);
        }
        self.standing = Standing::Open(link);
        if self.end.is_some() {
            return Ok(());
        }
        let possible = |(lane, count): (&Lane, &u64)| {
            let most = if first { lane.ever } else { lane.taken + lane.sent as u64 };
            lane.taken <= *count && *count <= most
        };
        if !self.lanes.iter().zip(counts).all(possible) {
            return Err(Broken);
        }
        for (lane, count) in self.lanes.iter_mut().zip(counts) {
            // As many as are in the queue: what was ever sent and not taken is in it.
            let taken = usize::try_from(count - lane.taken).map_err(|_| Broken)?;
            for (_, body) in lane.queue.drain(..taken.min(lane.queue.len())) {
                self.bytes -= body.len() + KEPT_FRAME_BYTES;
            }
            lane.taken = *count;
            lane.sent = if first { 0 } else { lane.sent - taken };
        }
        Ok(())
    }

    /// The next frame of a lane that is to be handed to the present link.
    pub(super) fn next_frame(&self, lane: usize) -> Option<(u16, &Bytes)> {
        let lane = self.lanes.get(lane).filter(|_| self.is_open())?;
        lane.queue.get(lane.sent).map(|(shard, body)| (*shard, body))
    }

    /// The link has taken it.
    pub(super) fn handle_sent(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.sent += 1;
            lane.ever = lane.ever.max(lane.taken + lane.sent as u64);
        }
    }

    /// Whether the other side listens.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open(_))
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Frames and bytes.
    pub(super) fn kept(&self) -> (usize, usize) {
        let frames: usize = self.lanes.iter().map(|lane| lane.queue.len()).sum();
        (frames + self.early.len(), self.bytes)
    }

    pub(super) fn end(&self) -> Option<ChannelError> {
        self.end
    }
}

/// How much was taken from another process.
#[derive(Debug, Default)]
pub(super) struct Taken {
    link: Option<u64>,
    lanes: Vec<u64>,
    /// Taken since it was last told.
    untold_frames: usize,
    untold_bytes: usize,
}

impl Taken {
    /// A link stands. This process reads as many lanes on each.
    pub(super) fn handle_link(&mut self, link: u64, lanes: usize) -> Result<(), Broken> {
        if self.lanes.is_empty() {
            self.lanes.resize(lanes, 0);
        }
        if self.lanes.len() != lanes {
            return Err(Broken);
        }
        self.link = Some(link);
        Ok(())
    }

    pub(super) fn handle_down(&mut self, link: u64) {
        if self.link == Some(link) {
            self.link = None;
        }
    }

    /// Nothing is taken any more.
    pub(super) fn handle_end(&mut self) {
        self.link = None;
    }

    /// A frame came over a link. `None` if it does not count; true when it is time to tell.
    pub(super) fn handle_frame(&mut self, link: u64, shard: u16, bytes: usize) -> Option<bool> {
        if self.link != Some(link) {
            return None;
        }
        let lane = lane_of(shard, self.lanes.len());
        *self.lanes.get_mut(lane)? += 1;
        self.untold_frames += 1;
        self.untold_bytes += bytes;
        let frames = self.untold_frames >= TAKEN_FRAMES_UNTOLD;
        Some(frames || self.untold_bytes >= TAKEN_BYTES_UNTOLD)
    }

    /// What is to be told over a link: `all` of it, when the link is new, or what was not told.
    pub(super) fn counts(&self, link: u64, all: bool) -> Option<&[u64]> {
        let told = self.link == Some(link) && (all || self.untold_frames > 0);
        told.then_some(&self.lanes)
    }

    pub(super) fn handle_told(&mut self) {
        (self.untold_frames, self.untold_bytes) = (0, 0);
    }
}

/// What has been said on one link before anything else.
#[derive(Debug, Default)]
pub(super) struct Talk {
    said: bool,
    heard: Option<NodeId>,
    /// What the other side said it has taken before this side knew whether to listen to it.
    taken: Option<Vec<u64>>,
    /// The link serves a channel, or nothing any more.
    settled: bool,
}

impl Talk {
    /// This process knows who it is. True if it is to say so.
    pub(super) fn handle_me(&mut self) -> bool {
        !std::mem::replace(&mut self.said, true)
    }

    /// The other process says who it is: once.
    pub(super) fn handle_hello(&mut self, node: NodeId) -> Result<(), Broken> {
        if self.heard.replace(node).is_some() { Err(Broken) } else { Ok(()) }
    }

    /// The other side says what it has taken, and the link does not serve a channel.
    pub(super) fn handle_taken(&mut self, counts: Vec<u64>) -> Result<(), Broken> {
        self.taken = Some(counts);
        self.heard.map(|_| ()).ok_or(Broken)
    }

    /// Whose channel the link is to serve, when both have said who they are.
    pub(super) fn asks(&self) -> Option<NodeId> {
        self.heard.filter(|_| self.said && !self.settled)
    }

    /// The link serves that channel, or has ended. Gives what the other side said before.
    pub(super) fn handle_settled(&mut self) -> Option<Vec<u64>> {
        self.settled = true;
        self.taken.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::CONTROL;

    fn kept(channel_bytes: usize) -> Kept {
        Kept::new(Limits { channel_bytes, body_bytes: 100 })
    }

    fn body(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// Hands up to `most` frames of a lane to the link.
    fn send(kept: &mut Kept, lane: usize, most: usize) -> Vec<Bytes> {
        let mut out = Vec::new();
        while out.len() < most
            && let Some((_, body)) = kept.next_frame(lane)
        {
            out.push(body.clone());
            kept.handle_sent(lane);
        }
        out
    }

    #[test]
    fn frames_are_kept_until_they_are_taken_and_sent_again_over_a_new_link() {
        let mut kept = kept(10_000);
        // Before the first link nobody knows the lanes.
        for (shard, text) in [(3, "a"), (4, "b"), (3, "c"), (CONTROL, "d")] {
            kept.handle_send(shard, body(text)).unwrap();
        }
        kept.handle_link(1, 3).unwrap();
        assert!(send(&mut kept, 2, 9).is_empty(), "nothing before the other side has spoken");
        kept.handle_taken(1, &[0, 0, 0]).unwrap();
        assert_eq!(send(&mut kept, 0, 9), ["d"]);
        assert_eq!(send(&mut kept, 1, 9), ["b"]);
        assert_eq!(send(&mut kept, 2, 1), ["a"], "the link has no room for more");
        assert_eq!(kept.handle_send(5, body("e")), Ok(2));
        assert_eq!(send(&mut kept, 2, 9), ["c", "e"]);
        kept.handle_taken(1, &[1, 0, 1]).unwrap();
        assert_eq!(kept.kept(), (3, 3 * (1 + KEPT_FRAME_BYTES)));
        kept.handle_down(1);
        kept.handle_send(3, body("f")).unwrap();
        kept.handle_link(2, 3).unwrap();
        assert_eq!(kept.handle_taken(1, &[1, 1, 4]), Ok(()), "of a link that is gone");
        assert!(send(&mut kept, 2, 9).is_empty());
        // One more was taken before the link broke than was told.
        kept.handle_taken(2, &[1, 1, 2]).unwrap();
        assert_eq!(send(&mut kept, 2, 9), ["e", "f"]);
        kept.handle_taken(2, &[1, 1, 4]).unwrap();
        assert_eq!(kept.kept(), (0, 0));
        kept.handle_down(1);
        assert!(kept.is_open(), "the end of an earlier link");
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        let mut kept = kept(10_000);
        for _ in 0..4 {
            kept.handle_send(1, body("x")).unwrap();
        }
        kept.handle_link(1, 2).unwrap();
        assert_eq!(kept.handle_taken(1, &[0]), Err(Broken), "a lane is missing");
        assert_eq!(kept.handle_taken(1, &[0, 1]), Err(Broken), "nothing was sent");
        kept.handle_link(2, 2).unwrap();
        kept.handle_taken(2, &[0, 0]).unwrap();
        assert_eq!(send(&mut kept, 1, 3).len(), 3);
        assert_eq!(kept.handle_taken(2, &[0, 4]), Err(Broken), "beyond");
        kept.handle_taken(2, &[0, 2]).unwrap();
        assert_eq!(kept.handle_taken(2, &[0, 1]), Err(Broken), "back");
        kept.handle_link(3, 2).unwrap();
        kept.handle_taken(3, &[0, 2]).unwrap();
        assert_eq!(kept.handle_taken(3, &[0, 3]), Err(Broken), "it was not sent on this link");
        assert_eq!(kept.handle_link(4, 3), Err(Broken), "a process keeps its lanes");
    }

    #[test]
    fn a_channel_that_runs_over_is_broken_for_good() {
        let each = 10 + KEPT_FRAME_BYTES;
        let mut kept = kept(3 * each);
        for _ in 0..3 {
            kept.handle_send(1, Bytes::from(vec![0; 10])).unwrap();
        }
        assert_eq!(kept.kept(), (3, 3 * each), "to the last byte");
        assert_eq!(kept.handle_send(1, Bytes::new()), Err(ChannelError::Full));
        assert_eq!(kept.kept(), (0, 0));
        assert_eq!(kept.handle_send(1, Bytes::new()), Err(ChannelError::Full));
        kept.handle_link(1, 2).unwrap();
        kept.handle_taken(1, &[0, 0]).unwrap();
        assert!(send(&mut kept, 1, 9).is_empty());
        kept.handle_end(ChannelError::Gone);
        assert_eq!(kept.handle_send(1, Bytes::new()), Err(ChannelError::Gone));
    }

    #[test]
    fn the_longest_body_is_taken_and_no_longer_one() {
        let mut kept = kept(10_000);
        kept.handle_send(1, Bytes::from(vec![0; 100])).unwrap();
        let longer = kept.handle_send(1, Bytes::from(vec![0; 101]));
        assert_eq!(longer, Err(ChannelError::TooLong));
        assert_eq!(kept.handle_send(1, Bytes::new()), Ok(0), "and the channel goes on");
    }

    #[test]
    fn what_was_taken_is_told_by_count_and_by_bytes() {
        let mut taken = Taken::default();
        assert_eq!(taken.handle_frame(1, 1, 1), None, "there is no link");
        taken.handle_link(1, 3).unwrap();
        assert_eq!(taken.counts(1, false), None);
        assert_eq!(taken.counts(1, true), Some(&[0, 0, 0][..]));
        for _ in 1..TAKEN_FRAMES_UNTOLD {
            assert_eq!(taken.handle_frame(1, 1, 1), Some(false));
        }
        assert_eq!(taken.handle_frame(1, CONTROL, 1), Some(true));
        let many = TAKEN_FRAMES_UNTOLD as u64 - 1;
        assert_eq!(taken.counts(1, false), Some(&[1, 0, many][..]));
        taken.handle_told();
        assert_eq!(taken.counts(1, false), None);
        assert_eq!(taken.handle_frame(1, 0, TAKEN_BYTES_UNTOLD - 1), Some(false));
        assert_eq!(taken.handle_frame(1, 0, 1), Some(true));
        taken.handle_link(2, 3).unwrap();
        assert_eq!(taken.handle_frame(1, 0, 1), None, "of the link before");
        assert_eq!(taken.counts(1, true), None);
        taken.handle_down(1);
        assert_eq!(taken.counts(2, true), Some(&[1, 2, many][..]));
        assert_eq!(taken.handle_link(3, 2), Err(Broken));
        taken.handle_end();
        assert_eq!(taken.handle_frame(2, 0, 1), None);
    }

    #[test]
    fn a_link_serves_a_channel_when_both_have_spoken() {
        let node = NodeId { number: 1, incarnation: 1 };
        for me_first in [true, false] {
            let mut talk = Talk::default();
            if me_first {
                assert!(talk.handle_me());
            } else {
                talk.handle_hello(node).unwrap();
            }
            assert_eq!(talk.asks(), None);
            if me_first {
                talk.handle_hello(node).unwrap();
            } else {
                assert!(talk.handle_me());
            }
            assert_eq!(talk.asks(), Some(node));
            assert!(!talk.handle_me(), "said once");
            assert_eq!(talk.handle_hello(node), Err(Broken));
            talk.handle_taken(vec![1]).unwrap();
            talk.handle_taken(vec![2]).unwrap();
            assert_eq!(talk.handle_settled(), Some(vec![2]));
            assert_eq!(talk.asks(), None);
        }
        assert_eq!(Talk::default().handle_taken(vec![1]), Err(Broken), "who says so?");
    }
}
