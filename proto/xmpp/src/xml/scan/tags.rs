//! Start tags, end tags and names.

use super::scope::key;
use super::{Cursor, Fault, Kind, Limit, NameAt, RawAttr, Scan, State, Step, XmlError, chars};
use crate::xml::names;

impl Scan {
    /// At the first character of a name after `<`.
    pub(super) fn begin_element(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if self.stack.len() >= usize::from(cur.limits.depth) {
            return Err(Limit::Depth.into());
        }
        if self.elements >= cur.limits.elements {
            return Err(Limit::Elements.into());
        }
        self.elements += 1;
        self.attrs.clear();
        self.begin_name(cur);
        self.state = State::Name;
        self.element_name(cur)
    }

    fn begin_name(&mut self, cur: &Cursor<'_>) {
        self.name = NameAt { start: self.at(cur), end: 0, colon: 0 };
        self.name_start = true;
    }

    /// Reads on in a name (`QName` of Namespaces in XML 1.0 §4). False: the input ended in it.
    fn name(&mut self, cur: &mut Cursor<'_>) -> Result<bool, XmlError> {
        if self.partial > 0 && !self.wide_name(cur)? {
            return Ok(false);
        }
        loop {
            if self.name_start {
                match cur.peek() {
                    None => return Ok(false),
                    Some(b) if chars::is_name_start(b) => self.name_start = false,
                    Some(0x80..) => {}
                    Some(_) => return Err(Fault::Syntax.into()),
                }
            }
            cur.pos += chars::name_run(cur.rest());
            match cur.peek() {
                None => return Ok(false),
                Some(b':') => {
                    if self.name.colon != 0 {
                        return Err(Fault::Syntax.into());
                    }
                    self.name.colon = self.at(cur);
                    self.name_start = true;
                    cur.pos += 1;
                }
                Some(0x80..) => {
                    if !self.wide_name(cur)? {
                        return Ok(false);
                    }
                }
                Some(_) => {
                    self.name.end = self.at(cur);
                    return Ok(true);
                }
            }
        }
    }

    /// Reads a character beyond ASCII in a name. False: the input ended in it.
    fn wide_name(&mut self, cur: &mut Cursor<'_>) -> Result<bool, XmlError> {
        let Some(c) = self.wide(cur)? else { return Ok(false) };
        let allowed = match self.name_start {
            true => names::is_wide_name_start(c),
            false => names::is_wide_name(c),
        };
        self.name_start = false;
        if allowed { Ok(true) } else { Err(Fault::Syntax.into()) }
    }

    pub(super) fn element_name(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let fresh = self.name_start && self.name.colon == 0 && self.partial == 0;
        if let (true, Some((len, _))) = (fresh, plain_name(cur.rest())) {
            cur.pos += len;
            self.name.end = self.at(cur);
        } else if !self.name(cur)? {
            return Ok(());
        }
        self.spaced = false;
        self.state = State::Tag;
        self.in_tag(cur)
    }

    /// Between attributes.
    pub(super) fn in_tag(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if !self.plain_attrs(cur)? {
            return Ok(());
        }
        let spaces = chars::space_run(cur.rest());
        cur.pos += spaces;
        self.spaced |= spaces > 0;
        match cur.peek() {
            None => Ok(()),
            Some(b'>') => self.end_of_start_tag(cur, false),
            Some(b'/') => {
                cur.pos += 1;
                self.state = State::Slash;
                self.slash(cur)
            }
            Some(_) if !self.spaced => Err(Fault::Syntax.into()),
            Some(_) => {
                self.one_more_attr(cur)?;
                // The name of the element is needed until the tag ends.
                let element = self.name;
                self.begin_name(cur);
                self.attrs.push(RawAttr { name: element, ..RawAttr::default() });
                self.state = State::AttrName;
                self.attr_name(cur)
            }
        }
    }

    /// Reads attributes as most are, ` name='value'`, as long as they are at hand. False: the input
    /// or what is plain ended inside a value.
    fn plain_attrs(&mut self, cur: &mut Cursor<'_>) -> Result<bool, XmlError> {
        let mut rest = cur.rest();
        let mut at = self.at(cur);
        while let Some((b' ', from_name)) = rest.split_first()
            && let Some((len, b'=')) = plain_name(from_name)
            && let Some(&quote @ (b'\'' | b'"')) = from_name.get(len + 1)
            && let Some(from_value) = from_name.get(len + 2..)
        {
            self.one_more_attr(cur)?;
            let run = chars::value_run(from_value, quote);
            let (start, end) = (at + 1, at + 1 + len as u32);
            let value = end + 2;
            self.attrs.push(RawAttr {
                name: NameAt { start, end, colon: 0 },
                value,
                value_end: value + run as u32,
                key: key(from_name, len),
                ..RawAttr::default()
            });
            self.spaced = false;
            if from_value.get(run) != Some(&quote) {
                cur.pos = cur.input.len() - from_value.len() + run;
                self.quote = quote;
                self.state = State::AttrValue;
                return Ok(false);
            }
            at = value + run as u32 + 1;
            rest = from_value.get(run + 1..).unwrap_or_default();
        }
        cur.pos = cur.input.len() - rest.len();
        Ok(true)
    }

    fn one_more_attr(&self, cur: &Cursor<'_>) -> Result<(), XmlError> {
        match self.attrs.len() < usize::from(cur.limits.attributes) {
            true => Ok(()),
            false => Err(Limit::Attributes.into()),
        }
    }

