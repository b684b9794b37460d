//! How far a session came that is not in memory any more (XEP-0198 §5: `h` of `<failed/>`).
//!
//! The log's rows carry how each stanza arrived. The highest number of the session is the prefix
//! that this account has stored. A stanza's recipient may not have stored it, if the process died
//! between two commits: such stanzas are driven on as retries first, and only then is the client
//! told. What the recipient has stored and this account has not is not told; when the client sends
//! it again, `Retried::Perhaps` lets the recipient know it.

use kv::{RangeRead, ReadError, Reads, Rows};
use peer::{ConnId, Down, Parcel, ResumeRefusal, Retried, SessionId};

use crate::account::Account;
use crate::rows::{LogRow, bare};
use crate::shard::{Core, Effect, Origin, Recovery, Ticket, Trace};

/// Rows that one page of the search reads.
const PAGE_ROWS: u32 = 500;

/// Begins the search.
pub(crate) fn trace(core: &mut Core, account: &Account, conn: ConnId, session: SessionId) {
    let from = account.entity.log(core.horizon());
    let range = RangeRead::new(from, account.entity.log(u64::MAX));
    let range = range.reverse().rows(PAGE_ROWS);
    let reads = Reads::range(range.clone());
    let trace = Trace {
        conn,
        account: account.jid.clone(),
        session,
        highest: 0,
        confirmed: 0,
        open: Vec::new(),
        range,
    };
    core.read(Ticket::Trace(Box::new(trace)), reads);
}

/// A page has come.
pub(crate) fn traced(core: &mut Core, mut trace: Trace, found: Result<Rows, ReadError>) {
    let Ok(found) = found else {
        let why = ResumeRefusal::InternalServerError;
        core.down(trace.conn, Down::ResumeFailed { why, handled: None });
        return;
    };
    let mut all = false;
    for row in found.rows(0) {
        let Ok(row) = LogRow::decode(&row.value) else { continue };
        // What the account sent to itself has one row, that of its arrival. What others sent it
        // is theirs: nobody learns of another's session by its id.
        let own = row.outgoing || bare(row.from) == trace.account.as_str();
        let Some(key) = row.ingest.filter(|key| own && key.session == trace.session) else {
            continue;
        };
        if key.attachment == 0 {
            // Before stream management was on: no client's `h` counts it.
            continue;
        }
        trace.highest = trace.highest.max(key.number);
        trace.confirmed = trace.confirmed.max(row.confirmed);
        if key.number <= trace.confirmed {
            all = true;
            break;
        }
        if row.outgoing
            && let Ok(stanza) = row.stanza()
        {
            trace.open.push((key, stanza));
        }
    }
    match found.more(0) {
        Some(more) if !all => {
            let range = trace.range.after(more.clone());
            let reads = Reads::range(range.clone());
            trace.range = range;
            core.read(Ticket::Trace(Box::new(trace)), reads);
        }
        _ => drive_on(core, trace),
    }
}

/// Sends what may not have reached its recipient once more, oldest first.
fn drive_on(core: &mut Core, mut trace: Trace) {
    let confirmed = trace.confirmed;
    trace.open.retain(|(key, stanza)| {
        let served = stanza.to.as_ref().is_some_and(|to| core.config.serves(to));
        key.number > confirmed && served
    });
    core.ticket_count += 1;
    let id = core.ticket_count;
    let recovery =
        Recovery { conn: trace.conn, handled: trace.highest, open: trace.open.len() + 1 };
    core.recoveries.insert(id, recovery);
    for (key, stanza) in trace.open.into_iter().rev() {
        let Some(to) = stanza.to.clone() else { continue };
        // The recipient may have it from a session before this one, if it was sent again already.
        let retried = Retried::Perhaps;
        let parcel = Parcel { to: to.to_bare(), stanza, ingest: Some(key), retried };
        core.send(parcel, Origin::Recovery(id), 0, true);
    }
    // The rows that were found may be of a batch that is not durable yet.
    let after = core.commits.last_no();
    if core.passes(after) {
        parcel_done(core, id);
    } else {
        core.commits.hold(after, Effect::Recovered(id));
    }
}

/// One of a recovery's parcels is durable; after the last one the client is told.
pub(crate) fn parcel_done(core: &mut Core, id: u64) {
    let Some(recovery) = core.recoveries.get_mut(&id) else { return };
    recovery.open -= 1;
    if recovery.open == 0
        && let Some(recovery) = core.recoveries.remove(&id)
    {
        let handled = Some(recovery.handled);
        let why = ResumeRefusal::ItemNotFound;
        core.down(recovery.conn, Down::ResumeFailed { why, handled });
    }
}
