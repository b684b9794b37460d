//! Roster versioning (RFC 6121 §2.6): a version is the id of the last change that clients could
//! see.

use super::limits::TOMBSTONE_US;
use super::{Item, Roster};

/// Bytes of a version as text.
pub const VERSION_TEXT_BYTES: usize = 16;

/// What a client that asks for the roster gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Catchup<'a> {
    /// A result with all items.
    Whole,
    /// A result without a query, then one push for each of these, in this order: items as they are,
    /// and what is not [`listed`](crate::subscription::Subscription::listed) as removed. Often
    /// none.
    Changes(Vec<Item<'a>>),
}

/// The version as the `ver` attribute has it: 16 hexadecimal digits.
pub fn version_text(version: u64) -> [u8; VERSION_TEXT_BYTES] {
    let mut text = [0; VERSION_TEXT_BYTES];
    for (place, digit) in text.iter_mut().rev().enumerate() {
        let nibble = (version >> (4 * place)) as u8 & 0xF;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    text
}

/// The version that [`version_text`] made this of, if it did.
pub fn parse_version(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    let ours = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
    if digits.len() != VERSION_TEXT_BYTES || !digits.iter().all(ours) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// Whether a tombstone of this version may go: no version that old is answered with changes any
/// more.
pub fn is_expired(version: u64, now: u64) -> bool {
    version < now.saturating_sub(TOMBSTONE_US)
}

impl Roster {
    /// What a client gets that asks for the roster with this `ver` attribute, if it has one
    /// (§2.6.3).
    ///
    /// A version that this roster cannot have given, or one so old that tombstones may be missing,
    /// gets the whole roster; so does a client to which the changes would be as many as the items.
    pub fn catch_up(&self, ver: Option<&str>, now: u64) -> Catchup<'_> {
        let Some(known) = ver.and_then(parse_version) else { return Catchup::Whole };
        let latest = self.version();
        if known == latest {
            return Catchup::Changes(Vec::new());
        }
        if known > latest || is_expired(known, now) {
            return Catchup::Whole;
        }
        let newer = self.entries.iter().filter(|entry| entry.version > known);
        let mut changes: Vec<_> = newer.map(|entry| self.item(entry)).collect();
        let items = self.entries.iter().filter(|entry| entry.state.listed()).count();
        if changes.len() > items.max(1) {
            return Catchup::Whole;
        }
        changes.sort_unstable_by_key(|item| item.version);
        Catchup::Changes(changes)
    }
}
