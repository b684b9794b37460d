//! What is compared: cases, in groups that share a freshly started server.

use std::time::Duration;

use super::{Compare, goal};
use crate::scenario::{Chat, Idle, Login, Mam, Mixed, Presence, Resume, Roster, Scenario};
use crate::server::{Archive, Kind, Running, Seed};
use crate::target::{Target, Transport};

/// Cases that run one after the other on one server, which was started for them.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) archive: Archive,
    pub(super) cases: Vec<Case>,
    /// Only in the first so many rounds.
    pub(super) rounds: usize,
    /// Each case on each server has a server of its own, and all run at the same time: memory does
    /// not depend on what else the machine does.
    pub(super) together: bool,
}

/// One load.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) scenario: Scenario,
    transport: Transport,
    sm: bool,
    tickets: bool,
    classic: bool,
    /// The bare relay can do it.
    relay: bool,
}

impl Group {
    fn new(name: &'static str, archive: Archive, cases: Vec<Case>) -> Self {
        Self { name, archive, cases, rounds: usize::MAX, together: false }
    }

    /// Whether a server has anything to do in it. Where nothing is archived, ejabberd with one
    /// kind of archive is ejabberd with the other.
    pub(super) fn is_for(&self, kind: Kind) -> bool {
        let same = kind == Kind::EjabberdMnesia && self.archive == Archive::Off;
        !same && self.cases.iter().any(|case| case.is_for(kind))
    }
}

impl Case {
    fn new(name: &str, transport: Transport, scenario: Scenario) -> Self {
        Self {
            name: name.to_owned(),
            scenario,
            transport,
            sm: false,
            tickets: false,
            classic: false,
            relay: false,
        }
    }

    /// A peer's other way of collecting garbage is of interest where the best peer is looked for.
    pub(super) fn is_for(&self, kind: Kind) -> bool {
        match kind {
            Kind::Relay => self.relay,
            Kind::ProsodyIncremental => goal::is_about(&self.name),
            _ => true,
        }
    }

    pub(super) fn target(&self, running: &Running) -> Target {
        Target {
            sm: self.sm,
            tickets: self.tickets,
            classic: self.classic,
            ..running.target(self.transport, self.scenario.name())
        }
    }

    /// The accounts that it needs.
    pub(super) fn seed(&self, workers: usize) -> Seed {
        Seed { prefix: self.scenario.name().to_owned(), needs: self.scenario.needs(workers) }
    }

    /// How long it takes on a server of middling speed.
    pub(super) fn expected(&self) -> Duration {
        let seconds = match &self.scenario {
            Scenario::Idle(it) => {
                let steps = it.sessions.len() as u64 * it.rest;
                steps + it.sessions.last().map_or(0, |most| *most as u64 / 60)
            }
            Scenario::Login(it) => (it.logins + it.accounts) as u64 / 300,
            Scenario::Chat(it) => it.warm_up + it.seconds + 5,
            Scenario::Mixed(it) => it.seconds + 5,
            _ => 10,
        };
        Duration::from_secs(seconds)
    }
}

/// All groups, or what is left of them when only some cases were asked for.
pub(super) fn groups(compare: &Compare) -> Vec<Group> {
    let mut groups = if compare.goals { goals(compare) } else { all(compare) };
    if !compare.cases.is_empty() {
        for group in &mut groups {
            group.cases.retain(|case| compare.cases.iter().any(|part| case.name.contains(part)));
        }
        groups.retain(|group| !group.cases.is_empty());
    }
    groups
}

fn all(compare: &Compare) -> Vec<Group> {
    let mut login = logins(compare);
    login.push(presence());
    let archives = chats(compare, "archive", false);
    vec![
        idles(compare),
        Group::new("login", Archive::Off, login),
        Group::new("chat", Archive::Off, chats(compare, "chat", true)),
        Group::new("rest", Archive::NotSynced, others()),
        Group::new("archive", Archive::NotSynced, archives),
        disk(compare),
    ]
}

/// What the goals are about and nothing else.
fn goals(compare: &Compare) -> Vec<Group> {
    let mut groups = all(compare);
    for group in &mut groups {
        group.cases.retain(|case| goal::is_about(&case.name));
    }
    // Both need archives: one server does both. What leaves the most behind comes last.
    let archives = groups.iter().position(|group| group.name == "archive");
    let rest = groups.iter().position(|group| group.name == "rest");
    if let (Some(archives), Some(rest)) = (archives, rest) {
        let mut cases = std::mem::take(&mut groups[archives].cases);
        cases.reverse();
        groups[rest].cases.extend(cases);
    }
    groups.retain(|group| !group.cases.is_empty());
    groups
}

