//! Authentication (RFC 6120 §6). SASL2 and FAST will be further states here, with the same
//! [`Authenticated`] at their end.

use bytes::Bytes;
use xmpp::blocks::base64;
use xmpp::error::{SaslCondition, StreamCondition};
use xmpp::jid::Jid;
use xmpp::ns;
use xmpp::scram::server::Challenge;
use xmpp::scram::{Hash, Keys, Secret, message};
use xmpp::xml::Element;

use super::{Context, End, Stage, State, Step, tls};
use crate::framing::put;
use crate::sasl::{self, Credentials, Mechanism, Opening, Secured};
use crate::{Answer, Ask, AuthRefusal, Output, limits};

/// Proof that the client is who it says. Only the owner's word makes one.
pub(super) struct Authenticated {
    account: Jid,
    generation: u64,
}

/// Expects `<auth/>`.
pub(super) struct ExpectAuth(pub(super) Secured);

/// Expects the client's first message, which did not come with `<auth/>`.
pub(super) struct ExpectFirst {
    secured: Secured,
    mechanism: Mechanism,
}

/// Expects the account's salt from its owner.
pub(super) struct ExpectSalt {
    secured: Secured,
    login: Login,
}

/// What the client began with.
enum Login {
    Scram(Opening),
    Plain(Credentials),
}

/// Expects the client's last message.
pub(super) struct ExpectFinal {
    secured: Secured,
    account: Jid,
    hash: Hash,
    challenge: Challenge,
}

/// Expects the keys that a CPU pool derives from the password of PLAIN.
pub(super) struct ExpectKeys {
    secured: Secured,
    account: Jid,
    /// What the proof will be over: nothing that was ever used.
    auth_message: Bytes,
}

/// Expects the owner's verdict about a proof.
pub(super) struct ExpectVerdict {
    secured: Secured,
    account: Jid,
    /// Whether the client wants to see the server's signature.
    signed: bool,
}

impl Authenticated {
    /// The bare JID.
    pub(super) fn account(&self) -> &Jid {
        &self.account
    }

    /// The account's session generation at the login.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

impl ExpectAuth {
    pub(super) fn handle_element(
        self,
        element: &Element,
        cx: &mut Context<'_>,
    ) -> Result<Step, End> {
        if element.is("starttls", ns::TLS) && !self.0.has_tls() {
            return Ok(tls::proceed(cx));
        }
        if !element.is("auth", ns::SASL) {
            return refuse_other(self.0, element, cx);
        }
        let named = element.attr("mechanism").and_then(Mechanism::from_name);
        let offered = |wanted: &Mechanism| sasl::offered(cx.config, &self.0).any(|m| m == *wanted);
        let Some(mechanism) = named.filter(offered) else {
            return fail(self.0, SaslCondition::InvalidMechanism, cx);
        };
        match payload(element) {
            // Both mechanisms begin with the client: it is invited to (RFC 6120 §6.4.2).
            Ok(None) => {
                put(cx.out, &["<challenge xmlns='", ns::SASL, "'/>"]);
                Ok(Step::Next(State::First(ExpectFirst { secured: self.0, mechanism })))
            }
            Ok(Some(message)) => begin(self.0, mechanism, message, cx),
            Err(condition) => fail(self.0, condition, cx),
        }
    }
}

impl ExpectFirst {
    pub(super) fn handle_element(
        self,
        element: &Element,
        cx: &mut Context<'_>,
    ) -> Result<Step, End> {
        if !element.is("response", ns::SASL) {
            return refuse_other(self.secured, element, cx);
        }
        match payload(element) {
            Ok(message) => begin(self.secured, self.mechanism, message.unwrap_or_default(), cx),
            Err(condition) => fail(self.secured, condition, cx),
        }
    }
}

/// Takes the client's first message and asks for the account's salt.
fn begin(
    secured: Secured,
    mechanism: Mechanism,
    message: Vec<u8>,
    cx: &mut Context<'_>,
) -> Result<Step, End> {
    let domain = cx.memory.domain.clone().unwrap_or_default();
    let scram = |hash, plus| {
        let offer = (cx.config, &secured);
        Opening::parse(message.clone(), (hash, plus), &domain, offer).map(Login::Scram)
    };
    let login = match mechanism {
        Mechanism::Plain => {
            // The wrapper wipes the password from the message too.
            let message = Secret::new(message);
            Credentials::parse(message.expose(), &domain).map(Login::Plain)
        }
        Mechanism::Scram(hash) => scram(hash, false),
        Mechanism::ScramPlus(hash) => scram(hash, true),
    };
    match login {
        Ok(login) => {
            let (account, hash) = login.asks_for();
            cx.outputs.push_back(Output::Ask(Ask::Challenge { account, hash }));
            Ok(Step::Next(State::Salt(ExpectSalt { secured, login })))
        }
        Err(condition) => fail(secured, condition, cx),
    }
}

impl Login {
    fn asks_for(&self) -> (Jid, Hash) {
        match self {
            Self::Scram(opening) => (opening.account.clone(), opening.hash),
            Self::Plain(credentials) => (credentials.account.clone(), sasl::PLAIN_HASH),
        }
    }
}

impl ExpectSalt {
    pub(super) fn handle_answer(self, answer: Answer, cx: &mut Context<'_>) -> Result<Step, End> {
        let (salt, iterations) = match answer {
            Answer::Challenge { salt, iterations } => (salt, iterations),
            Answer::Refused(why) => return fail(self.secured, condition(why), cx),
            _ => return Err(StreamCondition::InternalServerError.into()),
        };
        let nonce = cx.memory.random.text().ok_or(StreamCondition::InternalServerError)?;
        let secured = self.secured;
        match self.login {
            Login::Scram(opening) => {
                let challenge = opening
                    .challenge(&nonce, &salt, iterations)
                    .ok_or(StreamCondition::InternalServerError)?;
                let text = base64::encode(challenge.server_first().as_bytes());
                put(cx.out, &["<challenge xmlns='", ns::SASL, "'>", &text, "</challenge>"]);
                let Opening { account, hash, .. } = opening;
                Ok(Step::Next(State::Final(ExpectFinal { secured, account, hash, challenge })))
            }
            Login::Plain(Credentials { account, password }) => {
                let hash = sasl::PLAIN_HASH;
                cx.outputs.push_back(Output::Derive { password, salt, iterations, hash });
                let auth_message = Bytes::from(nonce);
                Ok(Step::Next(State::Keys(ExpectKeys { secured, account, auth_message })))
            }
        }
    }
}

impl ExpectFinal {
    pub(super) fn handle_element(
        self,
        element: &Element,
        cx: &mut Context<'_>,
    ) -> Result<Step, End> {
        if !element.is("response", ns::SASL) {
            return refuse_other(self.secured, element, cx);
        }
        let attempt = payload(element).and_then(|message| {
            let text = String::from_utf8(message.unwrap_or_default())
                .map_err(|_| SaslCondition::MalformedRequest)?;
            self.challenge.handle_final(&text).map_err(|error| error.condition())
        });
        match attempt {
            Ok(attempt) => {
                cx.outputs.push_back(Output::Ask(Ask::Verify {
                    account: self.account.clone(),
                    hash: self.hash,
                    auth_message: attempt.auth_message.into(),
                    proof: Secret::new(attempt.proof),
                }));
                let (secured, account) = (self.secured, self.account);
                Ok(Step::Next(State::Verdict(ExpectVerdict { secured, account, signed: true })))
            }
            Err(condition) => fail(self.secured, condition, cx),
        }
    }
}

impl ExpectKeys {
    pub(super) fn handle_keys(self, keys: Option<Keys>, cx: &mut Context<'_>) -> Result<Step, End> {
        let Self { secured, account, auth_message } = self;
        let Some(keys) = keys else {
            return fail(secured, SaslCondition::NotAuthorized, cx);
        };
        let proof = Secret::new(keys.client_proof(&auth_message));
        let hash = sasl::PLAIN_HASH;
        let ask = Ask::Verify { account: account.clone(), hash, auth_message, proof };
        cx.outputs.push_back(Output::Ask(ask));
        Ok(Step::Next(State::Verdict(ExpectVerdict { secured, account, signed: false })))
    }

