//! Characters of XML 1.0 and Namespaces in XML 1.0: classes, runs that need no look, and UTF-8.

const NAME_START: u8 = 1;
const NAME: u8 = 2;
const SPACE: u8 = 4;

/// The classes of each ASCII byte. The colon is in none: it parts a prefix from a local name.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 128 {
        table[b] = match b as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME_START | NAME,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            b' ' | b'\t' | b'\n' | b'\r' => SPACE,
            _ => 0,
        };
        b += 1;
    }
    table
}

fn class(b: u8) -> u8 {
    CLASS[b as usize]
}

/// Whether an ASCII byte can begin a name.
pub(crate) fn is_name_start(b: u8) -> bool {
    class(b) & NAME_START != 0
}

/// Whether the byte is white space (XML 1.0 §2.3).
pub(crate) fn is_space(b: u8) -> bool {
    class(b) & SPACE != 0
}

/// How many bytes at the front are ASCII characters of a name. Most names are of small letters, so
/// eight are looked at as such first.
#[inline]
pub(crate) fn name_run(bytes: &[u8]) -> usize {
    let letters = match bytes.first_chunk() {
        Some(chunk) => {
            let x = u64::from_le_bytes(*chunk);
            // The highest bit of each byte: whether it is from `a` on, and whether it is above `z`.
            let low = (x & !HIGH) + LOW * u64::from(0x80 - b'a');
            let above = (x & !HIGH) + LOW * u64::from(0x7F - b'z');
            let other = (!low | above | x) & HIGH;
            (other.trailing_zeros() / 8) as usize
        }
        None => 0,
    };
    let mut rest = bytes.iter().skip(letters);
    letters + rest.position(|&b| class(b) & NAME == 0).unwrap_or(bytes.len() - letters)
}

/// How many bytes at the front are white space.
#[inline]
pub(crate) fn space_run(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| class(b) & SPACE == 0).unwrap_or(bytes.len())
}

/// How many bytes at the front are text that needs no look: whole characters but controls, `<`, `>`
/// and `&`.
#[inline]
pub(crate) fn text_run(bytes: &[u8]) -> usize {
    run(bytes, Stops::TEXT)
}

/// How many bytes at the front are attribute value in these quotes that needs no look.
#[inline]
pub(crate) fn value_run(bytes: &[u8], quote: u8) -> usize {
    match quote {
        b'"' => run(bytes, Stops::QUOTED),
        _ => run(bytes, Stops::APOSTROPHED),
    }
}

/// Whether all bytes are ASCII text that needs no look: then [`text_run`] takes them all. Made for
/// pieces of a few words.
#[inline]
pub(crate) fn is_plain_text(bytes: &[u8]) -> bool {
    Stops::TEXT.in_none_of(bytes)
}

/// The same for attribute value in these quotes.
#[inline]
pub(crate) fn is_plain_value(bytes: &[u8], quote: u8) -> bool {
    match quote {
        b'"' => Stops::QUOTED.in_none_of(bytes),
        _ => Stops::APOSTROPHED.in_none_of(bytes),
    }
}

/// How many bytes at the front are written as they are, as text or as a value in either quotes.
/// There may be more of them: those beyond ASCII want a look each, and so do the few at the end.
#[inline]
pub(crate) fn verbatim_run(bytes: &[u8], value: bool) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let hits = |word: [u8; 8]| match value {
        true => Stops::TEXT.hits(word) | Stops::QUOTED.hits(word) | Stops::APOSTROPHED.hits(word),
        false => Stops::TEXT.hits(word),
    };
    8 * words.iter().position(|word| hits(*word) != 0).unwrap_or(words.len())
}

/// How many bytes of CDATA at the front need no look.
pub(crate) fn cdata_run(bytes: &[u8]) -> usize {
    let stop = |b: &u8| !matches!(b, b' '..=b'~') || matches!(b, b'<' | b'&' | b']' | b'>');
    bytes.iter().position(stop).unwrap_or(bytes.len())
}

/// Three ASCII characters that end a run. Two of them, a pair, differ in one bit, so that one
/// comparison finds both.
#[derive(Clone, Copy)]
struct Stops {
    /// The bit, in each byte.
    bit: u64,
    /// The one of the pair that has it set.
    pair: u64,
    /// The third.
    last: u64,
}

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

