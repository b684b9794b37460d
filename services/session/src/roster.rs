//! An account's roster in memory (RFC 6121 §2): small at rest, found by bare JID, versioned.
//!
//! Millions of rosters are in memory at once, so one is two allocations: 16 bytes an entry in the
//! order of the JIDs, and one text that holds what the rows hold. An entry is an item, a mere
//! subscription request, or the tombstone of a removed item, which is kept for a while so that a
//! client with an old version can be told (§2.6). A removed contact who asks again is both: a
//! request that keeps the version of its tombstone.

mod item;
pub mod limits;
mod row;
mod version;
mod wire;

pub use item::{Contact, Groups, Item};
pub use row::{decode_row, encode_row};
pub use version::{Catchup, VERSION_TEXT_BYTES, is_expired, parse_version, version_text};
pub use wire::{ItemSet, Request, read_request, write_push};

use crate::subscription::{Change, Subscription};
use bytes::Bytes;
use kv::value::BadValue;
use limits::{ITEMS_MAX, REQUEST_BYTES_MAX, REQUESTS_MAX, TEXT_BYTES_MAX};
use row::Fields;
use xmpp::error::Condition;

/// What a change writes. The key is the account's: its roster tag and the hash of the contact's
/// bare JID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The row of this contact has this value.
    Put(Bytes),
    /// The row of this contact goes.
    Delete,
}

/// One entry: its state, and where in the text the rest is.
#[derive(Debug, Clone, Copy)]
struct Entry {
    version: u64,
    at: u32,
    jid_len: u16,
    state: Subscription,
}

const _: () = assert!(size_of::<Entry>() == 16, "the size that the idle budget counts with");

/// The roster of one account.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// In the order of the JIDs.
    entries: Vec<Entry>,
    /// For each entry what `Fields` reads: JID, name, groups, request.
    text: Vec<u8>,
    /// Bytes of `text` that belong to no entry any more.
    unused: usize,
}

