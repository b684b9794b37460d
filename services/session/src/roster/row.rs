//! The row of a contact: a version byte, the state, the version of the item, and the fields.
//!
//! The fields are `bytes(jid) bytes(name) varint(groups) bytes(group)* bytes(request)` in the
//! encoding of [`kv::value`]; in memory they lie in the roster's text exactly as in the row.

use super::item::{Groups, Item};
use crate::subscription::Subscription;
use bytes::Bytes;
use kv::value::{BadValue, ValueWriter};

/// The version of the encoding.
const VERSION: u8 = 1;

/// The value of a contact's row. A state of [`Subscription::NONE`] makes a tombstone.
pub fn encode_row(item: &Item<'_>) -> Bytes {
    let mut fields = Vec::with_capacity(fields_len(item));
    push_fields(&mut fields, item);
    ValueWriter::new(VERSION, fields.len() + 11)
        .u8(item.state.bits())
        .varint(item.version)
        .rest(&fields)
        .finish()
}

/// Reads the value of a contact's row.
///
/// # Errors
/// What of it cannot be read; also a state that no stanza can lead to.
pub fn decode_row(row: &[u8]) -> Result<Item<'_>, BadValue> {
    let mut fields = Fields::new(row);
    match fields.u8()? {
        VERSION => {}
        version => return Err(BadValue::Version(version)),
    }
    let state = Subscription::from_bits(fields.u8()?).ok_or(BadValue::Field)?;
    let version = fields.varint()?;
    let item = Item { state, version, ..fields.item()? };
    if item.jid.is_empty() {
        return Err(BadValue::Field);
    }
    if fields.rest.is_empty() { Ok(item) } else { Err(BadValue::Trailing) }
}

/// Takes fields off the front of a slice, without copying.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn u8(&mut self) -> Result<u8, BadValue> {
        let (&first, rest) = self.rest.split_first().ok_or(BadValue::Short)?;
        self.rest = rest;
        Ok(first)
    }

    fn varint(&mut self) -> Result<u64, BadValue> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(BadValue::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadValue::Number)
    }

    fn bytes(&mut self) -> Result<&'a [u8], BadValue> {
        let len = usize::try_from(self.varint()?).map_err(|_| BadValue::Number)?;
        let (field, rest) = self.rest.split_at_checked(len).ok_or(BadValue::Short)?;
        self.rest = rest;
        Ok(field)
    }

    pub(super) fn str(&mut self) -> Result<&'a str, BadValue> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadValue::Field)
    }

    /// The fields of one contact; state and version stand elsewhere.
    pub(super) fn item(&mut self) -> Result<Item<'a>, BadValue> {
        let (jid, name) = (self.str()?, self.str()?);
        let count = usize::try_from(self.varint()?).map_err(|_| BadValue::Number)?;
        let all = self.rest;
        for _ in 0..count {
            self.str()?;
        }
        let fields = all.get(..all.len() - self.rest.len()).unwrap_or_default();
        let groups = Groups { count, fields };
        let request = self.bytes()?;
        Ok(Item { jid, name, groups, request, ..Item::default() })
    }
}

/// Appends the fields of a contact.
pub(super) fn push_fields(out: &mut Vec<u8>, item: &Item<'_>) {
    push_bytes(out, item.jid.as_bytes());
    push_bytes(out, item.name.as_bytes());
    push_varint(out, item.groups.count as u64);
    out.extend_from_slice(item.groups.fields);
    push_bytes(out, item.request);
}

/// How many bytes [`push_fields`] appends.
pub(super) fn fields_len(item: &Item<'_>) -> usize {
    let field = |bytes: &[u8]| len_bytes(bytes.len()) + bytes.len();
    field(item.jid.as_bytes())
        + field(item.name.as_bytes())
        + len_bytes(item.groups.count)
        + item.groups.fields.len()
        + field(item.request)
}

/// Appends bytes with their length in front.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes a length takes as a varint.
pub(super) const fn len_bytes(len: usize) -> usize {
    let bits = usize::BITS - (len | 1).leading_zeros();
    bits.div_ceil(7) as usize
}
