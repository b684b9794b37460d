//! What the reader gives: stream headers and first-level elements.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Body;
use super::body::{Inner, NsAt};
use crate::text::Text;

/// What one call of the reader completed.
#[derive(Debug, Clone)]
pub enum Item {
    /// The start tag of the stream.
    Open(StreamHeader),
    /// A first-level element.
    Element(Element),
    /// The end tag of the stream. Nothing may follow.
    Close,
}

/// The start tag of a stream (RFC 6120 §4.7). Addresses are as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamHeader {
    /// The content namespace: the default namespace, or what a prefix names if the default is none
    /// that XMPP knows (§4.8.3). `None` if neither is.
    pub content_ns: Option<&'static str>,
    /// Whom the sender wants to talk to.
    pub to: Option<Text>,
    /// Who the sender says it is.
    pub from: Option<Text>,
    /// The id of the stream.
    pub id: Option<Text>,
    /// The version of XMPP, unread.
    pub version: Option<Text>,
    /// The default language of the stream, at most [`LANG_BYTES`](crate::limits::LANG_BYTES) or
    /// dropped.
    pub lang: Option<Text>,
}

/// A complete first-level element: a stanza, or what negotiation says.
#[derive(Clone)]
pub struct Element {
    pub(super) inner: Arc<Inner>,
    pub(super) name: (u32, u32),
    pub(super) ns: NsAt,
    /// The content namespace of the stream that it was read from.
    pub(super) content_ns: &'static str,
    pub(super) attrs: SmallVec<[AttrAt; 6]>,
}

/// Where an attribute is; positions in the buffer. The value has its references resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttrAt {
    pub(super) name: (u32, u32),
    pub(super) value: (u32, u32),
}

impl Element {
    /// The local name.
    pub fn name(&self) -> &str {
        self.inner.str(self.name.0, self.name.1)
    }

    /// The namespace.
    pub fn ns(&self) -> &str {
        match &self.ns {
            NsAt::Content => self.content_ns,
            ns => std::str::from_utf8(self.inner.ns(ns)).unwrap_or_default(),
        }
    }

    /// Whether it has this name and namespace.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.inner.slice(self.name.0, self.name.1) == name.as_bytes() && self.ns() == ns
    }

    /// The value of an attribute by the name as it was written: `to`, `xml:lang`.
    pub fn attr(&self, name: &str) -> Option<&str> {
        let found = |attr: &&AttrAt| self.inner.slice(attr.name.0, attr.name.1) == name.as_bytes();
        let attr = self.attrs.iter().find(found)?;
        Some(self.inner.str(attr.value.0, attr.value.1))
    }

    /// All attributes but namespace declarations, names as they were written.
    pub fn attrs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.attrs.iter().map(|attr| {
            (self.inner.str(attr.name.0, attr.name.1), self.inner.str(attr.value.0, attr.value.1))
        })
    }

    /// The content; a clone of it counts a reference.
    pub fn body(&self) -> Body {
        Body::of(Arc::clone(&self.inner))
    }

    /// The content, the rest dropped.
    pub fn into_body(self) -> Body {
        Body::of(self.inner)
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Element({{{}}}{}", self.ns(), self.name())?;
        for (name, value) in self.attrs() {
            write!(f, " {name}={value:?}")?;
        }
        write!(f, " {:?})", self.body())
    }
}
