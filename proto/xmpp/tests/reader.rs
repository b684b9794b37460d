//! The reader: what it gives, what it rewrites, what it refuses, and its limits on both sides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use xmpp::error::StreamCondition as C;
use xmpp::limits::{HEADER_BYTES, ReadLimits};
use xmpp::ns;
use xmpp::xml::{Body, Element, Fault, Item, Limit, Reader, Restricted, XmlError};

const OPEN: &str = "<?xml version='1.0'?><stream:stream to='a.example' version='1.0' xml:lang='en' \
                    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Reads all items of some input that comes in pieces of one size.
fn items_of(
    mut reader: Reader,
    input: &[u8],
    piece: usize,
) -> (Vec<Item>, Reader, Option<XmlError>) {
    let mut items = Vec::new();
    for mut piece in input.chunks(piece.max(1)) {
        loop {
            match reader.read(&mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, reader, Some(error)),
            }
        }
        assert!(piece.is_empty());
    }
    (items, reader, None)
}

/// One element after the usual header, the same in pieces of every small size and in one.
fn element(xml: &str) -> Result<Element, XmlError> {
    let input = format!("{OPEN}{xml}");
    let mut results = [1, 2, 3, 7, 16, usize::MAX / 2].into_iter().map(|piece| {
        let reader = Reader::new(ReadLimits::AFTER_AUTH);
        let (mut items, _, error) = items_of(reader, input.as_bytes(), piece);
        match (error, items.pop()) {
            (Some(error), _) => Err(error),
            (None, Some(Item::Element(element))) => Ok(element),
            (None, other) => panic!("{xml}: {other:?}"),
        }
    });
    let first = results.next().unwrap();
    for other in results {
        assert_eq!(format!("{first:?}"), format!("{other:?}"), "{xml}");
    }
    first
}

fn body(xml: &str) -> String {
    String::from_utf8(element(xml).unwrap().into_body().as_bytes().to_vec()).unwrap()
}

fn error(xml: &str) -> XmlError {
    element(xml).expect_err(xml)
}

fn header(xml: &str) -> Result<xmpp::xml::StreamHeader, XmlError> {
    let reader = Reader::new(ReadLimits::BEFORE_AUTH);
    let (items, _, error) = items_of(reader, xml.as_bytes(), 5);
    match (items.into_iter().next(), error) {
        (Some(Item::Open(header)), _) => Ok(header),
        (_, Some(error)) => Err(error),
        other => panic!("{xml}: {other:?}"),
    }
}

#[test]
fn a_stream_from_header_to_end() {
    let input =
        format!("\u{FEFF}{OPEN} \n<a xmlns='urn:a'/>\t<iq id='1' type='get'/></stream:stream >\n");
    for piece in 1..40 {
        let reader = Reader::new(ReadLimits::BEFORE_AUTH);
        let (items, reader, error) = items_of(reader, input.as_bytes(), piece);
        assert_eq!(error, None);
        assert!(reader.is_at_rest());
        let [Item::Open(header), Item::Element(a), Item::Element(iq), Item::Close] = &items[..]
        else {
            panic!("{items:?}")
        };
        assert_eq!(header.to.as_deref(), Some("a.example"));
        assert_eq!(header.version.as_deref(), Some("1.0"));
        assert_eq!(header.lang.as_deref(), Some("en"));
        assert_eq!(header.content_ns, Some(ns::CLIENT));
        assert!(a.is("a", "urn:a") && a.body().is_empty());
        assert!(iq.is("iq", ns::CLIENT));
        assert_eq!(iq.attr("id"), Some("1"));
        assert_eq!(iq.attrs().len(), 2);
    }
}

#[test]
fn nothing_is_kept_between_elements() {
    assert!(size_of::<Reader>() <= 56, "{}", size_of::<Reader>());
    let mut reader = Reader::new(ReadLimits::AFTER_AUTH);
    let text = format!("{OPEN}<message><body>hi</body></message>");
    let mut input = text.as_bytes();
    while reader.read(&mut input).unwrap().is_some() {}
    assert!(reader.is_at_rest());
    let shown = format!("{reader:?}");
    assert!(shown.contains("scan: None") && shown.contains("root: Usual"), "{shown}");
}

