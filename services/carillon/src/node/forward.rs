//! What operators ask of a node of a cluster: about an account of another node, and about the
//! cluster itself.

use std::sync::Arc;

use bytes::Bytes;
use mesh::link::Service;
use mesh::{NodeName, Roles};
use peer::control::{Command, Reply as Said, TokenHash};
use peer::{ShardId, shard_of};
use xmpp::Jid;

use super::engine::refuse;
use crate::admin::protocol::{ClusterRequest, Fault, Reply, Request};
use crate::cluster::{self, Member};
use crate::limits::{FORWARD_TIME, TOKEN_TIME};

/// The way of operators' requests into the cluster.
pub(super) struct Forward(pub(super) Arc<Member>);

/// Where an account's owner is.
pub(super) enum Owner {
    /// At this node.
    Here,
    /// At the node of this name.
    There(NodeName),
    /// Just now there is none.
    Nobody,
}

impl Forward {
    /// Who owns an account; what is for none in particular is asked of the first shard's.
    pub(super) fn owner(&self, account: Option<&Jid>) -> Owner {
        let map = self.0.switch.map();
        let shard = account.map_or(ShardId(0), |account| shard_of(&map.key, account));
        match self.0.owner(shard) {
            Some((node, _)) if node == self.0.me => Owner::Here,
            Some((_, name)) => Owner::There(name),
            None => Owner::Nobody,
        }
    }

    /// Asks the owner's node.
    pub(super) async fn ask(&self, node: &NodeName, request: &Request) -> Reply {
        let failed = |why: &str| {
            refuse(Fault::Unavailable, format!("{node}, which owns the account, {why}"))
        };
        let Ok(body) = serde_json::to_vec(request) else { return failed("was not asked") };
        let call = self.0.mesh.call(node, Service::Shard, Bytes::from(body), FORWARD_TIME);
        match call.await {
            Ok(answer) => serde_json::from_slice(&answer)
                .unwrap_or_else(|_| failed("answered something that cannot be read")),
            Err(why) => failed(&format!("did not answer: {why}")),
        }
    }

    /// Does what is asked about the cluster.
    pub(super) async fn about(&self, asked: ClusterRequest) -> Reply {
        let command = match asked {
            ClusterRequest::Status => return self.view().await,
            ClusterRequest::Token { roles } => return self.token(roles.as_deref()).await,
            ClusterRequest::Rebalance => Command::Rebalance,
            ClusterRequest::Set { name, value } => {
                Command::Set { name: name.into(), value: value.map(Into::into) }
            }
            ClusterRequest::Domain { domain, served } => match Jid::parse(&domain) {
                Ok(jid) if jid.local().is_none() && jid.resource().is_none() => {
                    let domain = jid.domain().into();
                    match served {
                        true => Command::AddDomain { domain },
                        false => Command::RemoveDomain { domain },
                    }
                }
                _ => return refuse(Fault::Address, format!("{domain:?} is not a domain")),
            },
            ClusterRequest::Drain { node } => match self.number(&node) {
                Ok(number) => Command::Drain { number },
                Err(refusal) => return refusal,
            },
            ClusterRequest::Undrain { node } => match self.number(&node) {
                Ok(_) if self.is_edge(&node) => {
                    let text = format!("{node} has sent its clients away: start it again");
                    return refuse(Fault::Unavailable, text);
                }
                Ok(number) => Command::Undrain { number },
                Err(refusal) => return refusal,
            },
            ClusterRequest::Remove { node } => match self.number(&node) {
                Ok(number) => Command::Remove { number },
                Err(refusal) => return refusal,
            },
        };
        self.command(command).await
    }

    async fn command(&self, command: Command) -> Reply {
        if self.0.control.replica().is_none() {
            let text = "this node holds no replica of the control plane: ask a control node";
            return refuse(Fault::Unavailable, text.to_owned());
        }
        match self.0.control.command(command).await {
            Ok(Said::Refused(why)) => refuse(Fault::Unknown, why.to_string()),
            Ok(_) => Reply::Done,
            Err(why) => refuse(Fault::Unavailable, why.to_string()),
        }
    }

    fn number(&self, name: &str) -> Result<u32, Reply> {
        let map = self.0.control.map();
        map.as_ref()
            .and_then(|map| map.named(name))
            .map(|member| member.id.number)
            .ok_or_else(|| refuse(Fault::Unknown, format!("there is no node {name}")))
    }

    fn is_edge(&self, name: &str) -> bool {
        let map = self.0.control.map();
        let member = map.as_ref().and_then(|map| map.named(name));
        member.is_some_and(|it| it.roles.has(peer::node::Roles::EDGE))
    }

    async fn view(&self) -> Reply {
        let raft = self.0.control.status().await.ok();
        let Some(map) = self.0.control.map() else {
            let text = "this node has no map yet: it waits for the control nodes".to_owned();
            return refuse(Fault::Unavailable, text);
        };
        let heard = |node| self.0.hears(&map, node);
        let view = cluster::view(&map, self.0.name().as_str(), raft.as_ref(), heard);
        Reply::Cluster(Box::new(view))
    }

    async fn token(&self, roles: Option<&str>) -> Reply {
        let Some(authority) = &self.0.authority else {
            let text = "this node is no control node: ask one for a token".to_owned();
            return refuse(Fault::Unavailable, text);
        };
        let roles = match roles.map(|text| Roles::parse(text).ok_or(text)) {
            Some(Ok(roles)) => roles,
            Some(Err(text)) => {
                let text = format!("{text:?} are no roles: name some, joined by +");
                return refuse(Fault::Protocol, text);
            }
            None => Roles::of(&mesh::Role::ALL),
        };
        let (token, hash) = match cluster::token(authority.certificate()) {
            Ok(made) => made,
            Err(why) => return refuse(Fault::Unavailable, why.text),
        };
        let expires_us = cluster::micros(cluster::now() + TOKEN_TIME);
        let (token_hash, roles) = (TokenHash(hash), roles.to_peer());
        let add = Command::AddToken { token: token_hash, roles, expires_us };
        match self.command(add).await {
            Reply::Done => {
                let map = self.0.control.map();
                let me = map.as_ref().and_then(|map| map.up(self.0.me));
                let host = me.map(|it| it.address.to_string()).unwrap_or_default();
                Reply::Token { token, host }
            }
            refusal => refusal,
        }
    }
}
