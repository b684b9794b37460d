//! How a replica answers calls: those of other replicas, and those of any node.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest, VoteResponse};
use peer::control::Seen;
use serde::Serialize;

use super::control::{Answer, ControlError, Request};
use super::machine::StateMachine;
use super::network::{APPEND, PRE_VOTE, SNAPSHOT, TRANSFER, VOTE};
use super::replica::Replica;
use super::types::{Snapshot, SnapshotMeta, Types, Vote, decode, encode};
use crate::Role;
use crate::limits::{COMMAND_BYTES_MAX, NEWS_WAIT};
use crate::link::{CallRefusal, Peer, Service};

impl<M: StateMachine> Replica<M> {
    /// Answers a call of [`Service::Raft`] or [`Service::Control`]. What replicas say to each other
    /// comes only from nodes with the control role, and so do changes of members. Other nodes may
    /// propose what [`StateMachine::may_propose`] allows, and read what is for all.
    ///
    /// # Errors
    /// The call is none of these, or the caller may not make it.
    pub async fn answer(
        &self,
        caller: &Peer,
        service: Service,
        body: Bytes,
    ) -> Result<Bytes, CallRefusal> {
        match service {
            Service::Raft if !caller.identity.roles.has(Role::Control) => {
                Err(CallRefusal::NotAllowed)
            }
            Service::Raft => self.answer_replica(&body).await,
            Service::Control => {
                let request = Request::decode(&body).ok_or(CallRefusal::Malformed)?;
                let allowed = match &request {
                    _ if caller.identity.roles.has(Role::Control) => true,
                    Request::Propose(asked) => {
                        self.with(|machine| machine.may_propose(caller, asked))
                    }
                    Request::News(_) | Request::Status => true,
                    Request::ProposeHere(_) | Request::ReadIndex | Request::Members(_) => false,
                };
                if !allowed {
                    return Err(CallRefusal::NotAllowed);
                }
                Ok(Bytes::from(self.answer_node(request).await.encode()))
            }
            _ => Err(CallRefusal::NoService),
        }
    }

    async fn answer_replica(&self, body: &[u8]) -> Result<Bytes, CallRefusal> {
        let raft = &self.inner.raft;
        let (kind, body) = body.split_first().ok_or(CallRefusal::Malformed)?;
        let bad = CallRefusal::Malformed;
        // A replica that lost its log may have promised what it does not know of.
        let mute = self.inner.rebuilding.load(Ordering::Acquire);
        match *kind {
            APPEND => {
                let message: AppendEntriesRequest<Types> = decode(body).ok_or(bad)?;
                said(raft.append_entries(message).await)
            }
            VOTE | PRE_VOTE if mute => said(Ok::<_, ()>(self.no_vote())),
            VOTE => {
                let message: VoteRequest<Types> = decode(body).ok_or(bad)?;
                said(raft.vote(message).await)
            }
            PRE_VOTE => {
                let message: VoteRequest<Types> = decode(body).ok_or(bad)?;
                said(raft.pre_vote(message).await)
            }
            SNAPSHOT => {
                let (vote, meta, snapshot): (Vote, SnapshotMeta, Vec<u8>) =
                    decode(body).ok_or(bad)?;
                said(raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await)
            }
            TRANSFER if !mute => {
                let message: TransferLeaderRequest<Types> = decode(body).ok_or(bad)?;
                said(raft.handle_transfer_leader(message).await)
            }
            TRANSFER => Err(CallRefusal::Busy),
            _ => Err(CallRefusal::Malformed),
        }
    }

    fn no_vote(&self) -> VoteResponse<Types> {
        let metrics = self.inner.raft.metrics();
        let vote = metrics.borrow_watched().vote;
        VoteResponse::new(vote, None, false)
    }

    async fn answer_node(&self, request: Request) -> Answer {
        match request {
            Request::Propose(command) if command.len() <= COMMAND_BYTES_MAX => {
                match self.at_leader(Request::ProposeHere(command)).await {
                    Ok(answer) => Answer::Done(answer),
                    Err(why) => Answer::Failed(why),
                }
            }
            Request::ProposeHere(command) if command.len() > COMMAND_BYTES_MAX => {
                Answer::Failed(ControlError::Refused)
            }
            Request::Propose(_) => Answer::Failed(ControlError::Refused),
            Request::ProposeHere(_) | Request::ReadIndex | Request::Members(_) => {
                self.lead(request).await
            }
            Request::News(have) => Answer::Done(self.news(have).await),
            Request::Status => {
                encode(&self.status()).map_or(Answer::Failed(ControlError::Refused), Answer::Done)
            }
        }
    }

    /// What has changed since `have`; if nothing has, what changes next, or nothing after a while.
    async fn news(&self, have: Seen) -> Vec<u8> {
        let until = tokio::time::Instant::now() + NEWS_WAIT;
        let mut applied = self.subscribe();
        loop {
            if let Some(news) = self.with(|machine| machine.news(have)) {
                return news;
            }
            // Who has nothing, and asks a replica that has nothing either, asks another one: this
            // one may wait for the asker before the others let it in.
            if have.version == 0 {
                return Vec::new();
            }
            if !matches!(tokio::time::timeout_at(until, applied.changed()).await, Ok(Ok(()))) {
                return Vec::new();
            }
        }
    }
}

fn said<T: Serialize, E>(answer: Result<T, E>) -> Result<Bytes, CallRefusal> {
    let answer = answer.map_err(|_| CallRefusal::Failed)?;
    encode(&answer).map(Bytes::from).map_err(|_| CallRefusal::Failed)
}
