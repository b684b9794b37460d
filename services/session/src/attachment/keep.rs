//! What the edge of a cluster keeps of a session so that a later owner can go on with it (design:
//! "Sessions"): what the session means, which only owners can read; what its client was given and
//! has not taken; and what it has sent and is not confirmed. An edge beside its only owner keeps
//! nothing of this.

use std::collections::VecDeque;

use bytes::Bytes;
use peer::{ConnId, Down, Report, SessionId, Up};
use xmpp::jid::Jid;
use xmpp::stanza::Stanza;

use crate::limits::{RECENT_TAKEN_MAX, STANZA_BYTES_OVERHEAD};
use crate::session::weight;

/// What is kept of one connection.
#[derive(Default)]
pub(super) struct Keep {
    snapshot: Bytes,
    /// What the client was given and has not taken: number, id in the log, stanza.
    given: VecDeque<(u64, u64, Stanza)>,
    /// What it has sent and is not confirmed, by its number.
    sent: VecDeque<(u64, Up)>,
    /// What was asked of the owner and not answered: a login, a resource, a session.
    asked: Option<Up>,
    /// Stream management was asked for, and is not on yet.
    enabling: Option<Up>,
    received: u64,
    handled: u64,
    taken: u64,
    read_to: u64,
    /// Ids in the log of what the client has lately taken.
    recent: VecDeque<u64>,
}

impl Keep {
    /// Something is asked that will be answered.
    pub(super) fn ask(&mut self, frame: &Up) {
        self.asked = Some(frame.clone());
    }

    /// Stream management is asked for: what was sent before is in no count.
    pub(super) fn enable(&mut self, frame: &Up) {
        self.enabling = Some(frame.clone());
        self.sent.clear();
    }

    /// Something is sent that will be confirmed.
    pub(super) fn send(&mut self, number: u64, frame: &Up) {
        self.sent.push_back((number, frame.clone()));
    }

    /// The client has taken what it was given.
    pub(super) fn take(&mut self, number: u64) {
        while let Some((number, log, _)) = self.given.pop_front_if(|(at, ..)| *at <= number) {
            self.taken = number;
            if log != 0 {
                self.recent.push_back(log);
            }
        }
        while self.recent.len() > RECENT_TAKEN_MAX {
            self.recent.pop_front();
        }
    }

    /// The owner has said something.
    pub(super) fn hear(&mut self, frame: &Down) {
        match frame {
            Down::Snapshot { snapshot } => self.snapshot = snapshot.clone(),
            Down::Stanza { number, log, stanza } => {
                self.received = *number;
                self.read_to = self.read_to.max(*log);
                self.given.push_back((*number, *log, stanza.clone()));
            }
            Down::Handled { number } => {
                self.handled = *number;
                while self.sent.pop_front_if(|(sent, _)| *sent <= *number).is_some() {}
            }
            Down::Bound { .. } => {
                self.asked = None;
                self.begin(0, 0);
                self.sent.clear();
            }
            Down::Enabled { .. } => {
                self.enabling = None;
                self.begin(0, 0);
            }
            Down::Resumed { handled, taken, .. } => {
                self.asked = None;
                self.begin(*handled, *taken);
                self.sent.clear();
            }
            Down::Challenge { .. }
            | Down::Verified { .. }
            | Down::Refused(_)
            | Down::BindRefused(_)
            | Down::ResumeFailed { .. } => self.asked = None,
            Down::Close { .. } => {}
        }
    }

    /// Bytes of all that is kept.
    pub(super) fn bytes(&self) -> usize {
        let given = self.given.iter().map(|(.., stanza)| weight(stanza));
        let sent = self.sent.iter().map(|(_, frame)| match frame {
            Up::Stanza { stanza, .. } | Up::Judged { reply: Some(stanza), .. } => weight(stanza),
            _ => STANZA_BYTES_OVERHEAD,
        });
        let recent = self.recent.len() * size_of::<u64>();
        given.chain(sent).sum::<usize>() + recent + self.snapshot.len()
    }

    /// Counts begin here.
    fn begin(&mut self, handled: u64, taken: u64) {
        self.handled = handled;
        (self.received, self.taken) = (taken, taken);
        self.given.clear();
    }

    /// What a new owner is told where no session is bound: what it is asked.
    pub(super) fn asks_again(&self) -> Option<Up> {
        self.asked.clone()
    }

