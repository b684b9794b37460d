//! Stanza errors (RFC 6120 §8.3), stream errors (§4.9) and SASL failures (§6.5): the conditions,
//! and their bytes.

use std::borrow::Cow;
use std::fmt;

use crate::ns;
use crate::xml::{Node, push_text};

macro_rules! conditions {
    ($(#[$doc:meta])* $enum:ident: $($(#[$each:meta])* $name:ident = $text:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $enum {
            $($(#[$each])* $name,)+
        }

        impl $enum {
            /// All of them, in the order of the RFC.
            pub const ALL: &[$enum] = &[$($enum::$name),+];

            /// The name of the element.
            pub const fn name(self) -> &'static str {
                match self {
                    $($enum::$name => $text,)+
                }
            }

            /// The condition of that name, if it is one.
            pub fn from_name(name: &str) -> Option<$enum> {
                match name {
                    $($text => Some($enum::$name),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

conditions! {
    /// Why a stanza failed (RFC 6120 §8.3.3).
    Condition:
    /// The XML is not what the protocol asks for (§8.3.3.1).
    BadRequest = "bad-request",
    /// Something of that name or address is there already (§8.3.3.2).
    Conflict = "conflict",
    /// The feature is unknown here (§8.3.3.3).
    FeatureNotImplemented = "feature-not-implemented",
    /// The sender lacks the permission (§8.3.3.4).
    Forbidden = "forbidden",
    /// The addressee is gone for good; may carry its new address (§8.3.3.5).
    Gone = "gone",
    /// The server failed (§8.3.3.6).
    InternalServerError = "internal-server-error",
    /// What is addressed or asked for is not there (§8.3.3.7).
    ItemNotFound = "item-not-found",
    /// An address is none (§8.3.3.8).
    JidMalformed = "jid-malformed",
    /// The request breaks a criterion of the receiver (§8.3.3.9).
    NotAcceptable = "not-acceptable",
    /// Nobody may do this (§8.3.3.10).
    NotAllowed = "not-allowed",
    /// The sender must log in first (§8.3.3.11).
    NotAuthorized = "not-authorized",
    /// A policy of the service was broken (§8.3.3.12).
    PolicyViolation = "policy-violation",
    /// The addressee is not there at the moment (§8.3.3.13).
    RecipientUnavailable = "recipient-unavailable",
    /// Ask elsewhere for now; carries the address (§8.3.3.14).
    Redirect = "redirect",
    /// Registration is needed first (§8.3.3.15).
    RegistrationRequired = "registration-required",
    /// The other domain cannot be resolved (§8.3.3.16).
    RemoteServerNotFound = "remote-server-not-found",
    /// The other server cannot be reached in time (§8.3.3.17).
    RemoteServerTimeout = "remote-server-timeout",
    /// The server is too busy (§8.3.3.18).
    ResourceConstraint = "resource-constraint",
    /// The service is not offered here, or not to the sender (§8.3.3.19).
    ServiceUnavailable = "service-unavailable",
    /// A subscription is needed first (§8.3.3.20).
    SubscriptionRequired = "subscription-required",
    /// None of the others: an application condition says which (§8.3.3.21).
    UndefinedCondition = "undefined-condition",
    /// The request came at the wrong time (§8.3.3.22).
    UnexpectedRequest = "unexpected-request",
}

conditions! {
    /// What the sender of a failed stanza can do (RFC 6120 §8.3.2).
    ErrorType:
    /// Retry after giving credentials.
    Auth = "auth",
    /// Do not retry.
    Cancel = "cancel",
    /// Go on: it was only a warning.
    Continue = "continue",
    /// Retry after changing the data.
    Modify = "modify",
    /// Retry after waiting.
    Wait = "wait",
}

conditions! {
    /// Why a stream ends (RFC 6120 §4.9.3).
    StreamCondition:
    /// XML that cannot be processed (§4.9.3.1).
    BadFormat = "bad-format",
    /// A prefix that is not declared or not supported (§4.9.3.2).
    BadNamespacePrefix = "bad-namespace-prefix",
    /// A newer stream took the place of this one (§4.9.3.3).
    Conflict = "conflict",
    /// The peer was silent for too long (§4.9.3.4).
    ConnectionTimeout = "connection-timeout",
    /// The domain is no longer served (§4.9.3.5).
    HostGone = "host-gone",
    /// The domain is not served here (§4.9.3.6).
    HostUnknown = "host-unknown",
    /// A stanza between servers lacks an address (§4.9.3.7).
    ImproperAddressing = "improper-addressing",
    /// The server failed (§4.9.3.8).
    InternalServerError = "internal-server-error",
    /// An address that was not authorised for this stream (§4.9.3.9).
    InvalidFrom = "invalid-from",
    /// A wrong namespace on the stream or its default (§4.9.3.10).
    InvalidNamespace = "invalid-namespace",
    /// XML that a schema refuses (§4.9.3.11).
    InvalidXml = "invalid-xml",
    /// Data before the stream was authenticated (§4.9.3.12).
    NotAuthorized = "not-authorized",
    /// XML that is not well-formed (§4.9.3.13).
    NotWellFormed = "not-well-formed",
    /// A local policy was broken, a size limit for one (§4.9.3.14).
    PolicyViolation = "policy-violation",
    /// A connection needed for authentication failed (§4.9.3.15).
    RemoteConnectionFailed = "remote-connection-failed",
    /// The stream must be set up anew (§4.9.3.16).
    Reset = "reset",
    /// The server is too busy (§4.9.3.17).
    ResourceConstraint = "resource-constraint",
    /// A comment, processing instruction, DTD or entity (§4.9.3.18).
    RestrictedXml = "restricted-xml",
    /// Go elsewhere; carries the address (§4.9.3.19).
    SeeOtherHost = "see-other-host",
    /// The server is stopping (§4.9.3.20).
    SystemShutdown = "system-shutdown",
    /// None of the others (§4.9.3.21).
    UndefinedCondition = "undefined-condition",
    /// An encoding other than UTF-8 (§4.9.3.22).
    UnsupportedEncoding = "unsupported-encoding",
    /// A mandatory feature that the peer lacks (§4.9.3.23).
    UnsupportedFeature = "unsupported-feature",
    /// A first-level element that is no stanza (§4.9.3.24).
    UnsupportedStanzaType = "unsupported-stanza-type",
    /// A version of XMPP that is not supported (§4.9.3.25).
    UnsupportedVersion = "unsupported-version",
}

conditions! {
    /// Why authentication failed (RFC 6120 §6.5).
    SaslCondition:
    /// The client gave up (§6.5.1).
    Aborted = "aborted",
    /// The account may not log in (§6.5.2).
    AccountDisabled = "account-disabled",
    /// The password is too old (§6.5.3).
    CredentialsExpired = "credentials-expired",
    /// The mechanism needs TLS (§6.5.4).
    EncryptionRequired = "encryption-required",
    /// Not base64 (§6.5.5).
    IncorrectEncoding = "incorrect-encoding",
    /// Not an address the user may act as (§6.5.6).
    InvalidAuthzid = "invalid-authzid",
    /// A mechanism that is not offered (§6.5.7).
    InvalidMechanism = "invalid-mechanism",
    /// The request cannot be read (§6.5.8).
    MalformedRequest = "malformed-request",
    /// Policy wants a stronger mechanism (§6.5.9).
    MechanismTooWeak = "mechanism-too-weak",
    /// Wrong name or wrong credentials, never said which (§6.5.10).
    NotAuthorized = "not-authorized",
    /// The server cannot tell at the moment (§6.5.11).
    TemporaryAuthFailure = "temporary-auth-failure",
}

impl Condition {
    /// The type that RFC 6120 §8.3.3 names for this condition; where it names two, the first.
    pub const fn default_type(self) -> ErrorType {
        match self {
            Condition::BadRequest
            | Condition::JidMalformed
            | Condition::NotAcceptable
            | Condition::PolicyViolation
            | Condition::Redirect => ErrorType::Modify,
            Condition::Conflict
            | Condition::FeatureNotImplemented
            | Condition::Gone
            | Condition::InternalServerError
            | Condition::ItemNotFound
            | Condition::NotAllowed
            | Condition::RemoteServerNotFound
            | Condition::ServiceUnavailable
            | Condition::UndefinedCondition => ErrorType::Cancel,
            Condition::Forbidden
            | Condition::NotAuthorized
            | Condition::RegistrationRequired
            | Condition::SubscriptionRequired => ErrorType::Auth,
            Condition::RecipientUnavailable
            | Condition::RemoteServerTimeout
            | Condition::ResourceConstraint
            | Condition::UnexpectedRequest => ErrorType::Wait,
        }
    }
}

/// An application-specific condition: one empty element beside the defined condition (RFC 6120
/// §8.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppCondition {
    /// The name of the element.
    pub name: &'static str,
    /// Its namespace, one of [`ns`].
    pub ns: &'static str,
}

/// A stanza error as this server makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// The defined condition.
    pub condition: Condition,
    /// What the sender can do about it.
    pub kind: ErrorType,
    /// English words for people and logs; never parsed.
    pub text: Option<Cow<'static, str>>,
    /// More detail for programs.
    pub app: Option<AppCondition>,
    /// For `gone` and `redirect`: the other address, as a URI (RFC 6120 §8.3.3.5 and §8.3.3.14).
    pub alternate: Option<Box<str>>,
}

impl StanzaError {
    /// An error with the type that the RFC names for its condition.
    pub const fn new(condition: Condition) -> StanzaError {
        StanzaError {
            condition,
            kind: condition.default_type(),
            text: None,
            app: None,
            alternate: None,
        }
    }

    /// The same error of another type.
    #[must_use]
    pub fn with_type(mut self, kind: ErrorType) -> StanzaError {
        self.kind = kind;
        self
    }

    /// The same error with words for people.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> StanzaError {
        self.text = Some(text.into());
        self
    }

    /// The same error with an application-specific condition.
    #[must_use]
    pub fn with_app(mut self, name: &'static str, ns: &'static str) -> StanzaError {
        self.app = Some(AppCondition { name, ns });
        self
    }

    /// Appends the `<error/>` element. It takes its namespace from the stanza around it.
    pub fn write(&self, out: &mut Vec<u8>) {
        put(out, &["<error type='", self.kind.name(), "'>"]);
        let alternate = match self.condition {
            Condition::Gone | Condition::Redirect => self.alternate.as_deref(),
            _ => None,
        };
        condition(out, self.condition.name(), ns::STANZA_ERRORS, alternate);
        if let Some(text) = &self.text {
            put(out, &["<text xmlns='", ns::STANZA_ERRORS, "' xml:lang='en'>"]);
            push_text(out, text);
            put(out, &["</text>"]);
        }
        if let Some(app) = self.app {
            condition(out, app.name, app.ns, None);
        }
        put(out, &["</error>"]);
    }
}

impl Condition {
    /// The condition that an `<error/>` names: its child in the namespace of conditions. Where that
    /// is unknown, `undefined-condition` (RFC 6120 §8.3.2); `None` if there is none.
    pub fn of(error: Node<'_>) -> Option<Condition> {
        let named = |node: &Node<'_>| node.ns() == ns::STANZA_ERRORS && node.name() != "text";
        let name = error.children().find(named)?.name();
        Some(Condition::from_name(name).unwrap_or(Condition::UndefinedCondition))
    }
}

impl ErrorType {
    /// The type that an `<error/>` has. Where that is unknown or missing, `cancel`.
    pub fn of(error: Node<'_>) -> ErrorType {
        error.attr("type").and_then(ErrorType::from_name).unwrap_or(ErrorType::Cancel)
    }
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> StanzaError {
        StanzaError::new(condition)
    }
}

impl From<crate::jid::JidError> for StanzaError {
    fn from(_: crate::jid::JidError) -> StanzaError {
        StanzaError::new(Condition::JidMalformed)
    }
}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.condition, self.kind)
    }
}

impl std::error::Error for StanzaError {}

/// A stream error. The stream is closed after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamError {
    /// The defined condition.
    pub condition: StreamCondition,
    /// English words for people and logs; never parsed.
    pub text: Option<Cow<'static, str>>,
    /// For `see-other-host`: `host` or `host:port`, IPv6 in brackets (RFC 6120 §4.9.3.19).
    pub host: Option<Box<str>>,
}

