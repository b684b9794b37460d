//! A value read in place: the fields of [`crate::ValueWriter`] as slices of it.

use crate::BadValue;

/// Takes a value apart without counting references; for rows that are read by the thousand.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The version of the value, and its fields.
    ///
    /// # Errors
    /// [`BadValue::Short`] if there is no byte at all.
    pub fn open(value: &'a [u8]) -> Result<(u8, Self), BadValue> {
        let mut fields = Self { rest: value };
        Ok((fields.u8()?, fields))
    }

    /// One byte.
    ///
    /// # Errors
    /// [`BadValue::Short`].
    pub fn u8(&mut self) -> Result<u8, BadValue> {
        let (first, rest) = self.rest.split_first().ok_or(BadValue::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`].
    pub fn varint(&mut self) -> Result<u64, BadValue> {
        let mut number = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(BadValue::Number);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadValue::Number)
    }

    /// Bytes with their length in front.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`].
    pub fn bytes(&mut self) -> Result<&'a [u8], BadValue> {
        let len = usize::try_from(self.varint()?).map_err(|_| BadValue::Number)?;
        let (field, rest) = self.rest.split_at_checked(len).ok_or(BadValue::Short)?;
        self.rest = rest;
        Ok(field)
    }

    /// A string with its length in front.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`], [`BadValue::Field`].
    pub fn str(&mut self) -> Result<&'a str, BadValue> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadValue::Field)
    }

    /// A string that may be missing.
    ///
    /// # Errors
    /// [`BadValue::Short`], [`BadValue::Number`], [`BadValue::Field`].
    pub fn opt_str(&mut self) -> Result<Option<&'a str>, BadValue> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.str().map(Some),
            _ => Err(BadValue::Field),
        }
    }

    /// An array of a known length.
    ///
    /// # Errors
    /// [`BadValue::Short`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BadValue> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(BadValue::Short)?;
        self.rest = rest;
        Ok(*field)
    }

    /// What has not been read.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ValueWriter;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, text in ".{0,40}", tail: Vec<u8>) {
            let value = ValueWriter::new(7, 0).varint(number).str(&text).opt_str(None).rest(&tail);
            let value = value.finish();
            let (version, mut fields) = Fields::open(&value).unwrap();
            prop_assert_eq!(version, 7);
            prop_assert_eq!(fields.varint(), Ok(number));
            prop_assert_eq!(fields.str(), Ok(text.as_str()));
            prop_assert_eq!(fields.opt_str(), Ok(None));
            prop_assert_eq!(fields.rest(), &tail[..]);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            if let Ok((_, mut fields)) = Fields::open(&bytes) {
                while fields.varint().and_then(|_| fields.bytes()).is_ok() {}
            }
        }
    }
}
