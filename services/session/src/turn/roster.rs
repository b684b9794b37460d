//! The roster (RFC 6121 §2): requests, rows, pushes.

use peer::SessionId;
use xmpp::error::Condition;
use xmpp::jid::Jid;
use xmpp::stanza::{IqType, Kind, Stanza};
use xmpp::text::Text;
use xmpp::xml::Body;

use super::Turn;
use crate::keys::Entity;
use crate::module::Event;
use crate::presence;
use crate::roster::{self, Catchup, ItemSet, Request, Write};
use crate::session::{Count, InLog};
use crate::shard::Origin;
use crate::subscription::Verb;

/// What the server itself sends is sent for the first time.
pub(super) const SERVER_MADE: bool = false;

impl Turn<'_, '_> {
    /// A session asks for its roster, or changes it.
    pub(super) fn roster_request(&mut self, count: Count, event: &Event) {
        let stanza = &event.stanza;
        let (Some(id), Kind::Iq(kind)) = (event.own_session(), stanza.kind) else { return };
        let Some(payload) = stanza.body.payload() else { return };
        let Ok(tree) = payload.tree() else {
            return self.bounce(stanza, Condition::BadRequest);
        };
        let sender = stanza.from.clone().unwrap_or_else(|| self.account.jid.clone());
        match roster::read_request(kind, tree.root(), &sender, &self.account.jid) {
            Err(condition) => self.bounce(stanza, condition),
            Ok(Request::Get { ver }) => self.roster_get(id, stanza, ver.as_deref()),
            Ok(Request::Set(item)) => self.roster_set(stanza, &item),
            Ok(Request::Remove(contact)) => self.roster_remove(id, count, stanza, &contact),
        }
    }

    fn roster_get(&mut self, id: SessionId, stanza: &Stanza, ver: Option<&str>) {
        if let Some(session) = self.account.session_mut(id) {
            session.interested = true;
            session.changed = true;
        }
        let (result, changes) = match self.account.roster.catch_up(ver, self.core.now) {
            Catchup::Whole => (self.account.roster.write_result(), Vec::new()),
            Catchup::Changes(items) => {
                (bytes::Bytes::new(), items.iter().map(roster::write_push).collect())
            }
        };
        self.deliver(id, stanza.reply_result(result), InLog::No);
        for payload in changes {
            self.push_to(id, &payload);
        }
    }

    fn roster_set(&mut self, stanza: &Stanza, item: &ItemSet) {
        let version = self.core.next_id();
        match self.account.roster.set(item, version) {
            Err(condition) => self.bounce(stanza, condition),
            Ok(write) => {
                self.write_contact(&item.jid, write);
                self.push(&item.jid);
                self.answer(stanza.reply_result(bytes::Bytes::new()));
            }
        }
    }

    /// Removes a contact. The stanza counts as handled when the contact's side knows.
    fn roster_remove(&mut self, id: SessionId, count: Count, stanza: &Stanza, contact: &Jid) {
        let state = self.account.roster.state(contact.as_str());
        let origin = Origin::Stanza(self.account.jid.clone(), id, count);
        match state.removed() {
            Some(change) => self.change(contact, &change, &[], stanza, &origin),
            // It may have been removed by the same stanza, and the contact not told of it.
            None if state.is_none() && self.resends(id) => {
                for verb in [Verb::Unsubscribe, Verb::Unsubscribed] {
                    let made = presence::subscription(verb, &self.account.jid, contact, None);
                    self.send_subscription(contact, made, origin.clone());
                }
            }
            None => return self.bounce(stanza, Condition::ItemNotFound),
        }
        self.answer(stanza.reply_result(bytes::Bytes::new()));
    }

    /// Writes what the roster says of a contact's row.
    pub(super) fn write_contact(&mut self, contact: &Jid, write: Write) {
        let contact = Entity::of(&self.core.config.hash, contact);
        let key = self.account.entity.roster(&contact);
        match write {
            Write::Put(value) => self.set(key, value),
            Write::Delete => self.delete(key),
        }
    }

    /// Drops tombstones that no client's version is old enough to need.
    pub(crate) fn purge_roster(&mut self) {
        for contact in self.account.roster.purge(self.core.now) {
            if let Ok(contact) = Jid::parse(&contact) {
                self.write_contact(&contact, Write::Delete);
            }
        }
    }

    /// Pushes a contact's item to all sessions that asked for the roster (§2.1.6).
    pub(super) fn push(&mut self, contact: &Jid) {
        let Some(item) = self.account.roster.find(contact.as_str()) else { return };
        let payload = roster::write_push(&item);
        let interested: Vec<SessionId> =
            self.account.sessions().filter(|s| s.is_interested()).map(|s| s.id).collect();
        for id in interested {
            self.push_to(id, &payload);
        }
    }

    fn push_to(&mut self, id: SessionId, payload: &[u8]) {
        let Some(session) = self.account.session(id) else { return };
        let mut push = Stanza::new(Kind::Iq(IqType::Set));
        push.to = Some(session.jid.clone());
        let number = self.core.next_id();
        push.id = Some(Text::from(format!("push-{number:x}")));
        if let Ok(body) = Body::parse(payload) {
            push.body = body;
            self.deliver(id, push, InLog::No);
        }
    }
}
