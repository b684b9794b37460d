//! From the admin protocol to the engine and back.

use std::pin::Pin;
use std::sync::Arc;

use router::Router;
use session::admin::{self, Failure};
use tokio::time::timeout;
use xmpp::Jid;

use super::forward::{Forward, Owner};
use crate::admin::Handler;
use crate::admin::protocol::{Account, Fault, Reply, Request, Status, Verifier};
use crate::limits::FORWARD_TIME;

/// Answers requests about accounts from a router, and about the server from `status`.
pub struct Engine {
    router: Arc<Router>,
    status: Box<dyn Fn() -> Status>,
    /// The cluster that the node is of.
    cluster: Option<Forward>,
}

impl Engine {
    /// Answers for this router.
    pub(super) fn new(
        router: Arc<Router>,
        status: Box<dyn Fn() -> Status>,
        cluster: Option<Forward>,
    ) -> Self {
        Self { router, status, cluster }
    }

    async fn answer(&self, request: Request) -> Reply {
        let asked = match translate(request.clone()) {
            Ok(Some(asked)) => asked,
            Ok(None) => return Reply::Status(Box::new((self.status)())),
            Err(refusal) => return refusal,
        };
        if let Some(cluster) = &self.cluster {
            match cluster.owner(asked.account()) {
                Owner::Here => {}
                Owner::There(node) => return cluster.ask(&node, &request).await,
                Owner::Nobody => {
                    let text = "no router owns this account just now; try again soon".to_owned();
                    return refuse(Fault::Unavailable, text);
                }
            }
        }
        self.answer_here(asked, &subject(&request)).await
    }

    /// Answers for a node of the cluster that found this one to be the account's owner.
    pub(super) async fn answer_forwarded(&self, request: Request) -> Reply {
        match translate(request.clone()) {
            Ok(Some(asked)) => self.answer_here(asked, &subject(&request)).await,
            Ok(None) => refuse(Fault::Protocol, "it is nothing about an account".to_owned()),
            Err(refusal) => refusal,
        }
    }

    async fn answer_here(&self, asked: admin::Request, name: &str) -> Reply {
        match timeout(FORWARD_TIME, self.router.admin(asked)).await.ok().flatten() {
            Some(admin::Reply::Done) => Reply::Done,
            Some(admin::Reply::Accounts { accounts, more }) => {
                let accounts = accounts
                    .into_iter()
                    .map(|it| Account { jid: it.jid.to_string(), disabled: it.disabled });
                Reply::Accounts { accounts: accounts.collect(), more }
            }
            Some(admin::Reply::Failed(why)) => self.refusal(why, name),
            None => {
                let text = "the server is stopping, or has too much to do".to_owned();
                refuse(Fault::Unavailable, text)
            }
        }
    }

    fn refusal(&self, why: Failure, name: &str) -> Reply {
        match why {
            Failure::Exists => refuse(Fault::Exists, format!("{name} exists already")),
            Failure::NotFound => refuse(Fault::Unknown, format!("there is no account {name}")),
            Failure::NotServed => {
                let domains = (self.status)().domains.join(", ");
                refuse(Fault::Address, format!("{name} is not of a domain served here ({domains})"))
            }
            Failure::NotAnAccount => {
                refuse(Fault::Address, format!("{name} is not the address of an account"))
            }
            Failure::Deleting => {
                let text = format!("an account {name} is still being deleted; try again soon");
                refuse(Fault::Unavailable, text)
            }
            Failure::Moved => {
                let text = format!("{name} has just moved to another router; try again");
                refuse(Fault::Unavailable, text)
            }
            Failure::Store => {
                let text = "the store did not answer; the server's log says more".to_owned();
                refuse(Fault::Unavailable, text)
            }
        }
    }
}

impl Handler for Engine {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Reply> + '_>> {
        Box::pin(self.answer(request))
    }
}

pub(super) fn refuse(fault: Fault, text: String) -> Reply {
    Reply::Refused { fault, text }
}

/// What a request is about, for the sentences.
fn subject(request: &Request) -> String {
    match request {
        Request::Add { jid, .. }
        | Request::SetPassword { jid, .. }
        | Request::Disable { jid }
        | Request::Enable { jid }
        | Request::Delete { jid } => jid.clone(),
        Request::List { domain, .. } => domain.clone(),
        Request::Status | Request::Cluster(_) => String::new(),
    }
}

/// The engine's request; `None` for those that are not the engine's.
fn translate(request: Request) -> Result<Option<admin::Request>, Reply> {
    let account = |text: &str| {
        Jid::parse(text)
            .ok()
            .filter(|jid| jid.local().is_some() && jid.is_bare())
            .ok_or_else(|| refuse(Fault::Address, format!("{text:?} is not an account's address")))
    };
    let whole = |verifiers: Vec<Verifier>| {
        let read: Option<Vec<_>> = verifiers.iter().map(Verifier::read).collect();
        read.filter(|it| !it.is_empty())
            .ok_or_else(|| refuse(Fault::Protocol, "the verifiers are not whole".to_owned()))
    };
    Ok(Some(match request {
        Request::Add { jid, verifiers } => {
            admin::Request::Add { account: account(&jid)?, verifiers: whole(verifiers)? }
        }
        Request::SetPassword { jid, verifiers } => {
            admin::Request::SetPassword { account: account(&jid)?, verifiers: whole(verifiers)? }
        }
        Request::Disable { jid } => admin::Request::Disable { account: account(&jid)? },
        Request::Enable { jid } => admin::Request::Enable { account: account(&jid)? },
        Request::Delete { jid } => admin::Request::Delete { account: account(&jid)? },
        Request::List { domain, after } => {
            let after = after.map(|it| account(&it)).transpose()?;
            let after = after.and_then(|it| it.local().map(str::to_owned));
            admin::Request::List { domain, after }
        }
        Request::Status | Request::Cluster(_) => return Ok(None),
    }))
}
