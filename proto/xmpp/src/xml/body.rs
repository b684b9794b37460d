//! The content of a first-level element: one copy of its bytes, and where each child is.
//!
//! A body stands alone: written under a root whose default namespace is the content namespace of
//! the stream (`jabber:client`) and that declares no prefix, it means what its sender wrote. The
//! default namespace is reported as `jabber:client` whichever stream it came from.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::Scan;
use super::{Tree, XmlError, escape, tag};
use crate::ns;

/// The content of an element. A clone counts a reference.
#[derive(Clone, Default)]
pub struct Body(Option<Arc<Inner>>);

/// The bytes of one first-level element without its end tag, and what was found in them.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) buf: Bytes,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) children: SmallVec<[ChildAt; 4]>,
}

/// Where a child is; positions in the buffer.
#[derive(Debug, Clone)]
pub(super) struct ChildAt {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) name: u32,
    pub(super) name_end: u32,
    pub(super) ns: NsAt,
}

/// A namespace name: where it is in the buffer, or what it is.
#[derive(Debug, Clone)]
pub(super) enum NsAt {
    /// The content namespace of the stream.
    Content,
    At(u32, u32),
    /// Written with references, or declared by the stream header.
    Apart(Box<str>),
}

/// Bytes that are no body: a stored row that was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stored index does not fit its bytes")
    }
}

impl std::error::Error for Damaged {}

impl Inner {
    pub(super) fn slice(&self, from: u32, to: u32) -> &[u8] {
        self.buf.get(from as usize..to as usize).unwrap_or_default()
    }

    pub(super) fn str(&self, from: u32, to: u32) -> &str {
        std::str::from_utf8(self.slice(from, to)).unwrap_or_default()
    }

    pub(super) fn ns<'a>(&'a self, ns: &'a NsAt) -> &'a [u8] {
        match ns {
            NsAt::Content => ns::CLIENT.as_bytes(),
            NsAt::At(from, to) => self.slice(*from, *to),
            NsAt::Apart(text) => text.as_bytes(),
        }
    }
}

impl Body {
    pub(super) fn of(inner: Arc<Inner>) -> Body {
        Body(if inner.start == inner.end { None } else { Some(inner) })
    }

    /// A body of bytes that are not trusted to be one: checked in full, with
    /// [`OWN`](crate::limits::ReadLimits::OWN) limits. Bytes that a [`Writer`](super::Writer) made
    /// pass.
    pub fn parse(content: &[u8]) -> Result<Body, XmlError> {
        if content.is_empty() {
            return Ok(Body(None));
        }
        Scan::content(content).map(|inner| Body::of(Arc::new(inner)))
    }

    /// The content, as it is written under a root in the content namespace.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |inner| inner.slice(inner.start, inner.end))
    }

    /// The same without a copy. It keeps the buffer of the whole stanza alive.
    pub fn to_bytes(&self) -> Bytes {
        self.0.as_ref().map_or_else(Bytes::new, |inner| {
            inner.buf.slice(inner.start as usize..inner.end as usize)
        })
    }

    /// Whether there is neither element nor text.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes the content has.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// The child elements, in order.
    pub fn children(&self) -> impl ExactSizeIterator<Item = Child<'_>> + Clone {
        let (inner, list) = match &self.0 {
            Some(inner) => (Some(inner), inner.children.as_slice()),
            None => (None, [].as_slice()),
        };
        // An empty body has no children, so the map is never without an inner.
        list.iter().map(move |at| Child { inner, at })
    }

    /// The first child of that name and namespace.
    pub fn child(&self, name: &str, ns: &str) -> Option<Child<'_>> {
        self.children().find(|child| child.is(name, ns))
    }

    /// Whether there is a child of that name and namespace.
    pub fn has_child(&self, name: &str, ns: &str) -> bool {
        self.child(name, ns).is_some()
    }

    /// The first child: what an IQ asks or answers (RFC 6120 §8.2.3).
    pub fn payload(&self) -> Option<Child<'_>> {
        self.children().next()
    }

    /// The text directly in this body, references resolved; that of children is left out.
    pub fn text(&self) -> Cow<'_, str> {
        let Some(inner) = &self.0 else { return Cow::Borrowed("") };
        if inner.children.is_empty() {
            return escape::unescape(inner.slice(inner.start, inner.end));
        }
        let mut text = String::new();
        let mut from = inner.start;
        for child in &inner.children {
            text.push_str(&escape::unescape(inner.slice(from, child.start)));
            from = child.end;
        }
        text.push_str(&escape::unescape(inner.slice(from, inner.end)));
        Cow::Owned(text)
    }

    /// This body without the children that `unwanted` names. Nothing is copied if none is.
    #[must_use]
    pub fn without(&self, mut unwanted: impl FnMut(Child<'_>) -> bool) -> Body {
        let Some(inner) = &self.0 else { return Body(None) };
        let cut: SmallVec<[bool; 16]> = self.children().map(&mut unwanted).collect();
        if !cut.contains(&true) {
            return self.clone();
        }
        let mut buf = Vec::with_capacity((inner.end - inner.start) as usize);
        let mut children = SmallVec::new();
        let mut from = inner.start;
        for (child, cut) in inner.children.iter().zip(cut) {
            buf.extend_from_slice(inner.slice(from, child.start));
            from = child.end;
            if !cut {
                children.push(child.moved(buf.len() as u32));
                buf.extend_from_slice(inner.slice(child.start, child.end));
            }
        }
        buf.extend_from_slice(inner.slice(from, inner.end));
        let end = buf.len() as u32;
        Body::of(Arc::new(Inner { buf: Bytes::from(buf), start: 0, end, children }))
    }

    /// The whole content as a tree.
    pub fn tree(&self) -> Result<Tree, XmlError> {
        Tree::parse(self.as_bytes())
    }

    pub(super) fn inner(&self) -> Option<&Inner> {
        self.0.as_deref()
    }
}

