//! Questions from node to node, and their answers: of operators, of the remote store, of Raft.

use bytes::Bytes;
use kv::{Batch, CommitError, ReadError, Reads, Rows};

use crate::Owner;

/// A question or an answer to one. Numbers are the asker's, and not used again while a link lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<Ask, Answer> {
    /// A question.
    Ask {
        /// Its number.
        call: u64,
        /// What.
        ask: Ask,
    },
    /// The answer to the question of that number.
    Answer {
        /// The number of the question.
        call: u64,
        /// What.
        answer: Answer,
    },
}

/// What an operator wants, on its way to whoever can do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAsk {
    /// The owner that is to do it; `None` for the node.
    pub owner: Option<Owner>,
    /// What, as both ends of the call write it.
    pub body: Bytes,
}

/// Why a node did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRefusal {
    /// The shard is not owned here; this is the highest epoch known of it.
    NotOwner(Owner),
    /// The request is of a kind that this node does not know.
    Unknown,
    /// Too many are under way.
    Busy,
    /// The node could not ask further, or got no answer.
    Failed,
}

/// The answer to an [`AdminAsk`].
pub type AdminAnswer = Result<Bytes, AdminRefusal>;

/// A question to a store on another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAsk {
    /// Read.
    Read(Reads),
    /// Commit. A batch that came twice is told by its fences and its `op_id`, as ever.
    Commit(Batch),
    /// Before anything else on a link, and after a commit whose answer did not come: the number of
    /// this question is that of the asker's next commit. Of its commits with a lower number none
    /// begins any more, and the answer waits until those that had begun have ended.
    Settle,
}

/// The answer of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// What was found, in as many parts as keep each a frame: their lists, one after the other, are
    /// the answer, all of one moment.
    Found {
        /// This part.
        rows: Rows,
        /// Whether another part follows.
        more: bool,
    },
    /// Nothing was read.
    NotRead(ReadError),
    /// What became of the batch.
    Committed(Result<(), CommitError>),
}

/// Rows in parts that each fit a frame. A read's own answer is never cut: the limits of a range
/// keep it within one.
pub fn parts(rows: Rows) -> Vec<Rows> {
    let mut parts: Vec<Rows> = Vec::new();
    let mut room = 0;
    for found in rows.found {
        let lengths = 2 * 5;
        let row = |row: &kv::Row| row.bytes() + lengths;
        let bytes = found.rows.iter().map(row).sum::<usize>()
            + found.more.as_ref().map_or(0, |key| key.len())
            + 2 * lengths;
        match parts.last_mut() {
            Some(last) if bytes <= room => last.found.push(found),
            _ => {
                parts.push(Rows { found: vec![found] });
                room = crate::limits::STORE_PART_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    if parts.is_empty() { vec![Rows::default()] } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv::{Found, Key, Row};

    #[test]
    fn parts_are_the_whole_in_order() {
        let found = |bytes: usize| {
            let value = Key::from(vec![1; bytes]);
            Found { rows: vec![Row { key: Key::from_static(b"k"), value }], more: None }
        };
        let most = crate::limits::STORE_PART_BYTES;
        for sizes in [vec![], vec![1, 2, 3], vec![most, 1, most / 2, most / 2, 5]] {
            let rows = Rows { found: sizes.iter().map(|size| found(*size)).collect() };
            let parts = parts(rows.clone());
            assert!(!parts.is_empty());
            assert!(parts.iter().all(|p| p.found.len() == 1 || p.bytes() <= most));
            let joined: Vec<Found> = parts.into_iter().flat_map(|p| p.found).collect();
            assert_eq!(joined, rows.found);
        }
    }
}
