//! The session: stanzas in both directions, counted, and stream management (XEP-0198).

use std::collections::VecDeque;

use xmpp::error::{Condition, StreamCondition};
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::stanza::{IqType, Kind, Stanza, StanzaFault};
use xmpp::xml::{Element, push_value};

use super::End;
use super::bind::Bound;
use crate::framing::put;
use crate::sm::{self, Acks, Counts, OwnerFault};
use crate::{Answer, Ask, Config, Output};

/// A stream that speaks for a full JID.
pub(super) struct Session {
    jid: Jid,
    counts: Counts,
    management: Management,
}

/// Whether stanzas are acknowledged.
enum Management {
    /// They are not.
    Off,
    /// The client asked for it; what it sends since waits for the owner's word.
    Asked,
    /// They are.
    On { acks: Acks, resumable: bool },
}

impl From<OwnerFault> for End {
    fn from(_: OwnerFault) -> Self {
        StreamCondition::InternalServerError.into()
    }
}

impl Session {
    /// A new session.
    pub(super) fn bound(bound: Bound) -> Self {
        let counts = Counts::default();
        Self { jid: bound.into_jid(), counts, management: Management::Off }
    }

    /// One that went on.
    pub(super) fn resumed(bound: Bound, counts: Counts) -> Self {
        let acks = Acks::resumed(&counts);
        let management = Management::On { acks, resumable: true };
        Self { jid: bound.into_jid(), counts, management }
    }

    pub(super) fn jid(&self) -> &Jid {
        &self.jid
    }

    pub(super) fn is_resumable(&self) -> bool {
        matches!(self.management, Management::On { resumable: true, .. })
    }

    /// Whether it takes bytes of the client.
    pub(super) fn reads(&self) -> bool {
        !matches!(self.management, Management::Asked)
    }

    pub(super) fn handle_element(
        &mut self,
        element: Element,
        config: &Config,
        outputs: &mut VecDeque<Output>,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        let ask = match element.ns() {
            ns::CLIENT => self.handle_stanza(element)?,
            ns::SM if config.sm.offered => match self.handle_management(&element, out)? {
                Some(ask) => ask,
                None => return Ok(()),
            },
            // Client state indication (XEP-0352) belongs here.
            _ => return Err(StreamCondition::UnsupportedStanzaType.into()),
        };
        outputs.push_back(Output::Ask(ask));
        Ok(())
    }

    fn handle_stanza(&mut self, element: Element) -> Result<Ask, End> {
        if let Some(from) = element.attr("from")
            && !self.is_own(from)
        {
            // RFC 6120 §8.1.2.1 (security case 83).
            return Err(StreamCondition::InvalidFrom.into());
        }
        let mut stanza = match Stanza::from_element(element, ns::CLIENT) {
            Ok(stanza) => stanza,
            Err(StanzaFault::NoStanza(_)) => {
                return Err(StreamCondition::UnsupportedStanzaType.into());
            }
            Err(StanzaFault::Refused(refusal)) => {
                let reply = refusal.answer();
                return Ok(self.judged(reply));
            }
        };
        if is_legacy_session(&stanza) {
            let reply = stanza.reply_result(Vec::new());
            return Ok(self.judged(Some(reply)));
        }
        stanza.from = None;
        Ok(Ask::Stanza { number: self.counts.receive(), stanza })
    }

    fn judged(&mut self, reply: Option<Stanza>) -> Ask {
        let to = Some(self.jid.clone());
        let reply = reply.map(|reply| Stanza { to, ..reply });
        Ask::Judged { number: self.counts.receive(), reply }
    }

    /// Whether an address is this session's, with or without the resource.
    fn is_own(&self, from: &str) -> bool {
        if from == self.jid.as_str() || from == self.jid.bare_str() {
            return true;
        }
        Jid::parse(from)
            .is_ok_and(|from| from == self.jid || from.is_bare() && from.same_bare(&self.jid))
    }

