//! No load: accounts are made, their rosters filled, and that is all. A server that has them can be
//! started anew before it is measured.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::needs::Contacts;
use super::{Figure, Needs, contacts, crowd, figure, within};
use crate::Failure;
use crate::client::{Client, Shared};
use crate::limits::SESSIONS_MAX;
use crate::run::{Job, Outcome, Port, Seen};

/// Accounts with rosters.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Args)]
pub struct Accounts {
    /// Accounts
    #[arg(long, default_value_t = 1000)]
    pub accounts: usize,
    /// How many of them have contacts; all, if it is not said
    #[arg(long)]
    pub rosters: Option<usize>,
    /// Contacts of another domain in each roster
    #[arg(long, default_value_t = 20)]
    pub strangers: usize,
    /// Instead: contacts subscribed both ways, in groups of one more than this
    #[arg(long, conflicts_with = "strangers")]
    pub friends: Option<usize>,
}

impl From<Needs> for Accounts {
    fn from(needs: Needs) -> Self {
        let (strangers, friends) = match needs.contacts {
            Contacts::Strangers(count) => (count, None),
            Contacts::Friends(size) => (0, Some(size.saturating_sub(1))),
        };
        Self { accounts: needs.accounts, rosters: Some(needs.rosters), strangers, friends }
    }
}

impl Accounts {
    pub(super) fn check(&self) -> Result<(), Failure> {
        within("--accounts", self.accounts, SESSIONS_MAX)?;
        within("--strangers", self.strangers.max(1), 1000)?;
        within("--friends", self.friends.unwrap_or(1), 1000)
    }

    pub(super) async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        let shared = Rc::new(Shared::new(job.target.clone(), job.worker)?);
        crowd::accounts(&shared, port, job.share(self.accounts)).await?;
        // Friends are of one worker only when all accounts are there.
        port.wait("accounts").await?;
        let rosters = self.rosters.unwrap_or(self.accounts).min(self.accounts);
        if let Some(friends) = self.friends {
            let size = friends + 1;
            let groups = job.share(rosters / size);
            contacts::befriend(&shared, port, groups.start * size..groups.end * size, size).await?;
        } else if self.strangers > 0 {
            let strangers = self.strangers;
            crowd::each(job.share(rosters), crowd::AT_ONCE, port, "rosters", |user| {
                let shared = shared.clone();
                async move {
                    let mut client = Client::login(&shared, user).await?;
                    contacts::strangers(&mut client, strangers).await?;
                    client.conn.close().await
                }
            })
            .await?;
        }
        let mut outcome = Outcome::default();
        outcome.count("accounts", u64::try_from(job.share(self.accounts).len())?);
        port.wait("end").await?;
        Ok(outcome)
    }

    pub(super) fn figures(&self, seen: &Seen) -> Vec<Figure> {
        vec![figure::done("accounts", seen.outcome.counted("accounts"))]
    }
}
