//! Counting stanzas: the numbers of a session, and stream management on top of them (XEP-0198 §4).
//!
//! The owner of the account and this stream count in 64 bits from 1; the client's `h` is the same
//! number modulo 2^32.

use xmpp::error::{Condition, StreamCondition};
use xmpp::ns;

use crate::framing::put;

/// The stanza numbers of both directions. Without stream management they begin at the binding of
/// the resource, with it at `<enable/>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// The last stanza read from the client.
    received: u64,
    /// The client's last stanza that is handled, with all before it.
    handled: u64,
    /// The last stanza written for the client.
    sent: u64,
    /// The last one that it has, with all before it.
    taken: u64,
}

/// A number that the owner of the account cannot mean: a bug, and the end of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OwnerFault;

/// The client acknowledged stanzas that it was not sent (XEP-0198 §5).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooHigh {
    /// What it said.
    pub h: u32,
    /// What it was sent.
    pub sent: u32,
}

impl Counts {
    /// The counts of a resumed session.
    pub(crate) fn resumed(handled: u64, taken: u64) -> Self {
        Self { received: handled, handled, sent: taken, taken }
    }

    /// A stanza came from the client: its number.
    pub(crate) fn receive(&mut self) -> u64 {
        self.received += 1;
        self.received
    }

    /// The owner has handled everything up to `number`.
    pub(crate) fn handle(&mut self, number: u64) -> Result<(), OwnerFault> {
        if number > self.received {
            return Err(OwnerFault);
        }
        self.handled = self.handled.max(number);
        Ok(())
    }

    /// A stanza of the owner is being written.
    pub(crate) fn send(&mut self, number: u64) -> Result<(), OwnerFault> {
        if number != self.sent + 1 {
            return Err(OwnerFault);
        }
        self.sent = number;
        Ok(())
    }

    /// Everything sent was written: the number to report, if it is news.
    pub(crate) fn written(&mut self) -> Option<u64> {
        let news = self.sent > self.taken;
        self.taken = self.sent;
        news.then_some(self.sent)
    }

    /// The client says that it has `h` stanzas: the number to report, if it is news. A count that
    /// goes back, as from a late acknowledgement, is none (security case 51).
    pub(crate) fn acknowledge(&mut self, h: u32) -> Result<Option<u64>, TooHigh> {
        let ahead = u64::from(h.wrapping_sub(low(self.taken)));
        let number = self.taken.saturating_add(ahead);
        if number <= self.sent {
            self.taken = number;
            return Ok((ahead > 0).then_some(number));
        }
        let behind = u64::from(low(self.taken).wrapping_sub(h));
        if behind <= self.taken && behind < 1 << 31 {
            return Ok(None);
        }
        Err(TooHigh { h, sent: low(self.sent) })
    }

    /// How many stanzas the client has not taken yet.
    pub(crate) fn untaken(&self) -> u64 {
        self.sent - self.taken
    }
}

/// The low 32 bits: what `h` says of a number.
pub(crate) fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

/// A managed stream's requests and answers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Acks {
    /// The `h` that was last answered, in 64 bits.
    answered: u64,
    /// How far the client's last request reaches.
    asked: u64,
    /// Whether a request of ours has no answer yet. One at a time paces itself to the connection's
    /// round trip.
    requesting: bool,
    /// Whether what was sent before stream management has yet to be reported as written.
    leftovers: bool,
}

impl Acks {
    /// The acknowledgements of a resumed session; `<resumed h/>` is the first answer.
    pub(crate) fn resumed(counts: &Counts) -> Self {
        Self { answered: counts.handled, ..Self::default() }
    }

    /// The acknowledgements of a stream that becomes managed, after these counts.
    pub(crate) fn enabled(before: &Counts) -> Self {
        Self { leftovers: before.untaken() > 0, ..Self::default() }
    }

    /// Everything was written: whether that is news about stanzas from before stream management.
    pub(crate) fn written(&mut self) -> bool {
        std::mem::take(&mut self.leftovers)
    }

    /// The client sent `<r/>`: the `h` that goes out at once (XEP-0198 §4 forbids withholding it).
    pub(crate) fn asked(&mut self, counts: &Counts) -> u32 {
        self.asked = counts.received;
        self.answered = counts.handled;
        low(counts.handled)
    }

