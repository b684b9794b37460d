//! Sessions that read the log: what waited for a resource (XEP-0160), and what did not fit into a
//! window.

use kv::{RangeRead, ReadError, Reads, Rows};
use peer::SessionId;
use xmpp::blocks::delay;
use xmpp::jid::Jid;
use xmpp::xml::Writer;

use super::Turn;
use crate::keys;
use crate::limits;
use crate::rows::LogRow;
use crate::session::{Feed, Reading};
use crate::shard::{Effect, Ticket};

impl Turn<'_, '_> {
    /// A session can take messages for the first time: it reads what waited.
    pub(super) fn feed_waiting(&mut self, id: SessionId) {
        let inbox = &self.account.inbox;
        if inbox.is_empty() {
            return;
        }
        let (start, until) = (inbox.cursor, inbox.head);
        let Some(session) = self.account.session_mut(id) else { return };
        let waiting = |delayed_until| Feed {
            start,
            after: start,
            until,
            reading: Reading::No,
            delayed_until,
        };
        session.outbound.feed = Some(match session.outbound.feed {
            None => waiting(until),
            // It will come to all of it.
            Some(feed) if feed.after <= start => Feed { until, ..feed },
            // It has read what was for it up to where it is; from there on it gets its own copies
            // as before.
            Some(feed) => waiting(feed.after.max(feed.delayed_until)),
        });
        self.read_on(id);
    }

    /// A session has gone and left messages that nobody took: those that are there read them.
    pub(super) fn feed_others(&mut self) {
        let there: Vec<SessionId> = self
            .account
            .sessions()
            .filter(|s| s.conn.is_some() && s.priority().is_some_and(|p| p >= 0))
            .map(|s| s.id)
            .collect();
        for id in there {
            self.feed_waiting(id);
        }
    }

    /// Reads the next page for a session, if it is behind and has room. What is read is handed over
    /// at once, so it is read only when all of it is durable.
    pub(crate) fn read_on(&mut self, id: SessionId) {
        let (after, jid) = (self.after(), self.account.jid.clone());
        let durable = self.core.passes(after);
        let Some(session) = self.account.session_mut(id) else { return };
        let room = session.outbound.has_room();
        let Some(feed) = &mut session.outbound.feed else { return };
        if feed.reading != Reading::No || !room {
            return;
        }
        feed.reading = Reading::Held;
        let until = feed.until;
        if durable {
            self.read_to(id, until);
        } else {
            self.core.commits.hold(after, Effect::Feed(jid, id, until));
        }
    }

    /// Reads the next page for a session, up to an id that is durable.
    pub(crate) fn read_to(&mut self, id: SessionId, until: u64) {
        let entity = self.account.entity;
        let jid = self.account.jid.clone();
        let Some(session) = self.account.session_mut(id) else { return };
        let Some(feed) = &mut session.outbound.feed else { return };
        if feed.reading != Reading::Held {
            return;
        }
        let (start, end) = (entity.log(feed.after + 1), entity.log(until + 1));
        let range = RangeRead::new(start, end)
            .rows(limits::FEED_ROWS)
            .bytes(limits::SESSION_WINDOW_BYTES as u32);
        let ticket = self.core.read(Ticket::Feed(jid, id), Reads::range(range));
        feed.reading = Reading::Asked(ticket, until);
    }

    /// A page of the log has come for a session.
    pub(crate) fn fed(&mut self, id: SessionId, ticket: u64, found: Result<Rows, ReadError>) {
        let Some(session) = self.account.session_mut(id) else { return };
        let Some(feed) = &mut session.outbound.feed else { return };
        let Reading::Asked(asked, until) = feed.reading else { return };
        if asked != ticket {
            // The session has begun to read from further back meanwhile.
            return;
        }
        feed.reading = Reading::No;
        let Ok(found) = found else {
            // Rows that cannot be read: the position stays.
            return;
        };
        let mut feed = *feed;
        let full_jid = session.jid.clone();
        let mut complete = found.more(0).is_none();
        for row in found.rows(0) {
            let Some(log) = keys::log_id(&row.key) else { continue };
            if !self.account.session(id).is_some_and(|s| s.outbound.has_room()) {
                complete = false;
                break;
            }
            self.feed_row(id, &full_jid, log, &row.value, feed.delayed_until);
            feed.after = log;
        }
        if complete {
            // The log may have grown while the page was read: that part is still to be read.
            feed.after = feed.after.max(until);
        }
        self.page_done(id, feed);
    }

    fn page_done(&mut self, id: SessionId, feed: Feed) {
        self.account.inbox.read(feed.start, feed.after);
        self.cursor_moved();
        let Some(session) = self.account.session_mut(id) else { return };
        if feed.after >= feed.until {
            session.outbound.feed = None;
        } else {
            session.outbound.feed = Some(feed);
            self.read_on(id);
        }
    }

    /// Releases one row of the log to a session, if it is for it and nobody has taken it.
    fn feed_row(&mut self, id: SessionId, full: &Jid, log: u64, value: &[u8], delayed_until: u64) {
        let Ok(row) = LogRow::decode(value) else { return };
        let waits = row.offline && self.account.inbox.waits(log);
        if waits {
            // It is known now, whoever gets it.
            self.account.inbox.open.insert(log);
            if !row.archived {
                self.account.passing.written(log);
            }
        }
        let mine = row.to == self.account.jid.as_str() || row.to == full.as_str();
        let wanted = if log <= delayed_until || !mine {
            // What was sent to a resource that is gone is for all (RFC 6121 §8.5.3.2.1).
            let others = self.account.sessions().any(|s| s.id != id && s.jid.as_str() == row.to);
            waits && !(others && log > delayed_until)
        } else {
            // If it does not wait, another resource has taken it, and this one gets its own copy.
            row.offline
        };
        // What has waited goes to one of them; of what has come since, each has its own copy.
        let waited = log <= delayed_until;
        let elsewhere = self
            .account
            .sessions()
            .any(|s| (s.id == id || waited && s.conn.is_some()) && s.outbound.holds(log));
        if !wanted || elsewhere || row.outgoing {
            return;
        }
        let Ok(mut stanza) = row.stanza() else { return };
        if row.archived {
            super::inbound::add_stanza_id(&mut stanza, &self.account.jid, log);
        }
        if log <= delayed_until {
            let mut stamp = Writer::new();
            delay::write(&mut stamp, log, Some(&self.account.jid.domain_jid()));
            stanza.add(&stamp.finish());
        }
        let Some(session) = self.account.session_mut(id) else { return };
        let number = session.outbound.release(stanza.clone(), log);
        if let Some(conn) = session.conn {
            self.core.down(conn, peer::Down::Stanza { number, log, stanza });
        }
    }

    /// Writes the cursor, if it has moved since it was written.
    pub(crate) fn write_cursor(&mut self) {
        self.account.inbox.timer = false;
        if self.account.inbox.moved() {
            // Not `delete` and `set`: nothing that is shown depends on it.
            for id in self.account.passing.purge(self.core.horizon()) {
                self.core.commits.growing().delete(self.account.entity.log(id));
            }
            let cursor = self.account.inbox.write(&self.account.passing);
            let key = self.account.entity.key(keys::tag::CURSOR, &[]);
            self.core.commits.growing().set(key, cursor.encode());
            self.account.inbox.written_at = self.core.commits.growing_no();
        }
    }
}