#[test]
fn a_body_is_copied_as_it_is() {
    for xml in [
        "<body>hi &amp; bye</body><x xmlns='urn:x' a=\"it's\"><y/></x>",
        "text <b></b>\n tail > &#x41;&lt;",
        "<b  a = '1'\n  c='2' />",
        "<b xml:lang='en'/>",
        "<p:b xmlns:p='urn:p'><p:c p:a='1'/></p:b>",
        "<б ключ='знач'>текст 😀 漢字</б>",
        "]] ]>",
        "",
    ] {
        assert_eq!(body(&format!("<message>{xml}</message>")), xml);
    }
}

#[test]
fn a_body_stands_alone() {
    for (xml, want) in [
        // The prefix of the stanza, not of its content.
        (
            "<c:message xmlns:c='jabber:client'><c:body>x</c:body><d/></c:message>",
            "<c:body xmlns:c='jabber:client'>x</c:body><d/>",
        ),
        // Declared once, on the outermost element that uses it.
        (
            "<message xmlns:p='urn:p'><a><p:b><p:c p:x='1'/></p:b><p:d/></a></message>",
            "<a><p:b xmlns:p='urn:p'><p:c p:x='1'/></p:b><p:d xmlns:p='urn:p'/></a>",
        ),
        // For an attribute too, and beside a declaration of its own.
        (
            "<message xmlns:p='urn:p'><a p:x='1' p:y='2' xmlns:q='urn:q'/></message>",
            "<a p:x='1' p:y='2' xmlns:q='urn:q' xmlns:p='urn:p'/>",
        ),
        // From the stream header.
        (
            "<message><stream:x2 xmlns:stream='urn:mine'/></message>",
            "<stream:x2 xmlns:stream='urn:mine'/>",
        ),
        (
            "<message><a stream:x='1'/></message>",
            "<a stream:x='1' xmlns:stream='http://etherx.jabber.org/streams'/>",
        ),
        // Another default namespace around the content.
        (
            "<auth xmlns='urn:a'>t<b><c/></b><d xmlns='urn:d'/><e/></auth>",
            "t<b xmlns='urn:a'><c/></b><d xmlns='urn:d'/><e xmlns='urn:a'/>",
        ),
        (
            "<p:a xmlns:p='urn:p' xmlns=''><b><c xmlns='jabber:client'><d/></c></b></p:a>",
            "<b xmlns=''><c xmlns='jabber:client'><d/></c></b>",
        ),
        // Inside an element with a prefix the outer default still holds.
        (
            "<a xmlns='urn:a' xmlns:p='urn:p'><p:b><c/></p:b></a>",
            "<p:b xmlns:p='urn:p'><c xmlns='urn:a'/></p:b>",
        ),
        // With references in the name.
        ("<a xmlns='urn:&lt;&#10;&apos;'><b/></a>", "<b xmlns='urn:&lt;&#10;&apos;'/>"),
    ] {
        assert_eq!(body(xml), want);
    }
    let a = element("<a xmlns='urn:&lt;&#10;'><b/><c xmlns='x&amp;'/></a>").unwrap();
    assert_eq!(a.ns(), "urn:<\n");
    let names: Vec<_> = a.body().children().map(|c| c.ns().to_owned()).collect();
    assert_eq!(names, ["urn:<\n", "x&"]);
}

#[test]
fn children_are_listed_with_names_and_namespaces() {
    let m = element(
        "<message> <body>a</body><x xmlns='urn:x'><body/></x>t\
         <p:z xmlns:p='urn:p' k='&lt;'/></message>",
    )
    .unwrap();
    let body = m.body();
    let all: Vec<_> = body.children().map(|c| (c.name(), c.ns())).collect();
    assert_eq!(all, [("body", ns::CLIENT), ("x", "urn:x"), ("z", "urn:p")]);
    let bytes: Vec<_> = body.children().map(|c| c.as_bytes()).collect();
    assert_eq!(bytes[0], b"<body>a</body>");
    assert_eq!(bytes[1], b"<x xmlns='urn:x'><body/></x>");
    assert_eq!(bytes[2], b"<p:z xmlns:p='urn:p' k='&lt;'/>");
    assert_eq!(body.child("z", "urn:p").unwrap().attr("k").as_deref(), Some("<"));
    assert!(body.has_child("body", ns::CLIENT) && !body.has_child("body", "urn:x"));
    assert_eq!(body.text(), " t");
    assert_eq!(body.payload().unwrap().name(), "body");
    let less = body.without(|c| c.is("x", "urn:x"));
    assert_eq!(less.as_bytes(), b" <body>a</body>t<p:z xmlns:p='urn:p' k='&lt;'/>");
    assert_eq!(less.child("z", "urn:p").unwrap().as_bytes(), bytes[2]);
    let same = body.without(|_| false);
    assert!(std::ptr::eq(same.as_bytes(), body.as_bytes()));
    assert_eq!(Body::parse(body.as_bytes()).unwrap().children().len(), 3);
}

