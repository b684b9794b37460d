//! Between authentication and session: binding a resource (RFC 6120 §7) or resuming a session
//! (XEP-0198 §5). Bind 2 will be a further way to the same [`Bound`].

use xmpp::error::{Condition, StanzaError, StreamCondition};
use xmpp::jid::{self, Jid};
use xmpp::ns;
use xmpp::scram::Secret;
use xmpp::text::Text;
use xmpp::xml::{Child, Element, push_value};

use super::session::Session;
use super::{Authenticated, Context, End, State, Step};
use crate::framing::put;
use crate::sm::{self, Counts, TooHigh};
use crate::{Answer, Ask, BindRefusal, Output, ResumeRefusal, limits};

/// Proof that the stream speaks for a full JID of the account that authenticated.
pub(super) struct Bound(Jid);

/// Expects a bind request or a resumption.
pub(super) struct ExpectBind(pub(super) Authenticated);

/// Expects the owner's word about a resource.
pub(super) struct ExpectBound {
    authenticated: Authenticated,
    /// The id of the client's request.
    id: Option<Text>,
}

/// Expects the owner's word about a resumption.
pub(super) struct ExpectResumed {
    authenticated: Authenticated,
    /// What the client said that it has.
    h: u32,
}

impl Bound {
    /// The owner may bind what it likes, but of this account alone.
    fn new(jid: Jid, authenticated: &Authenticated) -> Result<Self, End> {
        match !jid.is_bare() && jid.same_bare(authenticated.account()) {
            true => Ok(Self(jid)),
            false => Err(StreamCondition::InternalServerError.into()),
        }
    }

    /// The full JID.
    pub(super) fn into_jid(self) -> Jid {
        self.0
    }
}

impl ExpectBind {
    pub(super) fn handle_element(
        self,
        element: &Element,
        cx: &mut Context<'_>,
    ) -> Result<Step, End> {
        if element.is("resume", ns::SM) && cx.config.sm.offered {
            return self.handle_resume(element, cx);
        }
        if element.is("enable", ns::SM) {
            // XEP-0198 §3: not before a resource is bound.
            sm::write_failed(cx.out, Condition::UnexpectedRequest, None);
            return again(self.0, cx);
        }
        let body = element.body();
        let request = match element.is("iq", ns::CLIENT) && element.attr("type") == Some("set") {
            true => body.payload().filter(|child| child.is("bind", ns::BIND)),
            false => None,
        };
        let Some(request) = request else {
            // RFC 6120 §7.1: nothing passes before a resource is bound (security case 57).
            return Err(match element.ns() {
                ns::CLIENT => StreamCondition::NotAuthorized.into(),
                _ => StreamCondition::UnsupportedStanzaType.into(),
            });
        };
        let id = element.attr("id").map(Text::from);
        let Ok(resource) = resource(request) else {
            write_error(cx.out, id.as_deref(), Condition::BadRequest);
            return again(self.0, cx);
        };
        let authenticated = self.0;
        cx.outputs.push_back(Output::Ask(Ask::Bind {
            account: authenticated.account().clone(),
            generation: authenticated.generation(),
            resource,
        }));
        Ok(Step::Next(State::Bound(ExpectBound { authenticated, id })))
    }

    fn handle_resume(self, element: &Element, cx: &mut Context<'_>) -> Result<Step, End> {
        let session = element.attr("previd").filter(|id| id.len() <= limits::SM_ID_BYTES_MAX);
        let h = element.attr("h").and_then(sm::parse_h);
        let (Some(session), Some(h)) = (session, h) else {
            sm::write_failed(cx.out, Condition::BadRequest, None);
            return again(self.0, cx);
        };
        let authenticated = self.0;
        cx.outputs.push_back(Output::Ask(Ask::Resume {
            account: authenticated.account().clone(),
            generation: authenticated.generation(),
            session: Secret::from(session),
            h,
        }));
        Ok(Step::Next(State::Resumed(ExpectResumed { authenticated, h })))
    }
}