impl Roster {
    /// The roster of these rows.
    ///
    /// # Errors
    /// A row that this version of the server cannot read.
    pub fn load<'a>(rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, BadValue> {
        let mut roster = Self::default();
        for row in rows {
            let item = decode_row(row)?;
            roster.append(&item);
        }
        let text = std::mem::take(&mut roster.text);
        let jid = |entry: &Entry| jid_of(&text, entry);
        roster.entries.sort_unstable_by(|a, b| jid(a).cmp(jid(b)));
        roster.text = text;
        roster.entries.shrink_to_fit();
        roster.text.shrink_to_fit();
        Ok(roster)
    }

    /// The contact with this bare JID: an item, a request or a tombstone.
    pub fn find(&self, contact: &str) -> Option<Item<'_>> {
        let at = self.position(contact).ok()?;
        self.entries.get(at).map(|entry| self.item(entry))
    }

    /// The state between the user and this bare JID; [`Subscription::NONE`] for a stranger.
    pub fn state(&self, contact: &str) -> Subscription {
        let found = self.position(contact).ok().and_then(|at| self.entries.get(at));
        found.map_or(Subscription::NONE, |entry| entry.state)
    }

    /// The items of the roster, in the order of their JIDs: what a client may see.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        self.entries.iter().filter(|entry| entry.state.listed()).map(|entry| self.item(entry))
    }

    /// All contacts about whom something stands, with their states: items and mere requests.
    pub fn states(&self) -> impl Iterator<Item = (&str, Subscription)> {
        let entries = self.entries.iter().filter(|entry| !entry.state.is_none());
        entries.map(|entry| (jid_of(&self.text, entry), entry.state))
    }

    /// Those who asked and have no answer, each with the whole stanza that asked (§3.1.3). The
    /// stanza is empty if it was too long to keep: then the bare request is made again.
    pub fn requests(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let asking = self.entries.iter().filter(|entry| entry.state.pending_in());
        asking.map(|entry| self.item(entry)).map(|item| (item.jid, item.request))
    }

    /// How many entries there are: items, requests and tombstones.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many have asked and have no answer.
    pub fn requests_len(&self) -> usize {
        self.entries.iter().filter(|entry| entry.state.pending_in()).count()
    }

    /// How many items there are, with the tombstones of removed ones: what a user can make.
    fn items_len(&self) -> usize {
        self.entries.iter().filter(|entry| entry.version != 0).count()
    }

    /// Bytes of text that the user made: not the requests of others.
    fn items_bytes(&self) -> usize {
        let requests: usize = self.requests().map(|(jid, request)| jid.len() + request.len()).sum();
        self.text_bytes() - requests
    }

    /// Bytes of text in use.
    fn text_bytes(&self) -> usize {
        self.text.len() - self.unused
    }

    /// Bytes of memory that it holds beyond its own struct.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.text.capacity()
    }

    /// The version of the last change that a client could see; 0 if there never was one.
    pub fn version(&self) -> u64 {
        self.entries.iter().map(|entry| entry.version).max().unwrap_or(0)
    }

    /// Whether there is room for what `change` would add; to be asked before anything is done.
    ///
    /// # Errors
    /// `policy-violation` to the user for one item too many; `resource-constraint` to a stranger
    /// whose request is one too many (§3.1.3, security warning).
    pub fn admit(&self, contact: &str, change: &Change) -> Result<(), Condition> {
        let old = self.state(contact);
        if change.state.pending_in() && !old.pending_in() && self.requests_len() >= REQUESTS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        let full =
            self.items_len() >= ITEMS_MAX || self.items_bytes() + contact.len() > TEXT_BYTES_MAX;
        if change.state.listed() && !old.listed() && full {
            return Err(Condition::PolicyViolation);
        }
        Ok(())
    }

    /// Gives an item the name and groups that its user wants, and makes it if there is none (§2.3,
    /// §2.4).
    ///
    /// # Errors
    /// `policy-violation` if the roster would have too many items or too much text.
    pub fn set(&mut self, item: &ItemSet, version: u64) -> Result<Write, Condition> {
        let mut contact = self.contact(item.jid.bare_str());
        if !contact.state.listed() && self.items_len() >= ITEMS_MAX {
            return Err(Condition::PolicyViolation);
        }
        let jid = if contact.state.listed() { 0 } else { contact.jid.len() };
        let groups: usize = item.groups.iter().map(|group| group.len() + 2).sum();
        let text = jid + item.name.len() + groups;
        if self.items_bytes() + text > TEXT_BYTES_MAX {
            return Err(Condition::PolicyViolation);
        }
        contact.name.clone_from(&item.name);
        contact.groups.clone_from(&item.groups);
        contact.state = contact.state.with_item();
        contact.version = self.next_version(version);
        Ok(self.put(&contact))
    }

    /// Takes over the state of `change` for this bare JID, and says what to write.
    /// [`admit`](Roster::admit) comes before.
    ///
    /// `version` is a fresh id of the shard's clock; it becomes the item's version if clients can
    /// see the change. `request` is what [`keep_request`](crate::presence::keep_request) made of
    /// the stanza that asked: it is kept if the change makes a request of it.
    pub fn apply(
        &mut self,
        contact: &str,
        change: &Change,
        version: u64,
        request: &[u8],
    ) -> Option<Write> {
        let old = self.state(contact);
        if old == change.state {
            return None;
        }
        let mut next = self.contact(contact);
        next.state = change.state;
        if old.shows(change.state) {
            next.version = self.next_version(version);
        }
        next.request = match (old.pending_in(), change.state.pending_in()) {
            (_, false) => Bytes::new(),
            (true, true) => next.request,
            (false, true) if request.len() > REQUEST_BYTES_MAX => Bytes::new(),
            (false, true) => Bytes::copy_from_slice(request),
        };
        if change.state.is_none() {
            // What no client has ever seen leaves no tombstone.
            if next.version == 0 {
                self.forget(contact);
                return Some(Write::Delete);
            }
            next.name.clear();
            next.groups.clear();
        }
        Some(self.put(&next))
    }

    /// Takes a contact over as it is, in place of what was known of it.
    pub fn put(&mut self, contact: &Contact) -> Write {
        let row = contact.encode();
        self.forget(&contact.jid);
        // The row has just been made by the encoder of the decoder's own version.
        if let Ok(item) = decode_row(&row) {
            self.insert(&item);
        }
        Write::Put(row)
    }

    /// The contact as one that can be changed and [`put`](Roster::put) back; a stranger is empty.
    pub fn contact(&self, contact: &str) -> Contact {
        self.find(contact).map_or_else(|| Contact::new(contact), |item| item.to_contact())
    }

    /// The version of a change that is made now: this id of the shard's clock, or one more than the
    /// last version if the clock has not moved since. No two changes have the same (§2.6.3).
    pub fn next_version(&self, id: u64) -> u64 {
        id.max(self.version() + 1)
    }

    /// Drops the tombstones that no client can need any more, and gives the JIDs whose rows are to
    /// be deleted.
    pub fn purge(&mut self, now: u64) -> Vec<Box<str>> {
        let old: Vec<Box<str>> = self
            .entries
            .iter()
            .filter(|entry| entry.state.is_none() && is_expired(entry.version, now))
            .map(|entry| jid_of(&self.text, entry).into())
            .collect();
        old.iter().for_each(|contact| self.forget(contact));
        old
    }

    fn position(&self, contact: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| jid_of(&self.text, entry).cmp(contact))
    }

    fn item(&self, entry: &Entry) -> Item<'_> {
        let rest = self.text.get(entry.at as usize..).unwrap_or_default();
        // What was appended was read before, so it can be read again.
        let mut item = Fields::new(rest).item().unwrap_or_default();
        item.state = entry.state;
        item.version = entry.version;
        item
    }

    /// Adds an entry at the end, whatever the order.
    fn append(&mut self, item: &Item<'_>) {
        let (Ok(at), Ok(jid_len)) = (u32::try_from(self.text.len()), item.jid.len().try_into())
        else {
            debug_assert!(false, "beyond the limits of a roster");
            return;
        };
        row::push_fields(&mut self.text, item);
        self.entries.push(Entry { version: item.version, at, jid_len, state: item.state });
    }

    fn insert(&mut self, item: &Item<'_>) {
        let Err(at) = self.position(item.jid) else { return };
        // Rosters change rarely: growing by exactly one entry keeps them small.
        self.entries.reserve_exact(1);
        self.text.reserve_exact(row::fields_len(item));
        self.append(item);
        if let Some(tail) = self.entries.get_mut(at..) {
            tail.rotate_right(1);
        }
    }

    /// Takes the entry out, if there is one.
    fn forget(&mut self, contact: &str) {
        let Ok(at) = self.position(contact) else { return };
        let entry = self.entries.remove(at);
        self.unused += row::fields_len(&self.item(&entry));
        if self.unused > self.text.len() / 2 {
            self.compact();
        }
    }

    fn compact(&mut self) {
        let mut text = Vec::with_capacity(self.text_bytes());
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index).copied() else { continue };
            let at = text.len() as u32;
            row::push_fields(&mut text, &self.item(&entry));
            if let Some(entry) = self.entries.get_mut(index) {
                entry.at = at;
            }
        }
        self.text = text;
        self.unused = 0;
    }
}

/// The JID of an entry, which stands first in its text.
fn jid_of<'a>(text: &'a [u8], entry: &Entry) -> &'a str {
    let start = entry.at as usize + row::len_bytes(usize::from(entry.jid_len));
    let jid = text.get(start..start + usize::from(entry.jid_len)).unwrap_or_default();
    std::str::from_utf8(jid).unwrap_or_default()
}

#[cfg(test)]
mod tests;
