//! The messages of SCRAM (RFC 5802 §5 and §7): strict parsers, and the writers for both sides.

use std::borrow::Cow;
use std::fmt;

use crate::blocks::base64;
use crate::error::SaslCondition;

/// The most bytes that a message may have. A user name of 1023 bytes fits with all its characters
/// escaped.
pub const MESSAGE_BYTES_MAX: usize = 8192;

/// The most bytes that one side's nonce may have. Clients send 16 to 64.
pub const NONCE_BYTES_MAX: usize = 256;

const _: () = assert!(3 * crate::jid::PART_BYTES_MAX * 2 + 2 * NONCE_BYTES_MAX < MESSAGE_BYTES_MAX);

/// Why an exchange failed, with the name that RFC 5802 §7 gives it in `e=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramError {
    /// A message that does not follow the grammar: `invalid-encoding`.
    Malformed,
    /// A name with a bad escape, or none: `invalid-username-encoding`.
    UsernameEncoding,
    /// A mandatory extension, of which there are none: `extensions-not-supported`.
    Extensions,
    /// The client thinks that we have no channel binding, but we offered it. Somebody changed the
    /// list: `server-does-support-channel-binding`.
    Downgrade,
    /// Channel binding in a mechanism without it, or the reverse: `channel-binding-not-supported`.
    BindingNotSupported,
    /// A type of channel binding that we do not offer: `unsupported-channel-binding-type`.
    BindingType,
    /// The client is at the other end of another TLS connection: `channel-bindings-dont-match`.
    BindingMismatch,
    /// The nonce is not the one of this exchange, or the server's message was not as it must be:
    /// `other-error`.
    Nonce,
    /// The proof, or the server's signature, is wrong: `invalid-proof`.
    Proof,
}

impl ScramError {
    /// The value of `e=`.
    pub const fn name(self) -> &'static str {
        match self {
            ScramError::Malformed => "invalid-encoding",
            ScramError::UsernameEncoding => "invalid-username-encoding",
            ScramError::Extensions => "extensions-not-supported",
            ScramError::Downgrade => "server-does-support-channel-binding",
            ScramError::BindingNotSupported => "channel-binding-not-supported",
            ScramError::BindingType => "unsupported-channel-binding-type",
            ScramError::BindingMismatch => "channel-bindings-dont-match",
            ScramError::Nonce => "other-error",
            ScramError::Proof => "invalid-proof",
        }
    }

    /// What XMPP answers (RFC 6120 §6.5).
    pub const fn condition(self) -> SaslCondition {
        match self {
            ScramError::Malformed
            | ScramError::UsernameEncoding
            | ScramError::Extensions
            | ScramError::BindingNotSupported
            | ScramError::BindingType => SaslCondition::MalformedRequest,
            ScramError::Downgrade
            | ScramError::BindingMismatch
            | ScramError::Nonce
            | ScramError::Proof => SaslCondition::NotAuthorized,
        }
    }
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for ScramError {}

/// What the client says about channel binding (`gs2-cbind-flag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// `n`: the client does not do it.
    Unsupported,
    /// `y`: the client does it, but thinks that the server does not.
    Unoffered,
    /// `p=`: the client binds to the channel in this way.
    Used(&'a str),
}

/// The first message of the client. Borrows from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The flag for channel binding.
    pub binding: Binding<'a>,
    /// Whom to act as, if not oneself.
    pub authzid: Option<Cow<'a, str>>,
    /// Who logs in, as it came: see [`crate::jid::prepare_username`].
    pub username: Cow<'a, str>,
    /// The client's half of the nonce.
    pub nonce: &'a str,
    /// The text up to and with the second comma: a part of what `c=` repeats.
    pub gs2_header: &'a str,
    /// The text after it: a part of the AuthMessage.
    pub bare: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads `client-first-message`.
    ///
    /// # Errors
    /// [`ScramError::Malformed`], [`ScramError::UsernameEncoding`], [`ScramError::Extensions`].
    pub fn parse(text: &'a str) -> Result<ClientFirst<'a>, ScramError> {
        use ScramError::Malformed;
        check_size(text)?;
        let (flag, rest) = text.split_once(',').ok_or(Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Malformed)?;
        let gs2_header = text.strip_suffix(bare).ok_or(Malformed)?;
        let binding = match flag {
            "n" => Binding::Unsupported,
            "y" => Binding::Unoffered,
            _ => Binding::Used(
                flag.strip_prefix("p=").filter(|name| is_binding_name(name)).ok_or(Malformed)?,
            ),
        };
        let authzid = match authzid {
            "" => None,
            _ => Some(decode_name(authzid.strip_prefix("a=").ok_or(Malformed)?)?),
        };
        if bare.starts_with("m=") {
            return Err(ScramError::Extensions);
        }
        let mut attributes = bare.split(',');
        let username = attributes.next().and_then(|a| a.strip_prefix("n=")).ok_or(Malformed)?;
        let username = decode_name(username)?;
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r=")).ok_or(Malformed)?;
        check_nonce(nonce, NONCE_BYTES_MAX)?;
        attributes.try_for_each(check_extension)?;
        Ok(ClientFirst { binding, authzid, username, nonce, gs2_header, bare })
    }
}

