//! What is done when, and how long the rest of it will take.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Compare;
use super::case::Group;
use super::turn::{Step, Turn};
use crate::server::Kind;

/// All steps, in order.
pub(super) struct Plan<'a> {
    steps: Vec<Step<'a>>,
    at: usize,
    begun: Instant,
    /// How long a step took, by what it is.
    took: HashMap<String, Duration>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        compare: &'a Compare,
        groups: &'a [Group],
        servers: &'a [(Kind, String)],
    ) -> Self {
        let mut steps = Vec::new();
        for round in 1..=usize::try_from(compare.rounds).unwrap_or(1) {
            for group in groups.iter().filter(|group| round <= group.rounds) {
                // Every other round goes the other way: what drifts on the machine hits all alike.
                let mut order: Vec<&(Kind, String)> =
                    servers.iter().filter(|(kind, _)| group.is_for(*kind)).collect();
                if round.is_multiple_of(2) {
                    order.reverse();
                }
                steps.extend(of_group(group, &order, round));
            }
        }
        Self { steps, at: 0, begun: Instant::now(), took: HashMap::new() }
    }

    /// The next step; it begins.
    pub(super) fn next(&mut self) -> Option<&Step<'a>> {
        self.begun = Instant::now();
        self.steps.get(self.at)
    }

    /// The step that had begun is done.
    pub(super) fn done(&mut self) {
        if let Some(step) = self.steps.get(self.at) {
            self.took.insert(step.name(), self.begun.elapsed());
            self.at += 1;
        }
    }

    /// How far it is, and what time is left: as long as the same things took in an earlier round,
    /// or as their sizes say.
    pub(super) fn left(&self) -> String {
        let rest = self.steps.iter().skip(self.at);
        let of = |step: &Step<'_>| self.took.get(&step.name()).copied().unwrap_or(step.expected());
        let left = minutes(rest.map(of).sum());
        format!("-- {} of {} steps done, about {left} left", self.at, self.steps.len())
    }
}

fn of_group<'a>(group: &'a Group, order: &[&'a (Kind, String)], round: usize) -> Vec<Step<'a>> {
    let turn = |(kind, version): &'a (Kind, String), cases| Turn {
        group,
        kind: *kind,
        version,
        round,
        cases,
    };
    if group.together {
        let turns = order.iter().flat_map(|server| {
            (0..group.cases.len()).map(|case| turn(server, case..case + 1)).collect::<Vec<_>>()
        });
        return vec![Step { turns: turns.collect() }];
    }
    let all = 0..group.cases.len();
    order.iter().map(|server| Step { turns: vec![turn(server, all.clone())] }).collect()
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::compare::case;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        compare: Compare,
    }

    #[test]
    fn rounds_alternate_and_memory_is_seen_once() {
        let compare = Line::parse_from(["x", "--goals", "--rounds", "2"]).compare;
        let groups = case::groups(&compare);
        let servers = [Kind::Carillon, Kind::Prosody, Kind::Relay].map(|it| (it, String::new()));
        let plan = Plan::new(&compare, &groups, &servers);
        let names: Vec<String> = plan.steps.iter().map(Step::name).collect();
        assert_eq!(names.iter().filter(|name| name.starts_with("idle")).count(), 1);
        let chats: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("chat ")).collect();
        assert_eq!(chats, ["carillon", "prosody", "relay", "relay", "prosody", "carillon"]);
        assert_eq!(plan.steps[0].turns.len(), 4, "two servers at rest, with and without TLS");
    }

    #[test]
    fn the_time_left_falls() {
        let compare = Line::parse_from(["x", "--cases", "chat-plain", "--rounds", "2"]).compare;
        let groups = case::groups(&compare);
        let servers = [(Kind::Carillon, String::new())];
        let mut plan = Plan::new(&compare, &groups, &servers);
        assert!(plan.left().starts_with("-- 0 of 2 steps done, about "));
        assert!(plan.next().is_some());
        plan.done();
        assert_eq!(plan.left(), "-- 1 of 2 steps done, about 0 s left");
        assert!(plan.next().is_some());
        plan.done();
        assert!(plan.next().is_none());
        assert_eq!(minutes(Duration::from_secs(121)), "3 min");
    }
}
