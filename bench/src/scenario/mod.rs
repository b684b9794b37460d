//! The kinds of load. Each says how a worker makes it, and what its figures are.

mod accounts;
mod chat;
mod contacts;
mod crowd;
mod figure;
mod herd;
mod idle;
mod login;
mod mam;
mod many;
mod mixed;
mod needs;
mod presence;
mod resume;
mod roster;

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::run::{Job, Outcome, Port, Seen};

pub use accounts::Accounts;
pub use chat::Chat;
pub use figure::{Figure, Less};
pub use herd::Herd;
pub use idle::Idle;
pub use login::Login;
pub use mam::Mam;
pub use many::Many;
pub use mixed::Mixed;
pub use needs::{Contacts, Needs};
pub use presence::Presence;
pub use resume::Resume;
pub use roster::Roster;

/// A kind of load.
#[derive(Clone, Debug, Serialize, Deserialize, clap::Subcommand)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Scenario {
    /// No load: accounts and their rosters are made
    Accounts(Accounts),
    /// Sessions at rest: what memory one more takes
    Idle(Idle),
    /// Many logins: what one costs
    Login(Login),
    /// Pairs that chat: what a message costs, and how long it takes
    Chat(Chat),
    /// Logins with contacts online: what one delivery of presence costs
    Presence(Presence),
    /// Rosters read whole
    Roster(Roster),
    /// Archive queries: what one result costs
    Mam(Mam),
    /// All connections are cut, all sessions resume
    Resume(Resume),
    /// All connections are cut, and all clients log in again at once
    Herd(Herd),
    /// Very many sessions, a few of them active
    Many(Many),
    /// A provider's hour, made small
    Mixed(Mixed),
}

impl Default for Scenario {
    fn default() -> Self {
        Self::Login(Login::default())
    }
}

impl Scenario {
    /// Its name in tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accounts(_) => "accounts",
            Self::Idle(_) => "idle",
            Self::Login(_) => "login",
            Self::Chat(_) => "chat",
            Self::Presence(_) => "presence",
            Self::Roster(_) => "roster",
            Self::Mam(_) => "mam",
            Self::Resume(_) => "resume",
            Self::Herd(_) => "herd",
            Self::Many(_) => "many",
            Self::Mixed(_) => "mixed",
        }
    }

    /// What it finds on the server when it begins; it makes what is missing, over XMPP.
    #[must_use]
    pub fn needs(&self, workers: usize) -> Needs {
        match self {
            Self::Accounts(it) => Needs::accounts(it.accounts),
            Self::Idle(it) => it.needs(),
            Self::Login(it) => Needs::accounts(it.accounts),
            Self::Chat(it) => Needs::accounts(2 * it.pairs),
            Self::Presence(it) => it.needs(),
            Self::Roster(it) => it.needs(),
            Self::Mam(it) => it.needs(),
            Self::Resume(it) => Needs::accounts(it.sessions),
            Self::Herd(it) => Needs::accounts(it.clients),
            Self::Many(it) => Needs::accounts(it.sessions),
            Self::Mixed(it) => it.needs(workers),
        }
    }

    /// Refuses what is out of bounds.
    ///
    /// # Errors
    /// A sentence with the bound.
    pub fn check(&self, workers: usize) -> Result<(), Failure> {
        let (parts, what) = self.parts();
        if parts < workers {
            return Err(
                format!("--workers: {workers} for {parts} {what}, which are not shared").into()
            );
        }
        match self {
            Self::Accounts(it) => it.check(),
            Self::Idle(it) => it.check(workers),
            Self::Login(it) => it.check(),
            Self::Chat(it) => it.check(workers),
            Self::Presence(it) => it.check(workers),
            Self::Roster(it) => it.check(workers),
            Self::Mam(it) => it.check(workers),
            Self::Resume(it) => it.check(workers),
            Self::Herd(it) => it.check(workers),
            Self::Many(it) => it.check(workers),
            Self::Mixed(it) => it.check(workers),
        }
    }

    /// What workers share among them; none of it is made by two.
    fn parts(&self) -> (usize, &'static str) {
        match self {
            Self::Accounts(it) => (it.accounts, "accounts"),
            Self::Idle(it) => (it.sessions.first().copied().unwrap_or_default(), "sessions"),
            Self::Login(it) => (it.accounts.min(it.logins), "accounts"),
            Self::Chat(it) => (it.pairs, "pairs"),
            Self::Presence(it) => (it.groups, "groups"),
            Self::Roster(it) => (it.accounts, "accounts"),
            Self::Mam(it) => (it.accounts, "accounts"),
            Self::Resume(it) => (it.sessions, "sessions"),
            Self::Herd(it) => (it.clients, "clients"),
            Self::Many(it) => (it.sessions, "sessions"),
            Self::Mixed(it) => (it.groups, "groups"),
        }
    }

    /// Makes a worker's part of the load.
    ///
    /// # Errors
    /// If a login fails, or a stream breaks that should not.
    pub async fn load(&self, job: &Job, port: &mut Port) -> Result<Outcome, Failure> {
        match self {
            Self::Accounts(it) => it.load(job, port).await,
            Self::Idle(it) => it.load(job, port).await,
            Self::Login(it) => it.load(job, port).await,
            Self::Chat(it) => it.load(job, port).await,
            Self::Presence(it) => it.load(job, port).await,
            Self::Roster(it) => it.load(job, port).await,
            Self::Mam(it) => it.load(job, port).await,
            Self::Resume(it) => it.load(job, port).await,
            Self::Herd(it) => it.load(job, port).await,
            Self::Many(it) => it.load(job, port).await,
            Self::Mixed(it) => it.load(job, port).await,
        }
    }

    /// The figures of a finished run.
    #[must_use]
    pub fn figures(&self, seen: &Seen) -> Vec<Figure> {
        match self {
            Self::Accounts(it) => it.figures(seen),
            Self::Idle(it) => it.figures(seen),
            Self::Login(it) => it.figures(seen),
            Self::Chat(it) => it.figures(seen),
            Self::Presence(it) => it.figures(seen),
            Self::Roster(it) => it.figures(seen),
            Self::Mam(it) => it.figures(seen),
            Self::Resume(it) => it.figures(seen),
            Self::Herd(it) => it.figures(seen),
            Self::Many(it) => it.figures(seen),
            Self::Mixed(it) => it.figures(seen),
        }
    }
}

/// Refuses a number outside of its bounds.
fn within(what: &str, number: usize, most: usize) -> Result<(), Failure> {
    if (1..=most).contains(&number) {
        return Ok(());
    }
    Err(format!("{what}: between 1 and {most}, not {number}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_is_without_work() {
        let scenario = |groups| Scenario::Mixed(Mixed { groups, rate: 1, seconds: 1 });
        assert!(scenario(3).check(3).is_ok());
        let why = scenario(2).check(3).unwrap_err().to_string();
        assert!(why.contains("3 for 2 groups"), "{why}");
        assert!(Scenario::default().check(1).is_ok());
    }

    #[test]
    fn what_a_load_needs_is_known_before_it_begins() {
        let mixed = Scenario::Mixed(Mixed { groups: 2, rate: 1, seconds: 1 }).needs(2);
        assert_eq!((mixed.accounts, mixed.rosters), (242, 42));
        let chat = Scenario::Login(Login::default()).needs(1);
        assert_eq!((chat.accounts, chat.rosters), (500, 0));
    }
}
