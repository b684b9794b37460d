//! Logins at the owner: it alone holds verifiers, and gives salt, iterations and signature (design:
//! "Authentication").
//!
//! An account that does not exist is answered with a verifier made from a secret and its name: the
//! same each time, and with the same work (RFC 5802 §9; security cases 34 and 49).

use kv::{ReadError, Reads, Rows};
use peer::{AuthRefusal, ConnId, Down};
use xmpp::jid::Jid;
use xmpp::scram::{Hash, Verifier};
use xmpp::secret::Secret;

use crate::keys::{Entity, tag};
use crate::limits::SCRAM_ITERATIONS;
use crate::rows::{self, AccountRow, RowError};
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
        Ok(found) => match verifier(core, account, hash, &found) {
            Err(RowError) => Down::Refused(AuthRefusal::TemporaryAuthFailure),
            Ok(verifier) => Down::Challenge {
                salt: verifier.salt().to_vec().into(),
                iterations: verifier.iterations(),
            },
        },
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
    let Ok(verifier) = verifier(core, account, hash, &found) else {
        return Down::Refused(AuthRefusal::TemporaryAuthFailure);
    };
    let signature = verifier.verify(auth_message, proof);
    let row = found.value(1).map(|value| AccountRow::decode(value));
    match (signature, row) {
        (Some(_), Some(Err(_))) => Down::Refused(AuthRefusal::TemporaryAuthFailure),
        (Some(_), Some(Ok(row))) if row.deleted => Down::Refused(AuthRefusal::NotAuthorized),
        (Some(_), Some(Ok(row))) if row.disabled => Down::Refused(AuthRefusal::AccountDisabled),
        (Some(signature), Some(Ok(row))) if row.jid == *account => {
            Down::Verified { signature: signature.into(), generation: row.generation }
        }
        _ => Down::Refused(AuthRefusal::NotAuthorized),
    }
}

