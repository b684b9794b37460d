//! Archive queries (XEP-0313): pages from the newest back, from the oldest on, and of one contact.

use std::rc::Rc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::presence::online;
use super::{Figure, crowd, within};
use crate::client::{Client, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};
use crate::{Failure, frames};

/// Contacts of each account whose messages are in its archive.
const CONTACTS: usize = 4;

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

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        let users = job.share(self.accounts);
        crowd::accounts(&shared, port, users.clone()).await?;
        let contacts = self.accounts..self.accounts + CONTACTS;
        crowd::accounts(&shared, port, contacts.clone()).await?;
        let clients = self.fill(&shared, port, users, contacts.clone()).await?;
        port.wait("begin").await?;
        let with = shared.target.jid(contacts.start);
        let mut tasks = tokio::task::JoinSet::new();
        for client in clients {
            tasks.spawn_local(query(client, self.page, self.times, with.clone()));
        }
        let mut outcome = Outcome::default();
        while let Some(result) = tasks.join_next().await {
            outcome.add(&result??);
        }
        port.wait("end").await?;
        // Both whole ways, each time: nothing of what was sent may be missing.
        let least = job.share(self.accounts).len() * self.messages * self.times * 2;
        let seen = outcome.counted("results");
        outcome.count("lost", u64::try_from(least)?.saturating_sub(seen));
        Ok(outcome)
    }

    /// Sends each account its messages, from contacts in turn.
    async fn fill(
        &self,
        shared: &Rc<Shared>,
        port: &Port,
        users: std::ops::Range<usize>,
        contacts: std::ops::Range<usize>,
    ) -> Result<Vec<Client>, Failure> {
        let (messages, first) = (self.messages, contacts.start);
        crowd::each(users, 8, port, "archives", |user| {
            let shared = shared.clone();
            async move {
                let mut to = online(&shared, user).await?;
                let jid = shared.target.jid(user);
                let mut senders = Vec::new();
                for contact in 0..CONTACTS {
                    senders.push(Client::login(&shared, first + contact).await?);
                }
                for number in 0..messages {
                    let message = format!(
                        "<message to='{jid}' type='chat' id='a{number}'><body>What&apos;s in a \
                         name? That which we call a rose by any other name would smell as \
                         sweet.</body></message>"
                    );
                    senders[number % CONTACTS].conn.say(message.as_bytes()).await?;
                    // One on its way at a time: no limit on senders is met.
                    to.conn.wait(|frame| frames::is(frame, "message")).await?;
                }
                for sender in senders {
                    sender.conn.close().await?;
                }
                Ok(to)
            }
        })
        .await
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        let results = seen.outcome.counted("results");
        let mut figures = Figure::cpu(seen, "begin", "end", results, "result");
        figures.push(Figure::rate(seen, "begin", "end", results, "results"));
        for what in ["page back", "page on", "page of a contact"] {
            figures.extend(Figure::percentiles(seen.outcome.latencies.get(what), what));
        }
        figures.push(Figure::counted(seen, "lost"));
        figures
    }
}

/// Reads an archive through, back, on, and for one contact.
async fn query(
    mut client: Client,
    page: usize,
    times: usize,
    with: String,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for _ in 0..times {
        through(&mut client, page, ("page back", "before", ""), &mut outcome).await?;
        through(&mut client, page, ("page on", "after", ""), &mut outcome).await?;
        through(&mut client, page, ("page of a contact", "after", &with), &mut outcome).await?;
    }
    Ok(outcome)
}

async fn through(
    client: &mut Client,
    page: usize,
    (what, way, with): (&str, &str, &str),
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut from = (way == "before").then(String::new);
    loop {
        let begun = Instant::now();
        client.conn.say(request(page, way, with, from.as_deref()).as_bytes()).await?;
        let mut results = 0;
        let end = loop {
            let frame = client.conn.hear().await?;
            if frames::is(frame, "message") {
                results += u64::from(frames::has(frame, "urn:xmpp:mam:2"));
            } else if frames::is(frame, "iq") {
                break String::from_utf8_lossy(frame).into_owned();
            }
        };
        outcome.latency(what).record(crowd::since_us(begun));
        outcome.count("results", results);
        if !end.contains("<fin") {
            return Err(format!("an archive query was refused: {end}").into());
        }
        let edge = if way == "before" { "<first" } else { "<last" };
        from = Some(element(&end, edge).unwrap_or_default());
        let complete = end.contains("complete='true'") || end.contains("complete=\"true\"");
        if complete || results == 0 {
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
}
