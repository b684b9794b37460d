//! Attributes of a start tag that has been checked.

use std::borrow::Cow;

use super::{chars, escape};

/// The value of the attribute of that name, as written in the tag, references resolved.
pub(super) fn attr<'a>(element: &'a [u8], name: &[u8]) -> Option<Cow<'a, str>> {
    let end_of_name = |b: &u8| chars::is_space(*b) || matches!(b, b'>' | b'/' | b'=');
    let mut rest = element.get(element.iter().position(end_of_name)?..)?;
    loop {
        rest = rest.get(chars::space_run(rest)..)?;
        if matches!(rest.first()?, b'>' | b'/') {
            return None;
        }
        let (found, tail) = rest.split_at(rest.iter().position(end_of_name)?);
        let opening = tail.iter().position(|b| matches!(b, b'\'' | b'"'))?;
        let (quote, tail) = tail.get(opening..)?.split_first()?;
        let (value, tail) = tail.split_at(memchr::memchr(*quote, tail)?);
        if found == name {
            return Some(escape::unescape(value));
        }
        rest = tail.get(1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_attributes_however_they_are_written() {
        let tag = b"<p:a x = '1'\n y=\"a'&lt;\" xy='>'/>";
        assert_eq!(attr(tag, b"x").as_deref(), Some("1"));
        assert_eq!(attr(tag, b"y").as_deref(), Some("a'<"));
        assert_eq!(attr(tag, b"xy").as_deref(), Some(">"));
        assert_eq!(attr(tag, b"z"), None);
        assert_eq!(attr(b"<a>x='1'</a>", b"x"), None);
        assert_eq!(attr(b"<a/>", b"x"), None);
    }
}
