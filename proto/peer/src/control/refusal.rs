//! Why the control plane refuses, each with a sentence that says what to do.

use std::fmt;

use xmpp::text::Text;

use crate::limits::{CLOCK_OFF_MAX_US, DOMAINS_MAX, MEMBERS_MAX, SETTINGS_MAX, TOKENS_MAX};
use crate::node::{ClusterId, Features, Roles, Versions};
use crate::{Epoch, NodeId, ShardId};

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no cluster yet.
    NotInitialised,
    /// There is one.
    Initialised(ClusterId),
    /// The node means another cluster than this one.
    WrongCluster(ClusterId),
    /// The node's clock is off by so many milliseconds, ahead or behind.
    ClockOff {
        /// How much.
        off_ms: u64,
        /// Ahead of ours.
        ahead: bool,
    },
    /// A new node without a token.
    TokenMissing,
    /// A token that was never made, or has been taken back.
    TokenUnknown,
    /// A token that another node has used.
    TokenUsed {
        /// Its number.
        by: u32,
    },
    /// A token whose time is over.
    TokenExpired,
    /// The node wants more roles than its token, or its membership, has.
    RolesNotAllowed(Roles),
    /// Another node of this name is a member.
    NameTaken {
        /// Its number.
        by: u32,
    },
    /// A node with no role at all.
    NoRole,
    /// A name, address, zone or version that is empty, too long, or has strange characters.
    BadText(TextOf),
    /// A member speaks other versions of frames.
    NoSharedVersion {
        /// The member.
        with: Text,
        /// What it speaks.
        versions: Versions,
    },
    /// Gates are open for features that the program does not have.
    ProgramTooOld(Features),
    /// No node of this number is a member.
    UnknownNode(u32),
    /// This incarnation is not the one that is up.
    NotUp(NodeId),
    /// Too few that do not hear the node, or none of them a control node.
    TooFewObservers,
    /// The node is up, and would have to be down.
    StillUp(u32),
    /// No other router could take its shards.
    LastRouter,
    /// A domain that is served already.
    DomainServed,
    /// A domain that is not served.
    DomainNotServed,
    /// A token of this hash is there already.
    TokenThere,
    /// There are as many as there may be.
    TooMany(Bound),
    /// The log's entries were applied up to this one already.
    AlreadyApplied(u64),
    /// Epochs of a cluster that is made anew would begin so high that they could end.
    EpochTooHigh,
    /// The entry cannot be read: a later version wrote it before every member could read it.
    Unreadable,
    /// The node does not own this shard under this epoch.
    NotOwner {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
    },
    /// No router that could take shards has a fresh lease.
    NobodyFresh,
    /// The router's lease is fresh, and would have to be lost.
    StillFresh(NodeId),
}

/// A text that a command carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextOf {
    /// The name of a node.
    Name,
    /// Where a node listens.
    Address,
    /// What fails together with a node.
    Zone,
    /// The version of a program.
    Program,
    /// The name of a domain.
    Domain,
    /// The name of a setting.
    Setting,
    /// The value of a setting.
    Value,
}