/// The account's verifier for a hash, or one that nobody can meet. Both are made, so that both take
/// the same time.
///
/// # Errors
/// The row is there and cannot be read: the password may be right, so nobody is told that it is not
/// (RFC 6120 §6.5.11).
fn verifier(core: &Core, account: &Jid, hash: Hash, found: &Rows) -> Result<Verifier, RowError> {
    let decoy = Secret::new(core.config.decoy.as_slice());
    let fake = Verifier::fake(&decoy, hash, account.as_str(), SCRAM_ITERATIONS);
    let stored = found.value(0).map(|value| rows::decode_verifiers(value)).transpose()?;
    Ok(stored.and_then(|all| all.into_iter().find(|v| v.hash() == hash)).unwrap_or(fake))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kv::{Batch, MemTable, Value};
    use peer::shard::HashKey;
    use peer::{Epoch, NodeId, ShardId};
    use xmpp::scram::Keys;

    use super::*;
    use crate::config::Config;
    use crate::keys::tag::{ACCOUNT, CREDENTIALS};
    use crate::module::Modules;

    const ITERATIONS: u32 = SCRAM_ITERATIONS;
    const AUTH_MESSAGE: &[u8] = b"n=romeo,r=1,r=12,s=,i=1,c=,r=12";

    /// How an account is.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Is {
        Unknown,
        Known,
        Disabled,
        Deleted,
    }

    struct Login {
        core: Core,
        table: MemTable,
        romeo: Jid,
    }

    fn login(is: Is) -> Login {
        let domains = vec!["montague.example".to_owned()];
        let config = Config::new(domains, HashKey(1, 2), [7; 32], Modules::new(&[]));
        let core = Core::new(ShardId(0), Epoch(1), None, Arc::new(config), (1, 1));
        let romeo = Jid::parse("romeo@montague.example").expect("a JID");
        let mut login = Login { core, table: MemTable::new(), romeo };
        if is != Is::Unknown {
            let verifiers: Option<Vec<Verifier>> = Hash::ALL
                .into_iter()
                .map(|hash| Verifier::derive(hash, "right", &[9; 16], ITERATIONS))
                .collect();
            login.set(tag::CREDENTIALS, rows::encode_verifiers(&verifiers.expect("verifiers")));
            let row = AccountRow {
                jid: login.romeo.clone(),
                disabled: is != Is::Known,
                deleted: is == Is::Deleted,
                generation: 5,
                created_us: 1,
            };
            login.set(tag::ACCOUNT, row.encode());
        }
        login
    }

    impl Login {
        fn set(&mut self, tag: u8, value: Value) {
            let mut batch = Batch::new(1);
            batch.set(Entity::of(&self.core.config.hash, &self.romeo).key(tag, &[]), value);
            self.table.commit_now(&batch).expect("the store");
        }

        fn rows(&self) -> Rows {
            let entity = Entity::of(&self.core.config.hash, &self.romeo);
            let mut reads = Reads::get(entity.key(tag::CREDENTIALS, &[]));
            reads.add_get(entity.key(tag::ACCOUNT, &[]));
            self.table.read_now(&reads).expect("the store")
        }

        fn challenge(&self, hash: Hash) -> Down {
            challenged(&self.core, &self.romeo, hash, Ok(self.rows()))
        }

        /// What the owner says to the proof of somebody who believes in a password.
        fn verify(&self, hash: Hash, password: &str) -> Down {
            let keys = Keys::derive(hash, password, &[9; 16], ITERATIONS).expect("a password");
            let proof = keys.client_proof(AUTH_MESSAGE);
            verified(&self.core, &self.romeo, hash, AUTH_MESSAGE, &proof, Ok(self.rows()))
        }
    }

    fn refused(down: &Down) -> Option<AuthRefusal> {
        match down {
            Down::Refused(why) => Some(*why),
            _ => None,
        }
    }

    #[test]
    fn whether_an_account_exists_does_not_show_before_the_password_is_right() {
        let [unknown, known, disabled, deleted] =
            [Is::Unknown, Is::Known, Is::Disabled, Is::Deleted].map(login);
        for hash in Hash::ALL {
            for login in [&unknown, &known, &disabled, &deleted] {
                let Down::Challenge { salt, iterations } = login.challenge(hash) else {
                    panic!("no challenge");
                };
                assert_eq!((salt.len(), iterations), (16, SCRAM_ITERATIONS), "{hash:?}");
                let again = login.challenge(hash);
                assert!(matches!(again, Down::Challenge { salt: same, .. } if same == salt));
                let wrong = login.verify(hash, "wrong");
                assert_eq!(refused(&wrong), Some(AuthRefusal::NotAuthorized), "{hash:?}");
            }
            let right = known.verify(hash, "right");
            assert!(matches!(right, Down::Verified { generation: 5, .. }), "{right:?}");
            let told = [
                (&unknown, AuthRefusal::NotAuthorized),
                (&deleted, AuthRefusal::NotAuthorized),
                (&disabled, AuthRefusal::AccountDisabled),
            ];
            for (login, why) in told {
                assert_eq!(refused(&login.verify(hash, "right")), Some(why), "{hash:?}");
            }
        }
    }

    #[test]
    fn a_store_that_is_away_is_told_as_such_and_not_waited_for() {
        let Login { core, romeo, .. } = login(Is::Known);
        let conn = ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot: 1 };
        for hash in Hash::ALL {
            for error in [ReadError::Unavailable, ReadError::Damaged] {
                let down = challenged(&core, &romeo, hash, Err(error));
                assert_eq!(refused(&down), Some(AuthRefusal::TemporaryAuthFailure));
                let down = verified(&core, &romeo, hash, AUTH_MESSAGE, b"any", Err(error));
                assert_eq!(refused(&down), Some(AuthRefusal::TemporaryAuthFailure));
            }
            assert!(!Ticket::Challenge { conn, account: romeo.clone(), hash }.waits());
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_no_wrong_password() {
        for tag in [CREDENTIALS, ACCOUNT] {
            let mut login = login(Is::Known);
            login.set(tag, Value::from_static(&[1, 9, 9]));
            for hash in Hash::ALL {
                let down = login.verify(hash, "right");
                assert_eq!(refused(&down), Some(AuthRefusal::TemporaryAuthFailure), "{tag}");
                if tag == CREDENTIALS {
                    let down = login.challenge(hash);
                    assert_eq!(refused(&down), Some(AuthRefusal::TemporaryAuthFailure));
                }
            }
        }
    }
}
