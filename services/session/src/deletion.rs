//! Deleting an account in steps: it may have more rows than one batch may delete.
//!
//! First the account's row says that it is being deleted, and its credentials go with the same
//! batch: from then on it does not exist for anybody but its owner. Then its rows go, a page a
//! batch; with the last page go the account's row and its entry in the directory. What is left by a
//! crash or a stop is a row that says so, and the owner goes on as soon as it loads the account.
//! One account of a shard is deleted at a time, so that pages do not fill its batches.

use kv::{RangeRead, ReadError, Reads, Rows};
use xmpp::jid::Jid;

use crate::admin::{Failure, Reply};
use crate::keys::{self, Entity, tag};
use crate::limits::{DELETE_PAGE_BYTES, DELETE_PAGE_ROWS};
use crate::shard::{Core, Effect, Output, Ticket};

/// An account that is being deleted, or will be when those before it are gone.
pub(crate) struct Deletion {
    account: Jid,
    entity: Entity,
    /// The operators' requests that wait for it.
    asked: Vec<u64>,
    /// The next page.
    range: RangeRead,
    /// The batch under way is the last one.
    last: bool,
}

/// Begins or goes on to delete an account whose row says so; `ticket` is told of the end.
pub(crate) fn begin(core: &mut Core, account: &Jid, entity: Entity, ticket: Option<u64>) {
    if let Some(known) = core.deletions.iter_mut().find(|it| it.account == *account) {
        known.asked.extend(ticket);
        return;
    }
    let (start, end) = entity.all();
    let range = RangeRead::new(start, end).key_only();
    core.deletions.push_back(Deletion {
        account: account.clone(),
        entity,
        asked: ticket.into_iter().collect(),
        range: range.rows(DELETE_PAGE_ROWS).bytes(DELETE_PAGE_BYTES),
        last: false,
    });
    if core.deletions.len() == 1 {
        read_page(core);
    }
}

fn read_page(core: &mut Core) {
    if let Some(deletion) = core.deletions.front() {
        let reads = Reads::range(deletion.range.clone());
        core.read(Ticket::Delete, reads);
    }
}

/// A page has come. Returns the account if it cannot be deleted now.
pub(crate) fn page(core: &mut Core, found: Result<Rows, ReadError>) -> Option<Jid> {
    let deletion = core.deletions.front_mut()?;
    let Ok(found) = found else { return fail(core) };
    let own = deletion.entity.key(tag::ACCOUNT, &[]);
    let batch = core.commits.growing();
    for row in found.rows(0).iter().filter(|row| row.key != own) {
        batch.delete(row.key.clone());
    }
    match found.more(0) {
        Some(more) => deletion.range = deletion.range.clone().after(more.clone()),
        None => {
            deletion.last = true;
            batch.delete(own).delete(keys::directory(&deletion.account));
        }
    }
    let after = core.commits.last_no();
    if core.passes(after) {
        read_page(core);
    } else {
        core.commits.hold(after, Effect::Deleted);
    }
    None
}

fn fail(core: &mut Core) -> Option<Jid> {
    let deletion = core.deletions.pop_front()?;
    tell(core, &deletion, &Reply::Failed(Failure::Store));
    read_page(core);
    Some(deletion.account)
}

/// What was deleted is durable: the next page, or the next account. Returns an account of which
/// nothing is left.
pub(crate) fn durable(core: &mut Core) -> Option<Jid> {
    let gone = core.deletions.pop_front_if(|deletion| deletion.last);
    if let Some(gone) = &gone {
        tell(core, gone, &Reply::Done);
    }
    read_page(core);
    gone.map(|deletion| deletion.account)
}

/// The owner stops: what is left of the accounts is deleted after the next start.
pub(crate) fn stop(core: &mut Core) {
    for deletion in std::mem::take(&mut core.deletions) {
        let reply = if deletion.last { Reply::Done } else { Reply::Failed(Failure::Deleting) };
        tell(core, &deletion, &reply);
    }
}

fn tell(core: &mut Core, deletion: &Deletion, reply: &Reply) {
    for ticket in &deletion.asked {
        core.out.push_back(Output::Admin(*ticket, reply.clone()));
    }
}