impl StreamError {
    /// An error without words.
    pub const fn new(condition: StreamCondition) -> StreamError {
        StreamError { condition, text: None, host: None }
    }

    /// The same error with words for people.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> StreamError {
        self.text = Some(text.into());
        self
    }

    /// Appends the `<stream:error/>` element; the prefix `stream` is declared on the stream header.
    pub fn write(&self, out: &mut Vec<u8>) {
        put(out, &["<stream:error>"]);
        let host = match self.condition {
            StreamCondition::SeeOtherHost => self.host.as_deref(),
            _ => None,
        };
        condition(out, self.condition.name(), ns::STREAM_ERRORS, host);
        if let Some(text) = &self.text {
            put(out, &["<text xmlns='", ns::STREAM_ERRORS, "' xml:lang='en'>"]);
            push_text(out, text);
            put(out, &["</text>"]);
        }
        put(out, &["</stream:error>"]);
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError::new(condition)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{}: {text}", self.condition),
            None => write!(f, "{}", self.condition),
        }
    }
}

impl std::error::Error for StreamError {}

fn put(out: &mut Vec<u8>, pieces: &[&str]) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// `<name xmlns='ns'/>`, or with text in it.
fn condition(out: &mut Vec<u8>, name: &str, ns: &str, text: Option<&str>) {
    put(out, &["<", name, " xmlns='", ns, "'"]);
    match text {
        None => put(out, &["/>"]),
        Some(text) => {
            put(out, &[">"]);
            push_text(out, text);
            put(out, &["</", name, ">"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Tree;

    fn written(error: &StanzaError) -> String {
        let mut out = Vec::new();
        error.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stanza_errors_are_written_as_the_rfc_shows_them() {
        assert_eq!(
            written(&Condition::ItemNotFound.into()),
            "<error type='cancel'><item-not-found \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        );
        let error = StanzaError::new(Condition::UndefinedCondition)
            .with_type(ErrorType::Modify)
            .with_text("a < b & \u{0}c")
            .with_app("blocked", ns::BLOCKING_ERRORS);
        assert_eq!(
            written(&error),
            "<error type='modify'><undefined-condition \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>a &lt; b &amp; \u{fffd}c\
             </text><blocked xmlns='urn:xmpp:blocking:errors'/></error>"
        );
    }

    #[test]
    fn conditions_are_read_back() {
        for condition in Condition::ALL {
            let error = StanzaError::new(*condition).with_text("words").with_app("x", "y");
            let tree = Tree::parse(written(&error).as_bytes()).unwrap();
            assert_eq!(Condition::of(tree.root()), Some(*condition));
            assert_eq!(ErrorType::of(tree.root()), condition.default_type());
        }
        for (xml, condition) in [
            ("<error/>", None),
            ("<error><conflict/></error>", None),
            ("<error><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", None),
            (
                "<error type='x'><newer xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
                Some(Condition::UndefinedCondition),
            ),
        ] {
            let tree = Tree::parse(xml.as_bytes()).unwrap();
            assert_eq!(Condition::of(tree.root()), condition);
            assert_eq!(ErrorType::of(tree.root()), ErrorType::Cancel);
        }
    }

    #[test]
    fn only_gone_and_redirect_carry_an_address() {
        let mut error = StanzaError::new(Condition::Gone);
        error.alternate = Some("xmpp:a&b@example.org".into());
        assert!(written(&error).contains(">xmpp:a&amp;b@example.org</gone>"));
        error.condition = Condition::Conflict;
        assert!(!written(&error).contains("example.org"));
    }

    #[test]
    fn stream_errors_are_written_as_the_rfc_shows_them() {
        let mut out = Vec::new();
        StreamError { host: Some("[::1]:5223".into()), ..StreamCondition::SeeOtherHost.into() }
            .write(&mut out);
        StreamError::from(StreamCondition::Reset).with_text("again").write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>[::1]:5223\
             </see-other-host></stream:error><stream:error>\
             <reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>again</text>\
             </stream:error>"
        );
    }

    #[test]
    fn names_are_read_back() {
        for condition in Condition::ALL {
            assert_eq!(Condition::from_name(condition.name()), Some(*condition));
        }
        for condition in StreamCondition::ALL {
            assert_eq!(StreamCondition::from_name(condition.name()), Some(*condition));
        }
        for condition in SaslCondition::ALL {
            assert_eq!(SaslCondition::from_name(condition.name()), Some(*condition));
        }
        assert_eq!(Condition::from_name("Conflict"), None);
        assert_eq!((Condition::ALL.len(), StreamCondition::ALL.len()), (22, 25));
    }
}
