//! Content as a tree, for the handlers that read it: one arena, no recursion, read by quick-xml.

use std::fmt;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use smallvec::SmallVec;

use super::error::{Fault, Limit, Restricted, XmlError};
use super::{Writer, escape};
use crate::limits::ReadLimits;
use crate::ns;

/// A parsed piece of XML with entities and namespaces resolved.
#[derive(Clone)]
pub struct Tree {
    /// All strings.
    text: String,
    /// In document order; the first is the place that the others are in. A node is followed by what
    /// it contains.
    nodes: Vec<NodeAt>,
    attrs: Vec<AttrAt>,
}

type Range = (u32, u32);

#[derive(Debug, Clone, Copy, Default)]
struct NodeAt {
    /// Empty for text.
    name: Range,
    /// The namespace, or the text itself.
    value: Range,
    attrs: Range,
    /// The node after this one and all that it contains.
    end: u32,
}

#[derive(Debug, Clone, Copy)]
struct AttrAt {
    /// As it was written, with its prefix.
    name: Range,
    ns: Range,
    value: Range,
}

/// An element, or text, of a [`Tree`].
#[derive(Clone, Copy)]
pub struct Node<'a> {
    tree: &'a Tree,
    index: usize,
}

impl Tree {
    /// Reads bytes that a [`Body`](super::Body) or [`Child`](super::Child) has: checked, and
    /// standing alone.
    ///
    /// # Errors
    /// For other bytes, what is wrong with them as far as a reader has to notice; and more than
    /// [`OWN`](ReadLimits::OWN) limits allow.
    pub fn parse(xml: &[u8]) -> Result<Tree, XmlError> {
        if xml.len() > ReadLimits::OWN.element_bytes as usize {
            return Err(Limit::ElementBytes.into());
        }
        let xml = std::str::from_utf8(xml).map_err(|_| Fault::Character)?;
        Builder::new(xml.len()).read(xml)
    }

    /// The first element; in a tree without elements the place where it would be, which has no
    /// name.
    pub fn root(&self) -> Node<'_> {
        let top = self.top();
        top.children().next().unwrap_or(top)
    }

    /// The nameless place that the elements and text of a body are in.
    pub fn top(&self) -> Node<'_> {
        Node { tree: self, index: 0 }
    }

    fn str(&self, range: Range) -> &str {
        self.text.get(range.0 as usize..range.1 as usize).unwrap_or_default()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::new();
        for node in self.top().all() {
            node.write(&mut writer);
        }
        f.write_str(&String::from_utf8_lossy(&writer.finish()))
    }
}

impl<'a> Node<'a> {
    fn at(self) -> NodeAt {
        self.tree.nodes.get(self.index).copied().unwrap_or_default()
    }

    /// Whether it is text, not an element.
    pub fn is_text(self) -> bool {
        self.index > 0 && self.at().name == (0, 0)
    }

