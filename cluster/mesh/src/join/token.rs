//! The token that lets a node join, as text, and the proofs that are made with its secret. Pure.
//!
//! A token is one line: `carillon-join-` and, in base 32, a secret of 16 random bytes, the SHA-256
//! of the authority's certificate, and four bytes that catch a typing error. Neither the secret nor
//! its hash ever goes over a wire: both sides prove that they know the hash, bound to the TLS
//! session they share, so that nobody in between can pass a proof on. The cluster keeps the hash.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};

const PREFIX: &str = "carillon-join-";
const SECRET: usize = 16;
const FINGERPRINT: usize = 32;
const CHECK: usize = 4;
const BYTES: usize = SECRET + FINGERPRINT + CHECK;
/// Letters and digits that are not taken for each other, as in RFC 4648.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What an operator carries from one node to another. It is as good as a key to the cluster until
/// it is used or runs out.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: [u8; SECRET],
    authority: [u8; FINGERPRINT],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.hash().id())
    }
}

/// Names a token without giving it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// It does not begin like one.
    Prefix,
    /// It is not whole.
    Length,
    /// It has a letter that tokens do not have.
    Letter,
    /// It was typed wrong.
    Check,
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoToken::Prefix => "a join token begins with carillon-join-",
            NoToken::Length => "the join token is not whole: copy all of its line",
            NoToken::Letter => "a join token has only the letters a to z and the digits 2 to 7",
            NoToken::Check => "the join token has a typing error: copy it again",
        })
    }
}

impl std::error::Error for NoToken {}

/// Which side makes a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Joining,
    Answering,
}

impl Token {
    /// A token with this secret (of the system's random generator) for the cluster with this
    /// authority.
    pub fn new(secret: [u8; SECRET], authority: &[u8]) -> Token {
        Token { secret, authority: sha256(authority) }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// It is no token.
    pub fn parse(text: &str) -> Result<Token, NoToken> {
        let text = text.trim().to_ascii_lowercase();
        let letters = text.strip_prefix(PREFIX).ok_or(NoToken::Prefix)?;
        if letters.len() != (BYTES * 8).div_ceil(5) {
            return Err(NoToken::Length);
        }
        let bytes = from_base32(letters).ok_or(NoToken::Letter)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| NoToken::Length)?;
        let (body, check) = bytes.split_at(SECRET + FINGERPRINT);
        if sha256(body)[..CHECK] != *check {
            return Err(NoToken::Check);
        }
        let (mut secret, mut authority) = ([0; SECRET], [0; FINGERPRINT]);
        secret.copy_from_slice(&body[..SECRET]);
        authority.copy_from_slice(&body[SECRET..]);
        Ok(Token { secret, authority })
    }

    /// The line that an operator copies.
    pub fn to_line(&self) -> String {
        let mut bytes = [&self.secret[..], &self.authority].concat();
        let check = sha256(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        format!("{PREFIX}{}", to_base32(&bytes))
    }

    /// SHA-256 of the authority's certificate.
    pub fn authority(&self) -> &[u8; FINGERPRINT] {
        &self.authority
    }

    /// What the cluster keeps of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(sha256(&[b"carillon join token\n", &self.secret[..]].concat()))
    }
}

/// What the cluster keeps of a token: enough to judge a proof, and not enough to write the token
/// down again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({})", self.id())
    }
}

impl TokenHash {
    /// The token's name in requests, lists and logs.
    pub fn id(&self) -> TokenId {
        let hash = sha256(&[b"carillon join token id\n", &self.0[..]].concat());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        TokenId(u64::from_be_bytes(first))
    }

    /// The proof of one side over what it says, in one TLS session.
    pub(super) fn proof(&self, side: Side, binding: &[u8; 32], says: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(match side {
            Side::Joining => b"carillon join: joining node\n",
            Side::Answering => b"carillon join: cluster node\n",
        });
        context.update(binding);
        context.update(says);
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        proof
    }

    /// Whether a proof is right, in the same time whether or not it is.
    pub(super) fn proves(&self, side: Side, binding: &[u8; 32], says: &[u8], proof: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.proof(side, binding, says), proof).is_ok()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Five bits for each letter; the last letter is filled with zeros.
fn to_base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut bits, mut count) = (0u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            out.push(char::from(ALPHABET[(bits >> count) as usize & 31]));
        }
    }
    if count > 0 {
        out.push(char::from(ALPHABET[(bits << (5 - count)) as usize & 31]));
    }
    out
}

/// Reads what [`to_base32`] writes, and nothing that it cannot have written.
fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|it| *it == letter)?;
        bits = (bits << 5 | value as u32) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    (bits & ((1 << count) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new([7; SECRET], b"certificate")
    }

    #[test]
    fn tokens_are_one_line_and_typing_errors_are_caught() {
        let line = token().to_line();
        assert_eq!(Token::parse(&line), Ok(token()));
        assert_eq!(Token::parse(&format!(" {}\n", line.to_ascii_uppercase())), Ok(token()));
        assert!(line.bytes().all(|b| b.is_ascii_graphic()) && line.len() < 100, "{line}");
        for (at, letter) in line.char_indices().skip(PREFIX.len()) {
            let other = if letter == 'a' { "b" } else { "a" };
            let mut wrong = line.clone();
            wrong.replace_range(at..=at, other);
            assert!(Token::parse(&wrong).is_err(), "{at}");
            assert_eq!(Token::parse(&line[..at]), Err(NoToken::Length), "{at}");
        }
        assert_eq!(Token::parse(&format!("{line}a")), Err(NoToken::Length));
        let mut strange = line.clone();
        strange.replace_range(20..21, "1");
        assert_eq!(Token::parse(&strange), Err(NoToken::Letter));
        assert_eq!(Token::parse("letmein"), Err(NoToken::Prefix));
        assert_eq!(Token::parse("carillon-join-ä"), Err(NoToken::Length));
    }

    #[test]
    fn base_32_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(to_base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base32("mz"), None, "bits that nobody wrote");
    }

    #[test]
    fn a_proof_holds_for_one_side_one_session_and_one_text() {
        let (a, b) = ([1; 32], [2; 32]);
        let hash = token().hash();
        let proof = hash.proof(Side::Joining, &a, b"says");
        assert!(hash.proves(Side::Joining, &a, b"says", &proof));
        assert!(!hash.proves(Side::Answering, &a, b"says", &proof));
        assert!(!hash.proves(Side::Joining, &b, b"says", &proof));
        assert!(!hash.proves(Side::Joining, &a, b"said", &proof));
        assert!(!hash.proves(Side::Joining, &a, b"says", &proof[..31]));
        let other = Token::new([8; SECRET], b"certificate").hash();
        assert!(!other.proves(Side::Joining, &a, b"says", &proof));
        assert_ne!(other.id(), hash.id());
        assert!(!format!("{:?}", token()).contains("0707"));
    }
}
