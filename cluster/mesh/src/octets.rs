//! Reading and writing the few bytes of the mesh's own: heads, hellos, records. Big-endian.

/// Takes values from the front of a byte string. Everything is checked; nothing is allocated
/// before its bytes are there.
pub(crate) struct Octets<'a>(pub(crate) &'a [u8]);

impl<'a> Octets<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|it| it[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes behind a length of four bytes.
    pub(crate) fn long(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()?;
        self.take(usize::try_from(count).ok()?)
    }

    /// A text behind a length of four bytes.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.long()?).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes bytes behind a length of four bytes. What is longer than 4 GiB cannot come here: every
/// caller has a limit far below.
pub(crate) fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    debug_assert_eq!(count as usize, bytes.len());
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(bytes);
}