    /// The handled prefix may have grown: the `h` of an `<a/>`, if the client waits for one.
    pub(crate) fn owed(&mut self, counts: &Counts) -> Option<u32> {
        let waits = self.asked > self.answered && counts.handled > self.answered;
        if waits {
            self.answered = counts.handled;
        }
        waits.then(|| low(counts.handled))
    }

    /// The stream is about to be closed: the `h` of a last `<a/>`, if it says something new.
    pub(crate) fn last(&mut self, counts: &Counts) -> Option<u32> {
        let news = counts.handled > self.answered;
        self.answered = counts.handled;
        news.then(|| low(counts.handled))
    }

    /// A stanza was written, `quiet` if nothing else was waiting to be: whether `<r/>` follows it.
    pub(crate) fn ask_after_stanza(&mut self, counts: &Counts, quiet: bool, after: u32) -> bool {
        let ask = !self.requesting && (quiet || counts.untaken() >= u64::from(after));
        self.requesting |= ask;
        ask
    }

    /// Nothing was written for a while: whether `<r/>` is due.
    pub(crate) fn ask_when_idle(&mut self, counts: &Counts) -> bool {
        let ask = !self.requesting && counts.untaken() > 0;
        self.requesting |= ask;
        ask
    }

    /// The client sent `<a/>`: whether `<r/>` follows for what was sent since. Not without `news`,
    /// or a client that counts wrongly would be asked for ever.
    pub(crate) fn ask_after_answer(&mut self, counts: &Counts, news: bool) -> bool {
        self.requesting = news && counts.untaken() > 0;
        self.requesting
    }
}

