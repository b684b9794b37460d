//! Values: a version byte, then numbers as varints and fields with their length in front.
//!
//! Reading takes slices of the value without copying them, and never panics, whatever the bytes.

use crate::Value;
use bytes::{BufMut, BytesMut};
use std::fmt;

/// Puts a value together.
#[derive(Clone, Debug)]
pub struct ValueWriter {
    bytes: BytesMut,
}

impl ValueWriter {
    /// A value of this version, with room for about `capacity` bytes.
    pub fn new(version: u8, capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(capacity + 1);
        bytes.put_u8(version);
        Self { bytes }
    }

    /// One byte.
    pub fn u8(mut self, field: u8) -> Self {
        self.bytes.put_u8(field);
        self
    }

    /// A number: seven bits in a byte, the lowest first, the high bit set on all but the last.
    pub fn varint(mut self, mut field: u64) -> Self {
        while field >= 0x80 {
            self.bytes.put_u8((field & 0x7F) as u8 | 0x80);
            field >>= 7;
        }
        self.u8(field as u8)
    }

    /// Bytes with their length in front.
    pub fn bytes(self, field: &[u8]) -> Self {
        self.varint(field.len() as u64).rest(field)
    }

    /// A string with its length in front.
    pub fn str(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    /// A string that may be missing: 0, or 1 and the string.
    pub fn opt_str(self, field: Option<&str>) -> Self {
        match field {
            None => self.u8(0),
            Some(field) => self.u8(1).str(field),
        }
    }

    /// Bytes as they are: of a length that the reader knows, or the last field.
    pub fn rest(mut self, field: &[u8]) -> Self {
        self.bytes.extend_from_slice(field);
        self
    }

    /// The value.
    pub fn finish(self) -> Value {
        self.bytes.freeze()
    }
}

/// A value that does not consist of the fields that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// It ends within a field.
    Short,
    /// A number of more than 64 bits.
    Number,
    /// A string that is not UTF-8, or a flag that is neither 0 nor 1.
    Field,
    /// Something follows the last field.
    Trailing,
    /// A version that this program does not know.
    Version(u8),
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the value ends within a field"),
            Self::Number => f.write_str("a number in the value is too large"),
            Self::Field => f.write_str("a field of the value is malformed"),
            Self::Trailing => f.write_str("the value has more fields than expected"),
            Self::Version(version) => write!(f, "the value has the unknown version {version}"),
        }
    }
}

impl std::error::Error for BadValue {}

/// Takes a value apart.
#[derive(Clone, Debug)]
pub struct ValueReader {
    rest: Value,
}

impl ValueReader {
    /// The version of the value, and a reader for what follows it.
    ///
    /// # Errors
    /// [`BadValue::Short`] if there is no byte at all.
    pub fn new(value: &Value) -> Result<(u8, Self), BadValue> {
        let mut reader = Self { rest: value.clone() };
        Ok((reader.u8()?, reader))
    }

    /// A reader for a value that must have this version.
    ///
    /// # Errors
    /// [`BadValue::Version`] if it has another.
    pub fn of_version(value: &Value, version: u8) -> Result<Self, BadValue> {
        match Self::new(value)? {
            (found, reader) if found == version => Ok(reader),
            (found, _) => Err(BadValue::Version(found)),
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`BadValue::Short`].
    pub fn u8(&mut self) -> Result<u8, BadValue> {
        let byte = *self.rest.first().ok_or(BadValue::Short)?;
        self.rest = self.rest.slice(1..);
        Ok(byte)
    }

    /// A number.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`].
    pub fn varint(&mut self) -> Result<u64, BadValue> {
        let mut number = 0u64;
        for (index, byte) in self.rest.iter().enumerate() {
            let bits = u64::from(byte & 0x7F);
            if index == 10 || (index == 9 && bits > 1) {
                return Err(BadValue::Number);
            }
            number |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = self.rest.slice(index + 1..);
                return Ok(number);
            }
        }
        Err(BadValue::Short)
    }

