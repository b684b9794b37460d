//! Accounts to load the server with: `load0`, `load1`, … all with one password.

use carillon::admin::Client;
use carillon::admin::protocol::{Fault, Reply, Request, Verifier};
use xmpp::scram::{self, Hash};

use crate::{Failure, Target};

/// The password of all of them.
pub const PASSWORD: &str = "a load generator's password";

/// Few iterations: what is measured is the server, not the client's key derivation.
const ITERATIONS: u32 = 4096;

/// The localpart of an account.
#[must_use]
pub fn name(index: usize) -> String {
    format!("load{index}")
}

/// Makes accounts up to `count`, where they are not there yet.
///
/// # Errors
/// If the server does not answer or refuses.
pub async fn make(target: &Target, count: usize) -> Result<(), Failure> {
    let mut admin = Client::connect(&target.data.join("admin.sock")).await?;
    let verifier = scram::Verifier::derive(Hash::Sha1, PASSWORD, b"the same salt", ITERATIONS)
        .ok_or("the password cannot be used")?;
    let verifiers = vec![Verifier::from(&verifier)];
    for index in 0..count {
        let jid = format!("{}@{}", name(index), target.domain);
        match admin.call(&Request::Add { jid, verifiers: verifiers.clone() }).await? {
            Reply::Done | Reply::Refused { fault: Fault::Exists, .. } => {}
            other => return Err(format!("the server did not make an account: {other:?}").into()),
        }
    }
    Ok(())
}