/// The first message of the server, as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFirst<'a> {
    /// Both halves of the nonce.
    pub nonce: &'a str,
    /// The salt of the account.
    pub salt: Vec<u8>,
    /// The iterations of the account.
    pub iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// Reads `server-first-message`.
    ///
    /// # Errors
    /// [`ScramError::Malformed`], [`ScramError::Extensions`].
    pub fn parse(text: &'a str) -> Result<ServerFirst<'a>, ScramError> {
        use ScramError::Malformed;
        check_size(text)?;
        if text.starts_with("m=") {
            return Err(ScramError::Extensions);
        }
        let mut attributes = text.split(',');
        let mut next = |key| attributes.next().and_then(|a| a.strip_prefix(key)).ok_or(Malformed);
        let nonce = next("r=")?;
        let salt = base64::decode(next("s=")?).filter(|salt| !salt.is_empty()).ok_or(Malformed)?;
        let iterations = next("i=")?;
        // posit-number: no sign, no leading zero.
        if !iterations.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(Malformed);
        }
        let iterations = iterations.parse().map_err(|_| Malformed)?;
        check_nonce(nonce, 2 * NONCE_BYTES_MAX)?;
        attributes.try_for_each(check_extension)?;
        Ok(ServerFirst { nonce, salt, iterations })
    }

    /// Writes `server-first-message`.
    pub fn write(client_nonce: &str, server_nonce: &str, salt: &[u8], iterations: u32) -> String {
        format!("r={client_nonce}{server_nonce},s={},i={iterations}", base64::encode(salt))
    }
}

/// The last message of the client. Borrows from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// What the client is bound to: its GS2 header, then the data of the channel.
    pub binding: Vec<u8>,
    /// Both halves of the nonce.
    pub nonce: &'a str,
    /// ClientProof.
    pub proof: Vec<u8>,
    /// The text before the proof: a part of the AuthMessage.
    pub without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    /// Reads `client-final-message`.
    ///
    /// # Errors
    /// [`ScramError::Malformed`].
    pub fn parse(text: &'a str) -> Result<ClientFinal<'a>, ScramError> {
        use ScramError::Malformed;
        check_size(text)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Malformed)?;
        let proof = base64::decode(proof).filter(|proof| !proof.is_empty()).ok_or(Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut next = |key| attributes.next().and_then(|a| a.strip_prefix(key)).ok_or(Malformed);
        let binding = base64::decode(next("c=")?).ok_or(Malformed)?;
        let nonce = next("r=")?;
        check_nonce(nonce, 2 * NONCE_BYTES_MAX)?;
        attributes.try_for_each(check_extension)?;
        Ok(ClientFinal { binding, nonce, proof, without_proof })
    }
}

/// AuthMessage: what both sides sign.
pub fn auth_message(client_first_bare: &str, server_first: &str, without_proof: &str) -> Vec<u8> {
    [client_first_bare, server_first, without_proof].join(",").into_bytes()
}

/// `server-final-message` of a login that worked.
pub fn server_final(signature: &[u8]) -> String {
    format!("v={}", base64::encode(signature))
}

/// `server-final-message` of a login that did not, for profiles that carry one.
pub fn server_error(error: ScramError) -> String {
    format!("e={}", error.name())
}

/// Writes a name as `saslname`: commas and equals signs escaped.
pub fn encode_name(name: &str) -> Cow<'_, str> {
    match name.contains([',', '=']) {
        true => Cow::Owned(name.replace('=', "=3D").replace(',', "=2C")),
        false => Cow::Borrowed(name),
    }
}

/// Reads a `saslname`. Only `=2C` and `=3D` are escapes, in upper case (§5.1).
fn decode_name(text: &str) -> Result<Cow<'_, str>, ScramError> {
    if text.is_empty() || text.contains('\0') {
        return Err(ScramError::UsernameEncoding);
    }
    let mut pieces = text.split('=');
    let Some(first) = pieces.next().filter(|first| first.len() < text.len()) else {
        return Ok(Cow::Borrowed(text));
    };
    let mut name = String::with_capacity(text.len());
    name.push_str(first);
    for piece in pieces {
        let (c, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::UsernameEncoding),
        };
        name.push(c);
        name.push_str(rest);
    }
    Ok(Cow::Owned(name))
}

fn check_size(text: &str) -> Result<(), ScramError> {
    (text.len() <= MESSAGE_BYTES_MAX).then_some(()).ok_or(ScramError::Malformed)
}

/// `printable`: ASCII that is seen, without the comma.
fn check_nonce(nonce: &str, bytes_max: usize) -> Result<(), ScramError> {
    let is_printable = nonce.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e));
    (is_printable && (1..=bytes_max).contains(&nonce.len()))
        .then_some(())
        .ok_or(ScramError::Malformed)
}

/// `attr-val`: a letter, `=`, and at least one character. Optional extensions are passed over
/// (§5.1).
fn check_extension(attribute: &str) -> Result<(), ScramError> {
    let mut chars = attribute.chars();
    let key = chars.next().is_some_and(|key| key.is_ascii_alphabetic());
    let is_valid = key && chars.next() == Some('=') && chars.next().is_some();
    (is_valid && !attribute.contains('\0')).then_some(()).ok_or(ScramError::Malformed)
}

/// `cb-name`.
fn is_binding_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}
