//! Why a stream's XML was refused, and the stream error that says so.

use std::fmt;

use crate::error::StreamCondition;

/// Why the reader stopped. The stream is closed after it; nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlError {
    /// Breaks XML 1.0 or Namespaces in XML 1.0 (RFC 6120 §11.3).
    NotWellFormed(Fault),
    /// Well-formed, but RFC 6120 §11.1 forbids it.
    Restricted(Restricted),
    /// The stream element is none that XMPP knows (§4.9.3.1).
    BadFormat,
    /// The stream element has no prefix but needs one (§4.9.3.2).
    BadNamespacePrefix,
    /// The stream element is in another namespace (§4.9.3.10).
    InvalidNamespace,
    /// Not UTF-8 by its own words (§11.6).
    UnsupportedEncoding,
    /// More than [`crate::limits::ReadLimits`] allow.
    Limit(Limit),
}

/// What is not well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A byte that the grammar does not allow here.
    Syntax,
    /// Bytes that are not UTF-8, or a character that XML forbids.
    Character,
    /// A character reference to no character of XML.
    Reference,
    /// An end tag that does not match its start tag.
    EndTag,
    /// Two attributes of one name.
    DuplicateAttribute,
    /// A prefix that is not declared.
    UndeclaredPrefix,
    /// A declaration that Namespaces in XML forbids: an empty one for a prefix, or one that touches
    /// `xml` or `xmlns`.
    Declaration,
    /// Text outside of every first-level element.
    StrayText,
    /// An element of the streams namespace inside a first-level element (security case 16).
    NestedStream,
    /// Input after the end of the stream.
    AfterEnd,
}

/// What RFC 6120 §11.1 forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    /// `<!-- -->`
    Comment,
    /// `<? ?>`, or an XML declaration that is not at the start.
    ProcessingInstruction,
    /// `<!DOCTYPE` and what belongs to it.
    Dtd,
    /// A reference to an entity other than the five of XML.
    Entity,
}

/// Which limit was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the stream header.
    HeaderBytes,
    /// Bytes of one element.
    ElementBytes,
    /// Elements inside each other.
    Depth,
    /// Attributes of one start tag.
    Attributes,
    /// Elements in one first-level element.
    Elements,
    /// Namespace declarations in scope.
    Namespaces,
}

impl XmlError {
    /// The condition of the stream error that answers it.
    pub const fn condition(self) -> StreamCondition {
        match self {
            XmlError::NotWellFormed(_) => StreamCondition::NotWellFormed,
            XmlError::Restricted(_) => StreamCondition::RestrictedXml,
            XmlError::BadFormat => StreamCondition::BadFormat,
            XmlError::BadNamespacePrefix => StreamCondition::BadNamespacePrefix,
            XmlError::InvalidNamespace => StreamCondition::InvalidNamespace,
            XmlError::UnsupportedEncoding => StreamCondition::UnsupportedEncoding,
            XmlError::Limit(_) => StreamCondition::PolicyViolation,
        }
    }
}

impl From<Fault> for XmlError {
    fn from(fault: Fault) -> XmlError {
        XmlError::NotWellFormed(fault)
    }
}

impl From<Restricted> for XmlError {
    fn from(what: Restricted) -> XmlError {
        XmlError::Restricted(what)
    }
}

impl From<Limit> for XmlError {
    fn from(limit: Limit) -> XmlError {
        XmlError::Limit(limit)
    }
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            XmlError::NotWellFormed(Fault::Syntax) => "a byte that does not belong here",
            XmlError::NotWellFormed(Fault::Character) => "a character that XML forbids",
            XmlError::NotWellFormed(Fault::Reference) => "a reference to no character",
            XmlError::NotWellFormed(Fault::EndTag) => "an end tag that does not match",
            XmlError::NotWellFormed(Fault::DuplicateAttribute) => "an attribute given twice",
            XmlError::NotWellFormed(Fault::UndeclaredPrefix) => "a prefix that is not declared",
            XmlError::NotWellFormed(Fault::Declaration) => "a forbidden namespace declaration",
            XmlError::NotWellFormed(Fault::StrayText) => "text outside of a stanza",
            XmlError::NotWellFormed(Fault::NestedStream) => "a stream inside a stanza",
            XmlError::NotWellFormed(Fault::AfterEnd) => "bytes after the end of the stream",
            XmlError::Restricted(Restricted::Comment) => "a comment",
            XmlError::Restricted(Restricted::ProcessingInstruction) => "a processing instruction",
            XmlError::Restricted(Restricted::Dtd) => "a document type",
            XmlError::Restricted(Restricted::Entity) => "an entity that XML does not define",
            XmlError::BadFormat => "not a stream",
            XmlError::BadNamespacePrefix => "a stream element without its prefix",
            XmlError::InvalidNamespace => "a stream in an unknown namespace",
            XmlError::UnsupportedEncoding => "an encoding other than UTF-8",
            XmlError::Limit(Limit::HeaderBytes) => "a stream header that is too large",
            XmlError::Limit(Limit::ElementBytes) => "a stanza that is too large",
            XmlError::Limit(Limit::Depth) => "elements nested too deeply",
            XmlError::Limit(Limit::Attributes) => "too many attributes on one element",
            XmlError::Limit(Limit::Elements) => "too many elements in one stanza",
            XmlError::Limit(Limit::Namespaces) => "too many namespace declarations",
        };
        write!(f, "{what} ({})", self.condition().name())
    }
}

impl std::error::Error for XmlError {}
