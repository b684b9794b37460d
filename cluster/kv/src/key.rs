//! Keys that sort as their fields do: numbers big endian, strings escaped.
//!
//! A string or byte field ends with `00 01`, and a zero in it becomes `00 FF`, so that `"a" < "a\0"
//! < "ab"` also holds for what follows the field. Reading never panics, whatever the bytes.

use crate::Key;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// Keys up to this length are put together without an allocation of their own.
const INLINE_BYTES: usize = 96;

/// Puts a key together, field by field.
#[derive(Clone, Debug, Default)]
pub struct KeyWriter {
    bytes: SmallVec<[u8; INLINE_BYTES]>,
}

impl KeyWriter {
    /// A key that begins with these bytes as they are: the prefix that says whose key it is.
    pub fn new(prefix: &[u8]) -> Self {
        Self { bytes: SmallVec::from_slice(prefix) }
    }

    /// One byte.
    pub fn u8(mut self, field: u8) -> Self {
        self.bytes.push(field);
        self
    }

    /// Two bytes.
    pub fn u16(self, field: u16) -> Self {
        self.fixed(&field.to_be_bytes())
    }

    /// Four bytes.
    pub fn u32(self, field: u32) -> Self {
        self.fixed(&field.to_be_bytes())
    }

    /// Eight bytes.
    pub fn u64(self, field: u64) -> Self {
        self.fixed(&field.to_be_bytes())
    }

    /// Bytes of a length that every reader of the key knows (also: the unescaped tail of a key).
    pub fn fixed(mut self, field: &[u8]) -> Self {
        self.bytes.extend_from_slice(field);
        self
    }

    /// A string of any length.
    pub fn str(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// Bytes of any length.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        escape_into(field, &mut self.bytes);
        self.bytes.extend_from_slice(&END);
        self
    }

    /// The key so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The key.
    pub fn finish(self) -> Key {
        Key::copy_from_slice(&self.bytes)
    }

    /// The first key after all keys that begin with this one.
    pub fn finish_end(self) -> Key {
        strinc(&self.bytes).unwrap_or_else(|| Key::from_static(&[0xFF]))
    }
}

const END: [u8; 2] = [0x00, 0x01];

/// Appends `field` with every `00` as `00 FF`.
pub(crate) fn escape_into(field: &[u8], out: &mut SmallVec<[u8; INLINE_BYTES]>) {
    let mut pieces = field.split(|byte| *byte == 0);
    if let Some(first) = pieces.next() {
        out.extend_from_slice(first);
    }
    for piece in pieces {
        out.extend_from_slice(&[0x00, 0xFF]);
        out.extend_from_slice(piece);
    }
}

/// The first key after all keys that begin with `prefix`; `None` if there is no end (an empty
/// prefix, or only `FF`).
pub fn strinc(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(Key::from(end))
}

/// The first key after this one: for a range that begins behind a known row.
pub fn next_key(key: &[u8]) -> Key {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Key::from(next)
}

/// A key that does not consist of the fields that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// It ends within a field.
    Short,
    /// It does not begin with the prefix.
    Prefix,
    /// A zero that neither ends a field nor is escaped.
    Escape,
    /// A string that is not UTF-8.
    NotUtf8,
    /// Something follows the last field.
    Trailing,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "the key ends within a field",
            Self::Prefix => "the key has another prefix",
            Self::Escape => "the key has a wrong escape",
            Self::NotUtf8 => "a string in the key is not UTF-8",
            Self::Trailing => "the key has more fields than expected",
        })
    }
}

impl std::error::Error for BadKey {}

/// Takes a key apart, field by field.
#[derive(Clone, Copy, Debug)]
pub struct KeyReader<'a> {
    rest: &'a [u8],
}