#[test]
fn what_can_be_written_in_several_ways_comes_out_in_one() {
    for (xml, want) in [
        ("a\r\nb\rc\r\r\nd", "a\nb\nc\n\nd"),
        ("<a b='1\r\n2\t3\n4\r5'/>", "<a b='1 2 3 4 5'/>"),
        ("<![CDATA[<a> & ]] ]>]]>", "&lt;a&gt; &amp; &#93;&#93; &#93;&gt;"),
        ("<![CDATA[]]>x<![CDATA[]]]]>", "x&#93;&#93;"),
        ("<![CDATA[]]]]]>", "&#93;&#93;&#93;"),
        ("<![CDATA[a\r\nü]]>", "a\nü"),
        // Brackets on both sides of a section must not meet.
        ("]<![CDATA[]]>]>", "&#93;]>"),
        ("]]<![CDATA[]]>>", "]&#93;>"),
        ("<![CDATA[]]]]>>", "&#93;&#93;>"),
    ] {
        assert_eq!(body(&format!("<message>{xml}</message>")), want, "{xml}");
    }
    let e = element("<a b='&lt;&#65;\r\n&quot;' c=\"'\"/>").unwrap();
    assert_eq!(e.attr("b"), Some("<A \""));
    assert_eq!(e.attr("c"), Some("'"));
}

#[test]
fn what_is_not_well_formed_is_refused() {
    for xml in [
        "<a></b>",
        "<a><b></a></b>",
        "<a></a b>",
        "<aa></a>",
        "<a></aa>",
        "<a></ a>",
        "< a/>",
        "<a/ >",
        "<1/>",
        "<-a/>",
        "<a:/>",
        "<:a/>",
        "<a:b:c/>",
        "<a:1/>",
        "<a b/>",
        "<a b=/>",
        "<a b=1/>",
        "<a b='1'c='2'/>",
        "<a b='<'/>",
        "<a =''/>",
        "<a b='1' b='2'/>",
        "<a xmlns='x' xmlns='y'/>",
        "<a>&</a>",
        "<a>& </a>",
        "<a>&;</a>",
        "<a>&amp</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#0;</a>",
        "<a>&#x1F;</a>",
        "<a>&#xD800;</a>",
        "<a>&#xFFFE;</a>",
        "<a>&#x110000;</a>",
        "<a>&#99999999999999;</a>",
        "<a>&#-1;</a>",
        "<a>&#+1;</a>",
        "<a>&#xg;</a>",
        "<a>]]></a>",
        "<a>]]]></a>",
        "<a b='&'/>",
        "<a>\0</a>",
        "<a>\u{1}</a>",
        "<a>\u{FFFE}</a>",
        "<a>\u{FFFF}</a>",
        "<a b='\u{B}'/>",
        "<a\u{0}/>",
        "<a\u{D7}/>",
        "<a><![cdata[]]></a>",
        "<a><![CDATA ]]></a>",
        "<![CDATA[]]>",
        "<a><![CDATA[\u{1}]]></a>",
        "<p:a/>",
        "<a p:b=''/>",
        "<a><p:b/></a>",
        "<a><b p:c=''/></a>",
        "<a xmlns:p=''/>",
        "<a xmlns:xml='urn:x'/>",
        "<a xmlns:xmlns='urn:x'/>",
        "<xmlns:a/>",
        "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespac&#102;'/>",
        "<m><a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/></m>",
        "<m xmlns:p='u'><a xmlns:q='u' p:x='1' q:x='2'/></m>",
        "<m><a xmlns:p='&#117;' xmlns:q='u' p:x='1' q:x='2'/></m>",
        "<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>",
        "<a>text</a>text",
        "text",
        "\u{FEFF}<a/>",
        "</a>",
        "</stream>",
        "</stream:streams>",
    ] {
        assert_eq!(error(xml).condition(), C::NotWellFormed, "{xml}");
    }
}