impl PartialEq for Body {
    /// By bytes: equal bodies can be written differently and count as different here.
    fn eq(&self, other: &Body) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Body {}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({})", String::from_utf8_lossy(self.as_bytes()))
    }
}

impl ChildAt {
    /// The same child where its `<` is at `start`. A namespace that the buffer has outside of the
    /// child cannot be: a child that stands alone declares its own.
    fn moved(&self, start: u32) -> ChildAt {
        let by = |at: u32| at - self.start + start;
        ChildAt {
            start,
            end: by(self.end),
            name: by(self.name),
            name_end: by(self.name_end),
            ns: match self.ns {
                NsAt::At(from, to) => NsAt::At(by(from), by(to)),
                ref other => other.clone(),
            },
        }
    }
}

/// A child element of a [`Body`].
#[derive(Clone, Copy)]
pub struct Child<'a> {
    inner: Option<&'a Arc<Inner>>,
    at: &'a ChildAt,
}

impl<'a> Child<'a> {
    fn slice(self, from: u32, to: u32) -> &'a [u8] {
        self.inner.map_or(&[], |inner| inner.slice(from, to))
    }

    /// The local name.
    pub fn name(self) -> &'a str {
        std::str::from_utf8(self.slice(self.at.name, self.at.name_end)).unwrap_or_default()
    }

    /// The namespace; the content namespace is `jabber:client`.
    pub fn ns(self) -> &'a str {
        let bytes = self.inner.map_or(&[][..], |inner| inner.ns(&self.at.ns));
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Whether it has this name and namespace.
    pub fn is(self, name: &str, ns: &str) -> bool {
        self.slice(self.at.name, self.at.name_end) == name.as_bytes() && self.is_in(ns)
    }

    /// Whether it is in this namespace.
    pub fn is_in(self, ns: &str) -> bool {
        self.inner.is_some_and(|inner| inner.ns(&self.at.ns) == ns.as_bytes())
    }

    /// The bytes of the element, which stand alone as the body does.
    pub fn as_bytes(self) -> &'a [u8] {
        self.slice(self.at.start, self.at.end)
    }

    /// The same without a copy. It keeps the buffer of the whole stanza alive.
    pub fn to_bytes(self) -> Bytes {
        self.inner.map_or_else(Bytes::new, |inner| {
            inner.buf.slice(self.at.start as usize..self.at.end as usize)
        })
    }

    /// The value of an attribute without prefix, references resolved, read from the start tag
    /// alone.
    pub fn attr(self, name: &str) -> Option<Cow<'a, str>> {
        tag::attr(self.as_bytes(), name.as_bytes())
    }

    /// The element and all that is in it.
    pub fn tree(self) -> Result<Tree, XmlError> {
        Tree::parse(self.as_bytes())
    }
}

impl fmt::Debug for Child<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Child({})", String::from_utf8_lossy(self.as_bytes()))
    }
}
