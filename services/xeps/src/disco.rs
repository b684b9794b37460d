//! XEP-0030 (2.5.0): Service Discovery, answering for the server's domains and for accounts. Left
//! out: items of the server, for there are none yet, and (§8, rule 2) the empty list of items of an
//! account that the asker may not know: it gets `service-unavailable`, as from one that does not
//! exist.

use session::discover;
use session::module::{Cx, Event, Module, Outcome, Phase, Verdict};
use session::spec::{Spec, Status};
use xmpp::blocks::disco::{Info, Item, write_items};
use xmpp::error::{Condition, StanzaError};
use xmpp::ns;
use xmpp::stanza::{IqType, Kind};
use xmpp::xml::Writer;

/// The module.
pub(crate) struct Disco;

impl Module for Disco {
    fn spec(&self) -> Spec {
        Spec {
            status: Status::Partial,
            gaps: "a stranger who asks for the items of an account gets service-unavailable, no \
                   empty list, as from an account that does not exist",
            domain_features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
            account_features: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
            iqs: &[ns::DISCO_INFO, ns::DISCO_ITEMS],
            ..Spec::new(30, "Service Discovery", "2.5.0")
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Iq]
    }

    fn decide(&self, _at: Phase, event: &Event, cx: &Cx<'_>, out: &mut Outcome) -> Verdict {
        let stanza = &event.stanza;
        let Some(query) = stanza.body.payload() else { return Verdict::Pass };
        if !matches!(stanza.kind, Kind::Iq(IqType::Get)) || query.name() != "query" {
            return Verdict::Refuse(StanzaError::new(Condition::BadRequest));
        }
        let of_domain = stanza.to.as_ref().is_some_and(|to| to.local().is_none());
        if !of_domain && !cx.knows(stanza.from.as_ref()) {
            // §8: who may not see the account's presence learns nothing of it.
            return Verdict::Pass;
        }
        let node = query.attr("node");
        let node = node.as_deref();
        let mut answer = Writer::new();
        if query.is_in(ns::DISCO_ITEMS) {
            if node.is_some() {
                return not_found();
            }
            let items = if of_domain { Vec::new() } else { resources(cx) };
            write_items(&mut answer, None, &items);
        } else {
            let Some(info) = info(of_domain, node, cx) else { return not_found() };
            info.write(&mut answer, node);
        }
        out.reply(stanza.reply_result(answer.finish()));
        Verdict::Done
    }
}

/// §3.2: a node that is not there.
fn not_found() -> Verdict {
    Verdict::Refuse(StanzaError::new(Condition::ItemNotFound))
}

/// What is at a node. The only one is that of the server's capabilities (XEP-0115 §6.2); with an
/// older `ver` of them, it is gone.
fn info(of_domain: bool, node: Option<&str>, cx: &Cx<'_>) -> Option<Info> {
    let info = if of_domain { discover::domain(cx.config) } else { discover::account(cx.config) };
    match node {
        None => Some(info),
        Some(node) => {
            let ver = node.strip_prefix(&discover::caps_node(cx.config))?.strip_prefix('#')?;
            (of_domain && ver == info.verification()).then_some(info)
        }
    }
}

/// The available resources of the account (§4.1).
fn resources(cx: &Cx<'_>) -> Vec<Item> {
    let available = cx.account.sessions().filter(|session| session.available().is_some());
    available.map(|session| Item { jid: session.jid.clone(), node: None, name: None }).collect()
}
