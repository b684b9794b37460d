//! Where one stanza ends and the next begins, and nothing more: no tree, no names, no checks.
//! The bytes come from a server that is trusted to write XML.

use memchr::{memchr, memchr3, memmem};

use crate::limits::STANZA_MAX;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A whole element of the stream, or the stream's own start or end tag: its end.
    Frame(usize),
    /// More bytes are needed.
    More,
    /// Larger than [`STANZA_MAX`].
    TooLong,
}

/// Finds the end of the frame that starts at the first byte it is given.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    depth: u32,
    /// Bytes of the frame that were looked at: the start of a tag that is not whole yet.
    seen: usize,
}

impl Scanner {
    /// Goes on with a frame of which `bytes` is all that came so far, from its first byte.
    pub fn find(&mut self, bytes: &[u8]) -> Found {
        loop {
            let Some(open) = memchr(b'<', &bytes[self.seen..]).map(|at| at + self.seen) else {
                self.seen = bytes.len();
                return self.more(bytes);
            };
            self.seen = open;
            let Some(close) = tag_end(bytes, open) else { return self.more(bytes) };
            let tag = &bytes[open..=close];
            self.seen = close + 1;
            match tag[1] {
                b'?' | b'!' => continue,
                b'/' => self.depth = self.depth.saturating_sub(1),
                _ if tag[tag.len() - 2] == b'/' => {}
                _ if self.depth == 0 && tag.starts_with(b"<stream:stream") => {}
                _ => self.depth += 1,
            }
            if self.depth == 0 {
                let end = self.seen;
                self.seen = 0;
                return Found::Frame(end);
            }
        }
    }

    fn more(&self, bytes: &[u8]) -> Found {
        if bytes.len() > STANZA_MAX { Found::TooLong } else { Found::More }
    }
}

/// Where the tag that opens at `open` closes; a `>` in an attribute does not count.
fn tag_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        let found = at + memchr3(b'>', b'\'', b'"', bytes.get(at..)?)?;
        if bytes[found] == b'>' {
            // `<>` is no tag; taking one byte more keeps what follows in range.
            return if found > open + 1 { Some(found) } else { tag_end(bytes, found) };
        }
        at = found + 1 + memchr(bytes[found], bytes.get(found + 1..)?)? + 1;
    }
}

/// The start tag of a frame.
fn head(frame: &[u8]) -> &[u8] {
    let start = memchr(b'<', frame).unwrap_or(0);
    tag_end(frame, start).map_or(frame, |end| &frame[start..=end])
}

/// Whether a frame's name is `name`, which may have a prefix.
#[must_use]
pub fn is(frame: &[u8], name: &str) -> bool {
    let head = head(frame);
    let after = head.get(1 + name.len());
    head.get(1..).is_some_and(|rest| rest.starts_with(name.as_bytes()))
        && after.is_some_and(|byte| matches!(byte, b' ' | b'>' | b'/' | b'\n' | b'\t'))
}

/// The raw value of an attribute of a frame's start tag.
#[must_use]
pub fn attribute<'a>(frame: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let head = head(frame);
    let mut from = 0;
    while let Some(at) = memmem::find(&head[from..], name.as_bytes()).map(|at| at + from) {
        let after = at + name.len();
        let quote = head.get(after + 1).copied();
        let begins = head[at - 1].is_ascii_whitespace();
        if let (true, Some(b'='), Some(quote @ (b'\'' | b'"'))) = (begins, head.get(after), quote) {
            let value = &head[after + 2..];
            return Some(&value[..memchr(quote, value)?]);
        }
        from = after;
    }
    None
}

/// Whether a text is anywhere in a frame.
#[must_use]
pub fn has(frame: &[u8], text: &str) -> bool {
    memmem::find(frame, text.as_bytes()).is_some()
}

/// How often a text is in a frame.
#[must_use]
pub fn count(frame: &[u8], text: &str) -> u64 {
    memmem::find_iter(frame, text.as_bytes()).count() as u64
}

/// The text of the innermost last element of a frame such as `<challenge>…</challenge>`.
#[must_use]
pub fn text(frame: &[u8]) -> Option<&str> {
    let end = memmem::rfind(frame, b"</")?;
    let start = memchr::memrchr(b'>', &frame[..end])? + 1;
    std::str::from_utf8(&frame[start..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1'>\
        <stream:features><a/><b><c d='>'/></b></stream:features>\n<message to='a' id=\"'>\">\
        <body>x &gt; y</body></message><r xmlns='urn:xmpp:sm:3'/> <iq/></stream:stream>";
    const FRAMES: [&str; 6] = [
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1'>",
        "<stream:features><a/><b><c d='>'/></b></stream:features>",
        "\n<message to='a' id=\"'>\"><body>x &gt; y</body></message>",
        "<r xmlns='urn:xmpp:sm:3'/>",
        " <iq/>",
        "</stream:stream>",
    ];

    /// Frames found when the stream comes in pieces of some size.
    fn split(piece: usize) -> Vec<String> {
        let (mut scanner, mut kept, mut frames) = (Scanner::default(), Vec::new(), Vec::new());
        for bytes in STREAM.as_bytes().chunks(piece) {
            kept.extend_from_slice(bytes);
            while let Found::Frame(end) = scanner.find(&kept) {
                frames.push(String::from_utf8(kept.drain(..end).collect()).unwrap());
            }
        }
        assert!(kept.is_empty());
        frames
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        for piece in 1..STREAM.len() + 1 {
            assert_eq!(split(piece), FRAMES, "pieces of {piece}");
        }
    }

    #[test]
    fn odd_bytes_do_not_panic() {
        for odd in
            ["<", "<>", "<><>", "</", "</>", "<a", "<a '", "<a b='", "x", "<!>", "<?", "</a>"]
        {
            let mut scanner = Scanner::default();
            let _ = scanner.find(odd.as_bytes());
            let _ = (is(odd.as_bytes(), "a"), attribute(odd.as_bytes(), "b"), text(odd.as_bytes()));
        }
    }

    #[test]
    fn heads_are_read() {
        let frame = b"\n<message xid='no' type=\"error\" id='m1'><body id='no'/></message>";
        assert!(is(frame, "message") && !is(frame, "mess"));
        assert_eq!(attribute(frame, "id"), Some(&b"m1"[..]));
        assert_eq!(attribute(frame, "type"), Some(&b"error"[..]));
        assert_eq!(attribute(frame, "to"), None);
        assert_eq!(text(b"<challenge xmlns='x'>cj0=</challenge>"), Some("cj0="));
        assert!(is(b"<r/>", "r") && !is(b"<resumed/>", "r"));
    }

    #[test]
    fn a_stanza_without_end_is_refused() {
        let most = format!("<a>{}", "x".repeat(STANZA_MAX - 3));
        assert_eq!(Scanner::default().find(most.as_bytes()), Found::More);
        assert_eq!(Scanner::default().find(format!("{most}x").as_bytes()), Found::TooLong);
    }
}
