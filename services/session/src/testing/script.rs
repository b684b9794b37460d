//! Dialogues: see the module's documentation for their form.

use std::panic::{AssertUnwindSafe, catch_unwind};

use xmpp::error::StreamCondition;
use xmpp::stanza::Stanza;
use xmpp::xml::Tree;

use super::client::Happened;
use super::order::Order;
use super::pattern::{Names, matches};
use super::server::Server;
use crate::module::Module;

/// The ways in which each dialogue is held.
const WAYS: [(u16, Order); 5] = [
    (1, Order::Prompt),
    (3, Order::Prompt),
    (1, Order::LateStore),
    (2, Order::LateStore),
    (2, Order::Random(7)),
];

/// Holds all dialogues of a text with a server that has these modules.
///
/// # Panics
/// Where something else comes than a dialogue says, with the line.
pub fn play(modules: &'static [&'static dyn Module], text: &str) {
    let text = format!("\n{text}");
    let (mut held, mut failed) = (0, 0);
    for dialogue in text.split("\n## ").skip(1) {
        let (title, lines) = dialogue.split_once('\n').expect("a dialogue after its title");
        for (workers, order) in WAYS {
            let server = Server::new(modules, workers, order);
            let way = format!("{title} ({workers} workers, {order:?})");
            let one = Dialogue { server, names: Names::new(), way, line: String::new() };
            if catch_unwind(AssertUnwindSafe(|| one.hold(lines))).is_err() {
                // What it says in the other ways is most likely the same.
                failed += 1;
                break;
            }
        }
        held += 1;
    }
    assert!(held > 0, "no dialogue in the text");
    assert!(failed == 0, "{failed} of {held} dialogues took another turn");
}

struct Dialogue {
    server: Server,
    names: Names,
    way: String,
    line: String,
}

