//! The engine for one command, where no server runs: same engine, same store, no clients.

use std::sync::Arc;

use peer::{ConnId, Down, Downlink, Owner};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use super::Engine;
use super::parts::{NotOpen, Parts};
use crate::admin::protocol::Status;
use crate::cluster::Folder;
use crate::config::Config;
use crate::exit::Failure;
use crate::limits::DRAIN_TIME;
use crate::metrics::VERSION;

/// There are no connections, so nothing comes this way.
struct Nobody;

impl Downlink for Nobody {
    fn down(&self, _: Owner, _: ConnId, _: Down) {}
}

/// An engine without clients. Needs a `LocalSet` around it.
pub struct Offline {
    parts: Parts,
    engine: Engine,
    driver: JoinHandle<()>,
}

impl Offline {
    /// Opens the data of a node that does not run; makes it on the first use. `None`: another
    /// process has it open.
    ///
    /// # Errors
    /// A sentence: the data cannot be opened.
    pub async fn open(config: &Config) -> Result<Option<Self>, Failure> {
        if Folder::exists(&config.data) {
            return Err(Failure::not_running(
                "this node is of a cluster: the command needs it to run (carillon serve)",
            ));
        }
        let parts = match Parts::open(config, 1, false).await {
            Ok(parts) => parts,
            Err(NotOpen::InUse(_)) => return Ok(None),
            Err(NotOpen::Failed(why)) => return Err(why),
        };
        let outside = parts.router.clone();
        let Some(driver) = parts.driver(0, Arc::new(Nobody), outside) else {
            return Err(Failure::new("this node owns no accounts"));
        };
        let driver = spawn_local(driver.run());
        let status = Status {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            domains: config.domains.clone(),
            ..Status::default()
        };
        let engine = Engine::new(parts.router.clone(), Box::new(move || status.clone()), None);
        Ok(Some(Self { parts, engine, driver }))
    }

    /// What answers requests.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Ends in order. What was answered is durable already.
    pub async fn close(self) {
        self.parts.router.stop();
        let _ = timeout(DRAIN_TIME, self.driver).await;
        self.parts.store.close();
    }
}

#[cfg(test)]
mod tests {
    use xmpp::scram;

    use super::*;
    use crate::admin::Handler as _;
    use crate::admin::protocol::{Account, Reply, Request, Verifier};

    fn verifiers() -> Vec<Verifier> {
        let make = |hash| scram::Verifier::derive(hash, "canary", &[7; 16], 10).unwrap();
        scram::Hash::ALL.into_iter().map(|hash| Verifier::from(&make(hash))).collect()
    }

    fn add(jid: &str) -> Request {
        Request::Add { jid: jid.to_owned(), verifiers: verifiers() }
    }

    fn list(domain: &str) -> Request {
        Request::List { domain: domain.to_owned(), after: None }
    }

    /// What a request came to, in a word.
    async fn ask(offline: &Offline, request: Request) -> String {
        match offline.engine().handle(request).await {
            Reply::Done => "done".to_owned(),
            Reply::Accounts { accounts, more } => {
                assert!(!more);
                let show =
                    |it: &Account| format!("{}{}", it.jid, if it.disabled { "!" } else { "" });
                accounts.iter().map(show).collect::<Vec<_>>().join(" ")
            }
            Reply::Refused { fault, text } => {
                assert!(!text.is_empty());
                format!("{fault:?}")
            }
            Reply::Status(status) => status.domains.join(" "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn accounts_are_kept_from_command_to_command() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().join("data"), ..Config::default() };
        let jid = |name: &str| name.to_owned();
        let steps: Vec<(Request, &str)> = vec![
            (list("localhost"), ""),
            (add("anna@localhost"), "done"),
            (add("anna@localhost"), "Exists"),
            (add("ben@localhost"), "done"),
            (add("anna@elsewhere.example"), "Address"),
            (add("localhost"), "Address"),
            (Request::Add { jid: jid("carl@localhost"), verifiers: vec![] }, "Protocol"),
            (list("localhost"), "anna@localhost ben@localhost"),
            (Request::Disable { jid: jid("anna@localhost") }, "done"),
            (list("localhost"), "anna@localhost! ben@localhost"),
            (Request::Enable { jid: jid("anna@localhost") }, "done"),
            (Request::Disable { jid: jid("nobody@localhost") }, "Unknown"),
            (Request::SetPassword { jid: jid("ben@localhost"), verifiers: verifiers() }, "done"),
            (
                Request::SetPassword { jid: jid("nobody@localhost"), verifiers: verifiers() },
                "Unknown",
            ),
            (
                Request::List { domain: jid("localhost"), after: Some(jid("anna@localhost")) },
                "ben@localhost",
            ),
            (Request::Delete { jid: jid("ben@localhost") }, "done"),
            (Request::Delete { jid: jid("ben@localhost") }, "Unknown"),
            (list("localhost"), "anna@localhost"),
            (Request::Status, "localhost"),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (request, expected) in steps {
            let told = format!("{request:?}");
            let came_to = tokio::task::LocalSet::new().block_on(&runtime, async {
                let offline = Offline::open(&config).await.unwrap().unwrap();
                let came_to = ask(&offline, request).await;
                offline.close().await;
                came_to
            });
            assert_eq!(came_to, expected, "{told}");
        }
    }

    #[test]
    fn data_in_use_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let offline = Offline::open(&config).await.unwrap().unwrap();
            assert!(Offline::open(&config).await.unwrap().is_none());
            offline.close().await;
        });
    }
}
