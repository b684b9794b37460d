//! SCRAM as a stream speaks it: what the client says first, checked before the owner of the account
//! is asked. Arithmetic and grammar are in `xmpp::scram`.

use xmpp::error::SaslCondition;
use xmpp::jid::Jid;
use xmpp::scram::Hash;
use xmpp::scram::message::ClientFirst;
use xmpp::scram::server::{Challenge, check_binding};

use super::Secured;
use crate::{Config, sasl};

/// An accepted first message.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Bare JID.
    pub(crate) account: Jid,
    /// Which of its verifiers.
    pub(crate) hash: Hash,
    /// The message.
    text: String,
    /// The data of the channel binding, empty if none is used.
    binding: Box<[u8]>,
}

impl Opening {
    /// Reads and checks the client's first message. Nothing in the answer depends on whether the
    /// account exists (security case 49).
    pub(crate) fn parse(
        message: Vec<u8>,
        (hash, plus): (Hash, bool),
        domain: &str,
        (config, secured): (&Config, &Secured),
    ) -> Result<Self, SaslCondition> {
        let text = String::from_utf8(message).map_err(|_| SaslCondition::MalformedRequest)?;
        let first = ClientFirst::parse(&text).map_err(|error| error.condition())?;
        let offered: Vec<_> = sasl::offered_bindings(config, secured).collect();
        let names: Vec<_> = offered.iter().map(|(name, _)| *name).collect();
        let used = check_binding(first.binding, plus, &names).map_err(|error| error.condition())?;
        let data = offered.iter().find(|(name, _)| Some(*name) == used).map(|(_, data)| *data);
        let account = sasl::account(&first.username, domain)?;
        sasl::check_authzid(first.authzid.as_deref(), &account)?;
        Ok(Self { account, hash, binding: data.unwrap_or_default().into(), text })
    }

    /// The challenge, once the owner has given salt and iterations. XEP-0474 would add its hash of
    /// what was offered here. `None` cannot be: the message was read before.
    pub(crate) fn challenge(&self, nonce: &str, salt: &[u8], iterations: u32) -> Option<Challenge> {
        let first = ClientFirst::parse(&self.text).ok()?;
        Some(Challenge::new(&first, nonce, salt, iterations, &self.binding))
    }
}