#[cfg(test)]
std::thread_local! {
    /// Bytes that this thread has compared with stops: what tells a second look from a first.
    pub(crate) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Stops {
    const TEXT: Stops = Stops::new(b'<' ^ b'>', b'>', b'&');
    const QUOTED: Stops = Stops::new(b'"' ^ b'&', b'&', b'<');
    const APOSTROPHED: Stops = Stops::new(b'&' ^ b'\'', b'\'', b'<');

    const fn new(bit: u8, pair: u8, last: u8) -> Stops {
        assert!(bit.is_power_of_two() && pair & bit == bit);
        Stops { bit: LOW * bit as u64, pair: LOW * pair as u64, last: LOW * last as u64 }
    }

    /// The highest bit of each byte: whether it is a control, not ASCII, or one of the three. The
    /// lowest byte that is flagged is exact; a borrow can only flag bytes above it.
    #[inline]
    fn hits(self, word: [u8; 8]) -> u64 {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + word.len());
        let x = u64::from_le_bytes(word);
        let pair = (x | self.bit) ^ self.pair;
        let last = x ^ self.last;
        let control = x.wrapping_sub(LOW * 0x20) & !x;
        let hit = x | control | (pair.wrapping_sub(LOW) & !pair) | (last.wrapping_sub(LOW) & !last);
        hit & HIGH
    }

    /// The same for one byte.
    #[inline]
    fn hit(self, b: u8) -> bool {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        let [bit, pair, last] = [self.bit as u8, self.pair as u8, self.last as u8];
        !(0x20..0x80).contains(&b) || b | bit == pair || b == last
    }

    #[inline]
    fn in_none_of(self, bytes: &[u8]) -> bool {
        let (words, tail) = bytes.as_chunks::<8>();
        // Without a branch for each word, several are looked at together.
        let hits = words.iter().fold(0, |hits, word| hits | self.hits(*word));
        hits == 0 && !tail.iter().any(|b| self.hit(*b))
    }
}

/// Runs of ASCII and of wider characters, until a character of neither or a stop.
#[inline]
fn run(bytes: &[u8], stops: Stops) -> usize {
    let ascii = ascii_run(bytes, stops);
    match bytes.get(ascii) {
        Some(0x80..) => mixed_run(bytes, ascii, stops),
        _ => ascii,
    }
}

#[cold]
fn mixed_run(bytes: &[u8], mut done: usize, stops: Stops) -> usize {
    loop {
        let rest = bytes.get(done..).unwrap_or_default();
        let wide = wide_run(rest);
        if wide == 0 {
            return done;
        }
        done += wide + ascii_run(rest.get(wide..).unwrap_or_default(), stops);
    }
}

/// The length of the run before the first control, non-ASCII or stop byte: eight at a time.
#[inline]
fn ascii_run(bytes: &[u8], stops: Stops) -> usize {
    let mut done = 0;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let hits = stops.hits(*word);
        if hits != 0 {
            return done + (hits.trailing_zeros() / 8) as usize;
        }
        done += 8;
    }
    done + tail.iter().position(|b| stops.hit(*b)).unwrap_or(tail.len())
}

/// How many bytes at the front are whole characters beyond ASCII; see [`decode`].
fn wide_run(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [0xC2..=0xDF, 0x80..=0xBF, rest @ ..] => rest,
            [0xE1..=0xEC | 0xEE, 0x80..=0xBF, 0x80..=0xBF, rest @ ..]
            | [0xE0, 0xA0..=0xBF, 0x80..=0xBF, rest @ ..]
            | [0xED, 0x80..=0x9F, 0x80..=0xBF, rest @ ..]
            | [0xEF, 0x80..=0xBE, 0x80..=0xBF, rest @ ..]
            | [0xEF, 0xBF, 0x80..=0xBD, rest @ ..] => rest,
            [0xF1..=0xF3, 0x80..=0xBF, 0x80..=0xBF, 0x80..=0xBF, rest @ ..]
            | [0xF0, 0x90..=0xBF, 0x80..=0xBF, 0x80..=0xBF, rest @ ..]
            | [0xF4, 0x80..=0x8F, 0x80..=0xBF, 0x80..=0xBF, rest @ ..] => rest,
            _ => return bytes.len() - rest.len(),
        };
    }
}

/// What the front of some bytes is, read as UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A character and its length in bytes.
    Char(u32, u8),
    /// The beginning of one.
    Partial,
    /// Not UTF-8, or a character that XML forbids.
    Bad,
}

/// Reads one character beyond ASCII (RFC 3629: no overlong form, no surrogate, nothing above
/// U+10FFFF; XML 1.0 §2.2: neither U+FFFE nor U+FFFF). Wrong as early as the first wrong byte.
pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    let mut it = bytes.iter().map(|&b| u32::from(b));
    let Some(lead) = it.next() else { return Decoded::Partial };
    let (len, low, high) = match lead {
        0xC2..=0xDF => (2, 0x80, 0xBF),
        0xE0 => (3, 0xA0, 0xBF),
        0xED => (3, 0x80, 0x9F),
        0xE1..=0xEF => (3, 0x80, 0xBF),
        0xF0 => (4, 0x90, 0xBF),
        0xF1..=0xF3 => (4, 0x80, 0xBF),
        0xF4 => (4, 0x80, 0x8F),
        _ => return Decoded::Bad,
    };
    let Some(second) = it.next() else { return Decoded::Partial };
    if second < low || second > high {
        return Decoded::Bad;
    }
    let mut c = (lead & (0x7F >> len)) << 6 | (second & 0x3F);
    for _ in 2..len {
        let Some(next) = it.next() else { return Decoded::Partial };
        if next & 0xC0 != 0x80 {
            return Decoded::Bad;
        }
        c = c << 6 | (next & 0x3F);
    }
    if c == 0xFFFE || c == 0xFFFF { Decoded::Bad } else { Decoded::Char(c, len as u8) }
}

