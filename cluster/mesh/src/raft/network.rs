//! What replicas say to each other, over links: one byte of kind and the library's own types.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::{Seat, Snapshot, SnapshotMeta, Types, Vote, decode, encode};
use crate::link::{CallError, Service};
use crate::{Mesh, NodeName};

/// A call on its way.
pub type Calling = Pin<Box<dyn Future<Output = Result<Bytes, CallError>> + Send>>;

/// How a replica reaches other nodes: links do it, and tests put something in between.
pub trait Carrier: Send + Sync + 'static {
    /// Asks a node.
    fn call(&self, node: &str, service: Service, body: Bytes, within: Duration) -> Calling;
    /// From now on there should be a way to this node.
    fn keep(&self, seat: &Seat);
}

impl Carrier for Mesh {
    fn call(&self, node: &str, service: Service, body: Bytes, within: Duration) -> Calling {
        let (mesh, node) = (self.clone(), NodeName::parse(node));
        Box::pin(async move {
            let node = node.ok_or(CallError::NoLink)?;
            Mesh::call(&mesh, &node, service, body, within).await
        })
    }

    fn keep(&self, seat: &Seat) {
        let Some(node) = NodeName::parse(&seat.node) else { return };
        self.keep_at(&node, vec![seat.address.clone()]);
    }
}

/// Messages are told apart by their first byte.
pub(super) const APPEND: u8 = 1;
pub(super) const VOTE: u8 = 2;
pub(super) const PRE_VOTE: u8 = 3;
pub(super) const SNAPSHOT: u8 = 4;
pub(super) const TRANSFER: u8 = 5;

/// No answer is given up earlier: the library's own limit for appending is one heartbeat, which is
/// too short for a machine whose disk is busy.
const WITHIN_MIN: Duration = Duration::from_millis(750);
/// A snapshot may take this long to arrive and be stored.
pub(super) const SNAPSHOT_WITHIN: Duration = Duration::from_secs(15);

/// Makes the ways to other replicas.
pub(super) struct Network {
    pub(super) carrier: Arc<dyn Carrier>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, _: u64, seat: &Seat) -> Way {
        self.carrier.keep(seat);
        Way { carrier: self.carrier.clone(), node: seat.node.clone() }
    }
}

/// The way to one other replica.
pub(super) struct Way {
    carrier: Arc<dyn Carrier>,
    node: String,
}

fn unreachable(why: impl ToString) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(why))
}

impl Way {
    async fn ask<T: Serialize, A: DeserializeOwned>(
        &self,
        kind: u8,
        message: &T,
        within: Duration,
    ) -> Result<A, RPCError<Types>> {
        let mut body = vec![kind];
        body.extend(encode(message).map_err(unreachable)?);
        let call = self.carrier.call(&self.node, Service::Raft, Bytes::from(body), within);
        let answer = call.await.map_err(unreachable)?;
        decode(&answer).ok_or_else(|| unreachable("the answer cannot be read"))
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        message: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.ask(APPEND, &message, option.soft_ttl().max(WITHIN_MIN)).await
    }

    async fn vote(
        &mut self,
        message: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(VOTE, &message, option.soft_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        message: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(PRE_VOTE, &message, option.soft_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let message = (vote, snapshot.meta, snapshot.snapshot);
        let sending =
            self.ask::<(Vote, SnapshotMeta, Vec<u8>), _>(SNAPSHOT, &message, SNAPSHOT_WITHIN);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = sending => answer.map_err(StreamingError::from),
        }
    }

    async fn transfer_leader(
        &mut self,
        message: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.ask(TRANSFER, &message, option.soft_ttl()).await
    }
}