#[test]
fn what_rfc_6120_restricts_is_refused() {
    for (xml, what) in [
        ("<!-- x -->", Restricted::Comment),
        ("<a><!-- x --></a>", Restricted::Comment),
        ("<?php x?>", Restricted::ProcessingInstruction),
        ("<?xml version='1.0'?>", Restricted::ProcessingInstruction),
        ("<a><?x?></a>", Restricted::ProcessingInstruction),
        ("<!DOCTYPE a []>", Restricted::Dtd),
        ("<a><!ENTITY x 'y'></a>", Restricted::Dtd),
        ("<a>&nbsp;</a>", Restricted::Entity),
        ("<a b='&x;'/>", Restricted::Entity),
        ("<a>&ampamp;</a>", Restricted::Entity),
        ("<a>&AMP;</a>", Restricted::Entity),
        ("<a>&averylongnameofanentity;</a>", Restricted::Entity),
    ] {
        assert_eq!(error(xml), XmlError::Restricted(what), "{xml}");
        assert_eq!(error(xml).condition(), C::RestrictedXml);
    }
}

#[test]
fn names_may_be_of_any_language() {
    let e = element("<été-1.x λ='1' a\u{B7}b='2'><m\u{301}/></été-1.x>").unwrap();
    assert_eq!(e.name(), "été-1.x");
    assert_eq!(e.attr("λ"), Some("1"));
    assert_eq!(e.body().payload().unwrap().name(), "m\u{301}");
}

#[test]
fn headers() {
    let rest = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    assert!(header(&format!("<stream:stream {rest}")).is_ok());
    assert!(header(&format!("  \n<stream:stream {rest}")).is_ok());
    assert!(
        header(&format!(
            "<?xml version=\"1.0\" encoding='UTF-8' standalone='yes' ?>\n<stream:stream {rest}"
        ))
        .is_ok()
    );
    let s = header(
        "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:c='jabber:server' \
         from='a&amp;b'>",
    );
    let s = s.unwrap();
    assert_eq!(s.content_ns, Some(ns::SERVER));
    assert_eq!(s.from.as_deref(), Some("a&b"));
    let s = header("<stream xmlns='http://etherx.jabber.org/streams'>").unwrap();
    assert_eq!(s.content_ns, None);
    for (xml, condition) in [
        (format!(" <?xml version='1.0'?><stream:stream {rest}"), C::RestrictedXml),
        (
            format!("<?xml version='1.0'?><?xml version='1.0'?><stream:stream {rest}"),
            C::RestrictedXml,
        ),
        (format!("<?xml-stylesheet href='x'?><stream:stream {rest}"), C::RestrictedXml),
        (
            format!("<?xml version='1.0' {}?><stream:stream {rest}", " ".repeat(200)),
            C::RestrictedXml,
        ),
        (format!("<?xml version='1.1'?><stream:stream {rest}"), C::NotWellFormed),
        (format!("<?xml?><stream:stream {rest}"), C::NotWellFormed),
        (format!("<?xml encoding='utf-8'?><stream:stream {rest}"), C::NotWellFormed),
        (format!("<?xml version='1.0'encoding='utf-8'?><stream:stream {rest}"), C::NotWellFormed),
        (
            format!("<?xml version='1.0' standalone='maybe'?><stream:stream {rest}"),
            C::NotWellFormed,
        ),
        (
            format!("<?xml version='1.0' encoding='iso-8859-1'?><stream:stream {rest}"),
            C::UnsupportedEncoding,
        ),
        (format!("\u{FEFF}\u{FEFF}<stream:stream {rest}"), C::NotWellFormed),
        (format!("<!DOCTYPE x><stream:stream {rest}"), C::RestrictedXml),
        ("GET / HTTP/1.1\r\n".into(), C::NotWellFormed),
        (format!("<stream:streams {rest}"), C::BadFormat),
        (format!("<stream {rest}"), C::BadNamespacePrefix),
        ("<stream:stream xmlns='jabber:client' xmlns:stream='urn:x'>".into(), C::InvalidNamespace),
        ("<stream:stream xmlns='jabber:client'>".into(), C::NotWellFormed),
        ("</stream:stream>".into(), C::NotWellFormed),
    ] {
        assert_eq!(header(&xml).expect_err(&xml).condition(), condition, "{xml}");
    }
    let (_, _, error) = items_of(Reader::new(ReadLimits::BEFORE_AUTH), b"\xFF\xFE<\0s\0", 1);
    assert_eq!(error, Some(XmlError::UnsupportedEncoding));
}

