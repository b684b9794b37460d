//! SCRAM (RFC 5802, RFC 7677): the arithmetic, the messages, and both sides of an exchange.
//!
//! The server's side is split so that verifiers never leave the node that owns the account: the
//! edge keeps a [`server::Challenge`] (messages, nonces, channel binding), the owner a
//! [`Verifier`], and between them go only the AuthMessage, the proof, and the signature. For PLAIN
//! the edge derives [`Keys`] from the password and the owner's salt, and makes a proof over an
//! AuthMessage of its own: the owner cannot tell the difference.

pub mod client;
pub mod message;
pub mod server;

use hmac::digest::block_api::EagerHash;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use crate::jid::prepare_password;
pub use crate::secret::Secret;

/// How many bytes of salt new and faked verifiers have.
pub const SALT_BYTES: usize = 16;

/// The hash of a mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// SCRAM-SHA-1 (RFC 5802), which every client has.
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
    /// SCRAM-SHA-512 (XEP-0438 and the IANA registry of SASL mechanisms).
    Sha512,
}

impl Hash {
    /// All of them, strongest first: the order in which mechanisms are offered.
    pub const ALL: [Hash; 3] = [Hash::Sha512, Hash::Sha256, Hash::Sha1];

    /// The name of the mechanism without channel binding.
    pub const fn mechanism(self) -> &'static str {
        match self {
            Hash::Sha1 => "SCRAM-SHA-1",
            Hash::Sha256 => "SCRAM-SHA-256",
            Hash::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// The name of the mechanism with channel binding.
    pub const fn mechanism_plus(self) -> &'static str {
        match self {
            Hash::Sha1 => "SCRAM-SHA-1-PLUS",
            Hash::Sha256 => "SCRAM-SHA-256-PLUS",
            Hash::Sha512 => "SCRAM-SHA-512-PLUS",
        }
    }

    /// The hash of a mechanism's name, and whether it is one with channel binding.
    pub fn from_mechanism(name: &str) -> Option<(Hash, bool)> {
        let (base, plus) = match name.strip_suffix("-PLUS") {
            Some(base) => (base, true),
            None => (name, false),
        };
        Hash::ALL.into_iter().find(|hash| hash.mechanism() == base).map(|hash| (hash, plus))
    }

    /// The length of its values in bytes.
    pub const fn size(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    /// `H(data)`.
    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => Sha1::digest(data).to_vec(),
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    /// `HMAC(key, data)` with this hash (RFC 2104).
    pub fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => hmac::<Sha1>(key, data),
            Hash::Sha256 => hmac::<Sha256>(key, data),
            Hash::Sha512 => hmac::<Sha512>(key, data),
        }
    }

    /// `Hi(password, salt, iterations)`: PBKDF2 with one block. Milliseconds of CPU.
    fn hi(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret {
        let mut salted = vec![0; self.size()];
        match self {
            Hash::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
            Hash::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
            Hash::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted),
        }
        Secret::new(salted)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104 §2)")]
fn hmac<D: EagerHash>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).expect("any length is valid");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// What can be derived from a password and what the server stores of it (RFC 5802 §3). On the
/// client, or at the edge for as long as a PLAIN login takes.
#[derive(Debug, Clone)]
pub struct Keys {
    hash: Hash,
    client_key: Secret,
    stored_key: Secret,
    server_key: Secret,
}

impl Keys {
    /// Derives the keys. Takes milliseconds of CPU, in proportion to `iterations`: never on a
    /// thread that serves sockets.
    ///
    /// `None` if the password is one that nobody can have (see [`prepare_password`]) or
    /// `iterations` is 0.
    pub fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> Option<Keys> {
        let password = prepare_password(password)?;
        if iterations == 0 {
            return None;
        }
        let salted = hash.hi(password.as_bytes(), salt, iterations);
        let client_key = Secret::new(hash.hmac(salted.expose(), b"Client Key"));
        let stored_key = Secret::new(hash.digest(client_key.expose()));
        let server_key = Secret::new(hash.hmac(salted.expose(), b"Server Key"));
        Some(Keys { hash, client_key, stored_key, server_key })
    }

