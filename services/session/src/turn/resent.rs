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
use crate::limits;
use crate::module::Event;
use crate::recent::{Known, Recent};
use crate::rows::LogRow;
use crate::session::Count;
use crate::shard::{Step, Ticket};

impl Turn<'_, '_> {
    /// The tail of the account's log, newest first, back to the retry horizon.
    fn tail(&self) -> RangeRead {
        let start = self.account.entity.log(self.core.horizon());
        let end = self.account.entity.log(u64::MAX);
        RangeRead::new(start, end).reverse().rows(limits::TAIL_ROWS)
    }

    /// Where in the log the row of a stanza may be that may have come before; `None`: nowhere.
    /// Who asks first looks at the tail, who asks later at a row that is known to be there.
    /// `surely`: in a tail that is too long to be known, too.
    pub(super) fn seek(
        &mut self,
        hash: u64,
        surely: bool,
        is_it: impl Fn(&Known) -> bool,
    ) -> Option<RangeRead> {
        let steady_us = self.core.steady_us;
        self.account.recent.take_if(|recent| recent.is_over(steady_us));
        let at = match &self.account.recent {
            None => self.tail(),
            Some(recent) => match recent.find(hash, is_it) {
                Some(id) => {
                    let entity = &self.account.entity;
                    RangeRead::new(entity.log(id), entity.log(id + 1))
                }
                None if surely && recent.is_cut() => self.tail(),
                None => recent.rest()?.clone(),
            },
        };
        // What was delivered without a row has one from here on.
        self.write_passing();
        Some(at)
    }

    /// A page of the log has been read: if it is the next one of the tail, the tail is known as far
    /// as it goes.
    pub(super) fn learn(&mut self, range: &RangeRead, found: &Rows) {
        let begins = range.end == self.account.entity.log(u64::MAX);
        let next = |recent: &Recent| recent.rest().is_some_and(|rest| rest.end == range.end);
        let recent = match self.account.recent.take() {
            _ if begins => Box::new(Recent::new(self.core.steady_us)),
            Some(recent) if next(&recent) => recent,
            recent => {
                self.account.recent = recent;
                return;
            }
        };
        let hash = &self.core.config.hash;
        let page = found.rows(0).iter().filter_map(|row| {
            let known = Known::of(&LogRow::decode(&row.value).ok()?, hash)?;
            Some((keys::log_id(&row.key)?, known))
        });
        let recent = self.account.recent.insert(recent);
        recent.extend(page, found.more(0).map(|more| range.after(more.clone())));
    }

    /// A row is from here on that of a stanza that came now: another one that says the same is not
    /// taken for it, and whoever looks how far its session came finds it.
    pub(super) fn rewrite(&mut self, row: &Row, message: &LogRow<'_>) {
        let known = Known::of(message, &self.core.config.hash);
        if let (Some(recent), Some(known)) = (&mut self.account.recent, known)
            && let Some(id) = keys::log_id(&row.key)
        {
            recent.insert(id, known);
        }
        self.set(row.key.clone(), message.encode());
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
        let retry = event.retry;
        let known = retry || self.resends(id) && event.stanza.id.is_some();
        let key = event.ingest.filter(|_| known && !event.stanza.to.as_ref().is_some_and(own));
        let sought = |key: IngestKey| self.sought(&event, key);
        let sought = key.map(sought);
        match sought.and_then(|sought| self.seek(sought.key.hash, retry, |k| sought.is_it(k))) {
            Some(at) => self.look_back(count, event, at),
            None => self.decide_message(count, event),
        }
    }

    /// Which rows are those of a message from a client.
    fn sought(&self, event: &Event, key: IngestKey) -> Sought {
        let own = event.own_session().is_some_and(|id| self.resends(id));
        Sought { key, resent: own && event.stanza.id.is_some() }
    }

    fn look_back(&mut self, count: Count, event: Event, range: RangeRead) {
        self.account.state = State::Busy;
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
        if let Ok(found) = &found {
            self.learn(&range, found);
        }
        if let Ok(found) = &found
            && let Some(more) = found.more(0)
            && self.find_sent(found, &event).is_none()
        {
            return self.look_back(count, event, range.after(more.clone()));
        }
        self.account.state = State::Ready;
        match found {
            Err(_) => {
                self.bounce(&event.stanza, Condition::InternalServerError);
                self.sent(count, &event, false);
            }
            Ok(found) => match self.find_sent(&found, &event) {
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
        event.stored = Some(id);
        event.archived = message.archived;
        if message.ingest != event.ingest {
            message.ingest = event.ingest;
            message.confirmed = 0;
            self.rewrite(row, &message);
        }
    }

    /// The row of a message that this account sent before.
    fn find_sent<'r>(&self, found: &'r Rows, event: &Event) -> Option<&'r Row> {
        let (hash, sought) = (&self.core.config.hash, self.sought(event, event.ingest?));
        found.rows(0).iter().find(|row| {
            let message = LogRow::decode(&row.value);
            message.is_ok_and(|row| Known::of(&row, hash).is_some_and(|known| sought.is_it(&known)))
        })
    }
}

/// The message whose row is looked for in its sender's log.
struct Sought {
    key: IngestKey,
    /// Its client may have sent it in a session before.
    resent: bool,
}

impl Sought {
    fn is_it(&self, known: &Known) -> bool {
        known.was_decided(self.key) || self.resent && known.was_sent(self.key)
    }
}
