//! Namespaces: what a start tag declares, what its names mean, and what it must declare to stand
//! alone.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    AttrAt, Binding, BoundTo, ChildAt, Cursor, Element, Fault, Frame, Head, Inner, Kind, Limit,
    NameAt, NsAt, RawAttr, Scan, State, Step, StreamHeader, XmlError,
};
use crate::limits::LANG_BYTES;
use crate::ns;
use crate::text::Text;
use crate::xml::escape;
use crate::xml::root::{self, Root};

/// `xmlns` as the beginning of a key, and the bytes of a key that it fills.
const XMLNS: u64 = u64::from_le_bytes(*b"xmlns\0\0\0");
const WORD: u64 = (1 << 40) - 1;

/// Spreads keys over 64 bits; a prime near 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C55;

/// The first eight bytes of a name at the front of some bytes; fewer if it is shorter. No name has
/// the key 0.
#[inline]
pub(super) fn key(bytes: &[u8], len: usize) -> u64 {
    let mask = if len < 8 { (1 << (8 * len)) - 1 } else { u64::MAX };
    match bytes.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes) & mask,
        None => bytes.iter().take(len).rev().fold(0, |key, b| key << 8 | u64::from(*b)),
    }
}

fn same_name(out: &[u8], a: &RawAttr, b: &RawAttr) -> bool {
    let name = |attr: &RawAttr| out.get(attr.name.start as usize..attr.name.end as usize);
    a.key == b.key && name(a) == name(b)
}

/// What a name's prefix stands for.
#[derive(Clone, Copy)]
enum Scope {
    /// The declaration of that index.
    Binding(usize),
    /// The stream header declares it.
    Root,
    /// The prefix `xml`, which every document has.
    Xml,
}

/// The namespace of an element inside a first-level element.
#[derive(Clone, Copy)]
enum Resolved {
    Content,
    Binding(usize),
    Xml,
}

/// Refuses a copy that what was rewritten made larger than the limit. It is asked where the length
/// does not depend on how the input is cut.
pub(super) fn grown(len: usize, cur: &Cursor<'_>) -> Result<(), XmlError> {
    let limit = cur.limits.element_bytes as usize;
    if len > limit { Err(Limit::ElementBytes.into()) } else { Ok(()) }
}

impl Scan {
    /// Ends the start tag of an element inside a first-level element; `out` ends before its `>` or
    /// `/>`.
    pub(super) fn inner_tag(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let name = self.name;
        let frame = Frame {
            name: name.start,
            name_end: name.end,
            bindings: self.bindings.len() as u32,
            default: self.default,
        };
        if !self.attrs.is_empty() {
            self.declarations(cur)?;
        }
        let resolved = self.inner_ns(cur, name)?;
        if let Resolved::Binding(index) = resolved
            && self.ns_of(index) == ns::STREAM.as_bytes()
        {
            return Err(Fault::NestedStream.into());
        }
        if self.prefixed && !self.attrs.is_empty() {
            self.inner_attrs(cur)?;
        }
        if self.stack.len() == 1 {
            let (local, name_end) = name.local();
            let ns = match resolved {
                Resolved::Content => NsAt::Content,
                Resolved::Binding(index) => self.ns_at(index),
                Resolved::Xml => NsAt::Apart(ns::XML.into()),
            };
            self.child = Some(ChildAt { start: self.tag, end: 0, name: local, name_end, ns });
        }
        self.stack.push(frame);
        Ok(())
    }

