//! Escaping and its reverse.

use std::borrow::Cow;

use super::chars;

/// Appends text with `<`, `>` and `&` escaped. Characters that XML forbids become U+FFFD; a
/// carriage return is written as a reference, so that it is read back as one.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    push(out, text, false);
}

/// Appends an attribute value with everything escaped that needs it in either kind of quotes, white
/// space other than the space included (XML 1.0 §3.3.3 would turn it into spaces).
pub fn push_value(out: &mut Vec<u8>, text: &str) {
    push(out, text, true);
}

fn push(out: &mut Vec<u8>, text: &str, value: bool) {
    let mut rest = text.as_bytes();
    while let Some((kept, len, with)) = first_escaped(rest, value) {
        out.extend_from_slice(&rest[..kept]);
        out.extend_from_slice(with.as_bytes());
        rest = &rest[kept + len..];
    }
    out.extend_from_slice(rest);
}

/// How many bytes at the front are written as they are, how many after them are not, and what is
/// written in their place. `None`: all are written as they are.
#[inline]
fn first_escaped(bytes: &[u8], value: bool) -> Option<(usize, usize, &'static str)> {
    let mut at = 0;
    loop {
        at += chars::verbatim_run(&bytes[at..], value);
        let with = match *bytes.get(at)? {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'\r' => "&#13;",
            b'"' if value => "&quot;",
            b'\'' if value => "&apos;",
            b'\t' if value => "&#9;",
            b'\n' if value => "&#10;",
            0..=0x1F if !matches!(bytes[at], b'\t' | b'\n') => "\u{FFFD}",
            0xEF if matches!(bytes[at..], [_, 0xBF, 0xBE | 0xBF, ..]) => {
                return Some((at, 3, "\u{FFFD}"));
            }
            _ => {
                at += 1;
                continue;
            }
        };
        return Some((at, 1, with));
    }
}

/// The text that checked bytes stand for: the five entities and character references resolved.
/// A reference that is none, which checked bytes do not have, is kept as it is.
pub fn unescape(bytes: &[u8]) -> Cow<'_, str> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Cow::Borrowed("") };
    let Some(first) = text.find('&') else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len());
    let (plain, mut rest) = text.split_at(first);
    out.push_str(plain);
    while let Some(after) = rest.strip_prefix('&') {
        let found = after.split_once(';').and_then(|(name, tail)| Some((reference(name)?, tail)));
        let tail = match found {
            Some((c, tail)) => {
                out.push(c);
                tail
            }
            None => {
                out.push('&');
                after
            }
        };
        let next = tail.find('&').unwrap_or(tail.len());
        let (plain, more) = tail.split_at(next);
        out.push_str(plain);
        rest = more;
    }
    Cow::Owned(out)
}

/// The character of a reference, given without `&` and `;`.
pub(crate) fn reference(name: &str) -> Option<char> {
    if let Some(c) = entity(name.as_bytes()) {
        return Some(c);
    }
    let number = name.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None; // from_str_radix takes a sign
    }
    let c = u32::from_str_radix(digits, radix).ok()?;
    char::from_u32(c).filter(|_| chars::is_char(c))
}

/// One of the five entities of XML 1.0 §4.6.
pub(crate) fn entity(name: &[u8]) -> Option<char> {
    match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"apos" => Some('\''),
        b"quot" => Some('"'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> String {
        let mut out = Vec::new();
        push_text(&mut out, s);
        String::from_utf8(out).unwrap()
    }

    fn value(s: &str) -> String {
        let mut out = Vec::new();
        push_value(&mut out, s);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_what_each_place_needs() {
        assert_eq!(text("a<b>&\"'\n\t]]>"), "a&lt;b&gt;&amp;\"'\n\t]]&gt;");
        assert_eq!(value("a<b>&\"'\n\t"), "a&lt;b&gt;&amp;&quot;&apos;&#10;&#9;");
        assert_eq!(text("\r"), "&#13;");
        assert_eq!(
            text("a\0b\u{1b}c\u{FFFE}d\u{FFFF}\u{FFFD}"),
            "a\u{FFFD}b\u{FFFD}c\u{FFFD}d\u{FFFD}\u{FFFD}"
        );
        assert_eq!(text("﾿ｿ\u{FF00}"), "﾿ｿ\u{FF00}");
    }

    #[test]
    fn long_text_is_escaped_as_its_characters_are() {
        let odd =
            ["<", ">", "&", "\r", "\n", "\t", "'", "\"", "\0", "é", "漢", "\u{FFFE}", "\u{FF00}"];
        for odd in odd {
            for at in 0..20 {
                let (before, after) = ("x".repeat(at), "y".repeat(20 - at));
                let line = format!("{before}{odd}{after}");
                assert_eq!(text(&line), format!("{before}{}{after}", text(odd)));
                assert_eq!(value(&line), format!("{before}{}{after}", value(odd)));
            }
        }
    }

    #[test]
    fn unescapes_what_it_escaped() {
        for s in ["", "plain", "<>&\"'", "a\r\n\tb", "&amp;", "ü&€", "&&;"] {
            assert_eq!(unescape(text(s).as_bytes()), s);
            assert_eq!(unescape(value(s).as_bytes()), s);
        }
        assert_eq!(unescape(b"&#65;&#x41;&#x1F600;&bogus;&#0;&#+65;"), "AA😀&bogus;&#0;&#+65;");
    }
}
