//! Sessions at rest, and what each costs in memory: the slope between two numbers of them.

use std::time::Duration;

use crate::client::Client;
use crate::{Failure, Target, accounts, proc};

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// Sessions and the server's memory (PSS, bytes), at each step.
    pub steps: Vec<(usize, u64)>,
}

impl Report {
    /// Bytes for one more session, between the first step and the last.
    #[must_use]
    pub fn slope(&self) -> Option<f64> {
        let (first, last) = (self.steps.first()?, self.steps.last()?);
        let sessions = last.0.checked_sub(first.0).filter(|sessions| *sessions > 0)?;
        Some((last.1 as f64 - first.1 as f64) / sessions as f64)
    }
}

/// Opens sessions in steps, each with a roster of `contacts`, and lets them rest before each look.
///
/// # Errors
/// If a login fails.
pub async fn run(
    target: &Target,
    steps: &[usize],
    contacts: usize,
    rest: Duration,
    progress: impl Fn(usize),
) -> Result<Report, Failure> {
    let most = steps.iter().copied().max().unwrap_or(0);
    accounts::make(target, most).await?;
    let mut clients = Vec::with_capacity(most);
    let mut report = Report { steps: Vec::new() };
    for step in steps {
        while clients.len() < *step {
            let index = clients.len();
            let source = u16::try_from(3 + index / 5000)?;
            let mut client = Client::login(target, &accounts::name(index), source).await?;
            fill_roster(&mut client, contacts).await?;
            client.ask("<presence/>", "<presence").await?;
            clients.push(client);
            if clients.len().is_multiple_of(1000) {
                progress(clients.len());
            }
        }
        tokio::time::sleep(rest).await;
        report.steps.push((clients.len(), proc::pss(target.pid)?));
    }
    Ok(report)
}

async fn fill_roster(client: &mut Client, contacts: usize) -> Result<(), Failure> {
    let mut sets = String::new();
    for contact in 0..contacts {
        sets.push_str(&format!(
            "<iq type='set' id='r{contact}'><query xmlns='jabber:iq:roster'><item \
             jid='contact{contact}@friends.example' name='Contact {contact}'/></query></iq>"
        ));
    }
    sets.push_str("<iq type='get' id='end'><query xmlns='jabber:iq:roster'/></iq>");
    client.ask(&sets, "id='end'").await
}