#[test]
fn a_header_can_end_itself_and_nothing_follows_an_end() {
    let header = OPEN.replace("streams'>", "streams'/>");
    let reader = Reader::new(ReadLimits::BEFORE_AUTH);
    let (items, _, error) = items_of(reader, format!("{header} \n").as_bytes(), 9999);
    assert!(matches!(items[..], [Item::Open(_), Item::Close]) && error.is_none());
    let reader = Reader::new(ReadLimits::BEFORE_AUTH);
    let (_, mut reader, error) = items_of(reader, format!("{OPEN}</stream:stream>x").as_bytes(), 3);
    assert_eq!(error, Some(Fault::AfterEnd.into()));
    assert_eq!(reader.read(&mut &b"<a/>"[..]).unwrap_err(), Fault::AfterEnd.into());
}

#[test]
fn a_restart_forgets_the_stream_before() {
    let mut reader = Reader::new(ReadLimits::BEFORE_AUTH);
    let mut input = OPEN.replace("xmlns:stream", "xmlns:p='urn:p' xmlns:stream");
    input.push_str("<a><b");
    let mut bytes = input.as_bytes();
    while reader.read(&mut bytes).unwrap().is_some() {}
    assert!(!reader.is_at_rest());
    reader.reset();
    assert!(reader.is_at_rest());
    let next = format!("\n{OPEN}<p:a/>");
    let (items, _, error) = items_of(reader, next.as_bytes(), 4);
    assert!(matches!(items[..], [Item::Open(_)]));
    assert_eq!(error, Some(Fault::UndeclaredPrefix.into()));
}

