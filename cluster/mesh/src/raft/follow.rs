//! The control plane's state on a node without a replica: a copy that is kept up to date by asking
//! any replica for news.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::control::{Answer, ControlError, Request, Status, decode_news};
use super::machine::{News, StateMachine};
use super::network::Carrier;
use super::types::{Seat, decode};
use crate::backoff::Backoff;
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_WITHIN, NEWS_WAIT};
use crate::link::Service;

/// A copy of the control plane's state. A clone is another handle; the copy is kept up to date
/// until all handles are gone.
pub struct Follower<M: StateMachine> {
    inner: Arc<Following<M>>,
}

impl<M: StateMachine> Clone for Follower<M> {
    fn clone(&self) -> Self {
        Follower { inner: self.inner.clone() }
    }
}

impl<M: StateMachine> fmt::Debug for Follower<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

struct Following<M> {
    carrier: Arc<dyn Carrier>,
    copy: RwLock<(M, Option<u64>)>,
    applied: watch::Sender<u64>,
    /// The replicas to ask, the one that answered last first.
    sources: RwLock<Vec<Seat>>,
}

impl<M: StateMachine> Follower<M> {
    /// Starts to follow by asking these replicas, one after the other as they fail.
    pub fn start(carrier: Arc<dyn Carrier>, machine: M, sources: Vec<Seat>) -> Follower<M> {
        sources.iter().for_each(|seat| carrier.keep(seat));
        let inner = Arc::new(Following {
            carrier,
            copy: RwLock::new((machine, None)),
            applied: watch::Sender::new(0),
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
    pub fn with<T>(&self, look: impl FnOnce(&M) -> T) -> T {
        look(&self.inner.copy.read().0)
    }

    /// The index of the last entry that the copy has; changes with each.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.applied.subscribe()
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
        self.inner.ask(&request, CONTROL_WITHIN * 2).await
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

impl<M: StateMachine> Following<M> {
    fn next_source(&self) {
        let mut sources = self.sources.write();
        if !sources.is_empty() {
            sources.rotate_left(1);
        }
    }

    /// Asks the first source.
    async fn ask(&self, request: &Request, within: Duration) -> Result<Vec<u8>, ControlError> {
        use crate::link::CallError;
        let source = self.sources.read().first().cloned().ok_or(ControlError::NoLeader)?;
        let body = Bytes::from(request.encode());
        let call = self.carrier.call(&source.node, Service::Control, body, within);
        match call.await.as_deref().map(Answer::decode) {
            Ok(Some(Answer::Done(body))) => Ok(body),
            Ok(Some(Answer::NotLeader(_))) => Err(ControlError::NoLeader),
            Ok(Some(Answer::Failed(why))) => Err(why),
            Err(CallError::NoLink) => Err(ControlError::NoLeader),
            Ok(None) | Err(_) => Err(ControlError::Unknown),
        }
    }

    /// One question and what comes of it. `None` if the source is of no use.
    async fn take_news(&self) -> Option<()> {
        let after = self.copy.read().1;
        let within = NEWS_WAIT + CONTROL_WITHIN;
        let answer = self.ask(&Request::News(after), within).await.ok()?;
        let news = decode_news(&answer)?;
        let mut copy = self.copy.write();
        let last = match news {
            News::Commands(last, commands) => {
                for (index, command) in commands {
                    copy.0.apply(index, &command);
                }
                last
            }
            // A replica that lags shows an older state: the copy does not go back.
            News::Whole(last, _) if after.is_some_and(|after| last < after) => return None,
            News::Whole(last, state) => {
                if !copy.0.restore(&state) {
                    return None;
                }
                last
            }
        };
        copy.1 = Some(last);
        drop(copy);
        self.applied.send_if_modified(|applied| std::mem::replace(applied, last) != last);
        Some(())
    }
}
