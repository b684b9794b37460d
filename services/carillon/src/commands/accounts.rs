//! Where a command reaches the accounts: the running server, or the data itself.

use tokio::time::{Instant, sleep};

use super::absolute;
use crate::admin::protocol::{Reply, Request, Status};
use crate::admin::{CallError, Client, Handler as _};
use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use crate::limits::LOCK_TIME;
use crate::node::Offline;

/// Asks the running server of the data folder.
///
/// # Errors
/// With exit code 69 where none runs.
pub(super) async fn ask_server(config: &Config, request: &Request) -> Result<Reply, Failure> {
    let fail = |why| match why {
        CallError::NotRunning => Failure::not_running(format!(
            "no server is running on {}",
            absolute(&config.data).display()
        )),
        CallError::Failed(text) => Failure::new(text),
    };
    let mut client = Client::connect(&Home::socket(&config.data)).await.map_err(fail)?;
    client.call(request).await.map_err(fail)
}

/// The accounts of an installation, by way of whoever holds its data. Every request means the same
/// either way.
pub(super) enum Accounts {
    /// A server runs and does it.
    Server(Client),
    /// None runs: this process has the data open.
    Data(Box<Offline>),
}

impl Accounts {
    /// Finds the server of the data folder, or opens the data. A server that is just starting or
    /// stopping has the data and answers nothing yet, or no more: that is waited for.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        let give_up = Instant::now() + LOCK_TIME;
        loop {
            match Client::connect(&Home::socket(&config.data)).await {
                Ok(client) => return Ok(Self::Server(client)),
                Err(CallError::Failed(why)) => return Err(Failure::new(why)),
                Err(CallError::NotRunning) => {}
            }
            if let Some(offline) = Offline::open(config).await? {
                return Ok(Self::Data(Box::new(offline)));
            }
            if Instant::now() > give_up {
                return Err(Failure::new(format!(
                    "the data in {} is in use by another process, which answers no commands",
                    config.data.display()
                )));
            }
            sleep(LOCK_TIME / 100).await;
        }
    }

    /// Does one request.
    pub(super) async fn call(&mut self, request: Request) -> Result<Reply, Failure> {
        match self {
            Self::Server(client) => {
                client.call(&request).await.map_err(|why| Failure::new(why.to_string()))
            }
            Self::Data(offline) => Ok(offline.engine().handle(request).await),
        }
    }

    /// Does a request that is answered by `Done`.
    pub(super) async fn change(&mut self, request: Request) -> Result<(), Failure> {
        match self.call(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// The domains served.
    pub(super) async fn domains(&mut self) -> Result<Vec<String>, Failure> {
        match self.call(Request::Status).await? {
            Reply::Status(status) => {
                let Status { domains, .. } = *status;
                Ok(domains)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Closes the data, if this process has it open.
    pub(super) async fn close(self) {
        if let Self::Data(offline) = self {
            offline.close().await;
        }
    }
}

/// What a reply that is not the hoped-for one means to the user.
pub(super) fn unexpected(reply: Reply) -> Failure {
    match reply {
        Reply::Refused { text, .. } => Failure::new(text),
        _ => Failure::new("the server answered something else than was asked"),
    }
}
