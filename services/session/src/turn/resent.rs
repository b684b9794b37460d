//! What a client sends again after a resumption that failed: its own log may have it already
//! (design: "Retries": both archives are deduplicated independently).

use kv::{RangeRead, ReadError, Reads, Row, Rows};
use peer::{IngestKey, SessionId};
use xmpp::error::Condition;
use xmpp::jid::Jid;

use super::Turn;
use super::modules::Flow;
use crate::account::State;
use crate::keys;
use crate::module::Event;
use crate::rows::LogRow;
use crate::session::Count;
use crate::shard::{Step, Ticket};

/// Rows of a log's tail that one page of a look for a retry reads.
const LOOK_BACK_ROWS: u32 = 2000;

impl Turn<'_, '_> {
    /// The tail of the account's log, newest first, back to the retry horizon.
    pub(super) fn tail(&self) -> RangeRead {
        let start = self.account.entity.log(self.core.horizon());
        let end = self.account.entity.log(u64::MAX);
        RangeRead::new(start, end).reverse().rows(LOOK_BACK_ROWS)
    }

    /// Whether a session's stanzas may be ones that its client sent in a session before.
    pub(super) fn resends(&self, id: SessionId) -> bool {
        self.account.session(id).is_some_and(|session| self.core.steady_us < session.resends_until)
    }

    /// A message from a client: decided at once, or, if the client may have sent it before, when
    /// the log's tail has been read. What comes later waits, so that order is kept. A message
    /// without an id is never known again.
    pub(super) fn message_sent(&mut self, id: SessionId, count: Count, event: Event) {
        let own = |to: &Jid| to.same_bare(&self.account.jid);
        let known = self.resends(id) && event.stanza.id.is_some();
        if known && !event.stanza.to.as_ref().is_some_and(own) {
            self.account.state = State::Busy;
            let tail = self.tail();
            return self.look_back(count, event, tail);
        }
        self.decide_message(count, event);
    }

    fn look_back(&mut self, count: Count, event: Event, range: RangeRead) {
        let account = self.account.jid.clone();
        let ticket = Ticket::Resent(account, count, Box::new(event), range.clone());
        self.core.read(ticket, Reads::range(range));
    }

    fn decide_message(&mut self, count: Count, mut event: Event) {
        if let Some(condition) = event.stanza.to.as_ref().and_then(|to| self.refuses(to)) {
            self.bounce(&event.stanza, condition);
            return self.sent(count, &event, false);
        }
        let flow = self.phase(Step::Outbound(count), &mut event, 0, Vec::new());
        if !matches!(flow, Flow::Waits) {
            self.sent(count, &event, matches!(flow, Flow::Pass));
        }
    }

    /// A page of the tail has been read. A message that is in it is not decided again; it is sent
    /// on, for its recipient may lack it.
    pub(crate) fn resent(
        &mut self,
        count: Count,
        mut event: Event,
        range: RangeRead,
        found: Result<Rows, ReadError>,
    ) {
        if let Ok(found) = &found
            && let Some(more) = found.more(0)
            && !found.rows(0).iter().any(|row| is_row_of(row, &event))
        {
            return self.look_back(count, event, range.after(more.clone()));
        }
        self.account.state = State::Ready;
        match found {
            Err(_) => {
                self.bounce(&event.stanza, Condition::InternalServerError);
                self.sent(count, &event, false);
            }
            Ok(found) => match found.rows(0).iter().find(|row| is_row_of(row, &event)) {
                Some(row) => {
                    self.sent_before(row, &mut event);
                    self.sent(count, &event, true);
                }
                None => self.decide_message(count, event),
            },
        }
        if self.account.state == State::Ready {
            self.core.ready.push_back(self.account.jid.clone());
        }
    }

    /// The row is from here on that of the stanza as it came now: if this session is lost too, its
    /// prefix covers it, and it is driven on.
    fn sent_before(&mut self, row: &Row, event: &mut Event) {
        let (Some(id), Ok(mut message)) = (keys::log_id(&row.key), LogRow::decode(&row.value))
        else {
            return;
        };
        message.ingest = event.ingest;
        message.confirmed = 0;
        event.stored = Some(id);
        event.archived = message.archived;
        self.set(row.key.clone(), message.encode());
    }
}

/// Whether a row is that of a message which this account sent in a session before. One that says
/// the same and was sent in this session is another one.
fn is_row_of(row: &Row, event: &Event) -> bool {
    let Ok(message) = LogRow::decode(&row.value) else { return false };
    let before =
        |(of, key): (IngestKey, IngestKey)| of.hash == key.hash && of.session != key.session;
    message.outgoing && message.ingest.zip(event.ingest).is_some_and(before)
}