    /// Bytes with their length in front, not copied.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`].
    pub fn bytes(&mut self) -> Result<Value, BadValue> {
        let len = usize::try_from(self.varint()?).map_err(|_| BadValue::Number)?;
        self.take(len)
    }

    /// A string with its length in front.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`], [`BadValue::Field`].
    pub fn str(&mut self) -> Result<String, BadValue> {
        let field = self.bytes()?;
        std::str::from_utf8(&field).map(str::to_owned).map_err(|_| BadValue::Field)
    }

    /// A string that may be missing.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`], [`BadValue::Field`].
    pub fn opt_str(&mut self) -> Result<Option<String>, BadValue> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.str().map(Some),
            _ => Err(BadValue::Field),
        }
    }

    /// Bytes of a known length, not copied.
    ///
    /// # Errors
    /// [`BadValue::Short`].
    pub fn take(&mut self, len: usize) -> Result<Value, BadValue> {
        if len > self.rest.len() {
            return Err(BadValue::Short);
        }
        Ok(self.rest.split_to(len))
    }

    /// What has not been read.
    pub fn rest(self) -> Value {
        self.rest
    }

    /// The value must be at its end.
    ///
    /// # Errors
    /// [`BadValue::Trailing`].
    pub fn finish(self) -> Result<(), BadValue> {
        if self.rest.is_empty() { Ok(()) } else { Err(BadValue::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_the_same_bytes_for_ever() {
        let value = ValueWriter::new(1, 0).varint(300).str("hé").opt_str(None).opt_str(Some("x"));
        let value = value.u8(9).rest(b"tail").finish();
        assert_eq!(&value[..], b"\x01\xAC\x02\x03h\xC3\xA9\x00\x01\x01x\x09tail");
    }

    #[test]
    fn wrong_values_are_errors() {
        let read = |bytes: &'static [u8]| ValueReader { rest: Value::from_static(bytes) };
        assert_eq!(ValueReader::new(&Value::new()).map(|_| ()), Err(BadValue::Short));
        assert_eq!(
            ValueReader::of_version(&Value::from_static(b"\x02"), 1).map(|_| ()),
            Err(BadValue::Version(2))
        );
        assert_eq!(read(b"\x80").varint(), Err(BadValue::Short));
        assert_eq!(
            read(b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02").varint(),
            Err(BadValue::Number)
        );
        let largest = b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01";
        assert_eq!(read(largest).varint(), Ok(u64::MAX));
        assert_eq!(
            read(b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x81\x80\x80").varint(),
            Err(BadValue::Number)
        );
        assert_eq!(read(b"\x05abcd").bytes(), Err(BadValue::Short));
        assert_eq!(read(b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01").bytes(), Err(BadValue::Short));
        assert_eq!(read(b"\x01\xFF").str(), Err(BadValue::Field));
        assert_eq!(read(b"\x02").opt_str(), Err(BadValue::Field));
        assert_eq!(read(b"x").finish(), Err(BadValue::Trailing));
    }

    proptest! {
        #[test]
        fn values_come_back(
            version: u8, a: u64, b: Vec<u8>, c: String, d: Option<String>, e: u8, f: Vec<u8>,
        ) {
            let value = ValueWriter::new(version, 8).varint(a).bytes(&b).str(&c)
                .opt_str(d.as_deref()).u8(e).rest(&f).finish();
            let mut r = ValueReader::of_version(&value, version).unwrap();
            prop_assert_eq!(r.varint(), Ok(a));
            prop_assert_eq!(&r.bytes().unwrap()[..], &b[..]);
            prop_assert_eq!(r.str(), Ok(c));
            prop_assert_eq!(r.opt_str(), Ok(d));
            prop_assert_eq!(r.u8(), Ok(e));
            prop_assert_eq!(r.clone().take(f.len() + 1), Err(BadValue::Short));
            prop_assert_eq!(&r.rest()[..], &f[..]);
        }
    }
}
