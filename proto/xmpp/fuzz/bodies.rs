//! What the fuzz targets do with their input. Tests replay the corpus through the same functions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rxml::Parse as _;
use xmpp::jid::Jid;
use xmpp::limits::ReadLimits;
use xmpp::stanza::{Stanza, StanzaFault};
use xmpp::xml::{Body, Element, Item, Node, Reader, Tree, XmlError};

/// The usual stream header, which the reader's input is put after.
pub(crate) const OPEN: &str = "<?xml version='1.0'?><stream:stream to='a.example' version='1.0' \
     xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// All that a reader makes of some bytes in pieces of a size.
pub(crate) fn read(
    mut reader: Reader,
    bytes: &[u8],
    piece: usize,
) -> (Vec<Item>, Option<XmlError>) {
    let mut items = Vec::new();
    for mut piece in bytes.chunks(piece.max(1)) {
        loop {
            match reader.read(&mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    (items, None)
}

/// The bytes as a whole stream, and as what follows a header: any cut gives the same, and what is
/// let through is read alike by others.
pub(crate) fn reader(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let limits = if choice & 1 == 0 { ReadLimits::AFTER_AUTH } else { ReadLimits::BEFORE_AUTH };
    let after_header = [OPEN.as_bytes(), bytes].concat();
    let whole = if choice & 2 == 0 { &after_header } else { bytes };
    let (items, error) = read(Reader::new(limits), whole, usize::MAX);
    for piece in [1, 2, 3, usize::from(*choice)] {
        let (again, same) = read(Reader::new(limits), whole, piece);
        assert_eq!((format!("{items:?}"), error), (format!("{again:?}"), same));
    }
    let ended = matches!(items.last(), Some(Item::Close));
    for item in &items {
        if let Item::Element(element) = item {
            forwarded(element);
        }
    }
    if ended && error.is_none() {
        same_as_sent(std::str::from_utf8(whole).expect("checked"), &items);
    }
}

/// A string as an address: what is accepted is stable.
pub(crate) fn jid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(jid) = Jid::parse(text) else { return };
    let again = Jid::parse(jid.as_str()).expect("what was accepted is accepted again");
    assert_eq!(jid, again);
    assert_eq!(jid.as_str(), again.as_str());
    for part in [jid.local(), Some(jid.domain()), jid.resource()].into_iter().flatten() {
        assert!(!part.is_empty() && part.len() <= 1023);
    }
    assert_eq!(jid.to_bare().as_str(), jid.bare_str());
}

/// What we write of an element is read by three readers to one tree, and its body stands alone.
fn forwarded(element: &Element) {
    let body = element.body();
    let tree = body.tree().expect("a checked body is read");
    let ours = canonical(tree.top());
    let again = Body::parse(body.as_bytes()).expect("a checked body is accepted again");
    assert_eq!(again, body);
    let mut row = Vec::new();
    body.encode(&mut row);
    let stored = Body::decode(row.into()).expect("a stored body is accepted");
    for other in [&again, &stored] {
        let names = |body: &Body| -> Vec<_> {
            body.children()
                .map(|c| (c.name().to_owned(), c.ns().to_owned(), c.to_bytes()))
                .collect()
        };
        assert_eq!(names(other), names(&body));
    }
    for (child, node) in body.children().zip(tree.top().children()) {
        assert_eq!((child.name(), child.ns()), (node.name(), node.ns()));
        assert_eq!(canonical(child.tree().expect("a child stands alone").root()), canonical(node));
        for (name, value) in node.attrs() {
            assert_eq!(child.attr(name).as_deref(), Some(value));
        }
    }
    let mut xml = b"<x xmlns='jabber:client'>".to_vec();
    xml.extend_from_slice(body.as_bytes());
    xml.extend_from_slice(b"</x>");
    let wrapped = format!("<{{jabber:client}}x>{ours}</>");
    assert_eq!(by_roxmltree(&xml), wrapped);
    assert_eq!(by_rxml(&xml), wrapped);
    // Written back from the tree it means the same.
    let written = format!("{tree:?}");
    let back = Tree::parse(written.as_bytes()).expect("what we write is read");
    assert_eq!(canonical(back.top()), ours);
    match Stanza::from_element(element.clone(), "jabber:client") {
        Ok(stanza) => {
            let mut xml = Vec::new();
            stanza.write_in(Some("jabber:client"), &mut xml);
            let theirs = by_roxmltree(&xml);
            assert_eq!(theirs, by_rxml(&xml));
            assert!(theirs.ends_with(&format!(">{ours}</>")), "{theirs}");
        }
        Err(StanzaFault::Refused(refusal)) => {
            if let Some(answer) = refusal.answer() {
                let mut xml = Vec::new();
                answer.write_in(Some("jabber:client"), &mut xml);
                assert_eq!(by_roxmltree(&xml), by_rxml(&xml));
            }
        }
        Err(StanzaFault::NoStanza(_)) => {}
    }
}

/// What the sender wrote, read by others, is what we took it for.
fn same_as_sent(sent: &str, items: &[Item]) {
    // Line ends as XML 1.0 §2.11 reads them: roxmltree keeps a carriage return before a reference.
    let sent = sent.trim_start_matches('\u{FEFF}').replace("\r\n", "\n").replace('\r', "\n");
    let document = roxmltree::Document::parse(&sent).expect("what we accept others accept");
    let sent = document.root_element().children().filter(roxmltree::Node::is_element);
    let ours = items.iter().filter_map(|item| match item {
        Item::Element(element) => Some(element),
        _ => None,
    });
    assert_eq!(sent.clone().count(), ours.clone().count());
    for (sent, ours) in sent.zip(ours) {
        let mut content = String::new();
        roxmltree_children(sent, &mut content);
        let body = ours.body();
        let tree = body.tree().expect("a checked body is read");
        let mine = canonical(tree.top());
        // Children in the content namespace of another kind of stream are ours of `jabber:client`.
        let header = document.root_element().default_namespace().unwrap_or_default();
        if header == "jabber:client" {
            assert_eq!(content, mine);
        }
        assert_eq!(sent.tag_name().name(), ours.name());
        assert_eq!(sent.tag_name().namespace().unwrap_or_default(), ours.ns());
        for (name, value) in ours.attrs().filter(|(name, _)| !name.contains(':')) {
            assert_eq!(sent.attribute(name), Some(value));
        }
    }
}

/// One way of writing a tree, whatever the prefixes and quotes were.
pub(crate) fn canonical(node: Node<'_>) -> String {
    let mut out = String::new();
    write_node(node, &mut out);
    out
}

fn write_node(node: Node<'_>, out: &mut String) {
    if node.is_text() {
        write!(out, "{:?}", node.text()).expect("a string takes all");
        return;
    }
    let top = node.name().is_empty();
    if !top {
        let attrs = node.attrs_ns().map(|(ns, name, value)| ((ns, name), value)).collect();
        open(node.ns(), node.name(), &attrs, out);
    }
    node.all().for_each(|child| write_node(child, out));
    if !top {
        out.push_str("</>");
    }
}

fn open(ns: &str, name: &str, attrs: &BTreeMap<(&str, &str), &str>, out: &mut String) {
    write!(out, "<{{{ns}}}{name}").expect("a string takes all");
    for ((ns, name), value) in attrs {
        write!(out, " {{{ns}}}{name}={value:?}").expect("a string takes all");
    }
    out.push('>');
}

/// The tree as roxmltree reads it.
pub(crate) fn by_roxmltree(xml: &[u8]) -> String {
    let xml = std::str::from_utf8(xml).expect("UTF-8");
    let document = roxmltree::Document::parse(xml).expect(xml);
    let mut out = String::new();
    roxmltree_node(document.root_element(), &mut out);
    out
}

fn roxmltree_node(node: roxmltree::Node<'_, '_>, out: &mut String) {
    let attrs = node
        .attributes()
        .map(|attr| ((attr.namespace().unwrap_or_default(), attr.name()), attr.value()))
        .collect();
    open(node.tag_name().namespace().unwrap_or_default(), node.tag_name().name(), &attrs, out);
    roxmltree_children(node, out);
    out.push_str("</>");
}

fn roxmltree_children(node: roxmltree::Node<'_, '_>, out: &mut String) {
    let mut text = String::new();
    for child in node.children() {
        if let Some(piece) = child.text().filter(|_| child.is_text()) {
            text.push_str(piece);
            continue;
        }
        put_text(&mut text, out);
        roxmltree_node(child, out);
    }
    put_text(&mut text, out);
}

fn put_text(text: &mut String, out: &mut String) {
    if !text.is_empty() {
        write!(out, "{text:?}").expect("a string takes all");
        text.clear();
    }
}

/// The tree as rxml reads it.
pub(crate) fn by_rxml(xml: &[u8]) -> String {
    let mut parser = rxml::Parser::new();
    let mut input = xml;
    let mut out = String::new();
    let mut text = String::new();
    while let Some(event) = parser.parse(&mut input, true).expect("what we write others read") {
        match event {
            rxml::Event::XmlDeclaration(..) => {}
            rxml::Event::Text(_, piece) => text.push_str(&piece),
            rxml::Event::StartElement(_, (ns, name), attrs) => {
                put_text(&mut text, &mut out);
                let attrs = attrs
                    .iter()
                    .map(|((ns, name), value)| ((ns.as_str(), name.as_str()), value.as_str()))
                    .collect();
                open(ns.as_str(), name.as_str(), &attrs, &mut out);
            }
            rxml::Event::EndElement(_) => {
                put_text(&mut text, &mut out);
                out.push_str("</>");
            }
        }
    }
    out
}