fn idles(compare: &Compare) -> Group {
    let cases = vec![idle(compare, Transport::Plain), idle(compare, Transport::Tls)];
    Group { rounds: 1, together: true, ..Group::new("idle", Archive::Off, cases) }
}

/// The saturated chat without TLS, where peers wait for the disk.
fn disk(compare: &Compare) -> Group {
    let cases = chats(compare, "disk", false).into_iter().take(1).collect();
    Group { rounds: 1, ..Group::new("disk", Archive::Synced, cases) }
}

fn idle(compare: &Compare, transport: Transport) -> Case {
    let (sessions, rest) = (compare.sessions.clone(), compare.rest);
    let scenario = Scenario::Idle(Idle { sessions, contacts: 20, rest });
    Case::new(&format!("idle-{}", transport.name()), transport, scenario)
}

fn logins(compare: &Compare) -> Vec<Case> {
    let login = |name: &str, transport, logins| {
        let login = Login { logins, accounts: 200, at_once: 32 };
        Case::new(name, transport, Scenario::Login(login))
    };
    let logins = compare.logins;
    vec![
        login("login-plain", Transport::Plain, logins),
        login("login-starttls", Transport::Starttls, logins),
        Case { classic: true, ..login("login-starttls-x25519", Transport::Starttls, logins) },
        Case { tickets: true, ..login("login-tls-tickets", Transport::Tls, logins) },
    ]
}

fn presence() -> Case {
    let presence = Presence { groups: 20, contacts: 20, times: 3 };
    Case::new("presence", Transport::Plain, Scenario::Presence(presence))
}

/// What is neither a chat nor a login. Sizes are such that the slowest peer needs a minute.
fn others() -> Vec<Case> {
    let case = |name: &str, scenario| Case::new(name, Transport::Plain, scenario);
    let roster = Roster { accounts: 20, contacts: 100, times: 50 };
    let mam = Mam { accounts: 20, messages: 200, page: 50, times: 6 };
    vec![
        case("mixed", Scenario::Mixed(Mixed { groups: 10, rate: 20, seconds: 15 })),
        case("mam", Scenario::Mam(mam)),
        case("roster", Scenario::Roster(roster)),
        case("resume", Scenario::Resume(Resume { sessions: 300, at_once: 64 })),
    ]
}

fn chats(compare: &Compare, name: &str, relay: bool) -> Vec<Case> {
    let chat = |suffix: &str, transport, rate| {
        let chat = Chat {
            pairs: compare.pairs,
            seconds: compare.seconds,
            warm_up: 3,
            rate,
            window: 64,
            burst: 8,
        };
        let case = Case::new(&format!("{name}-{suffix}"), transport, Scenario::Chat(chat));
        Case { relay, ..case }
    };
    let rate = Some(compare.rate);
    vec![
        chat("plain", Transport::Plain, None),
        chat("tls", Transport::Tls, None),
        chat("rate", Transport::Plain, rate),
        chat("rate-tls", Transport::Tls, rate),
        Case { sm: true, relay: false, ..chat("plain-0198", Transport::Plain, None) },
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        compare: Compare,
    }

    #[test]
    fn names_differ_and_choose() {
        let all = Line::parse_from(["x"]).compare;
        let mut names: Vec<String> =
            groups(&all).into_iter().flat_map(|group| group.cases).map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        let some = Line::parse_from(["x", "--cases", "login-plain,idle-tls"]).compare;
        let left = groups(&some);
        assert_eq!(left.iter().map(|group| group.cases.len()).sum::<usize>(), 2);
    }

    #[test]
    fn the_relay_only_chats_without_promises() {
        let all = Line::parse_from(["x"]).compare;
        let groups = groups(&all);
        let names: Vec<&str> =
            groups.iter().filter(|it| it.is_for(Kind::Relay)).map(|it| it.name).collect();
        assert_eq!(names, ["chat"]);
        assert!(!groups[0].is_for(Kind::EjabberdMnesia));
        assert!(groups.iter().any(|it| it.is_for(Kind::EjabberdMnesia)));
    }

    #[test]
    fn the_goals_have_all_their_cases_and_no_others() {
        let compare = Line::parse_from(["x", "--goals"]).compare;
        let groups = groups(&compare);
        let mut names: Vec<&str> =
            groups.iter().flat_map(|group| &group.cases).map(|case| case.name.as_str()).collect();
        names.sort_unstable();
        let mut wanted = goal::cases();
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        assert!(groups.iter().all(|group| group.is_for(Kind::ProsodyIncremental)));
        assert_eq!((compare.seconds, compare.logins, compare.rounds), (5, 800, 3));
        let longer = Line::parse_from(["x", "--goals", "--seconds", "9"]).compare;
        assert_eq!(longer.seconds, 9);
        assert_eq!(Line::parse_from(["x"]).compare.seconds, 15);
    }
}
