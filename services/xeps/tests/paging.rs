//! Whatever was said when, and however it is asked for: pages of any size, in both directions, with
//! one contact or all, give the same list, with nothing left out and nothing twice.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on should stop")]

use proptest::prelude::*;
use session::testing::{Happened, Order, Server};
use xmpp::xml::{Node, Tree};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Alice writes to one of her contacts.
    Writes(usize),
    /// One of them writes to her.
    Hears(usize),
    /// A message that is not archived, though it may wait.
    OffTheRecord(usize),
    /// Alice writes herself a note.
    Notes,
    /// Time passes, in milliseconds.
    Waits(u32),
    /// The server is stopped and started.
    Stops,
}

const CONTACTS: [&str; 3] = ["bob", "carol", "dan"];

fn step() -> impl Strategy<Value = Step> {
    let contact = 0..CONTACTS.len();
    prop_oneof![
        8 => contact.clone().prop_map(Step::Writes),
        8 => contact.clone().prop_map(Step::Hears),
        2 => contact.prop_map(Step::OffTheRecord),
        1 => Just(Step::Notes),
        // Mostly moments, sometimes days.
        3 => (0..50_000u32).prop_map(Step::Waits),
        1 => (0..300_000_000u32).prop_map(Step::Waits),
    ]
}

/// A message that must be in the archive: with whom, and what it says.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    with: String,
    body: String,
}

struct World {
    server: Server,
    said: Vec<Said>,
    count: usize,
}

impl World {
    fn new(order: Order) -> Self {
        let mut server = Server::new(xeps::LIST, 2, order);
        for name in ["alice"].into_iter().chain(CONTACTS) {
            server.add(name);
            server.login(&format!("{name}/x"));
            server.send(&format!("{name}/x"), "<presence/>");
        }
        server.run();
        Self { server, said: Vec::new(), count: 0 }
    }

    fn happens(&mut self, step: Step) {
        self.count += 1;
        let body = self.count.to_string();
        let mut archived = |with: &str| {
            self.said.push(Said { with: with.to_owned(), body: body.clone() });
        };
        let message = |to: &str, more: &str| {
            format!("<message to='{to}@a' type='chat'><body>{body}</body>{more}</message>")
        };
        match step {
            Step::Writes(contact) => {
                archived(CONTACTS[contact]);
                self.server.send("alice/x", &message(CONTACTS[contact], ""));
            }
            Step::Hears(contact) => {
                archived(CONTACTS[contact]);
                self.server.send(&format!("{}/x", CONTACTS[contact]), &message("alice", ""));
            }
            Step::OffTheRecord(contact) => {
                let hint = "<no-permanent-store xmlns='urn:xmpp:hints'/>";
                self.server.send(&format!("{}/x", CONTACTS[contact]), &message("alice", hint));
            }
            Step::Notes => {
                archived("alice");
                self.server.send("alice/x", &message("alice", ""));
            }
            Step::Waits(ms) => self.server.pass(u64::from(ms) * 1000),
            Step::Stops => {
                self.server.stop();
                for name in ["alice"].into_iter().chain(CONTACTS) {
                    self.server.resume(&format!("{name}/x"));
                }
            }
        }
        self.server.run();
        // Longer than a session waits: log in again.
        for name in ["alice"].into_iter().chain(CONTACTS) {
            let _ = self.server.client(&format!("{name}/x")).look();
        }
    }

    /// One page: ids and bodies in the order in which they came, and whether it is the last.
    fn page(&mut self, with: Option<&str>, set: &str) -> (Vec<(String, String)>, bool) {
        let with = with.map_or(String::new(), |with| {
            format!("<field var='with'><value>{with}@a</value></field>")
        });
        let query = format!(
            "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' \
             type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>{with}</x>\
             <set xmlns='http://jabber.org/protocol/rsm'>{set}</set></query></iq>"
        );
        self.server.send("alice/x", &query);
        self.server.run();
        let mut messages = Vec::new();
        for happened in self.server.client("alice/x").look() {
            let Happened::Stanza(stanza) = happened else { panic!("{happened:?}") };
            let mut bytes = Vec::new();
            stanza.write(&mut bytes);
            let tree = Tree::parse(&bytes).expect("XML");
            if let Some(fin) = tree.root().child("fin", "urn:xmpp:mam:2") {
                check_ends(fin, &messages);
                return (messages, fin.attr("complete") == Some("true"));
            }
            let Some(result) = tree.root().child("result", "urn:xmpp:mam:2") else {
                panic!("{tree:?}")
            };
            let id = result.attr("id").expect("an id").to_owned();
            messages.push((id, body(result).expect("a body")));
        }
        panic!("no answer");
    }