    fn handle_management(
        &mut self,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<Option<Ask>, End> {
        match (element.name(), &mut self.management) {
            ("r", Management::On { acks, .. }) => {
                sm::write_answer(out, acks.asked(&self.counts));
                Ok(None)
            }
            ("a", Management::On { acks, .. }) => {
                let h = element.attr("h").and_then(sm::parse_h);
                let h = h.ok_or(StreamCondition::BadFormat)?;
                let taken = self.counts.acknowledge(h).map_err(End::TooHigh)?;
                if acks.ask_after_answer(&self.counts, taken.is_some()) {
                    sm::write_request(out);
                }
                Ok(taken.map(|number| Ask::Taken { number }))
            }
            ("enable", Management::Off) => {
                self.management = Management::Asked;
                let resume = element.attr("resume").is_some_and(|v| matches!(v, "true" | "1"));
                Ok(Some(Ask::Enable { resume }))
            }
            // XEP-0198 §3: a second `<enable/>` is answered by a stream error.
            ("enable", _) => Err(StreamCondition::PolicyViolation.into()),
            ("r" | "a" | "resume", _) => {
                sm::write_failed(out, Condition::UnexpectedRequest, None);
                Ok(None)
            }
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        match answer {
            Answer::Stanza { number, stanza } => {
                let quiet = out.is_empty();
                self.counts.send(number)?;
                stanza.write(out);
                if let Management::On { acks, .. } = &mut self.management
                    && acks.ask_after_stanza(&self.counts, quiet, config.sm.request_after)
                {
                    sm::write_request(out);
                }
                Ok(())
            }
            Answer::Handled { number } => {
                self.counts.handle(number)?;
                if let Management::On { acks, .. } = &mut self.management
                    && let Some(h) = acks.owed(&self.counts)
                {
                    sm::write_answer(out, h);
                }
                Ok(())
            }
            Answer::Enabled { id, resume_s } => {
                self.handle_enabled(&id, resume_s, config.location.as_deref(), out)
            }
            _ => Err(StreamCondition::InternalServerError.into()),
        }
    }

    /// Numbers of both directions begin again (XEP-0198 §4).
    fn handle_enabled(
        &mut self,
        id: &str,
        resume_s: u32,
        location: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        if !matches!(self.management, Management::Asked) {
            return Err(StreamCondition::InternalServerError.into());
        }
        put(out, &["<enabled xmlns='", ns::SM, "'"]);
        if resume_s > 0 {
            put(out, &[" resume='true' max='", &resume_s.to_string(), "' id='"]);
            push_value(out, id);
            put(out, &["'"]);
            if let Some(location) = location {
                put(out, &[" location='"]);
                push_value(out, location);
                put(out, &["'"]);
            }
        }
        put(out, &["/>"]);
        let acks = Acks::enabled(&self.counts);
        self.counts = Counts::default();
        self.management = Management::On { acks, resumable: resume_s > 0 };
        Ok(())
    }

    /// All was written: what the owner is told.
    pub(super) fn handle_written(&mut self) -> Option<Output> {
        let number = match &mut self.management {
            Management::Off => self.counts.written(),
            // The owner may count anew already and would take an old number for a new one.
            Management::Asked => None,
            Management::On { acks, .. } => acks.written().then_some(0),
        };
        number.map(|number| Output::Ask(Ask::Taken { number }))
    }

    pub(super) fn handle_idle(&mut self, out: &mut Vec<u8>) {
        if let Management::On { acks, .. } = &mut self.management
            && acks.ask_when_idle(&self.counts)
        {
            sm::write_request(out);
        }
    }

    /// The stream is about to be closed: the client learns what need not be sent again.
    pub(super) fn acknowledge_last(&mut self, out: &mut Vec<u8>) {
        if let Management::On { acks, .. } = &mut self.management
            && let Some(h) = acks.last(&self.counts)
        {
            sm::write_answer(out, h);
        }
    }
}

/// COMPAT: RFC 3921 §3 has clients ask for a session after binding. It means nothing and is
/// granted.
fn is_legacy_session(stanza: &Stanza) -> bool {
    stanza.kind == Kind::Iq(IqType::Set)
        && stanza.body.payload().is_some_and(|child| child.is("session", ns::SESSION))
}
