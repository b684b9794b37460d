//! The client's side of an exchange, for tests, load generators and links to other servers.

use super::message::{self, Binding, ScramError, ServerFirst, encode_name};
use super::{Hash, Keys};
use crate::blocks::base64;

/// The most iterations that a client carries out for a server: some seconds of CPU.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// A client that has sent its first message.
#[derive(Debug, Clone)]
pub struct ExpectServerFirst {
    hash: Hash,
    nonce: String,
    gs2_header: String,
    bare: String,
}

/// A client that has sent its proof.
#[derive(Debug, Clone)]
pub struct ExpectServerFinal {
    keys: Keys,
    auth_message: Vec<u8>,
}

impl ExpectServerFirst {
    /// Begins an exchange. `nonce`: 18 or more random bytes in base64.
    pub fn new(hash: Hash, username: &str, nonce: &str, binding: Binding<'_>) -> ExpectServerFirst {
        let gs2_header = match binding {
            Binding::Unsupported => "n,,".to_owned(),
            Binding::Unoffered => "y,,".to_owned(),
            Binding::Used(name) => format!("p={name},,"),
        };
        let bare = format!("n={},r={nonce}", encode_name(username));
        ExpectServerFirst { hash, nonce: nonce.to_owned(), gs2_header, bare }
    }

    /// The message to send.
    pub fn client_first(&self) -> String {
        format!("{}{}", self.gs2_header, self.bare)
    }

    /// Takes the server's first message; gives the client's last one. As slow as [`Keys::derive`].
    /// `channel`: the data of the channel binding, empty if none is used.
    ///
    /// # Errors
    /// [`ScramError::Malformed`]; [`ScramError::Nonce`] if the nonce is not ours with something
    /// added, or the iterations pass [`ITERATIONS_MAX`]; [`ScramError::UsernameEncoding`] for a
    /// password that cannot be prepared.
    pub fn handle_server_first(
        self,
        server_first: &str,
        password: &str,
        channel: &[u8],
    ) -> Result<(ExpectServerFinal, String), ScramError> {
        let first = ServerFirst::parse(server_first)?;
        let added = first.nonce.strip_prefix(self.nonce.as_str()).unwrap_or_default();
        if added.is_empty() || first.iterations > ITERATIONS_MAX {
            return Err(ScramError::Nonce);
        }
        let binding = base64::encode(&[self.gs2_header.as_bytes(), channel].concat());
        let without_proof = format!("c={binding},r={}", first.nonce);
        let keys = Keys::derive(self.hash, password, &first.salt, first.iterations)
            .ok_or(ScramError::UsernameEncoding)?;
        let auth_message = message::auth_message(&self.bare, server_first, &without_proof);
        let proof = base64::encode(&keys.client_proof(&auth_message));
        Ok((ExpectServerFinal { keys, auth_message }, format!("{without_proof},p={proof}")))
    }
}

impl ExpectServerFinal {
    /// Takes the server's last message: it must show that the server has the verifier.
    ///
    /// # Errors
    /// [`ScramError::Proof`] if it does not.
    pub fn handle_server_final(self, server_final: &str) -> Result<(), ScramError> {
        let signature = server_final
            .split(',')
            .next()
            .and_then(|a| a.strip_prefix("v="))
            .and_then(base64::decode)
            .ok_or(ScramError::Proof)?;
        match self.keys.is_server_signature(&self.auth_message, &signature) {
            true => Ok(()),
            false => Err(ScramError::Proof),
        }
    }
}