impl Dialogue {
    fn hold(mut self, text: &str) {
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            match line.strip_prefix("   ") {
                Some(more) => lines.last_mut().expect("a line to go on with").push_str(more.trim()),
                None if line.trim().is_empty() => {}
                None => lines.push(line.trim().to_owned()),
            }
        }
        for line in lines {
            self.line = line.clone();
            match line.strip_prefix("given ") {
                Some(given) => {
                    self.given(given);
                    self.server.run();
                    for (_, client) in self.server.clients() {
                        client.happened.clear();
                    }
                }
                None => self.does(&line),
            }
        }
        self.line = "(the end)".into();
        let left: Vec<(String, Vec<Happened>)> =
            self.server.clients().map(|(name, client)| (name.clone(), client.look())).collect();
        for (name, left) in left {
            self.check(left.is_empty(), || {
                format!("{name} got what is not in it: {}", list(&left))
            });
        }
    }

    fn check(&self, holds: bool, why: impl FnOnce() -> String) {
        assert!(holds, "\n## {}\n{}\n-> {}\n", self.way, self.line, why());
    }

    fn given(&mut self, given: &str) {
        if given.contains(' ') && !given.contains(", ") {
            return match given.split_once(" and ") {
                Some((one, other)) => {
                    self.befriend(one, other.trim_end_matches(" are friends"));
                }
                None if given.starts_with("no archive") => {
                    self.server.configure(|config| config.archive = false);
                }
                None => self.does(given),
            };
        }
        for name in given.split(", ") {
            self.server.add(name);
        }
    }

    /// Two accounts see each other's presence.
    fn befriend(&mut self, one: &str, other: &str) {
        for name in [one, other] {
            self.server.login(&format!("{name}/friendship"));
        }
        for (from, to) in [(one, other), (other, one)] {
            for kind in ["subscribe", "subscribed"] {
                let xml = format!("<presence to='{to}@a' type='{kind}'/>");
                self.server.send(&format!("{from}/friendship"), &xml);
                self.server.run();
            }
        }
        for name in [one, other] {
            self.server.send(
                &format!("{name}/friendship"),
                &format!(
                    "<presence to='{}@a' type='subscribed'/>",
                    if name == one { other } else { one }
                ),
            );
            self.server.run();
            self.server.close(&format!("{name}/friendship"));
        }
    }

    fn does(&mut self, line: &str) {
        match line {
            "the server is killed" => return self.server.kill(),
            "the server stops and starts" => return self.server.stop(),
            _ => {}
        }
        if let Some(time) = line.strip_prefix("time passes ") {
            return self.server.pass(microseconds(time));
        }
        let (who, verb) = line.split_once(' ').unwrap_or_else(|| panic!("what is {line:?}?"));
        let (verb, rest) = verb.split_once(' ').unwrap_or((verb, ""));
        match verb {
            "logs" => self.logs_in(who, rest),
            "binds" => self.server.bind_bound(who),
            "sends" => {
                let xml = self.named(rest);
                self.server.send(who, &xml);
                self.server.run();
            }
            "gets" => self.gets(who, rest),
            "confirms" => self.server.client(who).confirms = !rest.starts_with("nothing"),
            "hears" => self.server.client(who).deaf = rest.starts_with("nothing"),
            "is" if rest == "cut off" => {
                let client = self.server.client(who);
                (client.deaf, client.mute) = (true, true);
            }
            "loses" => {
                self.server.lose(who);
                self.server.run();
            }
            "closes" => self.server.close(who),
            "resumes" => self.resumes(who, rest),
            "forgets" => {
                let unconfirmed = self.server.client(who).unconfirmed.clone();
                self.server.resume(who);
                let client = self.server.client(who);
                client.happened.clear();
                client.unconfirmed = unconfirmed;
                self.server.login_instead(who);
            }
            _ => panic!("what is {line:?}?"),
        }
    }

    /// `logs in`: with stream management and presence. `logs in without presence`, `logs in as 5`:
    /// with that priority.
    fn logs_in(&mut self, who: &str, how: &str) {
        self.server.login(who);
        match how.strip_prefix("in") {
            Some(" without presence") => {}
            Some("") => self.server.send(who, "<presence/>"),
            Some(as_priority) => {
                let priority = as_priority.trim_start_matches(" as ");
                let xml = format!("<presence><priority>{priority}</priority></presence>");
                self.server.send(who, &xml);
            }
            None => panic!("how does {who} log {how}?"),
        }
        self.server.run();
    }

    /// `resumes`: it must work. `resumes in vain`, `resumes in vain with h 3`: it must not, and the
    /// client logs in instead, sending again what is not confirmed.
    fn resumes(&mut self, who: &str, how: &str) {
        self.server.resume(who);
        let client = self.server.client(who);
        let at = client.happened.iter().position(|happened| {
            matches!(happened, Happened::Resumed(_) | Happened::NotResumed(..))
        });
        let answer = at.and_then(|at| client.happened.remove(at));
        let found = match &answer {
            Some(Happened::Resumed(_)) => String::new(),
            Some(Happened::NotResumed(_, None)) => "in vain".to_owned(),
            Some(Happened::NotResumed(_, Some(h))) => format!("in vain with h {h}"),
            other => format!("{other:?}"),
        };
        self.check(found == how, || format!("found {found:?}"));
        if found.starts_with("in vain") {
            self.server.login_instead(who);
        }
    }

    fn gets(&mut self, who: &str, what: &str) {
        let client = self.server.client(who);
        if what == "nothing" {
            let got: Vec<Happened> = client.look();
            return self.check(got.is_empty(), || format!("got {}", list(&got)));
        }
        let got = client.happened.pop_front();
        if let Some(condition) = what.strip_prefix("stream error ") {
            let condition = StreamCondition::from_name(condition).expect("a condition");
            let closed = matches!(&got, Some(Happened::Closed(why)) if *why == condition);
            return self.check(closed, || format!("got {got:?}"));
        }
        let Some(Happened::Stanza(stanza)) = got else {
            return self.check(false, || format!("got {got:?}"));
        };
        if let Some(condition) = what.strip_prefix("error ") {
            let found = condition_of(&stanza);
            return self.check(found.as_deref() == Some(condition), || show(&stanza));
        }
        let result = matches(what, &stanza, &mut self.names);
        self.check(result.is_ok(), || format!("{}\n   {}", result.unwrap_err(), show(&stanza)));
    }

    /// Puts in what names stand for.
    fn named(&self, xml: &str) -> String {
        let mut xml = xml.to_owned();
        for (name, value) in &self.names {
            xml = xml.replace(&format!("{{{name}}}"), value);
        }
        xml
    }
}

fn microseconds(time: &str) -> u64 {
    let (number, unit) = time.split_once(' ').expect("a number and a unit");
    let number: u64 = number.parse().expect("a number");
    match unit {
        "ms" => number * 1000,
        "s" => number * 1_000_000,
        "min" => number * 60_000_000,
        "h" => number * 3_600_000_000,
        "d" => number * 86_400_000_000,
        _ => panic!("what is {time:?}?"),
    }
}

/// The name of the condition of an error.
fn condition_of(stanza: &Stanza) -> Option<String> {
    let mut bytes = Vec::new();
    stanza.write(&mut bytes);
    let tree = Tree::parse(&bytes).ok()?;
    let root = tree.root();
    if root.attr("type") != Some("error") {
        return None;
    }
    let error = root.children().find(|child| child.name() == "error")?;
    error.children().next().map(|condition| condition.name().to_owned())
}

fn show(stanza: &Stanza) -> String {
    let mut bytes = Vec::new();
    stanza.write(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn list(all: &[Happened]) -> String {
    let one = |happened: &Happened| match happened {
        Happened::Stanza(stanza) => format!("\n   {}", show(stanza)),
        other => format!("\n   {other:?}"),
    };
    all.iter().map(one).collect()
}
