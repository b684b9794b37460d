//! Archive queries (XEP-0313): pages from the newest back, from the oldest on, and of one contact.
//! Every page is counted: one that is short, a result that comes twice and one that is missing are
//! faults.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::needs::Needs;
use super::presence::online;
use super::{Figure, crowd, within};
use crate::client::{Client, Inbox, Shared};
use crate::limits::{ANSWER_TIME_MAX, SESSIONS_MAX};
use crate::run::{Job, Outcome, Port, Seen};
use crate::{Failure, frames};

/// Contacts of each account whose messages are in its archive.
const CONTACTS: usize = 4;

/// Messages that may be on their way while archives are filled.
const WINDOW: usize = 512;

/// What must be none.
const FAULTS: [&str; 3] = ["lost", "short pages", "twice"];

/// Archive queries.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Mam {
    /// Accounts that query
    #[arg(long, default_value_t = 50)]
    pub accounts: usize,
    /// Messages in the archive of each
    #[arg(long, default_value_t = 400)]
    pub messages: usize,
    /// Results of a page
    #[arg(long, default_value_t = 50)]
    pub page: usize,
    /// How often each account reads through its archive, in each way
    #[arg(long, default_value_t = 3)]
    pub times: usize,
}

impl Mam {
    pub(super) fn check(&self, workers: usize) -> Result<(), Failure> {
        within("--accounts", self.accounts, SESSIONS_MAX)?;
        within("--messages", self.messages, 100_000)?;
        within("--page", self.page, 100)?;
        within("--times", self.times, 10_000)?;
        crowd::fits(2 * self.accounts, workers)
    }

    pub(super) fn needs(&self) -> Needs {
        Needs::accounts(self.accounts + CONTACTS)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let users = job.share(self.accounts);
        crowd::accounts(&shared, port, users.clone()).await?;
        let contacts = self.accounts..self.accounts + CONTACTS;
        crowd::accounts(&shared, port, contacts.clone()).await?;
        // Each has its archive filled by one worker only; the contacts write from all of them.
        port.wait("accounts").await?;
        let clients = self.fill(&shared, port, users, contacts.clone()).await?;
        port.wait("begin").await?;
        let with = shared.target.jid(contacts.start);
        let mut tasks = JoinSet::new();
        for client in clients {
            tasks.spawn_local(self.clone().query(client, with.clone()));
        }
        let mut outcome = Outcome::default();
        while let Some(result) = tasks.join_next().await {
            outcome.add(&result??);
        }
        port.wait("end").await?;
        Ok(outcome)
    }

    /// Sends each account its messages, from the contacts in turn. The accounts stay logged in.
    async fn fill(
        &self,
        shared: &Rc<Shared>,
        port: &Port,
        users: std::ops::Range<usize>,
        contacts: std::ops::Range<usize>,
    ) -> Result<Vec<Client>, Failure> {
        let total = users.len() * self.messages;
        let post = Rc::new(Post::default());
        let mut writers = Vec::new();
        for contact in contacts {
            let resource = format!("writer{}", shared.worker);
            let client = Client::login_as(shared, contact, &resource).await?;
            let (inbox, out) = client.conn.split();
            tokio::task::spawn_local(bounces(inbox, post.clone()));
            writers.push(out);
        }
        let mut readers = JoinSet::new();
        for user in users.clone() {
            let client = online(shared, user).await?;
            readers.spawn_local(arrivals(client, self.messages, post.clone()));
        }
        let mut sent = 0;
        for number in 0..self.messages {
            for user in users.clone() {
                post.room(sent).await?;
                let message = message(&shared.target.jid(user), number);
                writers[number % CONTACTS].say(message.as_bytes()).await?;
                sent += 1;
            }
            port.progress("messages into archives", sent, total);
        }
        let mut clients = Vec::new();
        while let Some(client) = readers.join_next().await {
            clients.push(client??);
        }
        Ok(clients)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let results = seen.outcome.counted("results");
        let mut figures = Figure::cpu(seen, "begin", "end", results, "result");
        figures.push(Figure::rate(seen, "begin", "end", results, "results"));
        for what in ["page back", "page on", "page of a contact"] {
            figures.extend(Figure::percentiles(seen.outcome.latencies.get(what), what));
        }
        figures.extend(FAULTS.map(|what| Figure::counted(seen, what)));
        figures
    }

