//! Two processes, and links that break at any moment, from seeds. What must hold: every frame
//! arrives once and in the order of its lane, and what is for one process reaches no other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use peer::NodeId;

use super::Limits;
use super::state::{Kept, Taken, Talk};
use super::word::Word;
use crate::link::{CONTROL, lane_of};

/// Frames that a link takes on a lane before some arrive.
const LANE_ROOM: usize = 5;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// What one side has put on a link and the other has not seen.
#[derive(Default)]
struct Wire {
    words: VecDeque<Bytes>,
    lanes: Vec<VecDeque<(u16, Bytes)>>,
}

/// One process.
struct Side {
    me: NodeId,
    lanes: usize,
    /// The link that it takes for the present one, and what was said on it.
    link: Option<(u64, Talk, Option<NodeId>)>,
    newest: u64,
    kept: BTreeMap<NodeId, Kept>,
    taken: BTreeMap<NodeId, Taken>,
    /// Processes that were declared dead.
    forgotten: BTreeSet<NodeId>,
    /// What arrived, and what was sent: for each process and lane a count.
    arrived: BTreeMap<(NodeId, usize), u32>,
    sent: BTreeMap<(NodeId, usize), u32>,
}

struct World {
    random: Random,
    sides: [Side; 2],
    /// What each side has put on each link.
    wires: BTreeMap<(u64, usize), Wire>,
    last_link: u64,
}

fn limits() -> Limits {
    Limits::default()
}

impl Side {
    fn new(me: NodeId, lanes: usize) -> Side {
        let (kept, taken) = (BTreeMap::new(), BTreeMap::new());
        let (arrived, sent) = (BTreeMap::new(), BTreeMap::new());
        let forgotten = BTreeSet::new();
        Side { me, lanes, link: None, newest: 0, kept, taken, forgotten, arrived, sent }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let node = |number| NodeId { number, incarnation: 1 };
        let sides = [1, 2].map(|number| Side::new(node(number), 1 + random.below(4)));
        World { random, sides, wires: BTreeMap::new(), last_link: 0 }
    }

    fn send(&mut self, at: usize) {
        let (lanes, to) = (self.sides[1 - at].lanes, self.sides[1 - at].me);
        let shard = if self.random.below(4) == 0 { CONTROL } else { self.random.below(9) as u16 };
        let side = &mut self.sides[at];
        let count = side.sent.entry((to, lane_of(shard, lanes))).or_default();
        // Who it is for, and its place.
        let text = format!("{} {} {count}", to.number, to.incarnation);
        *count += 1;
        let kept = side.kept.entry(to).or_insert_with(|| Kept::new(limits()));
        let lane = kept.handle_send(shard, Bytes::from(text)).unwrap();
        self.pump(at, to, lane);
    }

    fn pump(&mut self, at: usize, to: NodeId, lane: usize) {
        let side = &mut self.sides[at];
        let Some((link, _, Some(node))) = &side.link else { return };
        let (Some(kept), Some(wire)) = (side.kept.get_mut(&to), self.wires.get_mut(&(*link, at)))
        else {
            return;
        };
        if *node != to {
            return;
        }
        while let Some((shard, body)) = kept.next_frame(lane)
            && wire.lanes[lane].len() < LANE_ROOM
        {
            wire.lanes[lane].push_back((shard, body.clone()));
            kept.handle_sent(lane);
        }
    }

    /// A side gets the newest link, and knows with it that the one before is gone.
    fn come_up(&mut self, at: usize) {
        let link = self.last_link;
        if self.sides[at].newest >= link {
            return; // A link that went down does not come up again.
        }
        self.sides[at].newest = link;
        self.go_down(at);
        let lanes = self.sides[1 - at].lanes;
        let mut wire = Wire::default();
        wire.lanes.resize_with(lanes, VecDeque::new);
        let mut talk = Talk::default();
        assert!(talk.handle_me());
        wire.words.push_back(Word::Hello(self.sides[at].me).encode());
        self.wires.insert((link, at), wire);
        self.sides[at].link = Some((link, talk, None));
    }

    fn go_down(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let Some((link, _, _)) = side.link.take() else { return };
        side.kept.values_mut().for_each(|kept| kept.handle_down(link));
        side.taken.values_mut().for_each(|taken| taken.handle_down(link));
    }

    /// One word arrives, if there is one and the side still listens to the link.
    fn hear(&mut self, at: usize) {
        let Some(link) = self.sides[at].link.as_ref().map(|it| it.0) else { return };
        let wire = self.wires.get_mut(&(link, 1 - at));
        let Some(word) = wire.and_then(|wire| wire.words.pop_front()) else { return };
        let side = &mut self.sides[at];
        let Some((_, talk, node)) = &mut side.link else { return };
        match (Word::decode(word).unwrap(), *node) {
            (Word::Hello(it), _) => talk.handle_hello(it).unwrap(),
            (Word::Taken(counts), None) => talk.handle_taken(counts).unwrap(),
            (Word::Taken(counts), Some(node)) => self.taken(at, node, &counts),
            (Word::News(_), _) => unreachable!(),
        }
    }

    fn taken(&mut self, at: usize, node: NodeId, counts: &[u64]) {
        let side = &mut self.sides[at];
        let link = side.link.as_ref().unwrap().0;
        // One that was forgotten has nothing kept for it.
        let Some(kept) = side.kept.get_mut(&node) else { return };
        kept.handle_taken(link, counts).unwrap();
        (0..counts.len()).for_each(|lane| self.pump(at, node, lane));
    }

