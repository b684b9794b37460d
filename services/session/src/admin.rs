//! What an operator may ask of accounts. The router gives each request to the owner of the account
//! it names.

use kv::{RangeRead, ReadError, Reads, Rows};
use xmpp::jid::Jid;
use xmpp::scram::Verifier;

use crate::keys;
use crate::rows::AccountRow;

/// Accounts that one page of a listing holds.
pub const LIST_PAGE: u32 = 1000;

/// A request.
#[derive(Clone, Debug)]
pub enum Request {
    /// Make an account.
    Add { account: Jid, verifiers: Vec<Verifier> },
    /// Change its password; its sessions end.
    SetPassword { account: Jid, verifiers: Vec<Verifier> },
    /// Let nobody log in; its sessions end.
    Disable { account: Jid },
    /// Let it log in again.
    Enable { account: Jid },
    /// Delete it with all its rows.
    Delete { account: Jid },
    /// List accounts of a domain in order, above a localpart; the directory answers, any shard
    /// reads it.
    List { domain: String, after: Option<String> },
}

impl Request {
    /// The account that it is about.
    pub fn account(&self) -> Option<&Jid> {
        match self {
            Self::Add { account, .. }
            | Self::SetPassword { account, .. }
            | Self::Disable { account }
            | Self::Enable { account }
            | Self::Delete { account } => Some(account),
            Self::List { .. } => None,
        }
    }
}

/// An answer. It is given when what it says is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Done,
    /// A page of accounts, and whether there are more.
    Accounts { accounts: Vec<AccountRow>, more: bool },
    /// Not done.
    Failed(Failure),
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is such an account already.
    Exists,
    /// There is no such account.
    NotFound,
    /// The account's domain is not served here.
    NotServed,
    /// The JID is not that of an account: it has no localpart, or a resource.
    NotAnAccount,
    /// An account of this name is still being deleted.
    Deleting,
    /// The store did not answer, or holds a row that cannot be read.
    Store,
    /// In a cluster: the account's shard has just moved to another owner.
    Moved,
}

/// The reads that a listing needs.
pub(crate) fn list_reads(domain: &str, after: Option<&str>) -> Reads {
    let prefix = keys::directory_of(domain);
    let mut start = prefix.to_vec();
    if let Some(after) = after {
        start.extend_from_slice(after.as_bytes());
        start.push(0);
    }
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        // The directory's names have no NUL: the next byte ends the domain.
        *last = 1;
    }
    Reads::range(RangeRead::new(start.into(), end.into()).rows(LIST_PAGE))
}

/// The rows of a listing.
pub(crate) fn listed(found: Result<Rows, ReadError>) -> Reply {
    let Ok(found) = found else { return Reply::Failed(Failure::Store) };
    let mut accounts = Vec::with_capacity(found.rows(0).len());
    for row in found.rows(0) {
        match AccountRow::decode(&row.value) {
            Ok(account) => accounts.push(account),
            Err(_) => return Reply::Failed(Failure::Store),
        }
    }
    Reply::Accounts { accounts, more: found.more(0).is_some() }
}