#[test]
fn elements_can_stand_without_a_stream() {
    let reader = Reader::framed(ReadLimits::AFTER_AUTH);
    let input = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/><message xmlns='jabber:client'>\
                 <body/></message><iq/>\
                 <stream:error xmlns:stream='http://etherx.jabber.org/streams'/>";
    let (items, _, error) = items_of(reader, input.as_bytes(), 6);
    assert_eq!(error, None);
    let names: Vec<_> = items
        .iter()
        .map(|item| match item {
            Item::Element(e) => (e.name(), e.ns(), e.body()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names[0].1, ns::FRAMING);
    assert_eq!((names[1].1, names[1].2.as_bytes()), (ns::CLIENT, &b"<body/>"[..]));
    assert_eq!(names[2].1, "");
    assert_eq!((names[3].0, names[3].1), ("error", ns::STREAM));
    let (_, _, error) = items_of(Reader::framed(ReadLimits::AFTER_AUTH), b"</stream:stream>", 6);
    assert_eq!(error, Some(Fault::Syntax.into()));
}

#[test]
fn streams_between_servers_and_of_components_have_their_content_namespace() {
    for content in [ns::SERVER, ns::COMPONENT] {
        let open = OPEN.replace(ns::CLIENT, content);
        let xml = format!(
            "{open}<message><body/></message><message xmlns='jabber:client'><a/></message>"
        );
        let (items, _, _) = items_of(Reader::new(ReadLimits::AFTER_AUTH), xml.as_bytes(), 10);
        let Item::Element(m) = &items[1] else { panic!() };
        assert_eq!(m.ns(), content);
        assert_eq!(m.body().as_bytes(), b"<body/>");
        assert!(m.body().has_child("body", ns::CLIENT));
        // A namespace other than the content namespace of this stream is kept.
        let Item::Element(m) = &items[2] else { panic!() };
        assert_eq!(m.ns(), ns::CLIENT);
        assert_eq!(m.body().as_bytes(), b"<a xmlns='jabber:client'/>");
    }
}

/// Whether some element is accepted under limits where all but one are large.
fn within(limits: ReadLimits, xml: &str) -> Result<(), XmlError> {
    let mut results = [1, 13, 1 << 20].into_iter().map(|piece| {
        let input = format!("{OPEN}{xml}");
        items_of(Reader::new(limits), input.as_bytes(), piece).2.map_or(Ok(()), Err)
    });
    let first = results.next().unwrap();
    assert!(results.all(|other| other == first), "{xml}");
    first
}

#[test]
fn limit_on_bytes_of_an_element() {
    let limits = ReadLimits { element_bytes: 40, ..ReadLimits::AFTER_AUTH };
    let fits = format!("<a>{}</a>", "x".repeat(33));
    assert_eq!(fits.len(), 40);
    assert_eq!(within(limits, &format!("{fits}   {fits}")), Ok(()));
    assert_eq!(
        within(limits, &format!("<a>{}</a>", "x".repeat(34))),
        Err(Limit::ElementBytes.into())
    );
    assert_eq!(within(limits, &format!("<a>{}", "x".repeat(38))), Err(Limit::ElementBytes.into()));
    assert_eq!(Limit::ElementBytes, Limit::ElementBytes);
    assert_eq!(XmlError::from(Limit::ElementBytes).condition(), C::PolicyViolation);
    // What is written in place of what was read counts too.
    let limits = ReadLimits { element_bytes: 60, ..ReadLimits::AFTER_AUTH };
    assert_eq!(within(limits, "<a><![CDATA[<<<<<<<<<<]]></a>"), Ok(()));
    assert_eq!(
        within(limits, "<a><![CDATA[<<<<<<<<<<<<<<<]]></a>"),
        Err(Limit::ElementBytes.into())
    );
    assert_eq!(within(limits, "<a xmlns:p='urn:0123456789'><p:b/></a>"), Ok(()));
    let thrice = "<a xmlns:p='urn:0123456789'><p:b/><p:b/><p:b/></a>";
    assert_eq!(within(limits, thrice), Err(Limit::ElementBytes.into()));
}

#[test]
fn limit_on_bytes_of_a_header() {
    let fill = |n: usize| {
        let at = "to='a.example'";
        OPEN.replace(at, &format!("{at} x='{}'", "y".repeat(n)))
    };
    let free = HEADER_BYTES as usize - fill(0).len();
    assert!(header(&fill(free)).is_ok());
    assert_eq!(header(&fill(free + 1)).unwrap_err(), Limit::HeaderBytes.into());
}

#[test]
fn limit_on_depth() {
    for (limits, n) in [(ReadLimits::BEFORE_AUTH, 8), (ReadLimits::AFTER_AUTH, 64)] {
        let nested = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
        assert_eq!(within(limits, &nested(n)), Ok(()));
        assert_eq!(within(limits, &nested(n + 1)), Err(Limit::Depth.into()));
    }
}

#[test]
fn limit_on_elements() {
    for (limits, n) in [(ReadLimits::BEFORE_AUTH, 32), (ReadLimits::AFTER_AUTH, 8192)] {
        let many = |n: usize| format!("<a>{}</a>", "<b/>".repeat(n - 1));
        assert_eq!(within(limits, &many(n)), Ok(()));
        assert_eq!(within(limits, &format!("{}{}", many(n), many(n))), Ok(()));
        assert_eq!(within(limits, &many(n + 1)), Err(Limit::Elements.into()));
    }
}

#[test]
fn limit_on_attributes() {
    for (limits, n) in [(ReadLimits::BEFORE_AUTH, 16), (ReadLimits::AFTER_AUTH, 48)] {
        let tag = |n: usize| {
            let attrs: String = (0..n).map(|i| format!(" a{i}='{i}'")).collect();
            format!("<a{attrs}/>")
        };
        assert_eq!(within(limits, &tag(n)), Ok(()));
        assert_eq!(within(limits, &format!("<m>{}{}</m>", tag(n), tag(n))), Ok(()));
        assert_eq!(within(limits, &tag(n + 1)), Err(Limit::Attributes.into()));
        assert_eq!(
            within(limits, &format!("<m>{}</m>", tag(n + 1))),
            Err(Limit::Attributes.into())
        );
    }
}

#[test]
fn limit_on_namespaces() {
    for (limits, n) in [(ReadLimits::BEFORE_AUTH, 16), (ReadLimits::AFTER_AUTH, 48)] {
        let nested = |n: usize| {
            let inner: String = (2..n).map(|i| format!(" xmlns:p{i}='u{i}'")).collect();
            format!("<a xmlns='urn:a'><b xmlns='urn:b'><c{inner}/><d{inner}/></b></a>")
        };
        assert_eq!(within(limits, &nested(n)), Ok(()));
        assert_eq!(within(limits, &nested(n + 1)), Err(Limit::Namespaces.into()));
    }
}

#[test]
fn limits_can_change_between_elements() {
    let mut reader = Reader::new(ReadLimits::BEFORE_AUTH);
    let big = format!("<a>{}</a>", "x".repeat(10_000));
    let text = format!("{OPEN}<a/>{big}");
    let mut input = text.as_bytes();
    assert!(matches!(reader.read(&mut input), Ok(Some(Item::Open(_)))));
    assert!(matches!(reader.read(&mut input), Ok(Some(Item::Element(_)))));
    reader.set_limits(ReadLimits::AFTER_AUTH);
    assert!(matches!(reader.read(&mut input), Ok(Some(Item::Element(_)))));
}
