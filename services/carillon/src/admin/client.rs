//! The commands' end of the admin socket.

use std::fmt;
use std::io;
use std::path::Path;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::protocol::{Reply, Request, read_line, read_reply, write_line, write_request};
use super::socket;
use crate::limits::ADMIN_ANSWER_TIME;

/// Why there is no answer.
#[derive(Debug)]
pub enum CallError {
    /// No server runs on that data folder.
    NotRunning,
    /// A server runs, and the call failed; the sentence says how.
    Failed(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no server is running"),
            Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CallError {}

/// A connection to a running server.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// `NotRunning` where there is no socket, or nobody listens on it.
    pub async fn connect(path: &Path) -> Result<Self, CallError> {
        match socket::connect(path).await {
            Ok(stream) => Ok(Self { stream }),
            Err(why)
                if matches!(
                    why.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(CallError::NotRunning)
            }
            Err(why) if why.kind() == io::ErrorKind::PermissionDenied => Err(CallError::Failed(
                format!("{}: only the user that the server runs as may use it", path.display()),
            )),
            Err(why) => Err(CallError::Failed(format!("{}: {why}", path.display()))),
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors `Failed`: the server went away, did not answer in time, or answered something else.
    /// Whether the request was done is then not known.
    pub async fn call(&mut self, request: &Request) -> Result<Reply, CallError> {
        let exchange = async {
            write_line(&mut self.stream, &write_request(request)).await?;
            let mut line = Vec::new();
            let line = read_line(&mut self.stream, &mut line).await?;
            Ok::<_, io::Error>(line.map(read_reply))
        };
        let fail = |text: &str| Err(CallError::Failed(text.to_owned()));
        match timeout(ADMIN_ANSWER_TIME, exchange).await {
            Ok(Ok(Some(Ok(reply)))) => Ok(reply),
            Ok(Ok(Some(Err(why)))) => fail(&format!("the server answered oddly: {why}")),
            Ok(Ok(None)) => fail("the server closed the connection without an answer"),
            Ok(Err(why)) => fail(&format!("the connection to the server failed: {why}")),
            Err(_) => fail("the server did not answer in time"),
        }
    }
}
