//! Names of nodes, connections, sessions and of one stanza's arrival.

use std::fmt;

/// A node of the cluster. The incarnation is part of it: a node that was declared dead never comes
/// back as itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// The number that the control plane gave the node.
    pub number: u32,
    /// How often the node has been started.
    pub incarnation: u32,
}

/// One client connection of one edge. Slots are never used twice in one incarnation of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The edge that holds the socket.
    pub edge: NodeId,
    /// The connection's place at that edge.
    pub slot: u64,
}

/// The fencing number of a shard's ownership. It only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

/// A session's incarnation: 128 random bits, made when a resource is bound. Its hexadecimal form is
/// the SM-ID of XEP-0198, so it is never logged whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

impl SessionId {
    /// The SM-ID that a client is given (XEP-0198 §3): 32 lower-case hexadecimal digits.
    pub fn to_sm_id(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Reads an SM-ID. Anything that [`SessionId::to_sm_id`] cannot have made is `None`.
    pub fn from_sm_id(text: &str) -> Option<Self> {
        let ours = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !ours {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first 32 bits tell sessions apart in a log and do not let a reader resume one.
        write!(f, "session {:08x}…", (self.0 >> 96) as u32)
    }
}

/// Names the arrival of one stanza from a client, for the whole of its way. It is stored in the
/// value of each archive row that the stanza leads to, so that a retry finds the row of the first
/// attempt (design: "Retries").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IngestKey {
    /// The session that sent it.
    pub session: SessionId,
    /// Which of the session's attachments: 0 before stream management, then counted up by each
    /// resumption.
    pub attachment: u32,
    /// The stanza's number in the session, from 1; in a managed stream the `h` that covers it
    /// (XEP-0198 §4).
    pub number: u64,
    /// A keyed hash of the stanza, so that a number that was used for another stanza does not
    /// match.
    pub hash: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sm_ids_round_trip_and_nothing_else_is_read() {
        for value in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = SessionId(value);
            assert_eq!(SessionId::from_sm_id(&id.to_sm_id()), Some(id));
        }
        for text in
            ["", "0", "+0000000000000000000000000000001", "0000000000000000000000000000000G"]
        {
            assert_eq!(SessionId::from_sm_id(text), None, "{text}");
        }
        assert_eq!(SessionId::from_sm_id(&"A".repeat(32)), None);
    }

    #[test]
    fn a_session_id_is_not_logged_whole() {
        let text = format!("{:?}", SessionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(text, "session 01234567…");
    }
}
