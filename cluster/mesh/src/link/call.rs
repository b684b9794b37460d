//! Calls: a request and its answer on a stream of their own, so that none waits for another.
//!
//! A request is `service u8 · body`, an answer `0 · body` or the number of a refusal; each ends
//! with its stream.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::sync::Semaphore;

use super::Link;
use super::refusal::LinkError;
use crate::identity::{Role, Roles};
use crate::limits::{
    CALL_BYTES_MAX, CALL_READ, CALLS_MAX, COMMAND_BYTES_MAX, JOIN_BYTES_MAX, RAFT_CALLS_MAX,
};

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Between the replicas of the control plane.
    Raft,
    /// From any node to the control plane.
    Control,
    /// A new certificate.
    Certificate,
    /// To the node that serves its store to others.
    Store,
    /// Between shards and sessions: hand-over, rebuilding.
    Shard,
}

impl Service {
    const ALL: [Service; 5] =
        [Service::Raft, Service::Control, Service::Certificate, Service::Store, Service::Shard];

    fn code(self) -> u8 {
        1 + self as u8
    }

    /// Whether nodes with these roles may ask for this at all. Judged before anything else of a
    /// call is read; what is asked is for the handler to judge.
    fn is_for(self, roles: Roles) -> bool {
        match self {
            Service::Raft => roles.has(Role::Control),
            Service::Store => roles.has(Role::Router),
            Service::Control | Service::Certificate | Service::Shard => true,
        }
    }

    /// Bytes of a request.
    fn request_bytes_max(self) -> usize {
        match self {
            Service::Raft | Service::Store | Service::Shard => CALL_BYTES_MAX,
            // One command, and what frames it.
            Service::Control => COMMAND_BYTES_MAX + JOIN_BYTES_MAX,
            Service::Certificate => JOIN_BYTES_MAX,
        }
    }
}

/// How many calls a link has open: those between replicas and all others, each with room of its
/// own, so that none of the others makes an election wait.
#[derive(Debug)]
pub(super) struct Rooms {
    raft: Semaphore,
    others: Semaphore,
}

impl Default for Rooms {
    fn default() -> Rooms {
        let others = Semaphore::new(CALLS_MAX - RAFT_CALLS_MAX);
        Rooms { raft: Semaphore::new(RAFT_CALLS_MAX), others }
    }
}

impl Rooms {
    fn of(&self, service: Service) -> &Semaphore {
        if service == Service::Raft { &self.raft } else { &self.others }
    }
}

/// Why the other node did not answer a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallRefusal {
    /// It does not offer this.
    NoService,
    /// The caller's roles do not allow it.
    NotAllowed,
    /// The request cannot be read.
    Malformed,
    /// It is not ready, or has too much to do: try again, perhaps elsewhere.
    Busy,
    /// Something of its own failed.
    Failed,
}

impl CallRefusal {
    const ALL: [CallRefusal; 5] = [
        CallRefusal::NoService,
        CallRefusal::NotAllowed,
        CallRefusal::Malformed,
        CallRefusal::Busy,
        CallRefusal::Failed,
    ];

    fn code(self) -> u8 {
        1 + self as u8
    }
}

impl fmt::Display for CallRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallRefusal::NoService => "the node does not offer this",
            CallRefusal::NotAllowed => "the node's roles do not allow this",
            CallRefusal::Malformed => "the request cannot be read",
            CallRefusal::Busy => "the node is not ready",
            CallRefusal::Failed => "the node failed to do it",
        })
    }
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// There is no link to the node. The call was not made.
    NoLink,
    /// The link ended, or the answer did not come in time: whether the call was carried out is
    /// not known.
    Lost,
    /// The other node says no.
    Refused(CallRefusal),
    /// The request is longer than a call may be.
    TooLong,
    /// The answer cannot be read.
    Malformed,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NoLink => f.write_str("there is no link to the node"),
            CallError::Lost => f.write_str("the node did not answer in time"),
            CallError::Refused(why) => fmt::Display::fmt(why, f),
            CallError::TooLong => f.write_str("the request is too long"),
            CallError::Malformed => f.write_str("the answer cannot be read"),
        }
    }
}