    /// Reads an archive through, back, on, and for one contact.
    async fn query(self, mut client: Client, with: String) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let ways = [
            ("page back", "before", "", self.messages),
            ("page on", "after", "", self.messages),
            // The first contact wrote the first message, and each fourth.
            ("page of a contact", "after", with.as_str(), self.messages.div_ceil(CONTACTS)),
        ];
        for _ in 0..self.times {
            for (what, way, with, messages) in ways {
                let mut read = Read::new(self.page);
                through(&mut client, &mut read, (what, way, with), &mut outcome).await?;
                read.tell(messages, &mut outcome);
            }
        }
        Ok(outcome)
    }
}

/// Messages on their way into archives.
#[derive(Default)]
struct Post {
    arrived: Cell<usize>,
    moved: Notify,
    bounced: RefCell<Option<String>>,
}

impl Post {
    /// Waits until another message may be sent.
    async fn room(&self, sent: usize) -> Result<(), Failure> {
        while sent - self.arrived.get() >= WINDOW {
            let moved = tokio::time::timeout(ANSWER_TIME_MAX, self.moved.notified()).await;
            if let Some(why) = self.bounced.take() {
                return Err(format!("a message was refused: {why}").into());
            }
            moved.map_err(|_| format!("{} of {sent} messages arrived", self.arrived.get()))?;
        }
        Ok(())
    }
}

async fn bounces(mut inbox: Inbox, post: Rc<Post>) {
    while let Ok(frame) = inbox.hear().await {
        if frames::is(frame, "message") || frames::is(frame, "stream:error") {
            *post.bounced.borrow_mut() = Some(String::from_utf8_lossy(frame).into_owned());
            post.moved.notify_one();
        }
    }
}

/// Takes one account's messages.
async fn arrivals(mut client: Client, messages: usize, post: Rc<Post>) -> Result<Client, Failure> {
    for _ in 0..messages {
        client.conn.wait(|frame| frames::is(frame, "message")).await?;
        post.arrived.set(post.arrived.get() + 1);
        post.moved.notify_one();
    }
    Ok(client)
}

fn message(to: &str, number: usize) -> String {
    format!(
        "<message to='{to}' type='chat' id='a{number}'><body>What&apos;s in a name? That which we \
         call a rose by any other name would smell as sweet.</body></message>"
    )
}

/// One reading of an archive from end to end.
struct Read {
    page: usize,
    ids: HashSet<Vec<u8>>,
    results: usize,
    short: u64,
}

impl Read {
    fn new(page: usize) -> Self {
        Self { page, ids: HashSet::new(), results: 0, short: 0 }
    }

    /// A result of the page that is being read.
    fn result(&mut self, frame: &[u8]) {
        let at = memchr::memmem::find(frame, b"<result");
        let id = at.and_then(|at| frames::attribute(&frame[at..], "id")).unwrap_or_default();
        self.ids.insert(id.to_vec());
        self.results += 1;
    }

    /// The page is over; whether the archive is, too.
    fn page(&mut self, results: usize, complete: bool) -> bool {
        let over = complete || results == 0;
        self.short += u64::from(!over && results != self.page);
        over
    }

    /// Compares with what must be in the archive. An account that was used before has more.
    fn tell(&self, messages: usize, outcome: &mut Outcome) {
        outcome.count("results", self.results as u64);
        outcome.count("short pages", self.short);
        outcome.count("lost", messages.saturating_sub(self.ids.len()) as u64);
        outcome.count("twice", self.results.saturating_sub(self.ids.len()) as u64);
    }
}

