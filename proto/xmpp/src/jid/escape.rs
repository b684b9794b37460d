//! JID escaping (XEP-0106 1.1): names with characters that a localpart may not have.

use std::borrow::Cow;

/// The characters of XEP-0106 §4.2 and their escapes. The backslash is treated apart.
const ESCAPES: [(char, &str); 9] = [
    (' ', "\\20"),
    ('"', "\\22"),
    ('&', "\\26"),
    ('\'', "\\27"),
    ('/', "\\2f"),
    (':', "\\3a"),
    ('<', "\\3c"),
    ('>', "\\3e"),
    ('@', "\\40"),
];

/// Makes of any name a text that may stand in a localpart. A backslash is escaped only where it
/// would otherwise read as the beginning of an escape (§4.2). The result still has to be parsed as
/// part of an address.
///
/// A name that begins or ends with a space has no escaped form (§4.2): its spaces are escaped all
/// the same, and [`unescape_local`] leaves them.
pub fn escape_local(name: &str) -> Cow<'_, str> {
    if !name.contains(|c| c == '\\' || escape_of(c).is_some()) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for (at, c) in name.char_indices() {
        match escape_of(c) {
            Some(escape) => escaped.push_str(escape),
            None if c == '\\' && name.get(at..).and_then(escaped_char).is_some() => {
                escaped.push_str("\\5c");
            }
            None => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Gives back the name that [`escape_local`] escaped. Unknown escapes are plain text (§4.2), and so
/// is `\20` at either end.
pub fn unescape_local(local: &str) -> Cow<'_, str> {
    if !local.contains('\\') {
        return Cow::Borrowed(local);
    }
    let mut name = String::with_capacity(local.len());
    let mut rest = local;
    while let Some((before, _)) = rest.split_once('\\') {
        name.push_str(before);
        let (here, after) = rest.split_at(before.len());
        debug_assert_eq!(here, before);
        let at_an_end = name.is_empty() || after.len() == 3;
        match escaped_char(after) {
            Some(c) if !(c == ' ' && at_an_end) => {
                name.push(c);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                name.push('\\');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    name.push_str(rest);
    Cow::Owned(name)
}

fn escape_of(c: char) -> Option<&'static str> {
    ESCAPES.iter().find(|(plain, _)| *plain == c).map(|(_, escape)| *escape)
}

/// The character whose escape `text` begins with. Hexadecimal digits are lower case after
/// preparation (§4.1).
fn escaped_char(text: &str) -> Option<char> {
    if text.starts_with("\\5c") {
        return Some('\\');
    }
    ESCAPES.iter().find(|(_, escape)| text.starts_with(escape)).map(|(plain, _)| *plain)
}