impl std::error::Error for CallError {}

impl Link {
    /// Asks the other node and waits for its answer, `within` at most.
    ///
    /// # Errors
    /// No answer came, or a refusal.
    pub async fn call(
        &self,
        service: Service,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        if body.len() > service.request_bytes_max() {
            return Err(CallError::TooLong);
        }
        let asked = tokio::time::timeout(within, self.ask(service, body)).await;
        asked.unwrap_or(Err(CallError::Lost))
    }

    async fn ask(&self, service: Service, body: Bytes) -> Result<Bytes, CallError> {
        let room = self.inner.calls.of(service).acquire().await;
        let _room = room.map_err(|_| CallError::NoLink)?;
        let opened = self.inner.connection.open_bi().await;
        let (mut send, mut receive) = opened.map_err(|_| CallError::NoLink)?;
        let mut pieces = [Bytes::copy_from_slice(&[service.code()]), body];
        // Who refuses a call reads no more of it, and has said why.
        if send.write_all_chunks(&mut pieces).await.is_ok() {
            let _ = send.finish();
        }
        let answer = receive.read_to_end(CALL_BYTES_MAX).await.map_err(|_| CallError::Lost)?;
        let mut answer = Bytes::from(answer);
        match answer.split_to(answer.len().min(1)).first() {
            Some(0) => Ok(answer),
            Some(code) => {
                let refusal = CallRefusal::ALL.into_iter().find(|it| it.code() == *code);
                Err(refusal.map_or(CallError::Malformed, CallError::Refused))
            }
            None => Err(CallError::Lost),
        }
    }
}

/// Takes the calls of one link. QUIC refuses more streams than may be open at once.
pub(super) async fn accept(link: Link) {
    while let Ok((send, receive)) = link.inner.connection.accept_bi().await {
        tokio::spawn(answer(link.clone(), send, receive));
    }
}

async fn answer(link: Link, mut send: SendStream, mut receive: RecvStream) {
    let peer = &link.inner.peer;
    let asked = tokio::time::timeout(CALL_READ, read(&mut receive, peer.identity.roles)).await;
    let answer = match asked.ok().flatten() {
        Some(Ok((service, request))) => {
            let handling = link.inner.handler.call(peer, service, request);
            tokio::select! {
                answer = handling => answer,
                // The caller has given up, or is gone: nobody reads the answer.
                _ = send.stopped() => return,
            }
        }
        Some(Err(refusal)) => Err(refusal),
        None => {
            // Too long, too slow, or the caller has given up.
            let _ = send.reset(LinkError::Broken.code().into());
            return;
        }
    };
    let (code, body) = match answer {
        Ok(body) => (0, body),
        Err(refusal) => (refusal.code(), Bytes::new()),
    };
    let mut pieces = [Bytes::copy_from_slice(&[code]), body];
    if send.write_all_chunks(&mut pieces).await.is_ok() {
        let _ = send.finish();
    }
}

/// Reads what the call is for, and the rest of it if the caller may ask for that.
async fn read(
    receive: &mut RecvStream,
    roles: Roles,
) -> Option<Result<(Service, Bytes), CallRefusal>> {
    let mut code = [0];
    receive.read_exact(&mut code).await.ok()?;
    let service = Service::ALL.into_iter().find(|it| it.code() == code[0]);
    let Some(service) = service else { return Some(Err(CallRefusal::NoService)) };
    if !service.is_for(roles) {
        return Some(Err(CallRefusal::NotAllowed));
    }
    let body = receive.read_to_end(service.request_bytes_max()).await.ok()?;
    Some(Ok((service, Bytes::from(body))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_the_wire_stay_what_they_are() {
        let services = Service::ALL.map(Service::code);
        assert_eq!(services, [1, 2, 3, 4, 5]);
        assert_eq!(
            Service::ALL.map(|it| format!("{it:?}")).join(" "),
            "Raft Control Certificate Store Shard"
        );
        assert_eq!(CallRefusal::ALL.map(CallRefusal::code), [1, 2, 3, 4, 5]);
    }
}
