//! What belongs to the cluster and lives in its store: the key of its hashes and the secret behind
//! decoy salts. Made once.

use std::sync::Arc;

use kv::{Batch, Expect, Reads, Store};
use peer::shard::HashKey;
use session::keys;
use session::rows::ClusterRow;

use crate::random::Random;

/// The cluster's own secrets.
pub type Identity = ClusterRow;

/// Why they are not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The store does not answer.
    Store,
    /// The store's accounts are spread by another key than that of the cluster.
    OtherCluster,
    /// The row was written by a version that this one does not know, or is damaged.
    Unreadable,
}

impl std::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Store => "the store does not answer",
            Self::OtherCluster => {
                "the accounts in the store are spread by another key than that of the cluster: \
                 it is not this cluster's store"
            }
            Self::Unreadable => {
                "the store's cluster row cannot be read: \
                 it was written by a newer version, or is damaged"
            }
        })
    }
}

impl std::error::Error for IdentityError {}

/// Reads the cluster's secrets, or makes them in a new store; with this key of hashes, where the
/// control plane knows it.
///
/// # Errors
/// If the store fails, holds a row that cannot be read, or one with another key: all other keys
/// depend on it, so nothing starts without.
pub async fn identity(
    store: &Arc<dyn Store>,
    key: Option<HashKey>,
) -> Result<Identity, IdentityError> {
    let mut random = Random::new();
    // Two nodes may start on a new store at once: the slower one reads what the faster one wrote.
    for _ in 0..3 {
        let rows =
            store.read(Reads::get(keys::cluster())).await.map_err(|_| IdentityError::Store)?;
        if let Some(value) = rows.value(0) {
            let row = ClusterRow::decode(value).map_err(|_| IdentityError::Unreadable)?;
            return match key {
                Some(key) if key != row.hash => Err(IdentityError::OtherCluster),
                _ => Ok(row),
            };
        }
        let row = ClusterRow::new([random.next(), random.next(), random.next()]);
        let row = ClusterRow { hash: key.unwrap_or(row.hash), ..row };
        let mut batch = Batch::new(1);
        batch.check(keys::cluster(), Expect::Absent);
        batch.set(keys::cluster(), row.encode());
        let _ = store.commit(batch).await;
    }
    Err(IdentityError::Store)
}
