//! What goes wrong, and how it is healed.

use peer::NodeId;
use session::worker::Input;

use super::plan::{Fault, SECOND};
use super::queue::{End, Event, Proc};
use super::store::name;
use super::{PLACES, World, bomb};
use crate::invariants::Checked;

impl World {
    /// Something goes wrong, and something will again.
    pub(crate) fn fault(&mut self) {
        if self.healed {
            return;
        }
        let again = self.now + self.rng.about(self.plan.fault_every_us);
        self.queue.put(again, Event::Fault);
        let Some(fault) = self.rng.pick(&self.plan.faults) else { return };
        self.note(|| format!("FAULT {fault:?}"));
        let here = !matches!(fault, Fault::Jump | Fault::Panic | Fault::Outage);
        if self.options.cluster && here {
            return self.cluster_fault(fault);
        }
        let place = self.rng.below(u64::from(PLACES)) as u32;
        let edge = self.rng.below(self.edges.len() as u64) as usize;
        match fault {
            Fault::EdgeLink => self.break_edge_link(edge, place),
            Fault::WorkerLink => self.break_worker_link(),
            Fault::Kill => self.kill_place(place),
            Fault::KillAll => {
                (0..PLACES).for_each(|place| self.kill_place(place));
                (0..self.edges.len()).for_each(|edge| self.kill_edge(edge));
            }
            Fault::Stop => self.stop(place),
            Fault::TakeOver => self.take_over(place),
            Fault::KillEdge => self.kill_edge(edge),
            Fault::Jump => {
                let by = self.rng.below(self.plan.jump_us);
                self.jumped += by;
                self.note(|| format!("all clocks jump by {by} us"));
                let all: Vec<Proc> = self.nodes.keys().copied().collect();
                all.into_iter().for_each(|proc| self.queue.put(self.now, Event::Run(proc)));
            }
            Fault::Away | Fault::KillBoth | Fault::Move | Fault::Stall | Fault::Halt => {}
            Fault::Panic => bomb::arm(Some(self.rng.below(12))),
            Fault::Outage => {
                self.outage = true;
                let at = self.now + self.rng.about(SECOND);
                self.queue.put(at, Event::Store);
            }
        }
    }

    fn break_edge_link(&mut self, edge: usize, place: u32) {
        let Some(worker) = self.edges[edge].views[place as usize] else { return };
        self.note(|| format!("the link of edge {edge} to {} breaks", name(worker)));
        self.links.cut(End::Edge(edge), End::Worker(worker));
        let id: NodeId = self.edges[edge].id;
        self.tell(worker, Input::Gone(id));
        self.edge_lost_worker(edge, worker);
        let at = self.now + self.rng.about(SECOND);
        self.queue.put(at, Event::Link(End::Edge(edge), End::Worker(worker)));
    }

    fn break_worker_link(&mut self) {
        if let [Some(a), Some(b)] = self.present {
            let (a, b) = (End::Worker(a), End::Worker(b));
            self.links.cut(a, b);
            let at = self.now + self.rng.about(2 * SECOND);
            self.queue.put(at, Event::Link(a, b));
        }
    }

    fn kill_place(&mut self, place: u32) {
        if let Some(proc) = self.present[place as usize] {
            self.kill(proc, "is killed");
            let at = self.now + self.rng.about(SECOND);
            self.queue.put(at, Event::Start(place));
        }
    }

    fn stop(&mut self, place: u32) {
        let Some(proc) = self.present[place as usize] else { return };
        let Some(node) = self.nodes.get_mut(&proc) else { return };
        if std::mem::replace(&mut node.stopping, true) {
            return;
        }
        self.note(|| format!("{} is told to stop", name(proc)));
        self.tell(proc, Input::Stop);
        // A stop that takes too long is cut short.
        self.queue.put(self.now + 12 * SECOND, Event::Drop(proc));
        self.queue.put(self.now + 13 * SECOND, Event::Start(place));
    }

    /// A new worker starts; the old one goes on until it is dropped or fenced.
    fn take_over(&mut self, place: u32) {
        let Some(old) = self.present[place as usize] else { return };
        let many = self.nodes.keys().filter(|proc| proc.number == place).count() > 2;
        let stopping = self.nodes.get(&old).is_some_and(|node| node.stopping);
        if many || stopping {
            return;
        }
        self.launch(place);
        let at = self.now + self.rng.about(4 * SECOND);
        self.queue.put(at, Event::Drop(old));
    }

    /// All is well from now on.
    pub(crate) fn heal(&mut self) -> Checked {
        self.note(|| "all is healed".to_owned());
        self.healed = true;
        bomb::arm(None);
        self.outage = false;
        self.links.mend_all();
        if self.options.cluster {
            self.heal_cluster();
            return Ok(());
        }
        self.edges.iter_mut().for_each(|edge| edge.up = true);
        let stale: Vec<Proc> = self
            .nodes
            .keys()
            .copied()
            .filter(|proc| !self.present.contains(&Some(*proc)))
            .collect();
        stale.into_iter().for_each(|proc| self.kill(proc, "is dropped"));
        for place in 0..PLACES {
            self.start(place);
            self.announce(place);
        }
        Ok(())
    }
}
