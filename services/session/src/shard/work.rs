//! What an account decides on, one after the other.

use std::collections::VecDeque;

use peer::{NodeId, Parcel, SessionId, ShardId, Up};
use xmpp::jid::Jid;

use crate::admin;
use crate::limits;
use crate::snapshot::Snapshot;

/// One thing for an account to decide.
#[derive(Debug)]
pub(crate) enum Work {
    /// A frame from an edge.
    Up(Up),
    /// A parcel from another account.
    Parcel(Arrival),
    /// An edge is gone. What had come from it before is decided before.
    Gone(NodeId),
    /// An operator's request.
    Admin(u64, admin::Request),
    /// A session that the owner before hands over.
    HandedOver(Box<Snapshot>),
    /// All sessions of the account are known that its owner will know of.
    Rebuilt,
}

/// A parcel at the shard of its addressee.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) parcel: Parcel,
    /// It may have its effects already.
    pub(crate) retry: bool,
    /// Who waits for it to be durable.
    pub(crate) origin: Arrived,
}

/// How a parcel came.
#[derive(Clone, Debug)]
pub(crate) enum Arrived {
    /// From an account of the same shard.
    Here(Origin),
    /// In a window.
    There(ShardId, u64),
}

/// Whose progress a parcel's confirmation is.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// Nobody's: it may be lost with its sender.
    None,
    /// A stanza of a session.
    Stanza(Jid, SessionId, u64),
    /// A recovery that drives on what a lost session had sent.
    Recovery(u64),
}

impl Work {
    /// Whether an account that is too far behind may answer that it takes no more. What a bound
    /// session says is bounded by the credit of its edge, and to leave out some of it would break
    /// the session. That an edge is gone nobody says again.
    pub(super) fn can_be_refused(&self) -> bool {
        let logs_in = matches!(self, Self::Up(Up::Bind { .. } | Up::Resume { .. }));
        logs_in
            || !matches!(self, Self::Up(_) | Self::Gone(_) | Self::HandedOver(_) | Self::Rebuilt)
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        let held = match self {
            Self::Up(frame) => frame_bytes(frame),
            Self::Parcel(arrival) => arrival.parcel.stanza.size_hint(),
            Self::Gone(_) | Self::Admin(..) | Self::HandedOver(_) | Self::Rebuilt => 0,
        };
        size_of::<Self>() + held
    }
}

/// About how many bytes a frame of an edge holds outside of its own structure.
pub(super) fn frame_bytes(frame: &Up) -> usize {
    match frame {
        Up::Stanza { stanza, .. } | Up::Kept { stanza, .. } => stanza.size_hint(),
        Up::Judged { reply: Some(stanza), .. } => stanza.size_hint(),
        Up::Report(report) => {
            size_of::<peer::Report>() + report.snapshot.len() + size_of_val(&report.recent[..])
        }
        Up::Verify { auth_message, proof, .. } => auth_message.len() + proof.len(),
        _ => 0,
    }
}

/// What waits for an account, in order.
#[derive(Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Work>,
    bytes: usize,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts something behind what waits. Given back if there is no room for it.
    pub(crate) fn push(&mut self, work: Work) -> Option<Work> {
        let full = self.queue.len() >= limits::WAITING_MAX
            || self.bytes + work.weight() > limits::WAITING_BYTES_MAX;
        if full && work.can_be_refused() {
            return Some(work);
        }
        self.bytes += work.weight();
        self.queue.push_back(work);
        None
    }

    /// Puts something before all that waits.
    pub(crate) fn push_first(&mut self, work: Work) {
        self.bytes += work.weight();
        self.queue.push_front(work);
    }

    /// Takes what is next.
    pub(crate) fn pop(&mut self) -> Option<Work> {
        let work = self.queue.pop_front()?;
        self.bytes -= work.weight();
        if self.queue.is_empty() {
            // An account at rest holds no queue.
            self.queue = VecDeque::new();
        }
        Some(work)
    }

    /// Takes those that a client waits for to log in.
    pub(crate) fn take_logins(&mut self) -> Vec<Work> {
        let logs_in = |work: &Work| matches!(work, Work::Up(Up::Bind { .. } | Up::Resume { .. }));
        let (logins, rest) = std::mem::take(&mut self.queue).into_iter().partition(logs_in);
        self.queue = rest;
        self.bytes = self.queue.iter().map(Work::weight).sum();
        VecDeque::into(logins)
    }
}

#[cfg(test)]
mod tests {
    use xmpp::stanza::{IqType, Kind, Stanza};
    use xmpp::xml::Body;

    use super::*;

    fn parcel(bytes: usize) -> Work {
        let mut stanza = Stanza::new(Kind::Iq(IqType::Get));
        let body = format!("<q>{}</q>", "x".repeat(bytes));
        stanza.body = Body::parse(body.as_bytes()).expect("a body");
        let to = Jid::parse("bob@a").expect("a JID");
        let parcel = Parcel::new(to, stanza);
        let origin = Arrived::Here(Origin::None);
        Work::Parcel(Arrival { parcel, retry: false, origin })
    }

    fn lost() -> Work {
        let account = Jid::parse("bob@a").expect("a JID");
        Work::Up(Up::Lost { account, session: SessionId(1), attachment: 1 })
    }

    #[test]
    fn what_waits_is_bounded_by_count_and_by_bytes() {
        let mut waiting = Waiting::default();
        for _ in 0..limits::WAITING_MAX {
            assert!(waiting.push(parcel(0)).is_none());
        }
        assert!(waiting.push(parcel(0)).is_some());
        assert!(waiting.pop().is_some());
        assert!(waiting.push(parcel(0)).is_none());

        let mut waiting = Waiting::default();
        let each = 64 * 1024;
        let fit = limits::WAITING_BYTES_MAX / (each + 1024);
        for _ in 0..fit {
            assert!(waiting.push(parcel(each)).is_none());
        }
        assert!(waiting.push(parcel(2 * each)).is_some());
        while waiting.pop().is_some() {}
        assert_eq!(waiting.bytes, 0);
    }

    #[test]
    fn what_a_session_says_is_never_refused() {
        let mut waiting = Waiting::default();
        while waiting.push(parcel(0)).is_none() {}
        assert!(waiting.push(lost()).is_none());
        assert!(waiting.push(parcel(0)).is_some());
    }
}