    /// ClientProof: shows that one has the password, for this AuthMessage only.
    pub fn client_proof(&self, auth_message: &[u8]) -> Vec<u8> {
        let signature = self.hash.hmac(self.stored_key.expose(), auth_message);
        xor(self.client_key.expose(), &signature)
    }

    /// Whether this is the signature of a server that has the verifier.
    pub fn is_server_signature(&self, auth_message: &[u8], signature: &[u8]) -> bool {
        let expected = Secret::new(self.hash.hmac(self.server_key.expose(), auth_message));
        expected.matches(signature)
    }
}

/// What a server stores of a password (RFC 5802 §3): enough to check it, not enough to log in
/// elsewhere.
#[derive(Debug, Clone)]
pub struct Verifier {
    hash: Hash,
    salt: Box<[u8]>,
    iterations: u32,
    stored_key: Secret,
    server_key: Secret,
}

impl Verifier {
    /// Derives the verifier of a password that is being set. As slow as [`Keys::derive`].
    ///
    /// `None` in the same cases.
    pub fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> Option<Verifier> {
        let keys = Keys::derive(hash, password, salt, iterations)?;
        Some(Verifier {
            hash,
            salt: salt.into(),
            iterations,
            stored_key: keys.stored_key,
            server_key: keys.server_key,
        })
    }

    /// Puts a stored verifier together again. `None` if the keys do not have the length of the
    /// hash, or there is no salt, or no iteration: such a row is damaged.
    pub fn from_stored(
        hash: Hash,
        salt: &[u8],
        iterations: u32,
        stored_key: &[u8],
        server_key: &[u8],
    ) -> Option<Verifier> {
        let is_whole = stored_key.len() == hash.size() && server_key.len() == hash.size();
        (is_whole && !salt.is_empty() && iterations > 0).then(|| Verifier {
            hash,
            salt: salt.into(),
            iterations,
            stored_key: Secret::new(stored_key),
            server_key: Secret::new(server_key),
        })
    }

    /// A verifier for a name that nobody has: it looks like a real one, is the same each time, and
    /// no password meets it. `secret` is the server's own and never changes; `account` must be
    /// normalised (the bare JID), or two ways of writing a name would show that it is not known.
    pub fn fake(secret: &Secret, hash: Hash, account: &str, iterations: u32) -> Verifier {
        let key = |purpose: &str| {
            let seed = format!("{purpose}\0{}\0{account}", hash.mechanism());
            Hash::Sha512.hmac(secret.expose(), seed.as_bytes())
        };
        let cut = |mut bytes: Vec<u8>, length: usize| {
            bytes.truncate(length);
            bytes
        };
        Verifier {
            hash,
            salt: cut(key("salt"), SALT_BYTES).into(),
            iterations,
            stored_key: Secret::new(cut(key("stored"), hash.size())),
            server_key: Secret::new(cut(key("server"), hash.size())),
        }
    }

    /// Checks a proof over an AuthMessage. Gives the ServerSignature if the client has the
    /// password.
    ///
    /// The work done is the same for right and wrong proofs, real and faked verifiers.
    pub fn verify(&self, auth_message: &[u8], proof: &[u8]) -> Option<Vec<u8>> {
        let signature = self.hash.hmac(self.stored_key.expose(), auth_message);
        let client_key = Secret::new(xor(&signature, proof));
        let is_right = self.stored_key.matches(&self.hash.digest(client_key.expose()));
        let server_signature = self.hash.hmac(self.server_key.expose(), auth_message);
        (is_right && proof.len() == self.hash.size()).then_some(server_signature)
    }

    /// The hash it was made with.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The salt, which every client is told.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The number of iterations, which every client is told.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// StoredKey, for the store.
    pub fn stored_key(&self) -> &Secret {
        &self.stored_key
    }

    /// ServerKey, for the store.
    pub fn server_key(&self) -> &Secret {
        &self.server_key
    }
}

/// As long as the shorter of the two.
fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| a ^ b).collect()
}

#[cfg(test)]
mod tests;