async fn through(
    client: &mut Client,
    read: &mut Read,
    (what, way, with): (&str, &str, &str),
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut from = (way == "before").then(String::new);
    loop {
        let begun = Instant::now();
        let before = read.results;
        client.conn.say(request(read.page, way, with, from.as_deref()).as_bytes()).await?;
        let end = loop {
            let frame = client.conn.hear().await?;
            if frames::is(frame, "message") && frames::has(frame, "urn:xmpp:mam:2") {
                read.result(frame);
            } else if frames::is(frame, "iq") {
                break String::from_utf8_lossy(frame).into_owned();
            }
        };
        outcome.latency(what).record(crowd::since_us(begun));
        if !end.contains("<fin") {
            return Err(format!("an archive query was refused: {end}").into());
        }
        let edge = if way == "before" { "<first" } else { "<last" };
        from = Some(element(&end, edge).unwrap_or_default());
        let complete = end.contains("complete='true'") || end.contains("complete=\"true\"");
        if read.page(read.results - before, complete) {
            return Ok(());
        }
    }
}

fn request(page: usize, way: &str, with: &str, from: Option<&str>) -> String {
    let form = if with.is_empty() {
        String::new()
    } else {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>\
             urn:xmpp:mam:2</value></field><field var='with'><value>{with}</value></field></x>"
        )
    };
    let from = match from {
        None => String::new(),
        Some("") => format!("<{way}/>"),
        Some(id) => format!("<{way}>{id}</{way}>"),
    };
    format!(
        "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='q'>{form}<set \
         xmlns='http://jabber.org/protocol/rsm'><max>{page}</max>{from}</set></query></iq>"
    )
}

/// The text of the first element whose tag starts so.
fn element(text: &str, tag: &str) -> Option<String> {
    let rest = text.split_once(tag)?.1;
    let rest = rest.split_once('>')?.1;
    rest.split_once('<').map(|(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for() {
        let back = request(50, "before", "", Some(""));
        assert!(back.contains("<max>50</max><before/>") && !back.contains("jabber:x:data"));
        let on = request(50, "after", "a@b", Some("id1"));
        assert!(on.contains("<after>id1</after>") && on.contains("<value>a@b</value>"));
        assert!(!request(50, "after", "", None).contains("after"));
        assert_eq!(element("<set><last index='1'>x9</last></set>", "<last").as_deref(), Some("x9"));
    }

    fn read(pages: &[(&[&str], bool)]) -> (bool, Outcome) {
        let (mut read, mut outcome, mut over) = (Read::new(2), Outcome::default(), false);
        for (ids, complete) in pages {
            for id in *ids {
                let frame = format!("<message id='no'><result xmlns='x' id='{id}'/></message>");
                read.result(frame.as_bytes());
            }
            over = read.page(ids.len(), *complete);
        }
        read.tell(3, &mut outcome);
        (over, outcome)
    }

    fn faults(outcome: &Outcome) -> [u64; 3] {
        FAULTS.map(|what| outcome.counted(what))
    }

    #[test]
    fn all_results_are_counted() {
        let (over, whole) = read(&[(&["a", "b"], false), (&["c"], true)]);
        assert!(over && whole.counted("results") == 3 && faults(&whole) == [0; 3]);
        // A server that does not say that a page is the last one: an empty page follows.
        assert!(read(&[(&["a", "b"], false), (&["c", "d"], false), (&[], false)]).0);
        assert!(!read(&[(&["a", "b"], false)]).0);
    }

    #[test]
    fn faults_of_pages_are_seen() {
        let (_, missing) = read(&[(&["a", "b"], true)]);
        assert_eq!(faults(&missing), [1, 0, 0]);
        let (_, short) = read(&[(&["a"], false), (&["b", "c"], true)]);
        assert_eq!(faults(&short), [0, 1, 0]);
        let (_, twice) = read(&[(&["a", "b"], false), (&["b", "c"], true)]);
        assert_eq!(faults(&twice), [0, 0, 1]);
    }
}
