//! What any node may ask of a replica, and the bytes of it. Pure.
//!
//! A request is `operation u8 · body`. An answer is `0 · body`, or `1 · seat of the leader, if it
//! is known`, or the number of an error.

use std::collections::BTreeMap;
use std::fmt;

use peer::control::Seen;
use serde::{Deserialize, Serialize};

use super::types::{Seat, decode, encode};

/// Why the control plane did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// There is no leader, or none that can be reached: nothing was done.
    NoLeader,
    /// The answer was lost: whether it was done is not known.
    Unknown,
    /// The request is longer than may be, or makes no sense.
    Refused,
    /// The replica has stopped.
    Stopped,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::NoLeader => {
                "the control plane has no leader that can be reached: a majority of its nodes must \
                 run and see each other"
            }
            ControlError::Unknown => {
                "the control plane did not answer in time: look whether it was done before you try \
                 again"
            }
            ControlError::Refused => "the control plane refuses the request",
            ControlError::Stopped => "the control plane's replica has stopped",
        })
    }
}

impl std::error::Error for ControlError {}

/// A change of who holds replicas. One at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberChange {
    /// A new replica, which follows and does not vote. Its number must never have been used.
    AddLearner(u64, Seat),
    /// A replica that follows gets a vote.
    Promote(u64),
    /// A replica is one no longer.
    Remove(u64),
    /// A replica that votes follows only.
    Demote(u64),
}

/// What part a replica plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Follows and has no vote.
    Learner,
    /// Follows a leader, or looks for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Has stopped.
    Stopped,
}

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its number.
    pub replica: u64,
    /// What part it plays.
    pub standing: Standing,
    /// The term it knows of.
    pub term: u64,
    /// Who leads, if it knows.
    pub leader: Option<u64>,
    /// The last entry in its log.
    pub last_log: u64,
    /// Up to where it has applied entries.
    pub applied: u64,
    /// Up to where its snapshot goes.
    pub snapshot: u64,
    /// Entries up to here are in its log no more.
    pub purged: u64,
    /// It has lost part of its log and gives no vote until it has all again.
    pub rebuilding: bool,
    /// Those who vote.
    pub voters: BTreeMap<u64, Seat>,
    /// Those who only follow.
    pub learners: BTreeMap<u64, Seat>,
    /// Of a leader: up to where each other replica has its log.
    pub matched: BTreeMap<u64, u64>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Apply a command, wherever the leader is.
    Propose(Vec<u8>),
    /// Apply a command, if this is the leader.
    ProposeHere(Vec<u8>),
    /// Up to where one must have applied to see all that was committed; of the leader.
    ReadIndex,
    /// What has changed since this was seen; waits until something has.
    News(Seen),
    /// How the replica stands.
    Status,
    /// Change who holds replicas; of the leader.
    Members(MemberChange),
}

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Request::Propose(command) => [&[1], &command[..]].concat(),
            Request::ProposeHere(command) => [&[2], &command[..]].concat(),
            Request::ReadIndex => vec![3],
            Request::News(Seen { lineage, version }) => {
                [&[4][..], &lineage.to_be_bytes(), &version.to_be_bytes()].concat()
            }
            Request::Status => vec![5],
            // A change of members is two numbers and two short texts: it can always be written.
            Request::Members(change) => [vec![6], encode(change).unwrap_or_default()].concat(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Request> {
        let (operation, body) = bytes.split_first()?;
        Some(match operation {
            1 => Request::Propose(body.to_vec()),
            2 => Request::ProposeHere(body.to_vec()),
            3 => Request::ReadIndex,
            4 => {
                let (lineage, version) = body.split_first_chunk()?;
                let lineage = u64::from_be_bytes(*lineage);
                let version = u64::from_be_bytes(version.try_into().ok()?);
                Request::News(Seen { lineage, version })
            }
            5 => Request::Status,
            6 => Request::Members(decode(body)?),
            _ => return None,
        })
    }
}

/// What is answered.
pub(super) enum Answer {
    Done(Vec<u8>),
    NotLeader(Option<Seat>),
    Failed(ControlError),
}

const ERRORS: [ControlError; 4] =
    [ControlError::NoLeader, ControlError::Unknown, ControlError::Refused, ControlError::Stopped];

impl Answer {
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Answer::Done(body) => [vec![0], body].concat(),
            Answer::NotLeader(seat) => [vec![1], encode(&seat).unwrap_or_default()].concat(),
            Answer::Failed(why) => vec![2 + why as u8],
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Answer> {
        let (code, body) = bytes.split_first()?;
        Some(match code {
            0 => Answer::Done(body.to_vec()),
            1 => Answer::NotLeader(decode(body)?),
            code => Answer::Failed(*ERRORS.get(usize::from(code.checked_sub(2)?))?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_round_trip() {
        let seat = Seat { node: "c1".into(), address: "192.0.2.1:5270".into() };
        for request in [
            Request::Propose(b"x".to_vec()),
            Request::ProposeHere(Vec::new()),
            Request::ReadIndex,
            Request::News(Seen { lineage: 5, version: u64::MAX }),
            Request::Status,
            Request::Members(MemberChange::AddLearner(7, seat.clone())),
            Request::Members(MemberChange::Promote(7)),
            Request::Members(MemberChange::Remove(u64::MAX)),
            Request::Members(MemberChange::Demote(7)),
        ] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        for bad in [&[][..], &[0], &[7], &[4, 1], &[6], &[6, 9]] {
            assert_eq!(Request::decode(bad), None, "{bad:?}");
        }
        for error in ERRORS {
            let bytes = Answer::Failed(error).encode();
            assert!(matches!(Answer::decode(&bytes), Some(Answer::Failed(it)) if it == error));
        }
        for known in [None, Some(seat)] {
            let bytes = Answer::NotLeader(known.clone()).encode();
            assert!(matches!(Answer::decode(&bytes), Some(Answer::NotLeader(it)) if it == known));
        }
        assert!(Answer::decode(&[6]).is_none() && Answer::decode(&[]).is_none());
    }
}