    /// All pages of this size, joined; oldest first.
    fn all(&mut self, with: Option<&str>, size: usize, backwards: bool) -> Vec<String> {
        let mut joined: Vec<(String, String)> = Vec::new();
        let mut set = if backwards { "<before/>".to_owned() } else { String::new() };
        loop {
            let (page, complete) = self.page(with, &format!("<max>{size}</max>{set}"));
            assert!(page.len() <= size);
            assert!(complete || !page.is_empty(), "an empty page that is not the last");
            if backwards {
                let first = page.first().cloned();
                joined.splice(0..0, page);
                set = first.map_or(set, |(id, _)| format!("<before>{id}</before>"));
            } else {
                let last = page.last().cloned();
                joined.extend(page);
                set = last.map_or(set, |(id, _)| format!("<after>{id}</after>"));
            }
            if complete {
                break;
            }
        }
        assert!(joined.is_sorted_by(|a, b| a.0 < b.0), "out of order");
        joined.into_iter().map(|(_, body)| body).collect()
    }
}

/// `<first/>` and `<last/>` are those of the page.
fn check_ends(fin: Node<'_>, messages: &[(String, String)]) {
    let rsm = "http://jabber.org/protocol/rsm";
    let set = fin.child("set", rsm).expect("a set");
    if let (Some(first), Some(last)) = (messages.first(), messages.last()) {
        assert_eq!(set.child_text("first", rsm).as_ref(), Some(&first.0));
        assert_eq!(set.child_text("last", rsm).as_ref(), Some(&last.0));
    }
}

fn body(result: Node<'_>) -> Option<String> {
    let forwarded = result.child("forwarded", "urn:xmpp:forward:0")?;
    forwarded.child("message", "jabber:client")?.child_text("body", "jabber:client")
}

fn check(steps: &[Step], sizes: &[usize], order: Order) {
    let mut world = World::new(order);
    for step in steps {
        world.happens(*step);
    }
    for with in [None, Some("alice")].into_iter().chain(CONTACTS.map(Some)) {
        let is_with = |said: &&Said| with.is_none_or(|with| said.with == with);
        let expected: Vec<String> =
            world.said.iter().filter(is_with).map(|said| said.body.clone()).collect();
        for size in sizes {
            for backwards in [false, true] {
                let found = world.all(with, *size, backwards);
                assert_eq!(found, expected, "with {with:?}, pages of {size}, {backwards}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_any_size_give_the_same(
        steps in proptest::collection::vec(step(), 1..120),
        sizes in proptest::collection::vec(1usize..12, 2),
        seed: u64,
    ) {
        check(&steps, &sizes, Order::Random(seed));
    }
}

#[test]
fn each_size_of_page() {
    let steps: Vec<Step> = (0..40)
        .map(|n| match n % 5 {
            0 => Step::Writes(n / 5 % 3),
            1 => Step::Hears(1),
            2 => Step::OffTheRecord(0),
            3 => Step::Waits(40_000_000),
            _ => Step::Notes,
        })
        .chain([Step::Stops, Step::Writes(2)])
        .collect();
    let sizes: Vec<usize> = (1..=27).chain([100, 1000]).collect();
    check(&steps, &sizes, Order::LateStore);
}

/// A contact who wrote now and then, among thousands of messages of another one.
#[test]
fn a_few_among_many() {
    let mut steps = vec![Step::Hears(2)];
    for _ in 0..3 {
        steps.extend([Step::Hears(0)].repeat(2000));
        steps.push(Step::Hears(2));
        steps.push(Step::Waits(90_000_000));
    }
    check(&steps, &[40], Order::Prompt);
}