/// Whether XML 1.0 §2.2 allows the character.
pub(crate) fn is_char(c: u32) -> bool {
    matches!(c, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_agree_with_a_byte_by_byte_look_for_every_byte_at_every_offset() {
        for b in 0..=255u8 {
            for at in 0..20 {
                let mut line = vec![b'x'; 24];
                line[at] = b;
                // A byte from 0x80 on is no whole character here.
                let text = !(0x20..0x80).contains(&b) || b"<&>".contains(&b);
                assert_eq!(text_run(&line), if text { at } else { 24 }, "{b} at {at}");
                let value = !(0x20..0x80).contains(&b) || b"<&\"".contains(&b);
                assert_eq!(value_run(&line, b'"'), if value { at } else { 24 });
                let value = !(0x20..0x80).contains(&b) || b"<&'".contains(&b);
                assert_eq!(value_run(&line, b'\''), if value { at } else { 24 });
            }
        }
        // A borrow out of a flagged byte must not hide or move the first one.
        assert_eq!(text_run(b"ab\x00\x20\x21cdefgh"), 2);
        assert_eq!(text_run(b"ab<=<cdefgh"), 2);
    }

    #[test]
    fn plain_is_what_a_run_takes_whole_and_is_ascii() {
        for b in 0..=255u8 {
            for (at, length) in (0..20).flat_map(|at| (at + 1..24).map(move |end| (at, end))) {
                let mut line = vec![b'x'; length];
                line[at] = b;
                assert_eq!(is_plain_text(&line), text_run(&line) == length, "{b} at {at}");
                for quote in [b'"', b'\''] {
                    let plain = value_run(&line, quote) == length;
                    assert_eq!(is_plain_value(&line, quote), plain, "{b} at {at}");
                }
            }
        }
        // Wider characters are for the other way.
        assert!(text_run("aé".as_bytes()) == 3 && !is_plain_text("aé".as_bytes()));
    }

    #[test]
    fn runs_of_names_agree_with_a_byte_by_byte_look() {
        for b in 0..=255u8 {
            for at in 0..20 {
                let mut line = vec![b'x'; 24];
                line[at] = b;
                let name = b.is_ascii_alphanumeric() || b"-._".contains(&b);
                assert_eq!(name_run(&line), if name { 24 } else { at }, "{b} at {at}");
                line[at / 2] = b'A';
                assert_eq!(name_run(&line), if name || at == 0 { 24 } else { at }, "{b} at {at}");
            }
        }
    }

    #[test]
    fn decodes_what_std_decodes_and_refuses_what_it_refuses() {
        for c in (0x80..=0x10_FFFFu32).filter_map(char::from_u32) {
            let mut room = [0; 4];
            let bytes = c.encode_utf8(&mut room).as_bytes();
            let want = match c as u32 {
                0xFFFE | 0xFFFF => Decoded::Bad,
                c => Decoded::Char(c, bytes.len() as u8),
            };
            assert_eq!(decode(bytes), want, "{c:?}");
            let length = if want == Decoded::Bad { 0 } else { bytes.len() };
            assert_eq!(wide_run(bytes), length, "{c:?}");
            for cut in 1..bytes.len() {
                assert_eq!(wide_run(&bytes[..cut]), 0, "{c:?} cut at {cut}");
                assert_eq!(decode(&bytes[..cut]), Decoded::Partial, "{c:?} cut at {cut}");
            }
        }
        for a in 0x80..=255u8 {
            for b in 0..=255u8 {
                for c in [0, 0x7F, 0x80, 0xBF, 0xC0, 0xFF] {
                    let bytes = [a, b, c, 0x80];
                    let good = std::str::from_utf8(&bytes).is_ok()
                        || std::str::from_utf8(&bytes[..3]).is_ok()
                        || std::str::from_utf8(&bytes[..2]).is_ok();
                    let got = matches!(decode(&bytes), Decoded::Char(..));
                    let banned =
                        bytes.starts_with(b"\xEF\xBF\xBE") || bytes.starts_with(b"\xEF\xBF\xBF");
                    assert_eq!(got, good && !banned, "{bytes:?}");
                    assert_eq!(wide_run(&bytes) > 0, got, "{bytes:?}");
                }
            }
        }
    }
}
