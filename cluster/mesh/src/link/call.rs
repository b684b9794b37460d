//! Calls: a request and its answer on a stream of their own, so that none waits for another.
//!
//! A request is `service u8 · body`, an answer `0 · body` or the number of a refusal; each ends
//! with its stream.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

use super::Link;
use super::refusal::LinkError;
use crate::limits::{CALL_BYTES_MAX, CALL_READ};

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
        if body.len() >= CALL_BYTES_MAX {
            return Err(CallError::TooLong);
        }
        let asked = tokio::time::timeout(within, self.ask(service, body)).await;
        asked.unwrap_or(Err(CallError::Lost))
    }

    async fn ask(&self, service: Service, body: Bytes) -> Result<Bytes, CallError> {
        let opened = self.inner.connection.open_bi().await;
        let (mut send, mut receive) = opened.map_err(|_| CallError::NoLink)?;
        let lost = |_| CallError::Lost;
        let mut pieces = [Bytes::copy_from_slice(&[service.code()]), body];
        send.write_all_chunks(&mut pieces).await.map_err(lost)?;
        send.finish().map_err(|_| CallError::Lost)?;
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
    let read = tokio::time::timeout(CALL_READ, receive.read_to_end(CALL_BYTES_MAX)).await;
    let Ok(Ok(request)) = read else {
        // Too long, too slow, or the caller has given up.
        let _ = send.reset(LinkError::Broken.code().into());
        return;
    };
    let mut request = Bytes::from(request);
    let code = request.split_to(request.len().min(1)).first().copied();
    let service = Service::ALL.into_iter().find(|it| Some(it.code()) == code);
    let answer = match service {
        Some(service) => {
            let handling = link.inner.handler.call(&link.inner.peer, service, request);
            tokio::select! {
                answer = handling => answer,
                // The caller has given up, or is gone: nobody reads the answer.
                _ = send.stopped() => return,
            }
        }
        None => Err(CallRefusal::NoService),
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
