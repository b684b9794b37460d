//! Writes XML that is well-formed by construction.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Node, escape};
use crate::ns;

/// Writes elements one after the other, to stand under a root whose default namespace is
/// `jabber:client`.
///
/// Names are of the program and taken as they are; values and text may be anyone's and are escaped,
/// with characters that XML forbids replaced. What is begun is ended.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    open: SmallVec<[Open; 6]>,
    /// Whether the last start tag can still take attributes.
    in_tag: bool,
}

/// A buffer begins at this size, which most elements that a server adds fit in.
const FIRST_BYTES: usize = 128;

/// An open element; positions in `out`.
#[derive(Debug, Clone, Copy)]
struct Open {
    name: (usize, usize),
    /// The default namespace, escaped; (0, 0) if it is that of the root.
    ns: (usize, usize),
}

impl Writer {
    /// A writer with nothing in it.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes), ..Writer::default() }
    }

    /// Begins an element in the namespace of the one around it.
    pub fn start(&mut self, name: &'static str) -> &mut Writer {
        self.begin(name, None);
        self
    }

    /// Begins an element in a namespace, declared if it is not in force already.
    pub fn start_ns(&mut self, name: &'static str, ns: &str) -> &mut Writer {
        self.begin(name, Some(ns));
        self
    }

    pub(super) fn begin(&mut self, name: &str, ns: Option<&str>) {
        if self.out.capacity() == 0 {
            self.out.reserve_exact(FIRST_BYTES);
        }
        self.close_tag();
        self.out.push(b'<');
        let start = self.out.len();
        self.out.extend_from_slice(name.as_bytes());
        let name = (start, self.out.len());
        let around = self.open.last().map_or((0, 0), |open| open.ns);
        let ns = match ns {
            Some(ns) if !self.is_in_force(around, ns) => {
                self.out.extend_from_slice(b" xmlns='");
                let start = self.out.len();
                escape::push_value(&mut self.out, ns);
                let end = self.out.len();
                self.out.push(b'\'');
                (start, end)
            }
            _ => around,
        };
        self.open.push(Open { name, ns });
        self.in_tag = true;
    }

    /// One that has to be escaped is never found to be in force, and declared again.
    fn is_in_force(&self, at: (usize, usize), ns: &str) -> bool {
        match at {
            (0, 0) => ns == ns::CLIENT,
            (start, end) => self.out.get(start..end) == Some(ns.as_bytes()),
        }
    }

    /// Adds an attribute to the element just begun. Each name once; after content it is a mistake
    /// of the program and left out.
    pub fn attr(&mut self, name: &'static str, value: &str) -> &mut Writer {
        self.put_attr(name, value);
        self
    }

    pub(super) fn put_attr(&mut self, name: &str, value: &str) {
        debug_assert!(self.in_tag, "attribute {name} after content");
        if self.in_tag {
            self.out.push(b' ');
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"='");
            escape::push_value(&mut self.out, value);
            self.out.push(b'\'');
        }
    }

    /// Adds an attribute if there is a value.
    pub fn attr_opt(&mut self, name: &'static str, value: Option<&str>) -> &mut Writer {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Writer {
        self.close_tag();
        escape::push_text(&mut self.out, text);
        self
    }

    /// Adds bytes that stand alone: those of a [`Body`](super::Body) or [`Child`](super::Child), or
    /// of another writer. Where an element of them is in `jabber:client` without saying so, the
    /// default namespace in force must be `jabber:client`.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Writer {
        self.close_tag();
        self.out.extend_from_slice(bytes);
        self
    }

    /// Adds a node of a tree with all that is in it.
    pub fn node(&mut self, node: Node<'_>) -> &mut Writer {
        node.write(self);
        self
    }

    /// Lets `write` append bytes that stand alone, as for [`raw`](Writer::raw).
    pub fn with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &mut Writer {
        self.close_tag();
        write(&mut self.out);
        self
    }

    /// Ends the element begun last.
    pub fn end(&mut self) -> &mut Writer {
        let Some(open) = self.open.pop() else {
            debug_assert!(false, "end without start");
            return self;
        };
        if self.in_tag {
            self.out.extend_from_slice(b"/>");
            self.in_tag = false;
        } else {
            self.out.extend_from_slice(b"</");
            self.out.extend_from_within(open.name.0..open.name.1);
            self.out.push(b'>');
        }
        self
    }

    /// An element with text and nothing else, in the namespace of the one around it.
    pub fn leaf(&mut self, name: &'static str, text: &str) -> &mut Writer {
        self.start(name).text(text).end()
    }

    /// An empty element in a namespace.
    pub fn empty(&mut self, name: &'static str, ns: &str) -> &mut Writer {
        self.start_ns(name, ns).end()
    }

    /// How many elements are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// What was written, open elements ended.
    pub fn finish(mut self) -> Bytes {
        while !self.open.is_empty() {
            self.end();
        }
        Bytes::from(self.out)
    }

    fn close_tag(&mut self) {
        if self.in_tag {
            self.out.push(b'>');
            self.in_tag = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(w: Writer) -> String {
        String::from_utf8(w.finish().to_vec()).unwrap()
    }

    #[test]
    fn ends_what_it_starts_and_escapes_what_it_is_given() {
        let mut w = Writer::new();
        w.start_ns("query", "jabber:iq:roster").attr("ver", "a'<&\"\n");
        w.start("item").attr_opt("name", None).attr_opt("jid", Some("a@b")).end();
        w.leaf("group", "A & <B>").start("open").text("x");
        assert_eq!(
            text(w),
            "<query xmlns='jabber:iq:roster' ver='a&apos;&lt;&amp;&quot;&#10;'><item jid='a@b'/>\
             <group>A &amp; &lt;B&gt;</group><open>x</open></query>"
        );
    }

    #[test]
    fn declares_a_namespace_where_it_changes() {
        let mut w = Writer::new();
        w.start_ns("body", ns::CLIENT).end();
        w.start_ns("a", "urn:a").start_ns("b", "urn:a").end().start_ns("c", ns::CLIENT).start("d");
        w.end().end().empty("e", "urn:a").end().start("f");
        assert_eq!(
            text(w),
            "<body/><a xmlns='urn:a'><b/><c xmlns='jabber:client'><d/></c><e/></a><f/>"
        );
    }
}
