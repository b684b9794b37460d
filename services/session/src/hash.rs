//! The hash by which a stanza is known again.

use peer::shard::{HashKey, siphash_1_3};
use xmpp::stanza::Stanza;

/// A keyed hash of what the client wrote: addressee, id and content. Not of the sender's resource,
/// which is another one when a client sends again after a failed resumption, and not of what the
/// server added.
pub(crate) fn stanza_hash(key: &HashKey, stanza: &Stanza) -> u64 {
    let to = stanza.to.as_ref().map_or(0, |to| siphash_1_3(key, to.as_str().as_bytes()));
    let id = stanza.id.as_ref().map_or(0, |id| siphash_1_3(key, id.as_bytes()));
    let body = siphash_1_3(key, stanza.body.as_bytes());
    siphash_1_3(&HashKey(key.0 ^ to, key.1 ^ id), &body.to_be_bytes())
}