    /// What a new owner is told of a session: what its client was given, what it means, and then
    /// what is not confirmed.
    pub(super) fn reports(
        &self,
        conn: ConnId,
        account: &Jid,
        session: SessionId,
        attachment: u32,
        lost: bool,
    ) -> Vec<Up> {
        // The owner before may not have turned stream management on.
        let speaks = attachment;
        let attachment = if self.enabling.is_some() { 0 } else { attachment };
        let kept = self.given.iter().map(|(number, log, stanza)| Up::Kept {
            account: account.clone(),
            session,
            attachment,
            number: *number,
            log: *log,
            stanza: stanza.clone(),
        });
        let report = Report {
            conn,
            account: account.clone(),
            session,
            attachment,
            snapshot: self.snapshot.clone(),
            handled: self.handled,
            taken: self.taken,
            received: self.received,
            read_to: self.read_to,
            recent: self.recent.iter().copied().collect(),
            lost,
        };
        let again = self.sent.iter().map(|(_, frame)| again(frame.clone()));
        let again = self.enabling.iter().cloned().chain(again);
        // A client that resumes elsewhere is told what of this is stored, so it is settled first.
        let end = lost.then(|| Up::Lost { account: account.clone(), session, attachment: speaks });
        kept.chain([Up::Report(Box::new(report))]).chain(again).chain(end).collect()
    }
}

/// The owner before may have seen it.
fn again(mut frame: Up) -> Up {
    if let Up::Stanza { retry, .. } = &mut frame {
        *retry = true;
    }
    frame
}

#[cfg(test)]
mod tests {
    use peer::{Epoch, NodeId};
    use xmpp::stanza::{Kind, MessageType};

    use super::*;

    fn conn() -> ConnId {
        ConnId { edge: NodeId { number: 1, incarnation: 1 }, slot: 7 }
    }

    fn jid() -> Jid {
        Jid::parse("juliet@capulet.example/balcony").expect("a JID")
    }

    fn chat() -> Stanza {
        Stanza::new(Kind::Message(MessageType::Chat))
    }

    fn report(keep: &Keep) -> (Vec<u64>, Report, Vec<Up>) {
        let (mut kept, mut rest, mut found) = (Vec::new(), Vec::new(), None);
        for frame in keep.reports(conn(), &jid().to_bare(), SessionId(9), 1, false) {
            match frame {
                Up::Kept { number, .. } => kept.push(number),
                Up::Report(report) => found = Some(*report),
                frame => rest.push(frame),
            }
        }
        (kept, found.expect("a report"), rest)
    }

    #[test]
    fn so_many_of_the_messages_that_were_taken_are_remembered() {
        let mut keep = Keep::default();
        for number in 1..=RECENT_TAKEN_MAX as u64 + 1 {
            keep.hear(&Down::Stanza { number, log: 100 + number, stanza: chat() });
            keep.take(number);
            let (_, report, _) = report(&keep);
            let first = if number > RECENT_TAKEN_MAX as u64 { 102 } else { 101 };
            assert_eq!(report.recent.first(), Some(&first));
        }
    }

    #[test]
    fn a_new_owner_hears_what_was_given_and_what_is_not_confirmed() {
        let mut keep = Keep::default();
        keep.hear(&Down::Bound { session: SessionId(9), jid: jid(), epoch: Epoch(1) });
        keep.hear(&Down::Snapshot { snapshot: Bytes::from_static(b"sealed") });
        for number in 1..=3 {
            keep.hear(&Down::Stanza { number, log: 50 + number, stanza: chat() });
            let (account, session) = (jid().to_bare(), SessionId(9));
            let retry = false;
            let stanza = chat();
            let frame = Up::Stanza { account, session, attachment: 1, number, retry, stanza };
            keep.send(number, &frame);
        }
        keep.take(1);
        keep.hear(&Down::Handled { number: 2 });
        // Two that were given, one that was sent, what it means, and one that was taken.
        assert_eq!(keep.bytes(), 3 * weight(&chat()) + b"sealed".len() + 8);
        let (kept, report, rest) = report(&keep);
        assert_eq!(kept, [2, 3]);
        assert_eq!((report.handled, report.taken, report.received), (2, 1, 3));
        assert_eq!((report.read_to, &report.recent[..]), (53, &[51][..]));
        assert_eq!(report.snapshot, &b"sealed"[..]);
        assert!(matches!(rest[..], [Up::Stanza { number: 3, retry: true, .. }]));
    }
}
