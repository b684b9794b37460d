//! The server's end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;
use tracing::{info, warn};

use super::protocol::{
    ClusterRequest, Fault, Reply, Request, read_line, read_request, write_line, write_reply,
};
use super::socket;
use crate::limits::{ADMIN_ANSWER_TIME, ADMIN_CONNECTIONS_MAX, ADMIN_LINE_TIME};

/// What answers requests: the engine of a running node, or of a command that opened the store.
pub trait Handler {
    /// Does one request.
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Reply> + '_>>;
}

/// A socket that is served until this is dropped. Needs a `LocalSet` around it.
pub struct Server {
    accepting: JoinHandle<()>,
    path: PathBuf,
}

impl Server {
    /// Listens at `path`, for processes of the same user and of root only. Whoever calls holds the
    /// lock of the store, so a socket that is there already belongs to a server that is gone.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(path: &Path, handler: Rc<dyn Handler>) -> io::Result<Self> {
        let listener = socket::listen(path)?;
        Ok(Self { accepting: spawn_local(accept(listener, handler)), path: path.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, handler: Rc<dyn Handler>) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if !is_allowed(&stream) => warn!("another user tried the admin socket"),
            Ok((stream, _)) => {
                let handler = Rc::clone(&handler);
                spawn_local(async move {
                    serve(stream, &*handler).await;
                    drop(place);
                });
            }
            Err(why) => {
                warn!(%why, "the admin socket cannot accept");
                tokio::time::sleep(ADMIN_LINE_TIME / 10).await;
            }
        }
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn serve(mut stream: UnixStream, handler: &dyn Handler) {
    let mut line = Vec::new();
    loop {
        let refuse = |text| Reply::Refused { fault: Fault::Protocol, text };
        let (reply, last) = match timeout(ADMIN_LINE_TIME, read_line(&mut stream, &mut line)).await
        {
            Ok(Ok(Some(line))) => match read_request(line) {
                Ok(request) => (answer(handler, request).await, false),
                Err(why) => (refuse(why), true),
            },
            Ok(Err(why)) if why.kind() == io::ErrorKind::InvalidData => {
                (refuse(why.to_string()), true)
            }
            Ok(Ok(None) | Err(_)) | Err(_) => return,
        };
        let written = timeout(ADMIN_LINE_TIME, write_line(&mut stream, &write_reply(&reply))).await;
        if last || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(handler: &dyn Handler, request: Request) -> Reply {
    let about = describe(&request);
    let reply = match timeout(ADMIN_ANSWER_TIME, handler.handle(request)).await {
        Ok(reply) => reply,
        Err(_) => Reply::Refused {
            fault: Fault::Unavailable,
            text: "it took too long; whether it was done is not known".to_owned(),
        },
    };
    if let Some((what, jid)) = about {
        match &reply {
            Reply::Refused { text, .. } => info!(account = %jid, why = %text, "{what} refused"),
            _ => info!(account = %jid, "{what} done"),
        }
    }
    reply
}

/// What a request changes, for the log.
fn describe(request: &Request) -> Option<(&'static str, String)> {
    Some(match request {
        Request::Add { jid, .. } => ("user add", jid.clone()),
        Request::SetPassword { jid, .. } => ("user passwd", jid.clone()),
        Request::Disable { jid } => ("user disable", jid.clone()),
        Request::Enable { jid } => ("user enable", jid.clone()),
        Request::Delete { jid } => ("user delete", jid.clone()),
        Request::Cluster(asked) => match asked {
            ClusterRequest::Status => return None,
            ClusterRequest::Token { roles } => {
                ("cluster token", roles.clone().unwrap_or_else(|| "all roles".to_owned()))
            }
            ClusterRequest::Drain { node } => ("cluster drain", node.clone()),
            ClusterRequest::Undrain { node } => ("cluster undrain", node.clone()),
            ClusterRequest::Remove { node } => ("cluster remove", node.clone()),
            ClusterRequest::Rebalance => ("cluster rebalance", "all shards".to_owned()),
            ClusterRequest::Domain { domain, .. } => ("cluster domain", domain.clone()),
            ClusterRequest::Set { name, .. } => ("cluster set", name.clone()),
        },
        Request::List { .. } | Request::Status => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt as _;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::{CallError, Client};
    use super::*;
    use crate::limits::ADMIN_LINE_MAX;

    /// Keeps what it was asked; answers `Done`, or nothing at all to `Status`.
    #[derive(Default)]
    struct Notes(RefCell<Vec<Request>>);

    impl Handler for Notes {
        fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Reply> + '_>> {
            self.0.borrow_mut().push(request.clone());
            Box::pin(async move {
                match request {
                    Request::Status => std::future::pending().await,
                    _ => Reply::Done,
                }
            })
        }
    }

    fn run<F: Future<Output = ()>>(test: impl FnOnce(PathBuf, Rc<Notes>) -> F) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = folder.path().join("admin.sock");
        runtime.block_on(tokio::task::LocalSet::new().run_until(test(path, Rc::default())));
    }

    fn disable(jid: &str) -> Request {
        Request::Disable { jid: jid.to_owned() }
    }

    #[test]
    fn many_calls_pass_over_one_connection() {
        run(|path, notes| async move {
            let _server = Server::start(&path, notes.clone()).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let mut client = Client::connect(&path).await.unwrap();
            let long = "x".repeat(100_000);
            for name in ["a@b", "c@d", &long] {
                assert_eq!(client.call(&disable(name)).await.unwrap(), Reply::Done);
            }
            let asked = ["a@b", "c@d", &long].map(disable);
            assert_eq!(*notes.0.borrow(), asked);
        });
    }

    #[test]
    fn a_socket_that_nobody_serves_is_told_and_replaced() {
        run(|path, notes| async move {
            let connect = Client::connect(&path).await;
            assert!(matches!(connect, Err(CallError::NotRunning)));
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let connect = Client::connect(&path).await;
            assert!(matches!(connect, Err(CallError::NotRunning)));
            let _server = Server::start(&path, notes).unwrap();
            Client::connect(&path).await.unwrap().call(&disable("a@b")).await.unwrap();
        });
    }

    #[test]
    fn a_path_longer_than_a_socket_address_works() {
        run(|path, notes| async move {
            let deep = path.parent().unwrap().join("long".repeat(30)).join("folder".repeat(10));
            std::fs::create_dir_all(&deep).unwrap();
            let path = deep.join("admin.sock");
            let _server = Server::start(&path, notes).unwrap();
            Client::connect(&path).await.unwrap().call(&disable("a@b")).await.unwrap();
        });
    }

    #[test]
    fn bad_lines_are_answered_and_end_the_connection() {
        run(|path, notes| async move {
            let _server = Server::start(&path, notes.clone()).unwrap();
            let long = "x".repeat(ADMIN_LINE_MAX + 10);
            for (sent, told) in [
                ("GET / HTTP/1.1\r\n\r\n", "after the line"),
                ("what\n", "not a line"),
                ("{\"v\":9,\"request\":{}}\n", "version 9"),
                (&long, "too long"),
            ] {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                stream.write_all(sent.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.contains(told) && answer.contains("\"protocol\""), "{answer}");
            }
            assert!(notes.0.borrow().is_empty());
            Client::connect(&path).await.unwrap().call(&disable("a@b")).await.unwrap();
        });
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_holds_a_place_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let test = async {
            let _server = Server::start(&path, Rc::<Notes>::default()).unwrap();
            let mut idle = Vec::new();
            for _ in 0..ADMIN_CONNECTIONS_MAX {
                idle.push(UnixStream::connect(&path).await.unwrap());
            }
            let mut late = Client::connect(&path).await.unwrap();
            assert_eq!(late.call(&disable("a@b")).await.unwrap(), Reply::Done);

            let mut stuck = Client::connect(&path).await.unwrap();
            let reply = stuck.call(&Request::Status).await;
            let told = "did not answer in time";
            assert!(
                matches!(&reply, Err(CallError::Failed(text)) if text.contains(told)),
                "{reply:?}"
            );
        };
        tokio::task::LocalSet::new().run_until(test).await;
    }
}
