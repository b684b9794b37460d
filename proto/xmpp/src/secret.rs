//! Bytes that nobody may see or time: passwords, keys, tokens.

use std::fmt;
use std::hint::black_box;

use subtle::ConstantTimeEq;

/// Bytes that print as nothing, compare only in constant time, and are zeroed when they are
/// dropped.
///
/// There is no `==` on it on purpose: [`Secret::matches`] is the one way to compare secrets.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes the bytes. Copies of them that the caller keeps are the caller's to care for.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes, for whoever computes with them or stores them. Never for a log.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8 (a password).
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether these are the same bytes. The time taken depends on the lengths alone.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.as_bytes().into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // The bytes count as used after this, so the compiler keeps the line above.
        black_box(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Security case 45 and 59.
    #[test]
    fn shows_nothing_and_compares_all() {
        let secret = Secret::from("canary-password");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret Some(Secret)");
        assert!(secret.matches(b"canary-password"));
        assert!(!secret.matches(b"canary-passwore"));
        assert!(!secret.matches(b"canary-passwor"));
        assert!(!secret.matches(b""));
        assert_eq!(secret.expose_str(), Some("canary-password"));
        assert_eq!(Secret::new([0xff]).expose_str(), None);
    }
}
