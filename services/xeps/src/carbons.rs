//! XEP-0280 (1.0.1): Message Carbons. Left out of §6.1: errors that answer a copied message, which
//! cannot be told from others, and the limit of copies of private messages in a room to the devices
//! that are in it; so `urn:xmpp:carbons:rules:0` is not announced.
//!
//! A message that a person sends to itself is not copied as sent: it comes to the other devices
//! anyway. Which messages are copied is decided in `session::content::wants_copies`.

use bytes::Bytes;
use session::content;
use session::module::{Cx, Event, Module, Outcome, Phase, Verdict, is_self};
use session::session::Session;
use session::spec::{Spec, Status};
use xmpp::blocks::{forward, ids};
use xmpp::error::{Condition, StanzaError};
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, Stanza};
use xmpp::xml::Writer;

use crate::{CARBONS, strip};

const fn spec() -> Spec {
    Spec {
        status: Status::Partial,
        gaps: "errors are not copied; copies of private messages in rooms go to all devices",
        domain_features: &[ns::CARBONS],
        account_features: &[ns::CARBONS],
        iqs: &[ns::CARBONS],
        ..Spec::new(280, "Message Carbons", "1.0.1")
    }
}

/// Takes forged copies out of what comes in (§11): a client believes a copy because it comes from
/// its own server, and ours never come this way.
pub(crate) struct Guard;

impl Module for Guard {
    fn spec(&self) -> Spec {
        spec()
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Inbound]
    }

    fn decide(&self, _at: Phase, event: &Event, _cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        strip(event, out, |child| {
            child.is_in(ns::CARBONS) && matches!(child.name(), "sent" | "received")
        });
        Verdict::Pass
    }
}

/// The module.
pub(crate) struct Carbons;

impl Module for Carbons {
    fn spec(&self) -> Spec {
        spec()
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Iq, Phase::Outbound, Phase::Deliver]
    }

    fn decide(&self, at: Phase, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        match at {
            Phase::Iq => switch(event, cx, out),
            Phase::Outbound => sent(event, cx, out),
            Phase::Deliver => received(event, cx, out),
            Phase::Inbound | Phase::Close => Verdict::Pass,
        }
    }
}

/// A session turns copies on or off (§4, §5), as often as it likes (§10.1).
fn switch(event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
    let (stanza, own) = (&event.stanza, event.own_session());
    let Some(session) = own.filter(|_| is_self(stanza.to.as_ref(), &cx.account.jid)) else {
        let known = cx.knows(stanza.from.as_ref());
        return if known { refuse(Condition::NotAllowed) } else { Verdict::Pass };
    };
    let wanted = match (stanza.kind, stanza.body.payload().map(|payload| payload.name())) {
        (Kind::Iq(IqType::Set), Some("enable")) => true,
        (Kind::Iq(IqType::Set), Some("disable")) => false,
        _ => return refuse(Condition::BadRequest),
    };
    out.mark(session, CARBONS, wanted);
    out.reply(stanza.reply_result(""));
    Verdict::Done
}

fn refuse(condition: Condition) -> Verdict {
    Verdict::Refuse(StanzaError::new(condition))
}

/// §8: the other devices see what one of them sends, with the id that it has in the archive
/// (XEP-0313 §3.5).
fn sent(event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
    let stanza = &event.stanza;
    let to_self = stanza.to.as_ref().is_none_or(|to| to.same_bare(&cx.account.jid));
    if to_self || !content::wants_copies(stanza, false) {
        return Verdict::Pass;
    }
    let others = wanting(cx).filter(|session| event.own_session() != Some(session.id));
    let mut original = None;
    for session in others {
        let original = original.get_or_insert_with(|| {
            let mut original = stanza.clone();
            if let Some(id) = event.stored.filter(|_| event.archived) {
                let mut added = Writer::new();
                ids::write_stanza_id(&mut added, id, &cx.account.jid);
                original.add(&added.finish());
            }
            wrap("sent", &original)
        });
        out.deliver(session.id, copy(stanza, session, cx, original));
    }
    Verdict::Pass
}

/// §7: the devices that did not get a message get a copy; but not the device that sent it.
fn received(event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
    let stanza = &event.stanza;
    if !content::wants_copies(stanza, true) {
        // §9: the mark against copies has done its work here.
        strip(event, out, |child| child.is("private", ns::CARBONS));
        return Verdict::Pass;
    }
    let left_out = wanting(cx).filter(|session| {
        !event.targets.contains(&session.id) && stanza.from.as_ref() != Some(&session.jid)
    });
    let mut original = None;
    for session in left_out {
        let original = original.get_or_insert_with(|| wrap("received", stanza));
        out.deliver(session.id, copy(stanza, session, cx, original));
    }
    Verdict::Pass
}

fn wanting<'a>(cx: &'a Cx<'_>) -> impl Iterator<Item = &'a Session> {
    cx.account.sessions().filter(|session| session.marks.has(CARBONS))
}

/// What all copies of a message contain.
fn wrap(direction: &'static str, original: &Stanza) -> Bytes {
    let mut out = Writer::new();
    out.start_ns(direction, ns::CARBONS);
    forward::write(&mut out, None, |out| {
        out.with(|bytes| original.write_in(Some(ns::CLIENT), bytes));
    });
    out.finish()
}

/// A copy: of the original's type, from the account's bare JID, to the device (§7, §8).
fn copy(original: &Stanza, to: &Session, cx: &Cx<'_>, wrapped: &Bytes) -> Stanza {
    let mut copy = Stanza::new(original.kind);
    copy.from = Some(cx.account.jid.clone());
    copy.to = Some(to.jid.clone());
    copy.added = wrapped.clone();
    copy
}
