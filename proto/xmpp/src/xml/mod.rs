//! XML as XMPP restricts it (RFC 6120 §11): the stream reader that checks all that is forwarded,
//! raw elements, trees for handlers, and the writer.
//!
//! The reader makes one pass of its own over what peers send. What it lets through is well-formed
//! with namespaces resolved, is UTF-8, and has nothing that RFC 6120 forbids, so later stages carry
//! the bytes as they are; quick-xml reads content where a handler wants it.

mod body;
mod chars;
mod element;
mod error;
mod escape;
mod names;
mod reader;
mod root;
mod scan;
mod stored;
mod tag;
mod tree;
mod writer;

pub use body::{Body, Child, Damaged};
pub use element::{Element, Item, StreamHeader};
pub use error::{Fault, Limit, Restricted, XmlError};
pub use escape::{push_text, push_value, unescape};
pub use reader::Reader;
pub use tree::{Node, Tree};
pub use writer::Writer;