    /// The local name; empty for text.
    pub fn name(self) -> &'a str {
        self.tree.str(self.at().name)
    }

    /// The namespace; empty for text.
    pub fn ns(self) -> &'a str {
        if self.is_text() { "" } else { self.tree.str(self.at().value) }
    }

    /// Whether it is an element of this name and namespace.
    pub fn is(self, name: &str, ns: &str) -> bool {
        self.name() == name && self.ns() == ns
    }

    /// The value of an attribute by the name as it was written: `to`, `xml:lang`.
    pub fn attr(self, name: &str) -> Option<&'a str> {
        self.attrs().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The attributes but namespace declarations, names as they were written.
    pub fn attrs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let tree = self.tree;
        self.raw_attrs().iter().map(move |attr| (tree.str(attr.name), tree.str(attr.value)))
    }

    fn raw_attrs(self) -> &'a [AttrAt] {
        let (from, to) = self.at().attrs;
        self.tree.attrs.get(from as usize..to as usize).unwrap_or_default()
    }

    /// The attributes with the namespace of each (empty where it has no prefix) and the local name.
    pub fn attrs_ns(self) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        let tree = self.tree;
        self.raw_attrs().iter().map(move |attr| {
            let name = tree.str(attr.name);
            let local = name.split_once(':').map_or(name, |(_, local)| local);
            (tree.str(attr.ns), local, tree.str(attr.value))
        })
    }

    /// The child elements.
    pub fn children(self) -> impl Iterator<Item = Node<'a>> + Clone {
        self.all().filter(|node| !node.is_text())
    }

    /// Child elements and text, in order.
    pub fn all(self) -> impl Iterator<Item = Node<'a>> + Clone {
        let (tree, end) = (self.tree, self.at().end as usize);
        let first = Some(self.index + 1).filter(|next| *next < end);
        let next = move |index: &usize| {
            let next = tree.nodes.get(*index)?.end as usize;
            (next < end).then_some(next)
        };
        std::iter::successors(first, next).map(move |index| Node { tree, index })
    }

    /// The first child of that name and namespace.
    pub fn child(self, name: &str, ns: &str) -> Option<Node<'a>> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The text of the first child of that name and namespace.
    pub fn child_text(self, name: &str, ns: &str) -> Option<String> {
        self.child(name, ns).map(Node::text)
    }

    /// The text directly in this element, or of this text.
    pub fn text(self) -> String {
        if self.is_text() {
            return self.tree.str(self.at().value).to_owned();
        }
        self.all()
            .filter(|node| node.is_text())
            .map(|node| node.tree.str(node.at().value))
            .collect()
    }

    /// Writes it with all that is in it; of the nameless top, what is in it.
    pub fn write(self, out: &mut Writer) {
        let end = if self.is_text() { self.index + 1 } else { self.at().end as usize };
        let mut open: SmallVec<[u32; 8]> = SmallVec::new();
        for index in self.index..end {
            while open.last().is_some_and(|end| index >= *end as usize) {
                open.pop();
                out.end();
            }
            let node = Node { tree: self.tree, index };
            if node.is_text() {
                out.text(self.tree.str(node.at().value));
            } else if index > 0 {
                out.begin(node.name(), Some(node.ns()));
                node.write_attrs(out);
                open.push(node.at().end);
            }
        }
        for _ in open {
            out.end();
        }
    }

    /// A prefix that was declared further out is declared again: it may have been declared outside
    /// of what is written.
    fn write_attrs(self, out: &mut Writer) {
        let mut declared: SmallVec<[&str; 4]> = SmallVec::new();
        for attr in self.raw_attrs() {
            let name = self.tree.str(attr.name);
            if let Some((prefix, _)) = name.split_once(':')
                && prefix != "xml"
                && !declared.contains(&prefix)
            {
                out.put_attr(&format!("xmlns:{prefix}"), self.tree.str(attr.ns));
                declared.push(prefix);
            }
            out.put_attr(name, self.tree.str(attr.value));
        }
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::new();
        self.write(&mut writer);
        f.write_str(&String::from_utf8_lossy(&writer.finish()))
    }
}

/// Builds a tree from events.
struct Builder {
    tree: Tree,
    /// The open nodes.
    open: SmallVec<[u32; 8]>,
    /// The namespace declarations in scope: prefix, name, and the depth they were made at.
    bindings: SmallVec<[(Range, Range, usize); 8]>,
    /// Whether the last node is text that goes on.
    in_text: bool,
}

impl Builder {
    fn new(len: usize) -> Builder {
        let text = String::with_capacity(len.max(64));
        let nodes = vec![NodeAt::default()];
        let tree = Tree { text, nodes, attrs: Vec::new() };
        let mut builder = Builder {
            tree,
            open: SmallVec::from_slice(&[0]),
            bindings: SmallVec::new(),
            in_text: false,
        };
        let client = builder.string(ns::CLIENT);
        builder.bindings.push(((0, 0), client, 0));
        builder
    }

