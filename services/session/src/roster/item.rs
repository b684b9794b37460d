//! One contact: as a view into the roster's text, and as something that can be changed.

use super::row::{self, Fields};
use crate::subscription::Subscription;
use bytes::Bytes;

/// A contact, read where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Item<'a> {
    /// The bare JID, normalised.
    pub jid: &'a str,
    /// The user's name for the contact; empty if there is none.
    pub name: &'a str,
    /// The groups that the user put the contact into.
    pub groups: Groups<'a>,
    /// The stanza that asked for a subscription, while it is not answered.
    pub request: &'a [u8],
    /// What is between the two. [`Subscription::NONE`] is the tombstone of a removed item.
    pub state: Subscription,
    /// The id of the last change that clients could see; 0 if they never saw the contact.
    pub version: u64,
}

impl Item<'_> {
    /// A copy that can be changed.
    pub fn to_contact(&self) -> Contact {
        Contact {
            jid: self.jid.into(),
            name: self.name.to_owned(),
            groups: self.groups.iter().map(str::to_owned).collect(),
            request: Bytes::copy_from_slice(self.request),
            state: self.state,
            version: self.version,
        }
    }
}

/// The groups of an item, in the order in which the client gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Groups<'a> {
    pub(super) count: usize,
    pub(super) fields: &'a [u8],
}

impl<'a> Groups<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the contact is in no group.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their names.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut fields = Fields::new(self.fields);
        (0..self.count).map_while(move |_| fields.str().ok())
    }
}

/// A contact that can be changed and put back into the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The bare JID, normalised.
    pub jid: Box<str>,
    /// The user's name for the contact; empty if there is none.
    pub name: String,
    /// The groups that the user put the contact into.
    pub groups: Vec<String>,
    /// The stanza that asked for a subscription, while it is not answered.
    pub request: Bytes,
    /// What is between the two.
    pub state: Subscription,
    /// The id of the last change that clients could see.
    pub version: u64,
}

impl Contact {
    /// A stranger with this bare JID.
    pub fn new(jid: &str) -> Self {
        Self {
            jid: jid.into(),
            name: String::new(),
            groups: Vec::new(),
            request: Bytes::new(),
            state: Subscription::NONE,
            version: 0,
        }
    }

    /// The value of its row.
    pub fn encode(&self) -> Bytes {
        let mut fields = Vec::new();
        for group in &self.groups {
            row::push_bytes(&mut fields, group.as_bytes());
        }
        let groups = Groups { count: self.groups.len(), fields: &fields };
        row::encode_row(&Item {
            jid: &self.jid,
            name: &self.name,
            groups,
            request: &self.request,
            state: self.state,
            version: self.version,
        })
    }
}
