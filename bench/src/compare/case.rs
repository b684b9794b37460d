//! What is compared: cases, in groups that share a freshly started server.

use super::Compare;
use crate::scenario::{Chat, Idle, Login, Mam, Mixed, Presence, Resume, Roster, Scenario};
use crate::server::{Archive, Kind, Running};
use crate::target::{Target, Transport};

/// Cases that run one after the other on one server, which was started for them.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) archive: Archive,
    pub(super) cases: Vec<Case>,
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

    pub(super) fn is_for(&self, kind: Kind) -> bool {
        kind != Kind::Relay || self.relay
    }

    pub(super) fn target(&self, running: &Running) -> Target {
        Target {
            sm: self.sm,
            tickets: self.tickets,
            classic: self.classic,
            ..running.target(self.transport)
        }
    }
}

/// All groups, or what is left of them when only some cases were asked for.
pub(super) fn groups(compare: &Compare) -> Vec<Group> {
    let mut groups = vec![
        Group { name: "idle", archive: Archive::Off, cases: vec![idle(compare, Transport::Plain)] },
        Group {
            name: "idle-tls",
            archive: Archive::Off,
            cases: vec![idle(compare, Transport::Tls)],
        },
        Group { name: "login", archive: Archive::Off, cases: logins(compare) },
        Group { name: "chat", archive: Archive::Off, cases: chats(compare, "chat", true) },
        Group {
            name: "archive",
            archive: Archive::NotSynced,
            cases: chats(compare, "archive", false),
        },
        Group { name: "rest", archive: Archive::NotSynced, cases: others() },
        Group {
            name: "disk",
            archive: Archive::Synced,
            // The saturated chat without TLS.
            cases: chats(compare, "disk", false).into_iter().take(1).collect(),
        },
    ];
    if !compare.cases.is_empty() {
        for group in &mut groups {
            group.cases.retain(|case| compare.cases.iter().any(|part| case.name.contains(part)));
        }
        groups.retain(|group| !group.cases.is_empty());
    }
    groups
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

/// What is neither a chat nor a login. Sizes are such that the slowest peer needs a minute.
fn others() -> Vec<Case> {
    let case = |name: &str, scenario| Case::new(name, Transport::Plain, scenario);
    let presence = Presence { groups: 10, contacts: 20, times: 3 };
    let roster = Roster { accounts: 20, contacts: 100, times: 50 };
    let mam = Mam { accounts: 20, messages: 200, page: 50, times: 3 };
    vec![
        case("presence", Scenario::Presence(presence)),
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
}
