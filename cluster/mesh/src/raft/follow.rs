//! What a node without a replica knows of the control plane: a copy that is kept up to date by
//! asking any replica for news.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use peer::control::Seen;
use tokio::sync::watch;

use super::control::{Answer, ControlError, Request, Status};
use super::machine::Copied;
use super::network::Carrier;
use super::types::{Seat, decode};
use crate::backoff::Backoff;
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_WITHIN, NEWS_WAIT};
use crate::link::{CallError, CallRefusal, Service};

/// A copy of the control plane's state. A clone is another handle; the copy is kept up to date
/// until all handles are gone.
pub struct Follower<C: Copied> {
    inner: Arc<Following<C>>,
}

impl<C: Copied> Clone for Follower<C> {
    fn clone(&self) -> Self {
        Follower { inner: self.inner.clone() }
    }
}

impl<C: Copied> fmt::Debug for Follower<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

struct Following<C> {
    carrier: Arc<dyn Carrier>,
    copy: RwLock<C>,
    seen: watch::Sender<Seen>,
    /// The replicas to ask, the one that answered last first.
    sources: RwLock<Vec<Seat>>,
}

impl<C: Copied> Follower<C> {
    /// Starts to follow by asking these replicas, one after the other as they fail.
    pub fn start(carrier: Arc<dyn Carrier>, copy: C, sources: Vec<Seat>) -> Follower<C> {
        sources.iter().for_each(|seat| carrier.keep(seat));
        let inner = Arc::new(Following {
            carrier,
            seen: watch::Sender::new(copy.seen()),
            copy: RwLock::new(copy),
            sources: RwLock::new(sources),
        });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            let mut backoff = Backoff::new();
            while let Some(inner) = weak.upgrade() {
                if inner.take_news().await.is_some() {
                    backoff.succeed();
                    continue;
                }
                inner.next_source();
                drop(inner);
                let random = super::store::random().unwrap_or(0);
                tokio::time::sleep(backoff.fail(random)).await;
            }
        });
        Follower { inner }
    }

    /// Other replicas to ask, as members come and go.
    pub fn set_sources(&self, sources: Vec<Seat>) {
        sources.iter().for_each(|seat| self.inner.carrier.keep(seat));
        *self.inner.sources.write() = sources;
    }

    /// Looks at the copy.
    pub fn with<T>(&self, look: impl FnOnce(&C) -> T) -> T {
        look(&self.inner.copy.read())
    }

    /// Which copy it is; changes with it.
    pub fn subscribe(&self) -> watch::Receiver<Seen> {
        self.inner.seen.subscribe()
    }

    /// Has a command applied and gives the state machine's answer.
    ///
    /// # Errors
    /// No replica answers, nobody leads, or the answer was lost.
    pub async fn propose(&self, command: Vec<u8>) -> Result<Vec<u8>, ControlError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ControlError::Refused);
        }
        let request = Request::Propose(command);
        let answer = self.inner.ask(&request, CONTROL_WITHIN * 2).await;
        if matches!(answer, Err(ControlError::NoLeader)) {
            self.inner.next_source();
        }
        answer
    }

    /// How the replica that answers stands.
    ///
    /// # Errors
    /// No replica answers.
    pub async fn status(&self) -> Result<Status, ControlError> {
        let answer = self.inner.ask(&Request::Status, CONTROL_WITHIN).await?;
        decode(&answer).ok_or(ControlError::Unknown)
    }
}

impl<C: Copied> Following<C> {
    fn next_source(&self) {
        let mut sources = self.sources.write();
        if !sources.is_empty() {
            sources.rotate_left(1);
        }
    }

    /// Asks the first source.
    async fn ask(&self, request: &Request, within: Duration) -> Result<Vec<u8>, ControlError> {
        let source = self.sources.read().first().cloned().ok_or(ControlError::NoLeader)?;
        let body = Bytes::from(request.encode());
        let call = self.carrier.call(&source.node, Service::Control, body, within);
        match call.await.as_deref().map(Answer::decode) {
            Ok(Some(Answer::Done(body))) => Ok(body),
            Ok(Some(Answer::NotLeader(_))) => Err(ControlError::NoLeader),
            Ok(Some(Answer::Failed(why))) => Err(why),
            Err(CallError::NoLink) => Err(ControlError::NoLeader),
            Err(CallError::Refused(CallRefusal::NotAllowed) | CallError::TooLong) => {
                Err(ControlError::Refused)
            }
            Ok(None) | Err(_) => Err(ControlError::Unknown),
        }
    }

    /// One question and what comes of it. `None` if the source is of no use.
    async fn take_news(&self) -> Option<()> {
        let have = self.copy.read().seen();
        let news = self.ask(&Request::News(have), NEWS_WAIT + CONTROL_WITHIN).await.ok()?;
        if news.is_empty() {
            return (have.version > 0).then_some(());
        }
        let mut copy = self.copy.write();
        // A replica that lags shows what is older: the copy does not go back.
        if !copy.take(&news) {
            return None;
        }
        let seen = copy.seen();
        drop(copy);
        self.seen.send_if_modified(|it| std::mem::replace(it, seen) != seen);
        Some(())
    }
}