    pub(super) fn attr_name(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if !self.name(cur)? {
            return Ok(());
        }
        if let Some(attr) = self.attrs.last_mut() {
            std::mem::swap(&mut attr.name, &mut self.name);
        }
        self.state = State::AttrEquals;
        self.attr_equals(cur)
    }

    pub(super) fn attr_equals(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        cur.pos += chars::space_run(cur.rest());
        match cur.peek() {
            None => Ok(()),
            Some(b'=') => {
                cur.pos += 1;
                self.state = State::AttrQuote;
                self.attr_quote(cur)
            }
            Some(_) => Err(Fault::Syntax.into()),
        }
    }

    pub(super) fn attr_quote(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        cur.pos += chars::space_run(cur.rest());
        match cur.peek() {
            None => Ok(()),
            Some(quote @ (b'\'' | b'"')) => {
                cur.pos += 1;
                self.quote = quote;
                let at = self.at(cur);
                if let Some(attr) = self.attrs.last_mut() {
                    attr.value = at;
                }
                self.state = State::AttrValue;
                self.attr_value(cur)
            }
            Some(_) => Err(Fault::Syntax.into()),
        }
    }

    pub(super) fn attr_value(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if !self.resume(cur)? {
            return Ok(());
        }
        loop {
            cur.pos += chars::value_run(cur.rest(), self.quote);
            match cur.peek() {
                None => return Ok(()),
                Some(b) if b == self.quote => {
                    let at = self.at(cur);
                    if let Some(attr) = self.attrs.last_mut() {
                        attr.value_end = at;
                    }
                    cur.pos += 1;
                    self.spaced = false;
                    self.state = State::Tag;
                    return Ok(());
                }
                Some(b'&') => return self.begin_reference(cur),
                Some(b'<') => return Err(Fault::Syntax.into()),
                Some(b'\t' | b'\n') => self.rewrite(cur, 1, b" "),
                Some(b'\r') => self.line_end(cur, b" "),
                Some(0x80..) => {
                    if self.wide(cur)?.is_none() {
                        return Ok(());
                    }
                }
                Some(_) => return Err(Fault::Character.into()),
            }
        }
    }

    /// After the `/` of an empty element.
    pub(super) fn slash(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        match cur.peek() {
            None => Ok(()),
            Some(b'>') => self.end_of_start_tag(cur, true),
            Some(_) => Err(Fault::Syntax.into()),
        }
    }

    /// At the `>` of a start tag.
    fn end_of_start_tag(&mut self, cur: &mut Cursor<'_>, empty: bool) -> Result<(), XmlError> {
        self.flush(cur);
        if self.in_head() {
            return self.head_tag(cur, empty);
        }
        if empty {
            // Declarations may have to be written before it.
            self.out.pop();
        }
        self.inner_tag(cur)?;
        if empty {
            self.out.push(b'/');
        }
        cur.pos += 1;
        self.state = State::Text;
        if empty { self.close(cur) } else { Ok(()) }
    }

    /// At the `/` after `<`.
    pub(super) fn end_tag(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        cur.pos += 1;
        self.matched = 0;
        match (self.kind, self.stack.len()) {
            (Kind::Header, _) => Err(Fault::Syntax.into()),
            (Kind::Content, 1) => Err(Fault::EndTag.into()),
            (Kind::Element, 0) => {
                self.state = State::StreamEnd;
                self.stream_end(cur)
            }
            _ => {
                self.state = State::EndName;
                self.end_name(cur)
            }
        }
    }

    pub(super) fn end_name(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let Some(frame) = self.stack.last() else { return Err(Fault::EndTag.into()) };
        let want = self.slice((frame.name + self.matched, frame.name_end));
        let taken = matching(cur, want)?;
        let whole = taken == want.len();
        self.matched += taken as u32;
        if !whole {
            return Ok(());
        }
        self.state = State::EndSpace;
        self.end_space(cur)
    }

    pub(super) fn end_space(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        cur.pos += chars::space_run(cur.rest());
        match cur.peek() {
            None => Ok(()),
            Some(b'>') => {
                cur.pos += 1;
                self.state = State::Text;
                self.close(cur)
            }
            Some(_) => Err(Fault::EndTag.into()),
        }
    }

    /// After `</` outside of every first-level element.
    pub(super) fn stream_end(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        if self.state == State::StreamEnd {
            let Some(name) = cur.root.end_name() else { return Err(Fault::Syntax.into()) };
            let want = name.as_bytes().get(self.matched as usize..).unwrap_or_default();
            let taken = matching(cur, want)?;
            self.matched += taken as u32;
            if taken < want.len() {
                return Ok(());
            }
            self.state = State::StreamEndSpace;
        }
        cur.pos += chars::space_run(cur.rest());
        match cur.peek() {
            None => Ok(()),
            Some(b'>') => {
                cur.pos += 1;
                self.done = Some(Step::Close);
                Ok(())
            }
            Some(_) => Err(Fault::EndTag.into()),
        }
    }
}

/// A whole name of ASCII without prefix at the front of the input, and the byte after it.
#[inline]
fn plain_name(rest: &[u8]) -> Option<(usize, u8)> {
    if !chars::is_name_start(*rest.first()?) {
        return None;
    }
    let len = chars::name_run(rest);
    let next = *rest.get(len)?;
    (next != b':' && next < 0x80).then_some((len, next))
}

/// Takes as much of a name as the input has. An error: the input has another name.
fn matching(cur: &mut Cursor<'_>, want: &[u8]) -> Result<usize, XmlError> {
    let rest = cur.rest();
    let len = rest.len().min(want.len());
    if rest.get(..len) != want.get(..len) {
        return Err(Fault::EndTag.into());
    }
    cur.pos += len;
    Ok(len)
}
