//! Character data: text, CDATA and references.

use super::scope::grown;
use super::{Cursor, Fault, Kind, Restricted, Scan, State, XmlError, chars};
use crate::xml::escape;

/// What follows `<![`.
const CDATA: &[u8] = b"CDATA[";

impl Scan {
    pub(super) fn text(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if !self.resume(cur)? {
            return Ok(());
        }
        loop {
            cur.pos += chars::text_run(cur.rest());
            match cur.peek() {
                None => return Ok(()),
                Some(b'<') => return self.open_angle(cur),
                Some(b'&') => return self.begin_reference(cur),
                Some(b'>') => self.closing_angle(cur)?,
                Some(b'\t' | b'\n') => cur.pos += 1,
                Some(b'\r') => self.line_end(cur, b"\n"),
                Some(0x80..) => {
                    if self.wide(cur)?.is_none() {
                        return Ok(());
                    }
                }
                Some(_) => return Err(Fault::Character.into()),
            }
        }
    }

    /// At a `<` in text or before a start tag.
    pub(super) fn open_angle(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        self.tag = self.at(cur);
        cur.pos += 1;
        self.state = State::Angle;
        self.angle(cur)
    }

    /// `]]>` must not be in text (XML 1.0 §2.4). Two brackets at the end of the copy are of this
    /// text: no tag and no reference ends so, and brackets of CDATA are written as references.
    fn closing_angle(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        self.flush(cur);
        if self.out.ends_with(b"]]") {
            return Err(Fault::Syntax.into());
        }
        cur.pos += 1;
        Ok(())
    }

    /// At a `&` in text or an attribute value.
    pub(super) fn begin_reference(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        self.back = self.state;
        self.state = State::Reference;
        self.reference.clear();
        if self.in_head() {
            self.rewrite(cur, 1, b"");
        } else {
            cur.pos += 1;
        }
        self.reference(cur)
    }

    pub(super) fn reference(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'#' | b'_' | b'-' | b'.');
        while let Some(b) = cur.peek() {
            cur.pos += 1;
            if b == b';' {
                return self.end_reference(cur);
            }
            if !allowed(b) {
                return Err(Fault::Syntax.into());
            }
            if self.reference.len() == super::REFERENCE_BYTES {
                return Err(self.bad_reference());
            }
            self.reference.push(b);
        }
        if self.in_head() {
            cur.skip(0);
        }
        Ok(())
    }

    fn end_reference(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let name = std::str::from_utf8(&self.reference).unwrap_or_default();
        let Some(c) = escape::reference(name) else { return Err(self.bad_reference()) };
        if self.in_head() {
            cur.skip(0);
            self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else if let (State::AttrValue, Some(attr)) = (self.back, self.attrs.last_mut()) {
            attr.escaped = true;
        }
        self.state = self.back;
        Ok(())
    }

    fn bad_reference(&self) -> XmlError {
        match self.reference.first() {
            Some(b'#') => Fault::Reference.into(),
            Some(b) if chars::is_name_start(*b) => Restricted::Entity.into(),
            _ => Fault::Syntax.into(),
        }
    }

    /// After `<!`.
    pub(super) fn bang(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        match cur.peek() {
            None => Ok(()),
            Some(b'-') => Err(Restricted::Comment.into()),
            Some(b'A'..=b'Z' | b'a'..=b'z') => Err(Restricted::Dtd.into()),
            Some(b'[') if !self.stack.is_empty() && self.kind != Kind::Header => {
                self.flush(cur);
                cur.skip(1);
                self.out.truncate(self.tag as usize);
                // Brackets on both sides of the section must not come together to `]]>`.
                if self.out.last() == Some(&b']') {
                    self.out.pop();
                    self.out.extend_from_slice(b"&#93;");
                }
                self.matched = 0;
                self.state = State::CdataStart;
                Ok(())
            }
            Some(_) => Err(Fault::Syntax.into()),
        }
    }

    pub(super) fn cdata_start(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        while let (Some(b), Some(want)) = (cur.peek(), CDATA.get(self.matched as usize)) {
            if b != *want {
                return Err(Fault::Syntax.into());
            }
            self.matched += 1;
            cur.skip(1);
        }
        if self.matched as usize == CDATA.len() {
            self.brackets = 0;
            self.state = State::Cdata;
        }
        Ok(())
    }

    /// CDATA comes out as text. Its closing brackets come out as references, so that they can never
    /// be part of a `]]>` there.
    pub(super) fn cdata(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if !self.resume(cur)? {
            return Ok(());
        }
        loop {
            if self.brackets == 0 {
                cur.pos += chars::cdata_run(cur.rest());
            }
            let Some(b) = cur.peek() else { return Ok(()) };
            if self.brackets > 0 {
                match b {
                    b']' if self.brackets == 1 => {
                        self.brackets = 2;
                        cur.skip(1);
                        continue;
                    }
                    b']' => {
                        self.escaped(cur, b"&#93;")?;
                        continue;
                    }
                    b'>' if self.brackets == 2 => {
                        cur.skip(1);
                        self.brackets = 0;
                        self.state = State::Text;
                        return Ok(());
                    }
                    _ => self.kept_brackets(),
                }
            }
            match b {
                b']' => {
                    self.rewrite(cur, 1, b"");
                    self.brackets = 1;
                }
                b'<' => self.escaped(cur, b"&lt;")?,
                b'>' => self.escaped(cur, b"&gt;")?,
                b'&' => self.escaped(cur, b"&amp;")?,
                b'\t' | b'\n' => cur.pos += 1,
                b'\r' => self.line_end(cur, b"\n"),
                b' '..=b'~' | 0x7F => cur.pos += 1,
                0x80.. => {
                    if self.wide(cur)?.is_none() {
                        return Ok(());
                    }
                }
                _ => return Err(Fault::Character.into()),
            }
        }
    }

    fn escaped(&mut self, cur: &mut Cursor<'_>, with: &[u8]) -> Result<(), XmlError> {
        self.rewrite(cur, 1, with);
        grown(self.out.len(), cur)
    }

    /// The brackets were not the end of the section.
    fn kept_brackets(&mut self) {
        for _ in 0..self.brackets {
            self.out.extend_from_slice(b"&#93;");
        }
        self.brackets = 0;
    }
}