    /// The map knows the other process: the link serves its channel.
    fn advance(&mut self, at: usize) {
        let side = &mut self.sides[at];
        let Some((link, talk, node)) = &mut side.link else { return };
        let asks = talk.asks().filter(|it| !side.forgotten.contains(it));
        let Some(asks) = asks else { return };
        *node = Some(asks);
        let other_lanes = self.wires[&(*link, at)].lanes.len();
        let kept = side.kept.entry(asks).or_insert_with(|| Kept::new(limits()));
        kept.handle_link(*link, other_lanes).unwrap();
        let taken = side.taken.entry(asks).or_default();
        taken.handle_link(*link, side.lanes).unwrap();
        let said = talk.handle_settled();
        self.tell(at, true);
        if let Some(counts) = said {
            self.taken(at, asks, &counts);
        }
    }

    fn tell(&mut self, at: usize, all: bool) {
        let Some((link, _, Some(node))) = &self.sides[at].link else { return };
        let (link, node) = (*link, *node);
        let Some(taken) = self.sides[at].taken.get_mut(&node) else { return };
        let Some(counts) = taken.counts(link, all) else { return };
        let word = Word::Taken(counts.to_vec()).encode();
        taken.handle_told();
        self.wires.get_mut(&(link, at)).unwrap().words.push_back(word);
    }

    /// One frame arrives.
    fn take(&mut self, at: usize, lane: usize) {
        let Some(link) = self.sides[at].link.as_ref().map(|it| it.0) else { return };
        let wire = self.wires.get_mut(&(link, 1 - at));
        let queue = wire.and_then(|wire| wire.lanes.get_mut(lane));
        let Some((shard, body)) = queue.and_then(VecDeque::pop_front) else { return };
        let side = &mut self.sides[at];
        let from = side.link.as_ref().unwrap().2.expect("nothing before the hello");
        // From one that was forgotten nothing is taken.
        let Some(taken) = side.taken.get_mut(&from) else { return };
        let tell = taken.handle_frame(link, shard, body.len()).expect("it counts");
        let count = side.arrived.entry((from, lane)).or_default();
        let want = format!("{} {} {count}", side.me.number, side.me.incarnation);
        assert_eq!(body, want, "for this process, each once and in order");
        *count += 1;
        if tell {
            self.tell(at, false);
        }
        let me = self.sides[at].me;
        // The room that it leaves is told to who sends.
        if self.sides[1 - at].link.as_ref().is_some_and(|it| it.0 == link && it.2 == Some(me)) {
            self.pump(1 - at, me, lane);
        }
    }

    fn restart(&mut self, at: usize) {
        self.go_down(at);
        let before = &self.sides[at];
        let me = NodeId { incarnation: before.me.incarnation + 1, ..before.me };
        let lanes = 1 + self.random.below(4);
        self.sides[at] = Side::new(me, lanes);
        // No link of the process before is one of the new one's: it makes its own.
        self.last_link += 1;
        if self.random.below(2) == 0 {
            let gone = NodeId { incarnation: me.incarnation - 1, ..me };
            self.sides[1 - at].forgotten.insert(gone);
            self.sides[1 - at].kept.remove(&gone);
            self.sides[1 - at].taken.remove(&gone);
        }
    }

    fn step(&mut self) {
        let at = self.random.below(2);
        match self.random.below(200) {
            0..60 => self.send(at),
            60..120 => {
                let lane = self.random.below(self.sides[at].lanes);
                self.take(at, lane);
            }
            120..150 => self.hear(at),
            150..170 => self.advance(at),
            170..180 => self.tell(at, false),
            180..192 => self.come_up(at),
            192..194 => self.go_down(at),
            194..199 => self.last_link += 1,
            _ if self.random.below(8) == 0 => self.restart(at),
            _ => {}
        }
    }

    /// Nothing breaks any more: then everything arrives, and nothing is kept.
    fn heal(&mut self) {
        self.last_link += 1;
        for _ in 0..100_000 {
            for at in [0, 1] {
                self.come_up(at);
                self.hear(at);
                self.advance(at);
                (0..self.sides[at].lanes).for_each(|lane| self.take(at, lane));
                self.tell(at, false);
            }
            let [a, b] = &self.sides;
            let kept = |side: &Side, to| side.kept.get(&to).map_or(0, |kept| kept.kept().0);
            if kept(a, b.me) + kept(b, a.me) == 0 {
                break;
            }
        }
        for (from, to) in [(0, 1), (1, 0)] {
            let (from, to) = (&self.sides[from], &self.sides[to]);
            for ((_, lane), sent) in from.sent.iter().filter(|it| it.0.0 == to.me) {
                let arrived = to.arrived.get(&(from.me, *lane)).copied();
                assert_eq!(arrived, Some(*sent), "all that was sent on lane {lane}");
            }
            assert_eq!(from.kept.get(&to.me).map_or((0, 0), Kept::kept), (0, 0));
        }
    }
}

#[test]
fn every_frame_arrives_once_and_in_order_whatever_breaks() {
    let mut arrived = 0;
    for seed in 0..400 {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..3000 {
                world.step();
            }
            world.heal();
            world.sides.iter().flat_map(|it| it.arrived.values()).sum::<u32>()
        });
        match outcome {
            Ok(count) => arrived += count,
            Err(why) => {
                println!("the seed is {seed}");
                std::panic::resume_unwind(why);
            }
        }
    }
    assert!(arrived > 100_000, "the runs do something: {arrived}");
}
