//! The edge's half of a server's exchange: everything but the verifier.

use super::message::{self, Binding, ClientFinal, ClientFirst, ScramError, ServerFirst};

/// Checks what the client says about channel binding against what it was offered (RFC 5802 §6).
///
/// `plus`: the client chose a `-PLUS` mechanism. `offered`: the types that this connection can do
/// (XEP-0440), empty if no `-PLUS` mechanism was offered. Gives the type to use.
///
/// # Errors
/// [`ScramError::Downgrade`] for `y` although it was offered; [`ScramError::BindingNotSupported`]
/// for a flag that does not fit the mechanism; [`ScramError::BindingType`] for a type that was not
/// offered.
pub fn check_binding<'a>(
    binding: Binding<'a>,
    plus: bool,
    offered: &[&str],
) -> Result<Option<&'a str>, ScramError> {
    match binding {
        Binding::Used(name) if plus && offered.contains(&name) => Ok(Some(name)),
        Binding::Used(_) if plus => Err(ScramError::BindingType),
        Binding::Used(_) => Err(ScramError::BindingNotSupported),
        Binding::Unsupported | Binding::Unoffered if plus => Err(ScramError::BindingNotSupported),
        Binding::Unoffered if !offered.is_empty() => Err(ScramError::Downgrade),
        Binding::Unoffered | Binding::Unsupported => Ok(None),
    }
}

/// What the edge remembers between the server's first message and the client's last.
#[derive(Debug, Clone)]
pub struct Challenge {
    client_first_bare: Box<str>,
    server_first: String,
    nonce_bytes: usize,
    /// What `c=` must carry: the GS2 header and the data of the channel.
    binding: Box<[u8]>,
}

/// What the edge sends to the owner of the account: see [`super::Verifier::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// AuthMessage.
    pub auth_message: Vec<u8>,
    /// ClientProof.
    pub proof: Vec<u8>,
}

impl Challenge {
    /// Makes the challenge.
    ///
    /// `server_nonce`: 18 or more random bytes in base64, new for each exchange. `channel`: the
    /// data of the channel binding that [`check_binding`] named, empty if it named none.
    pub fn new(
        first: &ClientFirst<'_>,
        server_nonce: &str,
        salt: &[u8],
        iterations: u32,
        channel: &[u8],
    ) -> Challenge {
        Challenge {
            client_first_bare: first.bare.into(),
            server_first: ServerFirst::write(first.nonce, server_nonce, salt, iterations),
            nonce_bytes: first.nonce.len() + server_nonce.len(),
            binding: [first.gs2_header.as_bytes(), channel].concat().into(),
        }
    }

    /// The message to send.
    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Checks the client's last message in all but the proof.
    ///
    /// # Errors
    /// [`ScramError::Malformed`], [`ScramError::Nonce`], [`ScramError::BindingMismatch`].
    pub fn handle_final(&self, text: &str) -> Result<Attempt, ScramError> {
        let last = ClientFinal::parse(text)?;
        if Some(last.nonce) != self.nonce() {
            return Err(ScramError::Nonce);
        }
        if *last.binding != *self.binding {
            return Err(ScramError::BindingMismatch);
        }
        Ok(Attempt {
            auth_message: message::auth_message(
                &self.client_first_bare,
                &self.server_first,
                last.without_proof,
            ),
            proof: last.proof,
        })
    }

    fn nonce(&self) -> Option<&str> {
        self.server_first.get("r=".len().."r=".len() + self.nonce_bytes)
    }
}
