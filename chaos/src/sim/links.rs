//! Links between edges and workers: frames arrive in order and late, or are lost with the link.

use std::collections::BTreeMap;

use super::queue::End;

/// All links.
#[derive(Debug, Default)]
pub struct Links {
    links: BTreeMap<(End, End), Link>,
}

#[derive(Debug, Default)]
struct Link {
    /// Counted up with each break.
    incarnation: u64,
    down: bool,
    /// Until when nothing arrives.
    stalled: u64,
    /// When the last frame arrives, in each direction.
    last: [u64; 2],
}

fn ends(from: End, to: End) -> ((End, End), usize) {
    if from < to { ((from, to), 0) } else { ((to, from), 1) }
}

impl Links {
    /// When a frame that takes so long arrives, and on which incarnation of the link; `None` if the
    /// link is down.
    pub fn send(&mut self, from: End, to: End, now: u64, delay: u64) -> Option<(u64, u64)> {
        let (key, direction) = ends(from, to);
        let link = self.links.entry(key).or_default();
        if link.down {
            return None;
        }
        let at = (now.max(link.stalled) + delay).max(link.last[direction] + 1);
        link.last[direction] = at;
        Some((at, link.incarnation))
    }

    /// Whether a frame sent on this incarnation still arrives.
    pub fn carries(&self, from: End, to: End, incarnation: u64) -> bool {
        let (key, _) = ends(from, to);
        self.links.get(&key).is_some_and(|link| link.incarnation == incarnation && !link.down)
    }

    /// Whether a frame could be sent.
    pub fn is_up(&self, a: End, b: End) -> bool {
        self.links.get(&ends(a, b).0).is_none_or(|link| !link.down)
    }

    /// Breaks a link; it stays down until it is mended.
    pub fn cut(&mut self, a: End, b: End) {
        let (key, _) = ends(a, b);
        let link = self.links.entry(key).or_default();
        link.incarnation += 1;
        link.down = true;
    }

    /// Nothing of what is sent arrives before this time, and nothing is lost.
    pub fn stall(&mut self, a: End, b: End, until: u64) {
        let (key, _) = ends(a, b);
        let link = self.links.entry(key).or_default();
        link.stalled = link.stalled.max(until);
    }

    /// The link is whole again.
    pub fn mend(&mut self, a: End, b: End) {
        let (key, _) = ends(a, b);
        self.links.entry(key).or_default().down = false;
    }

    /// All links are whole again.
    pub fn mend_all(&mut self) {
        self.links.values_mut().for_each(|link| (link.down, link.stalled) = (false, 0));
    }

    /// An end is gone, and what is under way from and to it.
    pub fn forget(&mut self, end: End) {
        let of = self.links.iter_mut().filter(|((a, b), _)| *a == end || *b == end);
        of.for_each(|(_, link)| link.incarnation += 1);
    }
}
