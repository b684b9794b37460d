//! Where operators' requests arrive, from the first moment: a node of a cluster may wait for others
//! before it serves, and an operator must be able to see why, and to let them in.

use std::cell::OnceCell;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use super::Engine;
use super::engine::refuse;
use super::forward::Forward;
use crate::admin::protocol::{Fault, Reply, Request};
use crate::admin::{Handler, Server};
use crate::exit::Failure;
use crate::home::Home;

/// Answers what can be answered already.
pub(super) struct Desk {
    engine: OnceCell<Rc<Engine>>,
    cluster: Option<Forward>,
}

/// The desk and the socket that leads to it.
pub(super) struct Front {
    pub(super) desk: Rc<Desk>,
    _server: Server,
}

impl Front {
    /// Opens the socket of the data folder. Needs a `LocalSet` around it.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn open(root: &Path, cluster: Option<Forward>) -> Result<Self, Failure> {
        let desk = Rc::new(Desk { engine: OnceCell::new(), cluster });
        let socket = Home::socket(root);
        let server = Server::start(&socket, desk.clone())
            .map_err(|why| Failure::new(format!("{}: {why}", socket.display())))?;
        Ok(Self { desk, _server: server })
    }
}

impl Desk {
    /// From here on this engine answers for accounts and the server.
    pub(super) fn serve(&self, engine: Rc<Engine>) {
        let _ = self.engine.set(engine);
    }

    async fn answer(&self, request: Request) -> Reply {
        if let Request::Cluster(asked) = request {
            return match &self.cluster {
                Some(cluster) => cluster.about(asked).await,
                None => refuse(Fault::Unknown, "this node is of no cluster".to_owned()),
            };
        }
        match self.engine.get() {
            Some(engine) => engine.handle(request).await,
            None => refuse(Fault::Unavailable, "the server is starting; try again".to_owned()),
        }
    }
}

impl Handler for Desk {
    fn handle(&self, request: Request) -> Pin<Box<dyn Future<Output = Reply> + '_>> {
        Box::pin(self.answer(request))
    }
}
