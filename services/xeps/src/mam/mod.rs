//! XEP-0313 (1.1.3): Message Archive Management, `urn:xmpp:mam:2` and `#extended`, for accounts.
//! Left out: preferences (XEP-0441), so that everybody's messages are archived if the operator
//! wants it; counts (§4.3.2); ids that nobody can guess (§3), for ours are times, and lead nowhere
//! without access.

mod page;
mod query;

use kv::{RangeRead, Reads};
use session::content;
use session::keys::{self, Entity};
use session::limits::ROUNDS_MAX;
use session::module::{Cx, Draft, Event, Module, Outcome, Phase, Verdict, is_self};
use session::rows::LogRow;
use session::spec::{Spec, Status};
use xmpp::blocks::rsm::SetResult;
use xmpp::blocks::{datetime, forward, ids};
use xmpp::error::Condition;
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, MessageType, Stanza};
use xmpp::xml::Writer;

use self::page::{Archive, Found, Step};
use self::query::{Query, refusal, write_form};
use crate::limits::QUEUED_BYTES;

/// The module.
pub(crate) struct Mam;

impl Module for Mam {
    fn spec(&self) -> Spec {
        Spec {
            status: Status::Partial,
            gaps: "preferences (XEP-0441), counts; archive ids are times, so they can be guessed",
            account_features: &[ns::MAM, ns::MAM_EXTENDED, ns::MAM_GROUPCHAT_FIELD],
            iqs: &[ns::MAM],
            ..Spec::new(313, "Message Archive Management", "1.1.3")
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Outbound, Phase::Inbound, Phase::Iq]
    }

    fn is_active(&self, config: &session::config::Config) -> bool {
        config.archive
    }

    fn decide(&self, at: Phase, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        match at {
            Phase::Outbound => log_sent(event, cx, out),
            Phase::Inbound => log_received(event, cx, out),
            Phase::Iq => return asked(event, cx, out),
            Phase::Deliver | Phase::Close => {}
        }
        Verdict::Pass
    }
}

/// What the account sends (§6.1.1). What it sends to itself is logged when it comes in, so that
/// there is one row of it.
fn log_sent(event: &Event, cx: &Cx<'_>, out: &mut Outcome) {
    let to_self = event.stanza.to.as_ref().is_none_or(|to| to.same_bare(&cx.account.jid));
    if cx.config.archive && !to_self && content::worth(&event.stanza).archive {
        out.log(Draft { archived: true, offline: false });
    }
}

/// What comes for the account. One row is both the archive's and that of a message that waits.
fn log_received(event: &Event, cx: &Cx<'_>, out: &mut Outcome) {
    let worth = content::worth(&event.stanza);
    let draft = Draft { archived: cx.config.archive && worth.archive, offline: worth.offline };
    if draft.archived || draft.offline {
        out.log(draft);
    }
}

/// A request to the archive. Only the account itself has access (§8.1).
fn asked(event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
    let stanza = &event.stanza;
    if !cx.config.archive || stanza.to.as_ref().is_some_and(|to| to.local().is_none()) {
        return Verdict::Pass;
    }
    if event.own_session().is_none() || !is_self(stanza.to.as_ref(), &cx.account.jid) {
        let known = cx.knows(stanza.from.as_ref());
        return if known { refuse(Condition::Forbidden) } else { Verdict::Pass };
    }
    let Some(payload) = stanza.body.payload() else { return Verdict::Pass };
    match (stanza.kind, payload.name()) {
        (Kind::Iq(IqType::Get), "query") => {
            let mut form = Writer::new();
            write_form(&mut form);
            out.reply(stanza.reply_result(form.finish()));
            Verdict::Done
        }
        (Kind::Iq(IqType::Set), "query") => match payload.tree() {
            Ok(tree) => match Query::read(tree.root()) {
                Ok(query) => give(&query, event, cx, out),
                Err(error) => Verdict::Refuse(error),
            },
            Err(_) => refuse(Condition::BadRequest),
        },
        (Kind::Iq(IqType::Get), "metadata") => metadata(event, cx, out),
        _ => refuse(Condition::FeatureNotImplemented),
    }
}

fn refuse(condition: Condition) -> Verdict {
    Verdict::Refuse(refusal(condition))
}