/// Reads `h`: an `xs:unsignedInt`.
pub(crate) fn parse_h(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Writes `<r/>`.
pub(crate) fn write_request(out: &mut Vec<u8>) {
    put(out, &["<r xmlns='", ns::SM, "'/>"]);
}

/// Writes `<a/>`.
pub(crate) fn write_answer(out: &mut Vec<u8>, h: u32) {
    put(out, &["<a xmlns='", ns::SM, "' h='", &h.to_string(), "'/>"]);
}

/// Writes `<failed/>`, with the number of the client's last durable stanza where it is known
/// (XEP-0198 §5).
pub(crate) fn write_failed(out: &mut Vec<u8>, condition: Condition, handled: Option<u64>) {
    put(out, &["<failed xmlns='", ns::SM, "'"]);
    if let Some(handled) = handled {
        put(out, &[" h='", &low(handled).to_string(), "'"]);
    }
    put(out, &["><", condition.name(), " xmlns='", ns::STANZA_ERRORS, "'/></failed>"]);
}

impl TooHigh {
    /// Writes the stream error (XEP-0198 §5).
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (h, sent) = (self.h.to_string(), self.sent.to_string());
        let condition = StreamCondition::UndefinedCondition.name();
        put(out, &["<stream:error><", condition, " xmlns='", ns::STREAM_ERRORS, "'/>"]);
        put(out, &["<handled-count-too-high xmlns='", ns::SM, "' h='", &h]);
        put(out, &["' send-count='", &sent, "'/></stream:error>"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAP: u64 = 1 << 32;

    #[test]
    fn h_is_the_number_modulo_2_32_case_51() {
        let mut counts = Counts::resumed(WRAP - 2, WRAP - 2);
        for number in WRAP - 1..WRAP + 3 {
            assert_eq!(counts.receive(), number);
            assert_eq!(counts.send(number), Ok(()));
        }
        assert_eq!(counts.handle(WRAP - 1), Ok(()));
        let mut acks = Acks::default();
        assert_eq!(acks.asked(&counts), u32::MAX);
        assert_eq!(counts.handle(WRAP), Ok(()));
        assert_eq!(acks.owed(&counts), Some(0));
        assert_eq!(counts.handle(WRAP + 2), Ok(()));
        assert_eq!(acks.owed(&counts), Some(2));

        assert_eq!(counts.acknowledge(u32::MAX), Ok(Some(WRAP - 1)));
        assert_eq!(counts.acknowledge(1), Ok(Some(WRAP + 1)));
        assert_eq!(counts.acknowledge(3), Err(TooHigh { h: 3, sent: 2 }));
        assert_eq!(counts.acknowledge(2), Ok(Some(WRAP + 2)));
    }

    #[test]
    fn h_above_what_was_sent_is_refused_and_h_going_back_is_ignored_case_51() {
        let mut counts = Counts::default();
        assert_eq!(counts.acknowledge(1), Err(TooHigh { h: 1, sent: 0 }));
        assert_eq!(counts.acknowledge(u32::MAX), Err(TooHigh { h: u32::MAX, sent: 0 }));
        for number in 1..=8 {
            assert_eq!(counts.send(number), Ok(()));
        }
        assert_eq!(counts.acknowledge(5), Ok(Some(5)));
        assert_eq!(counts.acknowledge(5), Ok(None));
        assert_eq!(counts.acknowledge(3), Ok(None));
        assert_eq!(counts.acknowledge(10), Err(TooHigh { h: 10, sent: 8 }));
        assert_eq!(counts.acknowledge(u32::MAX), Err(TooHigh { h: u32::MAX, sent: 8 }));
        assert_eq!(counts.acknowledge(8), Ok(Some(8)));
    }

    #[test]
    fn the_owner_neither_skips_nor_runs_ahead() {
        let mut counts = Counts::default();
        assert_eq!(counts.send(2), Err(OwnerFault));
        assert_eq!(counts.send(1), Ok(()));
        assert_eq!(counts.send(1), Err(OwnerFault));
        assert_eq!(counts.handle(1), Err(OwnerFault));
        counts.receive();
        counts.receive();
        assert_eq!((counts.handle(2), counts.handle(1)), (Ok(()), Ok(())));
        assert_eq!(counts.handled, 2);
    }

    #[test]
    fn an_answer_follows_a_request_until_it_is_covered() {
        let (mut counts, mut acks) = (Counts::default(), Acks::default());
        counts.receive();
        counts.receive();
        assert_eq!(counts.handle(1), Ok(()));
        assert_eq!(acks.owed(&counts), None, "nobody asked");
        assert_eq!(acks.asked(&counts), 1);
        assert_eq!(acks.owed(&counts), None, "nothing new");
        counts.receive();
        assert_eq!(counts.handle(2), Ok(()));
        assert_eq!(acks.owed(&counts), Some(2));
        assert_eq!(counts.handle(3), Ok(()));
        assert_eq!(acks.owed(&counts), None, "the request did not reach so far");
        assert_eq!(acks.last(&counts), Some(3));
        assert_eq!(acks.last(&counts), None);
    }

    #[test]
    fn one_request_at_a_time() {
        let (mut counts, mut acks) = (Counts::default(), Acks::default());
        let send = |counts: &mut Counts, acks: &mut Acks, number, quiet| {
            assert_eq!(counts.send(number), Ok(()));
            acks.ask_after_stanza(counts, quiet, 5)
        };
        assert!(send(&mut counts, &mut acks, 1, true));
        for number in 2..20 {
            assert!(!send(&mut counts, &mut acks, number, true), "one is in flight");
        }
        assert_eq!(counts.acknowledge(1), Ok(Some(1)));
        assert!(acks.ask_after_answer(&counts, true), "the rest is asked for");
        assert!(!acks.ask_after_answer(&counts, false), "but not without progress");
        assert_eq!(counts.acknowledge(19), Ok(Some(19)));
        assert!(!acks.ask_after_answer(&counts, true));
        for number in 20..24 {
            assert!(!send(&mut counts, &mut acks, number, false), "fewer than five");
        }
        assert!(send(&mut counts, &mut acks, 24, false));
    }

    #[test]
    fn h_is_an_unsigned_int() {
        assert_eq!(parse_h("0"), Some(0));
        assert_eq!(parse_h("4294967295"), Some(u32::MAX));
        for text in ["", "-1", "+1", " 1", "4294967296", "1.0", "0x1"] {
            assert_eq!(parse_h(text), None, "{text:?}");
        }
    }

    #[test]
    fn written_is_taken_without_stream_management() {
        let mut counts = Counts::default();
        assert_eq!(counts.written(), None);
        assert_eq!(counts.send(1), Ok(()));
        assert_eq!((counts.written(), counts.written()), (Some(1), None));
    }
}
