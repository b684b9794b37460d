//! How far a session came that is not in memory any more (XEP-0198 §5: `h` of `<failed/>`).
//!
//! The log's rows carry how each stanza arrived, and how much of its session was durable then. From
//! there on the prefix goes as far as each number has its row: one that has none may have been a
//! stanza whose only place was the memory (a message that nobody archives, a subscription), so it
//! and what follows is for the client to send again. A stanza's recipient may not have stored it,
//! if the process died between two commits: the stanzas of the prefix are driven on as retries
//! first, and only then is the client told. When the client sends again what is stored after all,
//! `Retried::Perhaps` lets sender and recipient know it.

use std::collections::BTreeSet;

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
        confirmed: None,
        numbers: BTreeSet::new(),
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
        let confirmed = trace.confirmed.max(Some(row.confirmed));
        trace.confirmed = confirmed;
        if Some(key.number) <= confirmed {
            all = true;
            break;
        }
        trace.numbers.insert(key.number);
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
    let confirmed = trace.confirmed.unwrap_or(0);
    let missing = (confirmed + 1..).find(|number| !trace.numbers.contains(number));
    let prefix = confirmed + 1..missing.unwrap_or(u64::MAX);
    trace.open.retain(|(key, stanza)| {
        let served = stanza.to.as_ref().is_some_and(|to| core.config.serves(to));
        prefix.contains(&key.number) && served
    });
    // XEP-0198 §5: there is no `h` where nothing is known of the session.
    let handled = trace.confirmed.map(|_| prefix.end - 1);
    core.ticket_count += 1;
    let id = core.ticket_count;
    let recovery = Recovery { conn: trace.conn, handled, open: trace.open.len() + 1 };
    core.recoveries.insert(id, recovery);
    for (key, stanza) in trace.open.into_iter().rev() {
        let Some(to) = stanza.to.clone() else { continue };
        // The recipient may have it from a session before this one, if it was sent again already.
        let retried = Retried::Perhaps;
        let parcel = Parcel { to: to.to_bare(), stanza, ingest: Some(key), retried, probes: false };
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
        let why = ResumeRefusal::ItemNotFound;
        core.down(recovery.conn, Down::ResumeFailed { why, handled: recovery.handled });
    }
}