impl ExpectBound {
    pub(super) fn handle_answer(self, answer: Answer, cx: &mut Context<'_>) -> Result<Step, End> {
        let refusal = match answer {
            Answer::Bound { jid } => {
                let bound = Bound::new(jid, &self.authenticated)?;
                put(cx.out, &["<iq type='result'"]);
                write_id(cx.out, self.id.as_deref());
                put(cx.out, &["><bind xmlns='", ns::BIND, "'><jid>"]);
                xmpp::xml::push_text(cx.out, bound.0.as_str());
                put(cx.out, &["</jid></bind></iq>"]);
                return Ok(Step::Session(Session::bound(bound)));
            }
            Answer::BindRefused(refusal) => refusal,
            _ => return Err(StreamCondition::InternalServerError.into()),
        };
        let condition = match refusal {
            BindRefusal::BadRequest => Condition::BadRequest,
            BindRefusal::ResourceConstraint => Condition::ResourceConstraint,
            BindRefusal::NotAllowed => Condition::NotAllowed,
            BindRefusal::InternalServerError => Condition::InternalServerError,
        };
        write_error(cx.out, self.id.as_deref(), condition);
        again(self.authenticated, cx)
    }
}

impl ExpectResumed {
    pub(super) fn handle_answer(self, answer: Answer, cx: &mut Context<'_>) -> Result<Step, End> {
        let (why, handled) = match answer {
            Answer::Resumed { id, jid, handled, taken } => {
                let bound = Bound::new(jid, &self.authenticated)?;
                put(cx.out, &["<resumed xmlns='", ns::SM, "' h='"]);
                put(cx.out, &[&sm::low(handled).to_string(), "' previd='"]);
                push_value(cx.out, &id);
                put(cx.out, &["'/>"]);
                let counts = Counts::resumed(handled, taken);
                return Ok(Step::Session(Session::resumed(bound, counts)));
            }
            Answer::ResumeFailed { why, handled } => (why, handled),
            _ => return Err(StreamCondition::InternalServerError.into()),
        };
        let condition = match why {
            ResumeRefusal::ItemNotFound => Condition::ItemNotFound,
            ResumeRefusal::UnexpectedRequest => Condition::UnexpectedRequest,
            ResumeRefusal::InternalServerError => Condition::InternalServerError,
            ResumeRefusal::HandledCountTooHigh { sent } => {
                return Err(End::TooHigh(TooHigh { h: self.h, sent: sm::low(sent) }));
            }
        };
        sm::write_failed(cx.out, condition, handled);
        again(self.authenticated, cx)
    }
}

/// The client may try again: to bind after a resumption that failed (XEP-0198 §5), or another
/// resource. But not for ever (security case 58).
fn again(authenticated: Authenticated, cx: &mut Context<'_>) -> Result<Step, End> {
    cx.memory.bind_failures += 1;
    if cx.memory.bind_failures >= limits::BIND_ATTEMPTS_MAX {
        return Err(StreamCondition::PolicyViolation.into());
    }
    Ok(Step::Next(State::Bind(ExpectBind(authenticated))))
}

/// What the client wants to be called; an empty element asks for nothing.
fn resource(bind: Child<'_>) -> Result<Option<Text>, ()> {
    let tree = bind.tree().map_err(|_| ())?;
    let Some(wanted) = tree.root().child("resource", ns::BIND) else { return Ok(None) };
    let wanted = wanted.text();
    if wanted.is_empty() {
        return Ok(None);
    }
    jid::resourceprep(&wanted).map(|text| Some(Text::from(&*text))).map_err(|_| ())
}

/// Answers a bind request that failed (RFC 6120 §7.6.2 and §7.7.2).
fn write_error(out: &mut Vec<u8>, id: Option<&str>, condition: Condition) {
    put(out, &["<iq type='error'"]);
    write_id(out, id);
    put(out, &[">"]);
    StanzaError::new(condition).write(out);
    put(out, &["</iq>"]);
}

fn write_id(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id {
        put(out, &[" id='"]);
        push_value(out, id);
        put(out, &["'"]);
    }
}