/// Gives a page: its messages, then the answer (§4.2).
fn give(query: &Query, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
    let Some(session) = event.own_session().and_then(|id| cx.account.session(id)) else {
        return Verdict::Pass;
    };
    if session.queued_bytes() > QUEUED_BYTES {
        return refuse(Condition::ResourceConstraint);
    }
    let archive = Archive {
        owner: &cx.account.jid,
        entity: cx.account.entity,
        contact: query.with.as_ref().map(|with| Entity::of(&cx.config.hash, with)),
        last_id: cx.last_id,
    };
    let found = match archive.step(query, cx.rows) {
        Step::Read(reads) => return Verdict::Again(reads),
        Step::NotFound => return refuse(Condition::ItemNotFound),
        Step::Page(found) => found,
    };
    let result = |(id, row): &(u64, LogRow<'_>)| {
        let mut message = Stanza::new(Kind::Message(MessageType::Normal));
        message.from = Some(cx.account.jid.clone());
        message.to = Some(session.jid.clone());
        message.added = write_result(*id, row, query.queryid.as_deref());
        message
    };
    let deliver = |message| out.deliver(session.id, message);
    match query.flipped {
        false => found.messages.iter().map(result).for_each(deliver),
        true => found.messages.iter().rev().map(result).for_each(deliver),
    }
    out.reply(event.stanza.reply_result(write_fin(&found)));
    Verdict::Done
}

/// About what a result adds to what its message says.
const RESULT_BYTES: usize = 400;

/// One message of a page, straight from its row (§4.2).
fn write_result(id: u64, row: &LogRow<'_>, queryid: Option<&str>) -> bytes::Bytes {
    let heads = row.from.len() + row.to.len() + row.id.map_or(0, str::len);
    let mut out = Writer::with_capacity(RESULT_BYTES + heads + row.body.len());
    out.start_ns("result", ns::MAM).attr_opt("queryid", queryid).attr("id", &ids::format(id));
    forward::write(&mut out, Some(id), |out| {
        out.start_ns("message", ns::CLIENT)
            .attr("to", row.to)
            .attr("from", row.from)
            .attr_opt("id", row.id)
            .attr_opt("type", Kind::Message(row.kind).type_attr())
            .attr_opt("xml:lang", row.lang);
        if !row.body.is_empty() {
            out.raw(row.body);
        }
        out.end();
    });
    out.finish()
}

/// What is said of a page (§4.3.2). One on which nothing is, because the search had to end, says
/// how far it came, so that the client can go on from there.
fn write_fin(found: &Found<'_>) -> bytes::Bytes {
    let reached = found.reached.filter(|_| !found.complete);
    let first = found.messages.first().map(|(id, _)| *id).or(reached);
    let last = found.messages.last().map(|(id, _)| *id).or(reached);
    let ends = first.zip(last).map(|(first, last)| (ids::format(first), ids::format(last)));
    let ends = ends.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
    let mut out = Writer::new();
    out.start_ns("fin", ns::MAM).attr_opt("complete", found.complete.then_some("true"));
    SetResult { ends, index: None, count: None }.write(&mut out);
    out.finish()
}

/// §5: the first and the last message of the archive. Rows that only wait for a reader are passed
/// over; there are few.
fn metadata(event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
    let (start, end) = cx.account.entity.span(keys::tag::LOG);
    let whole = RangeRead::new(start, end);
    let mut sides = [Some(whole.clone()), Some(whole.reverse())];
    let mut ends = [None, None];
    for rows in cx.rows {
        for (at, (side, end)) in sides.iter_mut().zip(&mut ends).enumerate() {
            if end.is_none() {
                *end = rows.rows(at).iter().find_map(|row| page::archived(Some(row)));
                *side =
                    side.take().zip(rows.more(at)).map(|(range, more)| range.after(more.clone()));
            }
        }
    }
    let open = ends.iter().zip(&sides).any(|(end, side)| end.is_none() && side.is_some());
    if open && cx.rows.len() < ROUNDS_MAX {
        let wanted = [8, 1000, kv::limits::RANGE_ROWS_MAX][cx.rows.len()];
        let mut reads = Reads::none();
        for (side, end) in sides.into_iter().zip(&ends) {
            let nothing = RangeRead::new(kv::Key::new(), kv::Key::new());
            let side = side.filter(|_| end.is_none()).unwrap_or(nothing);
            reads.add_range(side.rows(wanted));
        }
        return Verdict::Again(reads);
    }
    let mut answer = Writer::new();
    answer.start_ns("metadata", ns::MAM);
    for (name, end) in ["start", "end"].into_iter().zip(&ends) {
        if let Some((id, _)) = end {
            let stamp = datetime::format(*id);
            answer.start(name).attr("id", &ids::format(*id)).attr("timestamp", &stamp).end();
        }
    }
    out.reply(event.stanza.reply_result(answer.finish()));
    Verdict::Done
}
