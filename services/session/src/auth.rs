//! Logins at the owner: it alone holds verifiers, and gives salt, iterations and signature (design:
//! "Authentication").
//!
//! An account that does not exist is answered with a verifier made from a secret and its name: the
//! same each time, and with the same work (RFC 5802 §9; `security-cases` rows 34 and 49).

use kv::{ReadError, Reads, Rows};
use peer::{AuthRefusal, ConnId, Down};
use xmpp::jid::Jid;
use xmpp::scram::{Hash, Verifier};
use xmpp::secret::Secret;

use crate::keys::{Entity, tag};
use crate::limits::SCRAM_ITERATIONS;
use crate::rows::{self, AccountRow};
use crate::shard::{Core, Ticket};

/// Asks for the rows of a login.
pub(crate) fn read(core: &mut Core, ticket: Ticket, account: &Jid) {
    let entity = Entity::of(&core.config.hash, account);
    let mut reads = Reads::get(entity.key(tag::CREDENTIALS, &[]));
    reads.add_get(entity.key(tag::ACCOUNT, &[]));
    core.read(ticket, reads);
}

/// A client wants to know salt and iterations.
pub(crate) fn challenge(core: &mut Core, conn: ConnId, account: Jid, hash: Hash) {
    let ticket = Ticket::Challenge { conn, account: account.clone(), hash };
    read(core, ticket, &account);
}

/// The rows have come: what the client is told.
pub(crate) fn challenged(
    core: &Core,
    account: &Jid,
    hash: Hash,
    found: Result<Rows, ReadError>,
) -> Down {
    match found {
        Err(_) => Down::Refused(AuthRefusal::TemporaryAuthFailure),
        Ok(found) => {
            let verifier = verifier(core, account, hash, &found);
            Down::Challenge {
                salt: verifier.salt().to_vec().into(),
                iterations: verifier.iterations(),
            }
        }
    }
}

/// The rows have come: whether the proof is right.
pub(crate) fn verified(
    core: &Core,
    account: &Jid,
    hash: Hash,
    auth_message: &[u8],
    proof: &[u8],
    found: Result<Rows, ReadError>,
) -> Down {
    let Ok(found) = found else {
        return Down::Refused(AuthRefusal::TemporaryAuthFailure);
    };
    let signature = verifier(core, account, hash, &found).verify(auth_message, proof);
    let row = found.value(1).map(|value| AccountRow::decode(value));
    match (signature, row) {
        (Some(_), Some(Err(_))) => Down::Refused(AuthRefusal::TemporaryAuthFailure),
        (Some(_), Some(Ok(row))) if row.disabled => Down::Refused(AuthRefusal::AccountDisabled),
        (Some(signature), Some(Ok(row))) if row.jid == *account => {
            Down::Verified { signature: signature.into(), generation: row.generation }
        }
        _ => Down::Refused(AuthRefusal::NotAuthorized),
    }
}

/// The account's verifier for a hash, or one that nobody can meet. Both are made, so that both take
/// the same time.
fn verifier(core: &Core, account: &Jid, hash: Hash, found: &Rows) -> Verifier {
    let decoy = Secret::new(core.config.decoy.as_slice());
    let fake = Verifier::fake(&decoy, hash, account.as_str(), SCRAM_ITERATIONS);
    let stored = found.value(0).and_then(|value| rows::decode_verifiers(value).ok());
    stored.and_then(|all| all.into_iter().find(|v| v.hash() == hash)).unwrap_or(fake)
}
