//! SCRAM with keys kept between logins, as real clients keep them: what is measured is the server,
//! and deriving keys anew would cost this side a millisecond of CPU for each login.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use xmpp::blocks::base64;
use xmpp::scram::message::{ServerFirst, auth_message};
use xmpp::scram::{Hash, Keys};

use crate::Failure;

/// What keys are derived from, besides the password.
type Origin = (Hash, Vec<u8>, u32);

/// Keys by what they were derived from.
#[derive(Default)]
pub struct KeyCache {
    keys: RefCell<HashMap<Origin, Rc<Keys>>>,
}

impl KeyCache {
    fn keys(&self, hash: Hash, password: &str, first: &ServerFirst<'_>) -> Option<Rc<Keys>> {
        let name = (hash, first.salt.clone(), first.iterations);
        if let Some(keys) = self.keys.borrow().get(&name) {
            return Some(keys.clone());
        }
        let keys = Rc::new(Keys::derive(hash, password, &first.salt, first.iterations)?);
        self.keys.borrow_mut().insert(name, keys.clone());
        Some(keys)
    }
}

/// An exchange that has begun.
pub(super) struct Exchange {
    hash: Hash,
    bare: String,
    nonce: String,
}

/// An exchange whose proof is made: what the server must sign.
pub(super) struct Proof {
    keys: Rc<Keys>,
    signed: Vec<u8>,
}

impl Exchange {
    pub(super) fn new(hash: Hash, user: &str, number: u64) -> Self {
        // A load generator's logins need to differ, not to be unpredictable.
        let nonce = format!("load{:x}x{number:016x}", std::process::id());
        Self { hash, bare: format!("n={user},r={nonce}"), nonce }
    }

    /// The first message, in base64.
    pub(super) fn first(&self) -> String {
        base64::encode(format!("n,,{}", self.bare).as_bytes())
    }

    /// Takes the challenge in base64; gives the answer in base64.
    pub(super) fn answer(
        &self,
        challenge: &str,
        password: &str,
        cache: &KeyCache,
    ) -> Result<(String, Proof), Failure> {
        let text = decoded(challenge).ok_or("the challenge is not base64")?;
        let first = ServerFirst::parse(&text).map_err(|why| format!("wrong challenge: {why}"))?;
        if !first.nonce.starts_with(&self.nonce) {
            return Err("the challenge has another nonce".into());
        }
        let keys = cache.keys(self.hash, password, &first).ok_or("unusable password")?;
        let without_proof = format!("c=biws,r={}", first.nonce);
        let signed = auth_message(&self.bare, &text, &without_proof);
        let proof = base64::encode(&keys.client_proof(&signed));
        let answer = base64::encode(format!("{without_proof},p={proof}").as_bytes());
        Ok((answer, Proof { keys, signed }))
    }
}

impl Proof {
    /// Whether the server's last message, in base64, shows that it has the verifier.
    pub(super) fn check(&self, last: &str) -> Result<(), Failure> {
        let signature = decoded(last)
            .and_then(|text| base64::decode(text.strip_prefix("v=")?))
            .ok_or("the server's signature is unreadable")?;
        if self.keys.is_server_signature(&self.signed, &signature) {
            return Ok(());
        }
        Err("the server's signature is wrong".into())
    }
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(base64::decode(text)?).ok()
}
