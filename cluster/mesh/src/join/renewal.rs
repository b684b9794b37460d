//! The next certificate, before the last one runs out. Links that stand are not touched.

use std::time::Duration;

use bytes::Bytes;

use crate::authority::key_fingerprint;
use crate::link::{CallRefusal, Peer, Service};
use crate::{Authority, Credentials, Mesh, NodeKey, NodeName};

/// How long a control node is asked.
const WITHIN: Duration = Duration::from_secs(5);

/// Answers a call of [`Service::Certificate`]: a certificate for the identity and the key that the
/// caller has proved, and no other. The control plane knows the node by that key.
///
/// # Errors
/// The request cannot be read or signed, or is for another key.
pub fn issue_renewal(
    authority: &Authority,
    peer: &Peer,
    request: &[u8],
    now: Duration,
) -> Result<Bytes, CallRefusal> {
    let made = authority.issue(request, &peer.identity, now);
    let made = made.map_err(|_| CallRefusal::Malformed)?;
    if key_fingerprint(&made) != Ok(peer.key) {
        return Err(CallRefusal::NotAllowed);
    }
    Ok(Bytes::from(made.to_vec()))
}

/// Asks these control nodes in turn for the next certificate, and uses it for new links from now
/// on. The key stays: the control plane knows the node by it. The caller keeps what comes back:
/// it is what the node starts with next time.
///
/// `None` if nobody gave one; the old certificate is good for weeks when this is first tried.
pub async fn renew(mesh: &Mesh, control: &[NodeName]) -> Option<Credentials> {
    let held = mesh.credentials();
    let request = NodeKey::open(held.key()).and_then(|key| key.request()).ok()?;
    let request = Bytes::from(request);
    for node in control {
        let call = mesh.call(node, Service::Certificate, request.clone(), WITHIN);
        let Ok(certificate) = call.await else { continue };
        let made = || Credentials::new(held.authority(), &certificate, held.key()).ok();
        let (Some(used), Some(kept)) = (made(), made()) else { continue };
        // Refused if it is for another node, or does not fit the key.
        if mesh.renew(used).is_ok() {
            return Some(kept);
        }
    }
    None
}
