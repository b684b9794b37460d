//! What comes before the start tag of a stream: byte order mark, XML declaration, white space.

use super::{Cursor, Fault, Kind, Restricted, Scan, State, XmlError, chars};
use crate::limits::XML_DECLARATION_BYTES;

/// U+FEFF in UTF-8.
const MARK: &[u8] = b"\xEF\xBB\xBF";

impl Scan {
    pub(super) fn byte_order_mark(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let Some(b) = cur.peek() else { return Ok(()) };
        match MARK.get(self.matched as usize) {
            Some(want) if *want == b => {
                cur.skip(1);
                self.matched += 1;
            }
            Some(_) if self.matched > 0 => return Err(Fault::Character.into()),
            // The marks of UTF-16 and UTF-32, or their zero bytes.
            Some(_) if matches!(b, 0xFE | 0xFF | 0) => return Err(XmlError::UnsupportedEncoding),
            _ => {
                self.matched = 0;
                self.state = State::Prolog;
            }
        }
        Ok(())
    }

    pub(super) fn prolog(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let spaces = chars::space_run(cur.rest());
        if spaces > 0 {
            cur.skip(spaces);
            // COMPAT: after a restart, white space before the declaration can be the end of a line
            // that the peer wrote after its last element of the stream before.
            self.declaration &= self.restarted;
        }
        match cur.peek() {
            None => Ok(()),
            Some(b'<') => self.open_angle(cur),
            Some(_) if self.kind == Kind::Header => Err(Fault::Syntax.into()),
            Some(_) => Err(Fault::StrayText.into()),
        }
    }

    pub(super) fn begin_declaration(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        self.out.clear();
        cur.skip(1);
        self.state = State::Declaration;
        Ok(())
    }

    /// Collects the declaration up to its `>`, which its grammar allows nowhere else.
    pub(super) fn xml_declaration(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let found = memchr::memchr(b'>', cur.rest());
        cur.pos += found.map_or(cur.rest().len(), |at| at + 1);
        if self.at(cur) as usize > XML_DECLARATION_BYTES {
            return Err(Restricted::ProcessingInstruction.into());
        }
        if found.is_some() {
            self.flush(cur);
            check_declaration(&self.out)?;
            self.out.clear();
            self.declaration = false;
            self.state = State::Prolog;
        }
        Ok(())
    }
}

/// XML 1.0 §2.8, without the leading `<?`.
fn check_declaration(bytes: &[u8]) -> Result<(), XmlError> {
    let syntax = XmlError::NotWellFormed(Fault::Syntax);
    let inner = bytes.strip_suffix(b"?>").ok_or(syntax)?;
    let rest = match inner.strip_prefix(b"xml") {
        Some(rest) if rest.first().is_some_and(|b| chars::is_space(*b)) => rest,
        Some([]) => return Err(syntax),
        _ => return Err(Restricted::ProcessingInstruction.into()),
    };
    let (version, rest) = pseudo_attribute(rest, b"version")?.ok_or(syntax)?;
    if version != b"1.0" {
        return Err(syntax);
    }
    let (encoding, rest) = match pseudo_attribute(rest, b"encoding")? {
        Some((encoding, rest)) => (encoding, rest),
        None => (&b"utf-8"[..], rest),
    };
    let rest = match pseudo_attribute(rest, b"standalone")? {
        Some((b"yes" | b"no", rest)) => rest,
        Some(_) => return Err(syntax),
        None => rest,
    };
    if !rest.iter().all(|b| chars::is_space(*b)) {
        return Err(syntax);
    }
    // RFC 6120 §11.6; names of encodings are compared without case.
    if !encoding.eq_ignore_ascii_case(b"utf-8") {
        return Err(XmlError::UnsupportedEncoding);
    }
    Ok(())
}

type Value<'a> = Option<(&'a [u8], &'a [u8])>;

/// The value of the next pseudo-attribute and what is after it, if it has that name.
fn pseudo_attribute<'a>(bytes: &'a [u8], name: &[u8]) -> Result<Value<'a>, XmlError> {
    let syntax = XmlError::NotWellFormed(Fault::Syntax);
    let trimmed = bytes.trim_ascii_start();
    let Some(rest) = trimmed.strip_prefix(name) else { return Ok(None) };
    if trimmed.len() == bytes.len() {
        return Err(syntax);
    }
    let rest = rest.trim_ascii_start().strip_prefix(b"=").ok_or(syntax)?.trim_ascii_start();
    let (quote, rest) = rest.split_first().ok_or(syntax)?;
    if !matches!(quote, b'\'' | b'"') {
        return Err(syntax);
    }
    let end = memchr::memchr(*quote, rest).ok_or(syntax)?;
    let (value, rest) = rest.split_at(end);
    Ok(Some((value, rest.get(1..).unwrap_or_default())))
}
