//! Prepared stanzas: bytes with two holes for numbers, so that sending one is a copy and 32 digits.

/// Width of a number in hexadecimal digits.
const DIGITS: usize = 16;

/// Stands for a number in a template's text.
pub const HOLE: &str = "################";

/// A prepared stanza. Each hole is filled with the same pair of numbers in turn: first, second,
/// first, second.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    /// Prepares a text in which [`HOLE`] stands where numbers go.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let holes = text.match_indices(HOLE).map(|(at, _)| at).collect();
        Self { bytes: text.as_bytes().to_vec(), holes }
    }

    /// Appends the stanza with its numbers.
    pub fn write(&self, first: u64, second: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for (index, hole) in self.holes.iter().enumerate() {
            let number = if index % 2 == 0 { first } else { second };
            let place = &mut out[start + hole..start + hole + DIGITS];
            for (digit, byte) in place.iter_mut().rev().enumerate() {
                let value = (number >> (4 * digit)) as usize & 15;
                *byte = b"0123456789abcdef"[value];
            }
        }
    }
}

/// The pair of numbers in an id made of two of them, `PREFIX1111111111111111-2222222222222222`.
#[must_use]
pub fn numbers(id: &[u8]) -> Option<(u64, u64)> {
    let at = id.len().checked_sub(2 * DIGITS + 1)?;
    let number = |from: usize| {
        let text = std::str::from_utf8(id.get(from..from + DIGITS)?).ok()?;
        u64::from_str_radix(text, 16).ok()
    };
    Some((number(at)?, number(at + DIGITS + 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_in_and_come_out() {
        let template = Template::new(&format!("<m id='m{HOLE}-{HOLE}'/>"));
        for pair in [(0, 0), (1, u64::MAX), (0xfeed_beef, 42)] {
            let mut out = b"before".to_vec();
            template.write(pair.0, pair.1, &mut out);
            let text = String::from_utf8(out).unwrap();
            let id = text.split('\'').nth(1).unwrap();
            assert_eq!(numbers(id.as_bytes()), Some(pair));
        }
        assert_eq!(numbers(b"m1"), None);
        assert_eq!(numbers(b"m000000000000000x-0000000000000001"), None);
    }
}
