//! What clients know: which messages they sent, which of them were acknowledged, what came and in
//! which session, what the archives hold. The judge holds two ledgers against each other.

use std::collections::BTreeSet;

/// One account's, of its messages with one partner. Messages have ids such as `anna-000012`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// The account.
    pub(crate) name: String,
    /// Messages begun: their numbers are below this.
    pub(crate) sent: u32,
    /// Those that the server has acknowledged.
    pub(crate) acked: BTreeSet<u32>,
    /// What came of the partner by itself, session by session.
    pub(crate) sessions: Vec<Vec<u32>>,
    /// What was read of the partner in the archive, after a session was lost.
    pub(crate) read: BTreeSet<u32>,
    /// The ids in its archive, in its order.
    pub(crate) archive: Vec<String>,
    /// What the client itself found wrong.
    pub(crate) wrong: Vec<String>,
    pub(crate) stats: Stats,
}

/// How its sessions went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Sockets that broke, or were given up.
    pub(crate) broken: u32,
    /// Sessions resumed.
    pub(crate) resumed: u32,
    /// Sessions lost: `<failed/>`, and a new one was bound.
    pub(crate) lost: u32,
    /// Messages sent again in a new session.
    pub(crate) again: u32,
}

/// The id of a message.
pub(crate) fn id(name: &str, number: u32) -> String {
    format!("{name}-{number:06}")
}

/// The number of a message of this account, by its id.
pub(crate) fn number(name: &str, id: &str) -> Option<u32> {
    id.strip_prefix(name)?.strip_prefix('-')?.parse().ok()
}

impl Book {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The messages of an account in its archive, in its order.
    pub(crate) fn archived(&self, of: &str) -> Vec<u32> {
        self.archive.iter().filter_map(|id| number(of, id)).collect()
    }

    /// All that it has of its partner, however it came.
    pub(crate) fn had(&self) -> BTreeSet<u32> {
        self.sessions.iter().flatten().copied().chain(self.read.iter().copied()).collect()
    }
}

/// All that is wrong, each as a sentence.
pub(crate) fn judge(one: &Book, two: &Book) -> Vec<String> {
    let mut found = one.wrong.clone();
    found.extend_from_slice(&two.wrong);
    for (from, to) in [(one, two), (two, one)] {
        let sender = &from.name;
        for keeper in [to, from] {
            let what = format!("{sender}'s messages in the archive of {}", keeper.name);
            let rows = keeper.archived(sender);
            each_once_in_order(&rows, &what, &mut found);
            let stored = rows.into_iter().collect();
            missing(&from.acked, &stored, &what, &mut found);
        }
        missing(&from.acked, &to.had(), &format!("what {} had of {sender}", to.name), &mut found);
        for (index, session) in to.sessions.iter().enumerate() {
            let what = format!("what came from {sender} in session {index} of {}", to.name);
            each_once_in_order(session, &what, &mut found);
        }
    }
    found
}

fn missing(acked: &BTreeSet<u32>, there: &BTreeSet<u32>, what: &str, found: &mut Vec<String>) {
    let lost: Vec<&u32> = acked.difference(there).collect();
    if let [first, ..] = lost[..] {
        found.push(format!("LOST: {what}: {} missing, from {first} on: {lost:?}", lost.len()));
    }
}

fn each_once_in_order(rows: &[u32], what: &str, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for row in rows {
        if !seen.insert(row) {
            found.push(format!("TWICE: {what}: {row}"));
        }
    }
    for pair in rows.windows(2).filter(|pair| pair[1] < pair[0]) {
        found.push(format!("ORDER: {what}: {} after {}", pair[1], pair[0]));
    }
}

fn spotless() -> (Book, Book) {
    let (mut anna, mut ben) = (Book::new("anna"), Book::new("ben"));
    anna.sent = 5;
    anna.acked = (0..5).collect();
    anna.archive = (0..5).map(|n| id("anna", n)).collect();
    ben.archive = anna.archive.clone();
    // Two were there when ben's session was lost, and are known by the archive.
    ben.sessions = vec![vec![0, 1], vec![4]];
    ben.read = [2, 3].into();
    (anna, ben)
}

/// The one finding of a change to books in which all is well.
fn one_finding(change: impl FnOnce(&mut Book, &mut Book)) -> String {
    let (mut anna, mut ben) = spotless();
    change(&mut anna, &mut ben);
    let mut found = judge(&anna, &ben);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_judge_finds_nothing_where_nothing_is() {
    let (anna, ben) = spotless();
    assert_eq!(judge(&anna, &ben), Vec::<String>::new());
    // What was not acknowledged may be gone, or not.
    let (mut anna, ben) = spotless();
    anna.sent = 7;
    assert_eq!(judge(&anna, &ben), Vec::<String>::new());
}

#[test]
fn the_judge_finds_a_loss() {
    let lost = one_finding(|_, ben| {
        ben.archive.remove(3);
    });
    assert!(lost.starts_with("LOST: anna's messages in the archive of ben"), "{lost}");
    let lost = one_finding(|_, ben| {
        ben.sessions[0].pop();
    });
    assert!(lost.starts_with("LOST: what ben had of anna"), "{lost}");
}

#[test]
fn the_judge_finds_a_double() {
    let twice = one_finding(|_, ben| ben.archive.insert(3, id("anna", 2)));
    assert!(twice.starts_with("TWICE: anna's messages in the archive of ben: 2"), "{twice}");
    let twice = one_finding(|_, ben| ben.sessions[0].push(1));
    assert!(twice.starts_with("TWICE: what came from anna in session 0 of ben"), "{twice}");
}

#[test]
fn the_judge_finds_a_swap() {
    let swap = one_finding(|_, ben| ben.archive.swap(1, 2));
    assert!(swap.starts_with("ORDER: anna's messages in the archive of ben: 1 after 2"), "{swap}");
    let swap = one_finding(|_, ben| ben.sessions[0].swap(0, 1));
    assert!(swap.starts_with("ORDER: what came from anna in session 0"), "{swap}");
}