    fn read(mut self, xml: &str) -> Result<Tree, XmlError> {
        let mut reader = Reader::from_str(xml);
        reader.config_mut().check_end_names = true;
        loop {
            let event = reader.read_event().map_err(|error| match error {
                quick_xml::Error::IllFormed(_) => Fault::EndTag,
                _ => Fault::Syntax,
            })?;
            match event {
                Event::Start(tag) => self.start(&tag)?,
                Event::Empty(tag) => {
                    self.start(&tag)?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.text(&text.xml10_content()),
                Event::CData(text) => self.text(&text.xml10_content()),
                Event::GeneralRef(name) => match escape::reference(&name) {
                    Some(c) => self.text(c.encode_utf8(&mut [0; 4])),
                    None if name.is_char_ref() => return Err(Fault::Reference.into()),
                    None => return Err(Restricted::Entity.into()),
                },
                Event::Comment(_) => return Err(Restricted::Comment.into()),
                Event::Decl(_) | Event::PI(_) => {
                    return Err(Restricted::ProcessingInstruction.into());
                }
                Event::DocType(_) => return Err(Restricted::Dtd.into()),
                Event::Eof => break,
            }
        }
        if self.open.len() != 1 {
            return Err(Fault::EndTag.into());
        }
        self.end()?;
        Ok(self.tree)
    }

    fn string(&mut self, text: &str) -> Range {
        let from = self.tree.text.len() as u32;
        self.tree.text.push_str(text);
        (from, self.tree.text.len() as u32)
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let value = self.string(text);
        match self.tree.nodes.last_mut() {
            // Pieces follow each other in the arena too.
            Some(last) if self.in_text => last.value.1 = value.1,
            _ => {
                let end = self.tree.nodes.len() as u32 + 1;
                self.tree.nodes.push(NodeAt { value, end, ..NodeAt::default() });
            }
        }
        self.in_text = true;
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), XmlError> {
        self.in_text = false;
        let limits = ReadLimits::OWN;
        if self.tree.nodes.len() > limits.elements as usize * 2 {
            return Err(Limit::Elements.into());
        }
        if self.open.len() > usize::from(limits.depth) {
            return Err(Limit::Depth.into());
        }
        let from = self.tree.attrs.len() as u32;
        for attr in tag.attributes() {
            let attr = attr.map_err(|_| Fault::DuplicateAttribute)?;
            let value = attr.normalized_value(XmlVersion::Implicit1_0);
            let value = self.string(&value.map_err(|_| Restricted::Entity)?);
            let name = self.string(attr.key.as_ref());
            let (prefix, local) = split(name, attr.key.as_ref());
            match self.tree.str(prefix) {
                "xmlns" => self.bindings.push((local, value, self.open.len())),
                "" if attr.key.as_ref() == "xmlns" => {
                    self.bindings.push(((0, 0), value, self.open.len()));
                }
                _ => self.tree.attrs.push(AttrAt { name, ns: prefix, value }),
            }
        }
        if self.tree.attrs.len() - from as usize > usize::from(limits.attributes) {
            return Err(Limit::Attributes.into());
        }
        if self.bindings.len() > usize::from(limits.namespaces) {
            return Err(Limit::Namespaces.into());
        }
        let name = self.string(tag.name().as_ref());
        let (prefix, local) = split(name, tag.name().as_ref());
        let value = self.lookup(prefix)?;
        for index in from as usize..self.tree.attrs.len() {
            let prefix = self.tree.attrs.get(index).map_or((0, 0), |attr| attr.ns);
            let ns = if prefix == (0, 0) { (0, 0) } else { self.lookup(prefix)? };
            if let Some(attr) = self.tree.attrs.get_mut(index) {
                attr.ns = ns;
            }
        }
        let attrs = (from, self.tree.attrs.len() as u32);
        self.open.push(self.tree.nodes.len() as u32);
        self.tree.nodes.push(NodeAt { name: local, value, attrs, end: 0 });
        Ok(())
    }

    fn lookup(&mut self, prefix: Range) -> Result<Range, XmlError> {
        let want = self.tree.str(prefix);
        if want == "xml" {
            return Ok(self.string(ns::XML));
        }
        let found = self.bindings.iter().rev().find(|(p, _, _)| self.tree.str(*p) == want);
        Ok(found.ok_or(Fault::UndeclaredPrefix)?.1)
    }

    fn end(&mut self) -> Result<(), XmlError> {
        self.in_text = false;
        let end = self.tree.nodes.len() as u32;
        let node = self.open.pop().and_then(|index| self.tree.nodes.get_mut(index as usize));
        node.ok_or(Fault::EndTag)?.end = end;
        while self.bindings.last().is_some_and(|(_, _, depth)| *depth >= self.open.len().max(1)) {
            self.bindings.pop();
        }
        Ok(())
    }
}

/// The prefix and the local part of a name at a place in the arena; no prefix is (0, 0).
fn split(at: Range, name: &str) -> (Range, Range) {
    match name.find(':') {
        Some(colon) => ((at.0, at.0 + colon as u32), (at.0 + colon as u32 + 1, at.1)),
        None => ((0, 0), at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_attributes_text_and_children() {
        let xml = b"<q xmlns='urn:q' xmlns:p='urn:p' a='1&amp;2' p:b='&#x41;' xml:lang='de'>\
                    a &lt;b&gt; <![CDATA[<c>]]><p:x/><y xmlns=''><z/></y>d</q>";
        let tree = Tree::parse(xml).unwrap();
        let q = tree.root();
        assert!(q.is("q", "urn:q"));
        assert_eq!(q.attr("a"), Some("1&2"));
        assert_eq!(q.attr("p:b"), Some("A"));
        assert_eq!(q.attr("xml:lang"), Some("de"));
        assert_eq!(q.attr("xmlns"), None);
        assert_eq!(q.attrs_ns().nth(1), Some(("urn:p", "b", "A")));
        assert_eq!(q.text(), "a <b> <c>d");
        let names: Vec<_> = q.children().map(|c| (c.name(), c.ns())).collect();
        assert_eq!(names, [("x", "urn:p"), ("y", "")]);
        assert!(q.child("y", "").unwrap().child("z", "").is_some());
        assert!(q.child("x", "urn:q").is_none());
        assert_eq!(q.child_text("x", "urn:p").as_deref(), Some(""));
    }

    #[test]
    fn is_written_back_with_the_same_meaning() {
        let xml =
            b"t<p:q xmlns:p='urn:p' p:a='1'><body>x&amp;</body><p:r xml:lang='x'/></p:q><b/>u";
        let once = format!("{:?}", Tree::parse(xml).unwrap());
        assert_eq!(
            once,
            "t<q xmlns='urn:p' xmlns:p='urn:p' p:a='1'><body xmlns='jabber:client'>x&amp;</body>\
             <r xml:lang='x'/></q><b/>u"
        );
        assert_eq!(format!("{:?}", Tree::parse(once.as_bytes()).unwrap()), once);
    }

    #[test]
    fn scopes_end_with_their_element() {
        let tree = Tree::parse(b"<a xmlns='urn:a'><b xmlns='urn:b'/><c/></a><d/>").unwrap();
        let all: Vec<_> = tree.top().children().map(|c| (c.name(), c.ns())).collect();
        assert_eq!(all, [("a", "urn:a"), ("d", "jabber:client")]);
        assert!(tree.root().child("c", "urn:a").is_some());
        assert!(Tree::parse(b"<a><b xmlns:p='urn:p'/><p:c/></a>").is_err());
    }

    #[test]
    fn refuses_what_is_no_content() {
        for xml in [
            &b"<a>"[..],
            b"</a>",
            b"<a></b>",
            b"<p:a/>",
            b"<!--x-->",
            b"<?x?>",
            b"<!DOCTYPE a>",
            b"&x;",
            b"<a b='&x;'/>",
            b"&#0;",
            b"<a b='1' b='2'/>",
            b"\xff",
            b"<a",
        ] {
            assert!(Tree::parse(xml).is_err(), "{}", String::from_utf8_lossy(xml));
        }
        let deep = "<a>".repeat(81) + &"</a>".repeat(81);
        assert_eq!(Tree::parse(deep.as_bytes()).unwrap_err(), Limit::Depth.into());
        let deep = "<a>".repeat(80) + &"</a>".repeat(80);
        assert!(Tree::parse(deep.as_bytes()).is_ok());
        assert_eq!(Tree::parse(b"").unwrap().root().name(), "");
    }
}