    /// Ends an element; its last `>` was read.
    pub(super) fn close(&mut self, cur: &mut Cursor<'_>) -> Result<(), XmlError> {
        let Some(frame) = self.stack.pop() else { return Err(Fault::EndTag.into()) };
        self.bindings.truncate(frame.bindings as usize);
        self.default = frame.default;
        match self.stack.len() {
            0 => self.element_done(cur, self.tag),
            1 => {
                let end = self.at(cur);
                if let Some(child) = self.child.take() {
                    self.children.push(ChildAt { end, ..child });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Ends the start tag of a header or first-level element; `out` ends before its `>`.
    pub(super) fn head_tag(&mut self, cur: &mut Cursor<'_>, empty: bool) -> Result<(), XmlError> {
        self.declarations(cur)?;
        let name = self.name;
        let ns = self.head_ns(cur, name)?;
        if self.prefixed {
            for attr in self.attrs.iter().filter(|attr| attr.name.colon != 0 && !attr.declares) {
                self.lookup(cur, self.prefix(attr.name))?;
            }
            self.distinct_in_scope(cur)?;
        }
        cur.skip(1);
        self.state = State::Text;
        if self.kind == Kind::Header {
            return self.header_done(name, &ns, empty);
        }
        self.outer = self.bindings.len() as u32;
        let content = cur.root.content();
        let around = match self.default {
            0 => cur.root.default_ns().as_bytes(),
            default => self.ns_of(default as usize - 1),
        };
        let plain = around == content.as_bytes();
        let body = self.out.len() as u32;
        let attrs = self.attrs.iter().filter(|attr| !attr.declares);
        let attrs = attrs
            .map(|attr| AttrAt {
                name: (attr.name.start, attr.name.end),
                value: (attr.value, attr.value_end),
            })
            .collect();
        self.head = Some(Head { name: name.local(), ns, attrs, body, plain });
        if empty {
            return self.element_done(cur, body);
        }
        self.stack.push(Frame { name: name.start, name_end: name.end, bindings: 0, default: 0 });
        Ok(())
    }

    /// The content ends at `end`.
    fn element_done(&mut self, cur: &mut Cursor<'_>, end: u32) -> Result<(), XmlError> {
        let Some(head) = self.head.take() else { return Err(Fault::EndTag.into()) };
        self.flush(cur);
        let mut out = std::mem::take(&mut self.out);
        out.truncate(end as usize);
        grown(out.len(), cur)?;
        if out.capacity() - out.len() > super::FIRST_BYTES {
            out.shrink_to_fit();
        }
        let children = std::mem::take(&mut self.children);
        let inner = Inner { buf: Bytes::from(out), start: head.body, end, children };
        self.done = Some(Step::Element(Element {
            inner: Arc::new(inner),
            name: head.name,
            ns: head.ns,
            content_ns: cur.root.content(),
            attrs: head.attrs,
        }));
        Ok(())
    }

    fn header_done(&mut self, name: NameAt, ns: &NsAt, empty: bool) -> Result<(), XmlError> {
        let ns = match ns {
            NsAt::At(from, to) => self.slice((*from, *to)),
            NsAt::Content | NsAt::Apart(_) => b"",
        };
        if self.slice(name.local()) != b"stream" {
            return Err(XmlError::BadFormat);
        }
        if ns != ns::STREAM.as_bytes() {
            let content = std::str::from_utf8(ns).is_ok_and(|ns| root::content(ns).is_some());
            let bare = name.colon == 0 && (content || ns.is_empty());
            return Err(if bare {
                XmlError::BadNamespacePrefix
            } else {
                XmlError::InvalidNamespace
            });
        }
        let text = |range| String::from_utf8_lossy(self.slice(range)).into_owned();
        let bindings = self.bindings.iter().map(|binding| {
            let BoundTo::At(from, to) = binding.ns else { return Default::default() };
            (text(binding.prefix).into(), text((from, to)).into())
        });
        let root = Root::of(&text((name.start, name.end)), bindings.collect());
        let mut header =
            StreamHeader { content_ns: root.declared_content(), ..StreamHeader::default() };
        for attr in &self.attrs {
            let field = match self.slice((attr.name.start, attr.name.end)) {
                b"to" => &mut header.to,
                b"from" => &mut header.from,
                b"id" => &mut header.id,
                b"version" => &mut header.version,
                b"xml:lang" if attr.value_end - attr.value <= LANG_BYTES as u32 => &mut header.lang,
                _ => continue,
            };
            *field = Some(Text::from(text((attr.value, attr.value_end))));
        }
        self.done = Some(Step::Header(header, root, empty));
        Ok(())
    }

    /// Takes up what the tag declares, and refuses two attributes of one name.
    fn declarations(&mut self, cur: &Cursor<'_>) -> Result<(), XmlError> {
        self.prefixed = false;
        // A set of the keys so far: it may say yes to a new one, never no to one that was there.
        let mut seen = 0u64;
        for index in 0..self.attrs.len() {
            let (earlier, rest) = self.attrs.split_at_mut(index);
            let Some(attr) = rest.first_mut() else { break };
            let (start, end) = (attr.name.start as usize, attr.name.end as usize);
            if attr.key == 0 {
                attr.key = key(self.out.get(start..).unwrap_or_default(), end - start);
            }
            let bit = 1 << (attr.key.wrapping_mul(SPREAD) >> 58);
            if seen & bit != 0 && earlier.iter().any(|other| same_name(&self.out, attr, other)) {
                return Err(Fault::DuplicateAttribute.into());
            }
            seen |= bit;
            let word = if attr.name.colon == 0 { end } else { attr.name.colon as usize };
            attr.declares = word - start == 5 && attr.key & WORD == XMLNS;
            let attr = *attr;
            if attr.declares {
                self.declare(cur, &attr)?;
            } else if attr.name.colon != 0 {
                self.prefixed = true;
            }
        }
        Ok(())
    }

    /// Namespaces in XML 1.0 §2.2 and §3.
    fn declare(&mut self, cur: &Cursor<'_>, attr: &RawAttr) -> Result<(), XmlError> {
        let prefix = match attr.name.colon {
            0 => (0, 0),
            colon => (colon + 1, attr.name.end),
        };
        let raw = self.slice((attr.value, attr.value_end));
        let text = attr.escaped.then(|| escape::unescape(raw).into_owned().into_boxed_str());
        let value = text.as_deref().map_or(raw, str::as_bytes);
        let reserved = value == ns::XML.as_bytes() || value == ns::XMLNS.as_bytes();
        let forbidden = match self.slice(prefix) {
            b"" => reserved,
            b"xmlns" => true,
            b"xml" => value != ns::XML.as_bytes(),
            _ => reserved || value.is_empty(),
        };
        if forbidden {
            return Err(Fault::Declaration.into());
        }
        let ns = match text {
            None => BoundTo::At(attr.value, attr.value_end),
            Some(text) => self.apart(text),
        };
        self.bind(cur, Binding { prefix, ns })?;
        if attr.name.colon == 0 {
            self.default = self.bindings.len() as u32;
        }
        Ok(())
    }

    fn apart(&mut self, text: Box<str>) -> BoundTo {
        self.apart.push(text);
        BoundTo::Apart(self.apart.len() as u32 - 1)
    }

    fn bind(&mut self, cur: &Cursor<'_>, binding: Binding) -> Result<(), XmlError> {
        if self.bindings.len() >= usize::from(cur.limits.namespaces) {
            return Err(Limit::Namespaces.into());
        }
        self.bindings.push(binding);
        Ok(())
    }

    fn prefix(&self, name: NameAt) -> (u32, u32) {
        (name.start, name.colon)
    }

    fn lookup(&self, cur: &Cursor<'_>, prefix: (u32, u32)) -> Result<Scope, XmlError> {
        let want = self.slice(prefix);
        if want == b"xml" {
            return Ok(Scope::Xml);
        }
        match self.bindings.iter().rposition(|binding| self.slice(binding.prefix) == want) {
            Some(index) => Ok(Scope::Binding(index)),
            None if cur.root.lookup(want).is_some() => Ok(Scope::Root),
            None => Err(Fault::UndeclaredPrefix.into()),
        }
    }

    fn ns_at(&self, index: usize) -> NsAt {
        match self.bindings.get(index).map(|binding| binding.ns) {
            Some(BoundTo::At(from, to)) => NsAt::At(from, to),
            Some(BoundTo::Apart(at)) => {
                NsAt::Apart(self.apart.get(at as usize).cloned().unwrap_or_default())
            }
            None => NsAt::Content,
        }
    }

    fn ns_of(&self, index: usize) -> &[u8] {
        match self.bindings.get(index).map(|binding| &binding.ns) {
            Some(BoundTo::At(from, to)) => self.slice((*from, *to)),
            Some(BoundTo::Apart(at)) => self.apart.get(*at as usize).map_or(b"", |t| t.as_bytes()),
            None => b"",
        }
    }

    /// The namespace of a header or first-level element.
    fn head_ns(&self, cur: &Cursor<'_>, name: NameAt) -> Result<NsAt, XmlError> {
        let scope = match (name.colon, self.default) {
            (0, 0) => Scope::Root,
            (0, default) => Scope::Binding(default as usize - 1),
            _ => self.lookup(cur, self.prefix(name))?,
        };
        let of_root = match scope {
            Scope::Binding(index) => return Ok(self.ns_at(index)),
            Scope::Xml => ns::XML,
            Scope::Root if name.colon == 0 => cur.root.default_ns(),
            Scope::Root => cur.root.lookup(self.slice(self.prefix(name))).unwrap_or_default(),
        };
        let content = self.kind != Kind::Header && of_root == cur.root.content();
        Ok(if content { NsAt::Content } else { NsAt::Apart(of_root.into()) })
    }

    /// The namespace of an element inside a first-level element, declared in it if it must be.
    fn inner_ns(&mut self, cur: &mut Cursor<'_>, name: NameAt) -> Result<Resolved, XmlError> {
        if name.colon == 0 {
            if self.default > self.outer {
                return Ok(Resolved::Binding(self.default as usize - 1));
            }
            if self.head.as_ref().is_none_or(|head| head.plain) {
                return Ok(Resolved::Content);
            }
            let ns: SmallVec<[u8; 64]> = match self.default {
                0 => cur.root.default_ns().as_bytes().into(),
                default => self.ns_of(default as usize - 1).into(),
            };
            let index = self.insert(cur, (0, 0), &ns)?;
            self.default = index as u32 + 1;
            return Ok(Resolved::Binding(index));
        }
        match self.inner_prefix(cur, self.prefix(name))? {
            Scope::Binding(index) => Ok(Resolved::Binding(index)),
            Scope::Root | Scope::Xml => Ok(Resolved::Xml),
        }
    }

    /// Resolves a prefix, and declares it here if its declaration is outside of the content.
    fn inner_prefix(&mut self, cur: &Cursor<'_>, prefix: (u32, u32)) -> Result<Scope, XmlError> {
        let scope = self.lookup(cur, prefix)?;
        let ns: SmallVec<[u8; 64]> = match scope {
            Scope::Xml => return Ok(scope),
            Scope::Binding(index) if index >= self.outer as usize => return Ok(scope),
            Scope::Binding(index) => self.ns_of(index).into(),
            Scope::Root => {
                cur.root.lookup(self.slice(prefix)).unwrap_or_default().as_bytes().into()
            }
        };
        self.insert(cur, prefix, &ns).map(Scope::Binding)
    }

    /// Writes a declaration at the end of the tag.
    fn insert(
        &mut self,
        cur: &Cursor<'_>,
        prefix: (u32, u32),
        ns: &[u8],
    ) -> Result<usize, XmlError> {
        let name: SmallVec<[u8; 32]> = self.slice(prefix).into();
        let text = std::str::from_utf8(ns).unwrap_or_default();
        self.out.extend_from_slice(b" xmlns");
        if !name.is_empty() {
            self.out.push(b':');
            self.out.extend_from_slice(&name);
        }
        self.out.extend_from_slice(b"='");
        let start = self.out.len();
        escape::push_value(&mut self.out, text);
        let end = self.out.len();
        self.out.push(b'\'');
        // One long name, used again and again, could make much out of little.
        grown(self.out.len(), cur)?;
        let ns = match end - start == ns.len() {
            true => BoundTo::At(start as u32, end as u32),
            false => self.apart(text.into()),
        };
        self.bind(cur, Binding { prefix, ns })?;
        Ok(self.bindings.len() - 1)
    }

    /// Resolves the prefixes of attributes.
    fn inner_attrs(&mut self, cur: &Cursor<'_>) -> Result<(), XmlError> {
        for index in 0..self.attrs.len() {
            let Some(&attr) = self.attrs.get(index) else { break };
            if attr.name.colon != 0 && !attr.declares {
                self.inner_prefix(cur, self.prefix(attr.name))?;
            }
        }
        self.distinct_in_scope(cur)
    }

    /// No two attributes may have one local name in one namespace (Namespaces in XML 1.0 §6.3).
    /// Prefixes are resolved.
    fn distinct_in_scope(&self, cur: &Cursor<'_>) -> Result<(), XmlError> {
        let prefixed = |attr: &&RawAttr| attr.name.colon != 0 && !attr.declares;
        for (index, attr) in self.attrs.iter().enumerate().filter(|(_, attr)| prefixed(attr)) {
            for other in self.attrs.iter().take(index).filter(prefixed) {
                if self.slice(other.name.local()) == self.slice(attr.name.local())
                    && self.attr_ns(cur, other)? == self.attr_ns(cur, attr)?
                {
                    return Err(Fault::DuplicateAttribute.into());
                }
            }
        }
        Ok(())
    }

    fn attr_ns<'a>(&'a self, cur: &'a Cursor<'_>, attr: &RawAttr) -> Result<&'a [u8], XmlError> {
        let prefix = self.prefix(attr.name);
        Ok(match self.lookup(cur, prefix)? {
            Scope::Binding(index) => self.ns_of(index),
            Scope::Root => cur.root.lookup(self.slice(prefix)).unwrap_or_default().as_bytes(),
            Scope::Xml => ns::XML.as_bytes(),
        })
    }
}