impl<'a> KeyReader<'a> {
    /// Reads what follows `prefix`.
    ///
    /// # Errors
    /// [`BadKey::Prefix`] if the key begins with something else.
    pub fn new(key: &'a [u8], prefix: &[u8]) -> Result<Self, BadKey> {
        key.strip_prefix(prefix).map(|rest| Self { rest }).ok_or(BadKey::Prefix)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`BadKey::Short`].
    pub fn u8(&mut self) -> Result<u8, BadKey> {
        self.fixed::<1>().map(u8::from_be_bytes)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// [`BadKey::Short`].
    pub fn u16(&mut self) -> Result<u16, BadKey> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`BadKey::Short`].
    pub fn u32(&mut self) -> Result<u32, BadKey> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`BadKey::Short`].
    pub fn u64(&mut self) -> Result<u64, BadKey> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// Bytes of a known length.
    ///
    /// # Errors
    /// [`BadKey::Short`].
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], BadKey> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(BadKey::Short)?;
        self.rest = rest;
        Ok(*field)
    }

    /// A string; borrowed unless it holds zeros.
    ///
    /// # Errors
    /// [`BadKey::Short`], [`BadKey::Escape`], [`BadKey::NotUtf8`].
    pub fn str(&mut self) -> Result<Cow<'a, str>, BadKey> {
        match self.bytes()? {
            Cow::Borrowed(field) => {
                std::str::from_utf8(field).map(Cow::Borrowed).map_err(|_| BadKey::NotUtf8)
            }
            Cow::Owned(field) => {
                String::from_utf8(field).map(Cow::Owned).map_err(|_| BadKey::NotUtf8)
            }
        }
    }

    /// Bytes; borrowed unless they hold zeros.
    ///
    /// # Errors
    /// [`BadKey::Short`], [`BadKey::Escape`].
    pub fn bytes(&mut self) -> Result<Cow<'a, [u8]>, BadKey> {
        let mut field = Cow::Borrowed::<[u8]>(&[]);
        let mut rest = self.rest;
        loop {
            let zero = rest.iter().position(|byte| *byte == 0).ok_or(BadKey::Short)?;
            let (piece, tail) = rest.split_at(zero);
            let (mark, after) = tail.split_first_chunk::<2>().ok_or(BadKey::Short)?;
            rest = after;
            if field.is_empty() && *mark == END {
                field = Cow::Borrowed(piece);
            } else {
                field.to_mut().extend_from_slice(piece);
            }
            match *mark {
                END => break,
                [0x00, 0xFF] => field.to_mut().push(0),
                _ => return Err(BadKey::Escape),
            }
        }
        self.rest = rest;
        Ok(field)
    }

    /// What has not been read: an unescaped tail.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// The key must be at its end.
    ///
    /// # Errors
    /// [`BadKey::Trailing`].
    pub fn finish(self) -> Result<(), BadKey> {
        if self.rest.is_empty() { Ok(()) } else { Err(BadKey::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_the_same_bytes_for_ever() {
        let key =
            KeyWriter::new(b"a/").str("x\0y").u8(1).u16(2).u32(3).u64(4).fixed(b"zz").finish();
        let golden =
            b"a/x\x00\xFFy\x00\x01\x01\x00\x02\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x04zz";
        assert_eq!(&key[..], golden);
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(strinc(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(strinc(b"a\xFF\xFF").as_deref(), Some(&b"b"[..]));
        assert_eq!(strinc(b"\xFF\xFF"), None);
        assert_eq!(strinc(b""), None);
    }

    #[test]
    fn wrong_keys_are_errors() {
        let table: [(&[u8], BadKey); 6] = [
            (b"", BadKey::Short),
            (b"abc", BadKey::Short),
            (b"abc\x00", BadKey::Short),
            (b"abc\x00\x02", BadKey::Escape),
            (b"\xFF\x00\x01", BadKey::NotUtf8),
            (b"a\x00\xFF", BadKey::Short),
        ];
        for (bytes, error) in table {
            let mut reader = KeyReader::new(bytes, b"").unwrap();
            assert_eq!(reader.str(), Err(error), "{bytes:?}");
        }
        assert_eq!(KeyReader::new(b"a", b"b").map(|_| ()), Err(BadKey::Prefix));
        assert_eq!(KeyReader::new(b"a", b"").unwrap().finish(), Err(BadKey::Trailing));
    }

    type Fields = (Vec<u8>, u16, String, u64);

    fn fields() -> impl Strategy<Value = Fields> {
        let bytes =
            prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..6);
        (bytes, any::<u16>(), "[\0a-c]{0,4}", any::<u64>())
    }

    fn encode((a, b, c, d): &Fields) -> Key {
        KeyWriter::new(b"t").bytes(a).u16(*b).str(c).u64(*d).finish()
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_fields(x in fields(), y in fields()) {
            prop_assert_eq!(encode(&x).cmp(&encode(&y)), x.cmp(&y));
        }

        #[test]
        fn keys_come_back(x in fields()) {
            let key = encode(&x);
            let mut r = KeyReader::new(&key, b"t").unwrap();
            let (a, b) = (r.bytes().unwrap().into_owned(), r.u16().unwrap());
            let (c, d) = (r.str().unwrap().into_owned(), r.u64().unwrap());
            let back = (a, b, c, d);
            prop_assert_eq!(back, x);
            prop_assert_eq!(r.finish(), Ok(()));
        }

        #[test]
        fn a_prefix_holds_exactly_its_keys(prefix in prop::collection::vec(any::<u8>(), 1..4),
                                           key in prop::collection::vec(any::<u8>(), 0..6)) {
            let before_end = strinc(&prefix).is_none_or(|end| key[..] < end[..]);
            prop_assert_eq!(key.starts_with(&prefix), key >= prefix && before_end);
        }
    }
}