/// What there may be only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Members, those that are down counted.
    Members,
    /// Tokens that are not used or expired.
    Tokens,
    /// Domains.
    Domains,
    /// Settings.
    Settings,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialised => {
                f.write_str("there is no cluster yet: run `carillon cluster init` on one node")
            }
            Self::Initialised(cluster) => write!(
                f,
                "this is cluster {cluster} already: to let a node join it, make a token with \
                 `carillon cluster token`"
            ),
            Self::WrongCluster(ours) => write!(
                f,
                "this is cluster {ours}, and the node belongs to another: check the address it \
                 joins, or empty its data directory if it is to change clusters"
            ),
            Self::ClockOff { off_ms, ahead } => write!(
                f,
                "the node's clock is {}.{:03} s {} this cluster's, and {} s are allowed: set it by \
                 NTP and start the node again",
                off_ms / 1000,
                off_ms % 1000,
                if *ahead { "ahead of" } else { "behind" },
                CLOCK_OFF_MAX_US / 1_000_000
            ),
            Self::NameTaken { by } => write!(
                f,
                "node {by} has this name, with another key: give this node a name of its own, or, \
                 if it replaces that one, run `carillon cluster remove` for it first"
            ),
            Self::NoRole => f.write_str("the node has no role: give it one in its configuration"),
            Self::BadText(which) => write!(f, "{which}: correct it in the node's configuration"),
            Self::NoSharedVersion { with, versions } => write!(
                f,
                "node {with} speaks versions {} to {}, which this program does not: upgrade one \
                 release at a time",
                versions.min, versions.max
            ),
            Self::ProgramTooOld(_) => f.write_str(
                "the cluster uses features that this program does not have: start the release that \
                 the other nodes run; going back is possible only until a feature's gate opens",
            ),
            Self::UnknownNode(number) => {
                write!(f, "no member has the number {number}: see `carillon cluster status`")
            }
            Self::NotUp(node) => write!(
                f,
                "incarnation {} of node {} is not up: it was declared dead, stopped, or started \
                 again; a process that is told so must exit and be started anew",
                node.incarnation, node.number
            ),
            Self::TooFewObservers => f.write_str(
                "a node is declared dead by two that do not hear it, one of them a control node",
            ),
            Self::StillUp(number) => write!(
                f,
                "node {number} is up: run `carillon cluster drain` for it and stop it, then remove \
                 it"
            ),
            Self::LastRouter => {
                f.write_str("no other router could take its shards: let another router join first")
            }
            Self::AlreadyApplied(index) => write!(f, "the log is applied up to entry {index}"),
            Self::TooMany(bound) => write!(f, "{bound}"),
            other => other.of_a_token(f),
        }
    }
}

impl Refusal {
    fn of_a_token(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAKE: &str = "make a new one with `carillon cluster token`";
        match self {
            Self::TokenMissing => write!(f, "a new node needs a token: {MAKE}"),
            Self::TokenUnknown => write!(f, "this token was never made, or taken back: {MAKE}"),
            Self::TokenUsed { by } => {
                write!(f, "node {by} has used this token, which is good for one: {MAKE}")
            }
            Self::TokenExpired => write!(f, "the time of this token is over: {MAKE}"),
            Self::TokenThere => write!(f, "there is such a token already: {MAKE}"),
            Self::RolesNotAllowed(roles) => write!(
                f,
                "the node may be: {roles}; for other roles, take them out of its configuration or \
                 join with a token that has them"
            ),
            other => other.of_a_shard(f),
        }
    }

    fn of_a_shard(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner { shard, epoch } => write!(
                f,
                "the node does not own shard {} under epoch {}: the map says who does",
                shard.0, epoch.0
            ),
            Self::StillFresh(node) => write!(
                f,
                "the store answers node {}: drain it if it is to give its shards away",
                node.number
            ),
            Self::NobodyFresh => f.write_str(
                "no router has a fresh lease: see whether the store answers, and the routers run",
            ),
            other => other.of_a_word(f),
        }
    }

    fn of_a_word(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DomainServed => "the domain is served already",
            Self::DomainNotServed => "the domain is not served: see `carillon cluster status`",
            Self::EpochTooHigh => {
                "no store has seen an epoch that high: take the highest that is in it"
            }
            // The only one that is left.
            _ => "the entry cannot be read by every member: upgrade all nodes to one release",
        })
    }
}

impl fmt::Display for TextOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a node's name has 1 to 63 characters of a-z, 0-9, `-` and `.`",
            Self::Address => "a node's address is `host:port`, of at most 261 characters",
            Self::Zone => "a zone has at most 63 characters of a-z, 0-9, `-` and `.`",
            Self::Program => "a program's version has 1 to 63 characters",
            Self::Domain => "a domain has 1 to 255 bytes, without `@`, `/` and spaces",
            Self::Setting => "a setting's name has 1 to 63 characters of a-z, 0-9, `-`, `_`, `.`",
            Self::Value => "a setting's value has at most 1024 bytes",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members => write!(
                f,
                "there are {MEMBERS_MAX} members: remove those that do not come back with \
                 `carillon cluster remove`"
            ),
            Self::Tokens => write!(
                f,
                "there are {TOKENS_MAX} tokens that nobody has used: wait until some expire"
            ),
            Self::Domains => write!(f, "there are {DOMAINS_MAX} domains: remove some first"),
            Self::Settings => write!(f, "there are {SETTINGS_MAX} settings: remove some first"),
        }
    }
}