    pub(super) fn handle_answer(self, answer: Answer, cx: &mut Context<'_>) -> Result<Step, End> {
        match answer {
            Answer::Refused(why) => fail(self.secured, condition(why), cx),
            _ => Err(StreamCondition::InternalServerError.into()),
        }
    }
}

impl ExpectVerdict {
    pub(super) fn handle_answer(self, answer: Answer, cx: &mut Context<'_>) -> Result<Step, End> {
        let (signature, generation) = match answer {
            Answer::Verified { signature, generation } => (signature, generation),
            Answer::Refused(why) => return fail(self.secured, condition(why), cx),
            _ => return Err(StreamCondition::InternalServerError.into()),
        };
        put(cx.out, &["<success xmlns='", ns::SASL, "'"]);
        if self.signed {
            let text = base64::encode(message::server_final(&signature).as_bytes());
            put(cx.out, &[">", &text, "</success>"]);
        } else {
            put(cx.out, &["/>"]);
        }
        cx.reader.set_limits(cx.config.after_auth);
        cx.restart(Stage::Authenticated(Authenticated { account: self.account, generation }))
    }
}

/// An element that the exchange does not expect.
fn refuse_other(secured: Secured, element: &Element, cx: &mut Context<'_>) -> Result<Step, End> {
    if element.ns() != ns::SASL {
        // A stanza, or anything else, before authentication (RFC 6120 §4.9.3.12, security case 57).
        return Err(StreamCondition::NotAuthorized.into());
    }
    let condition = match element.name() {
        "abort" => SaslCondition::Aborted,
        _ => SaslCondition::MalformedRequest,
    };
    fail(secured, condition, cx)
}

/// What `<auth/>` and `<response/>` carry; `None` where they carry nothing (RFC 6120 §6.4.2).
fn payload(element: &Element) -> Result<Option<Vec<u8>>, SaslCondition> {
    let body = element.body();
    if body.children().len() > 0 {
        return Err(SaslCondition::MalformedRequest);
    }
    match &*body.text() {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        text => base64::decode(text).map(Some).ok_or(SaslCondition::IncorrectEncoding),
    }
}

fn condition(why: AuthRefusal) -> SaslCondition {
    match why {
        AuthRefusal::NotAuthorized => SaslCondition::NotAuthorized,
        AuthRefusal::AccountDisabled => SaslCondition::AccountDisabled,
        AuthRefusal::TemporaryAuthFailure => SaslCondition::TemporaryAuthFailure,
    }
}

/// The client may try again, but not for ever (RFC 6120 §6.4.5).
fn fail(secured: Secured, condition: SaslCondition, cx: &mut Context<'_>) -> Result<Step, End> {
    write_failure(cx.out, condition);
    cx.memory.auth_failures += 1;
    if cx.memory.auth_failures >= limits::AUTH_ATTEMPTS_MAX {
        return Err(StreamCondition::PolicyViolation.into());
    }
    Ok(Step::Next(State::Auth(ExpectAuth(secured))))
}

/// Writes `<failure/>`. All of one condition are alike (security case 49).
pub(super) fn write_failure(out: &mut Vec<u8>, condition: SaslCondition) {
    put(out, &["<failure xmlns='", ns::SASL, "'><", condition.name(), "/></failure>"]);
}
