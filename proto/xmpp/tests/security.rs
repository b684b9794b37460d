//! Security cases 1.1 as far as they concern the XML reader. Not here: 10 and 12 (offers and order
//! of stream features) and 22 to 24 (addresses) have their tests where those parts are, 13 is
//! `fuzz_corpus.rs`, 19 is the lint that denies unsafe code and the fuzz targets, 21 is about
//! metrics. `docs/SECURITY.md` has the whole list.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::fmt::Write as _;

use tikv_jemalloc_ctl::thread;
use xmpp::error::StreamCondition as C;
use xmpp::limits::{LANG_BYTES, ReadLimits};
use xmpp::ns;
use xmpp::stanza::Stanza;
use xmpp::xml::{Body, Element, Fault, Item, Limit, Reader, Restricted, Tree, XmlError};

#[global_allocator]
static COUNTED: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const OPEN: &str = "<stream:stream to='a.example' version='1.0' xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams'>";
const PRESETS: [ReadLimits; 2] = [ReadLimits::BEFORE_AUTH, ReadLimits::AFTER_AUTH];

fn feed(reader: &mut Reader, bytes: &[u8], piece: usize) -> Result<Vec<Item>, XmlError> {
    let mut items = Vec::new();
    for mut piece in bytes.chunks(piece) {
        while let Some(item) = reader.read(&mut piece)? {
            items.push(item);
        }
    }
    Ok(items)
}

fn opened(limits: ReadLimits) -> Reader {
    let mut reader = Reader::new(limits);
    feed(&mut reader, OPEN.as_bytes(), 4096).unwrap();
    reader
}

/// The error of some bytes after a header, under both presets and in pieces of one byte and of
/// many.
fn error(xml: impl AsRef<[u8]>) -> XmlError {
    let xml = xml.as_ref();
    let mut all = PRESETS.into_iter().flat_map(|limits| {
        [1, 5, 1 << 20].map(|piece| feed(&mut opened(limits), xml, piece).map(|_| ()))
    });
    let first = all.next().unwrap();
    assert!(all.all(|other| other == first), "{}", String::from_utf8_lossy(xml));
    first.expect_err(&String::from_utf8_lossy(xml))
}

fn element(xml: &str) -> Element {
    match feed(&mut opened(ReadLimits::AFTER_AUTH), xml.as_bytes(), 7).unwrap().pop() {
        Some(Item::Element(element)) => element,
        other => panic!("{xml}: {other:?}"),
    }
}

/// Bytes that this thread holds, and has ever asked for.
fn memory() -> (i64, u64) {
    let all = thread::allocatedp::read().unwrap().get();
    (all as i64 - thread::deallocatedp::read().unwrap().get() as i64, all)
}

/// CPU time of this thread in nanoseconds: other work on the machine does not count.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// The best of several runs.
fn best_ns(mut run: impl FnMut()) -> u64 {
    let mut once = || {
        let before = cpu_ns();
        run();
        cpu_ns() - before
    };
    (0..9).map(|_| once()).min().unwrap().max(1)
}

const LAUGHS: &str = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><x>&b;</x>";

#[test]
fn security_001_to_004_doctype_is_restricted_everywhere() {
    assert_eq!(error(LAUGHS), Restricted::Dtd.into());
    assert_eq!(error("<a><!DOCTYPE x></a>").condition(), C::RestrictedXml);
    for limits in PRESETS {
        for piece in [1, 1000] {
            for mut reader in [Reader::new(limits), Reader::framed(limits)] {
                let error = feed(&mut reader, LAUGHS.as_bytes(), piece).unwrap_err();
                assert_eq!(error, Restricted::Dtd.into());
            }
        }
    }
    let after_declaration = format!("<?xml version='1.0'?>{LAUGHS}");
    let mut reader = Reader::new(ReadLimits::BEFORE_AUTH);
    assert!(feed(&mut reader, after_declaration.as_bytes(), 1).is_err());
    assert_eq!(Body::parse(LAUGHS.as_bytes()).unwrap_err(), Restricted::Dtd.into());
    assert_eq!(Tree::parse(LAUGHS.as_bytes()).unwrap_err(), Restricted::Dtd.into());
    assert_eq!(Tree::parse(b"<x>&b;</x>").unwrap_err(), Restricted::Entity.into());
}

#[test]
fn security_004_one_file_names_another_parser() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path).unwrap().contains("quick_xml") {
                found.push(path.file_name().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found, ["tree.rs"]);
}

#[test]
#[allow(clippy::disallowed_methods)] // a thread for its small stack
fn security_005_and_027_deep_nesting_and_many_references_use_no_stack() {
    assert_eq!(error("<a>".repeat(100_000)), Limit::Depth.into());
    assert_eq!(error(format!("<m>{}", "&a;".repeat(100_000))), Restricted::Entity.into());
    let work = || {
        // Limits so large that only the work counts, and a tree that is dropped half-way.
        let limits = ReadLimits {
            element_bytes: 1 << 24,
            depth: u16::MAX,
            elements: u32::MAX,
            ..ReadLimits::AFTER_AUTH
        };
        let deep = "<a>".repeat(60_000);
        let mut reader = opened(limits);
        assert!(feed(&mut reader, deep.as_bytes(), 1000).unwrap().is_empty());
        drop(reader);
        let whole = format!("{deep}{}", "</a>".repeat(60_000));
        assert_eq!(feed(&mut opened(limits), whole.as_bytes(), 1000).unwrap().len(), 1);
        let references = format!("<m>{}</m>", "&amp;".repeat(100_000));
        assert_eq!(feed(&mut opened(limits), references.as_bytes(), 1000).unwrap().len(), 1);
        assert!(Tree::parse(deep.as_bytes()).is_err());
    };
    let small = std::thread::Builder::new().stack_size(128 * 1024);
    small.spawn(work).unwrap().join().unwrap();
}

/// That nothing is looked at twice is counted where the reader is; what the pieces cost against the
/// whole is held by the benchmark, which runs optimised.
#[test]
fn security_006_huge_attribute_in_pieces() {
    let limits = ReadLimits { element_bytes: 1 << 20, ..ReadLimits::AFTER_AUTH };
    let run = |text: &str, piece: usize| {
        let mut reader = opened(limits);
        best_ns(|| {
            for mut piece in text.as_bytes().chunks(piece) {
                std::hint::black_box(reader.read(&mut piece).unwrap());
            }
        })
    };
    let pieces = run(&format!("<a b='{}'/>", "x".repeat(256 * 1024)), 16);
    // The sure sign of a second look: twice as much takes four times as long.
    let half = format!("<a b='{}'/>", "x".repeat(128 * 1024));
    let half = run(&half, 16);
    assert!(pieces < 3 * half, "{pieces} ns for twice of what took {half}");
}

/// Documents that are as bad as the limits allow.
fn worst(limits: ReadLimits) -> Vec<String> {
    let bytes = limits.element_bytes as usize - 600;
    let fill = |piece: &str, most: usize| piece.repeat((bytes / piece.len()).min(most));
    let elements = limits.elements as usize - 2;
    let attrs: String = (0..limits.attributes).fold(String::new(), |mut out, i| {
        write!(out, " a{i}=''").unwrap();
        out
    });
    let spaces: String = (0..limits.namespaces - 2).fold(String::new(), |mut out, i| {
        write!(out, " xmlns:p{i}='u'").unwrap();
        out
    });
    let prefixed: String = (0..limits.attributes).fold(String::new(), |mut out, i| {
        write!(out, " p{}:a{i}=''", i % limits.namespaces.saturating_sub(2).max(1)).unwrap();
        out
    });
    vec![
        fill("x", usize::MAX),
        fill("é", usize::MAX),
        fill("&lt;", usize::MAX),
        fill("]", usize::MAX),
        format!("<![CDATA[{}]]>", "]".repeat(bytes / 6)),
        fill("<a/>", elements),
        fill("<a></a>", elements),
        fill(&format!("<a{attrs}/>"), elements),
        fill(&format!("<b{spaces}/>"), elements),
        fill("<p:b xmlns:p='u'/>", elements),
        format!("<b{spaces}>{}</b>", fill("<p0:c/>", elements - 1)),
        format!("<b{spaces}><c{prefixed}/></b>"),
    ]
}

#[test]
fn security_007_allocation_stays_in_proportion() {
    for limits in PRESETS {
        for content in worst(limits) {
            let xml = format!("<m>{content}</m>");
            for piece in [1, 64, 1 << 20] {
                let mut reader = opened(limits);
                let (_, before) = memory();
                let result = feed(&mut reader, xml.as_bytes(), piece);
                let (_, after) = memory();
                drop(result);
                // A child of four bytes costs an entry of forty, in a list that doubles.
                let most = 4096 + 32 * xml.len() as u64;
                assert!(after - before <= most, "{} for {}", after - before, &xml[..40]);
            }
        }
    }
}

#[test]
fn security_008_cpu_per_byte_is_bounded() {
    for content in worst(ReadLimits::AFTER_AUTH) {
        let xml = format!("<m>{content}</m>");
        let spent = best_ns(|| {
            let _ = feed(&mut opened(ReadLimits::AFTER_AUTH), xml.as_bytes(), 4096);
        });
        // Without optimisation of our code the same bound holds for all but the smallest documents.
        assert!(spent <= 20_000 + 50 * xml.len() as u64, "{spent} ns for {}", &xml[..40]);
    }
}

#[test]
fn security_009_a_stream_before_authentication_is_small() {
    let limits = ReadLimits::BEFORE_AUTH;
    for content in worst(limits) {
        let (before, _) = memory();
        let streams: Vec<Reader> = (0..200)
            .map(|_| {
                let mut reader = opened(limits);
                let _ = feed(&mut reader, format!("<m>{content}").as_bytes(), 512);
                reader
            })
            .collect();
        let (after, _) = memory();
        let each = (after - before) / streams.len() as i64;
        assert!(each <= 20 * 1024, "{each} bytes for {}", &content[..20.min(content.len())]);
    }
}

#[test]
fn security_011_white_space_in_the_header_counts() {
    let spaces = " ".repeat(1 << 20);
    for xml in [
        spaces.clone(),
        format!("<?xml version='1.0'?>{spaces}"),
        format!("<stream:stream{spaces}"),
        format!("<stream:stream to='a'{spaces}"),
        format!("<stream:stream to{spaces}"),
    ] {
        for piece in [1000, 1 << 21] {
            let mut reader = Reader::new(ReadLimits::BEFORE_AUTH);
            let error = feed(&mut reader, xml.as_bytes(), piece).unwrap_err();
            assert_eq!(error, Limit::HeaderBytes.into());
        }
    }
    // Between elements it is the keep-alive of RFC 6120 §4.6.1 and costs no memory.
    let mut reader = opened(ReadLimits::BEFORE_AUTH);
    let (before, _) = memory();
    assert!(feed(&mut reader, spaces.as_bytes(), 1000).unwrap().is_empty());
    assert_eq!(memory().0, before);
    assert_eq!(error(format!("<a{spaces}/>")), Limit::ElementBytes.into());
}

#[test]
fn security_014_invalid_utf8_is_refused_everywhere() {
    let bad: [&[u8]; 14] = [
        b"\x80",
        b"\xBF",
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xE0\x80\x80",
        b"\xE0\x9F\xBF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF0\x80\x80\x80",
        b"\xF0\x8F\xBF\xBF",
        b"\xF4\x90\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\xFE",
        b"\xEF\xBF\xBF",
    ];
    let cut: [&[u8]; 4] = [b"\xC3", b"\xE2\x82", b"\xF0\x9F\x98", b"\xF0\x9F"];
    let places = [
        ("<m>", "x</m>"),
        ("<m>", "</m>"),
        ("<m a='", "'/>"),
        ("<m><a b=\"", "x\"/></m>"),
        ("<m", "/>"),
        ("<m", "x/>"),
        ("<m a", "='1'/>"),
        ("<m ", "='1'/>"),
        ("<m><![CDATA[", "]]></m>"),
        ("<", "/>"),
        ("<m xmlns='u", "'/>"),
        ("<m xmlns:", "='u'/>"),
        ("<p:", " xmlns:p='u'/>"),
    ];
    for (before, after) in places {
        for bytes in bad.iter().chain(&cut) {
            let xml = [before.as_bytes(), bytes, after.as_bytes()].concat();
            assert_eq!(error(&xml).condition(), C::NotWellFormed);
        }
    }
    let header = [b"<stream:stream to='", &b"\xC0\x80"[..], b"'>"].concat();
    assert!(feed(&mut Reader::new(ReadLimits::BEFORE_AUTH), &header, 1).is_err());
}

#[test]
fn security_015_separators_in_namespaces_mean_nothing() {
    assert!(matches!(error("<a xmlns='u\0n'/>"), XmlError::NotWellFormed(Fault::Character)));
    assert!(matches!(error("<a xmlns='u&#0;n'/>"), XmlError::NotWellFormed(Fault::Reference)));
    for (written, ns) in [
        ("u&#10;body", "u\nbody"),
        ("u\nbody", "u body"),
        ("u|body", "u|body"),
        ("u}body", "u}body"),
        ("{u}", "{u}"),
        ("u&#9;", "u\t"),
        ("u ", "u "),
    ] {
        let m = element(&format!("<m><body xmlns='{written}'/><body xmlns='u'/></m>"));
        let body = m.body();
        let first = body.payload().unwrap();
        assert_eq!(first.ns(), ns);
        assert!(body.has_child("body", ns) && body.has_child("body", "u"));
        assert!(!first.is("body", "u") && !body.has_child("", &format!("{ns}body")));
        assert_eq!(body.tree().unwrap().root().ns(), ns);
    }
}

#[test]
fn security_016_no_stream_inside_a_stanza() {
    for xml in [
        "<message><stream:stream/></message>",
        "<message><body><stream:error/></body></message>",
        "<message><x xmlns='http://etherx.jabber.org/streams'/></message>",
        "<message><x xmlns='http://etherx.jabber.org/stream&#115;'/></message>",
        "<message xmlns:s='http://etherx.jabber.org/streams'><a><s:features/></a></message>",
        "<message><a xmlns:s='http://etherx.jabber.org/streams'><s:stream/></a></message>",
        "<c:m xmlns:c='jabber:client' xmlns='http://etherx.jabber.org/streams'><x/></c:m>",
        "<stream:error><stream:stream/></stream:error>",
    ] {
        assert_eq!(error(xml), Fault::NestedStream.into(), "{xml}");
    }
    assert!(element("<stream:error/>").is("error", ns::STREAM));
}

#[test]
fn security_017_special_characters_bare_in_every_place() {
    for (place, forbidden) in [
        ("<m>{}</m>", ["<", "&", "]]>", "a & b", "a < b", "&;", "&amp", "<>"]),
        ("<m a='{}'/>", ["<", "&", "a & b", "'", "<b/>", "&;", "&amp", "&#;"]),
        ("<m a=\"{}\"/>", ["<", "&", "a & b", "\"", "<b/>", "&;", "&amp", "&#;"]),
        ("<m{}/>", ["<", "&", "]]>", "'", "=", "\"", " <", "&amp;"]),
        ("<m {}='1'/>", ["<", "&", "]]>", "'", "", "\"", "a<", "&amp;"]),
        ("<m></m{}>", ["<", "&", "]]>", "'", "=", "/", "x", "&amp;"]),
        ("<m><{}/></m>", ["<", "&", "]]>", "'", "", "\"", "=", "&amp;"]),
    ] {
        for what in forbidden {
            let xml = format!("{} ", place.replace("{}", what));
            // Where it only begins something, what follows ends it wrongly.
            let error = error(format!("{xml}<\u{1}"));
            assert_eq!(error.condition(), C::NotWellFormed, "{xml}");
        }
    }
}

#[test]
fn security_018_children_are_limited() {
    let many = |n: usize| format!("<m>{}</m>", "<a/>".repeat(n));
    let mut reader = opened(ReadLimits::BEFORE_AUTH);
    assert_eq!(feed(&mut reader, many(31).as_bytes(), 99).unwrap().len(), 1);
    assert_eq!(feed(&mut reader, many(32).as_bytes(), 99).unwrap_err(), Limit::Elements.into());
    assert_eq!(error(many(10_000)), Limit::Elements.into());
    let nested = format!("<m>{}</m>", "<a><b/><b/></a>".repeat(4000));
    assert_eq!(error(nested), Limit::Elements.into());
}

#[test]
fn security_020_new_names_leave_nothing_behind() {
    let mut reader = opened(ReadLimits::AFTER_AUTH);
    let mut send = |from: usize, to: usize| {
        for i in from..to {
            let xml = format!(
                "<n{i} xmlns='urn:{i}' xml:lang='l{i}' a{i}='{i}'><c{i} xmlns='v{i}'/></n{i}>"
            );
            let items = feed(&mut reader, xml.as_bytes(), 4096).unwrap();
            assert_eq!(items.len(), 1);
        }
    };
    send(0, 1000);
    let (before, _) = memory();
    send(1000, 50_000);
    assert_eq!(memory().0, before);
}

#[test]
fn security_025_headers_of_every_kind_are_read_or_refused() {
    let fixed = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
    for attr in ["to", "from", "version", "xml:lang", "id"] {
        let given = |value: &str| {
            let xml = format!("<stream:stream {attr}='{value}' {fixed}>");
            feed(&mut Reader::new(ReadLimits::BEFORE_AUTH), xml.as_bytes(), 11)
        };
        for value in
            ["", "x", "&#x1F600;", "a@b/c", "&lt;", "\n", "%n%s", "-1", "99999999999999999999.0"]
        {
            assert!(matches!(given(value).unwrap()[..], [Item::Open(_)]), "{attr}={value}");
        }
        assert_eq!(given(&"x".repeat(10_000)).unwrap_err(), Limit::HeaderBytes.into());
        assert!(given("\u{0}").is_err());
        let twice = format!("<stream:stream {attr}='1' {attr}='1' {fixed}>");
        let mut reader = Reader::new(ReadLimits::BEFORE_AUTH);
        let error = feed(&mut reader, twice.as_bytes(), 11).unwrap_err();
        assert_eq!(error, Fault::DuplicateAttribute.into());
    }
}

#[test]
fn security_026_long_languages_are_dropped() {
    let fixed = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
    for (len, kept) in [(LANG_BYTES, true), (LANG_BYTES + 1, false), (5000, false)] {
        let lang = "x".repeat(len);
        let xml = format!("<stream:stream xml:lang='{lang}' {fixed}>");
        let items = feed(&mut Reader::new(ReadLimits::BEFORE_AUTH), xml.as_bytes(), 64).unwrap();
        let Item::Open(header) = &items[0] else { panic!("{items:?}") };
        assert_eq!(header.lang.is_some(), kept);
        let message = element(&format!("<message xml:lang='{lang}'/>"));
        let stanza = Stanza::from_element(message, ns::CLIENT).unwrap();
        assert_eq!(stanza.lang.is_some(), kept);
    }
}

#[test]
fn security_028_what_parsers_differ_about_is_refused() {
    for (xml, condition) in [
        ("<!-- x -->", C::RestrictedXml),
        ("<m><!----></m>", C::RestrictedXml),
        ("<?xml version='1.0'?>", C::RestrictedXml),
        ("<m><?x?></m>", C::RestrictedXml),
        ("<![CDATA[x]]>", C::NotWellFormed),
        ("<m><![CDATA[x]]</m>", C::NotWellFormed),
        ("<p:m/>", C::NotWellFormed),
        ("<m p:a=''/>", C::NotWellFormed),
        ("<m a='' a=''/>", C::NotWellFormed),
        ("<m xmlns:p='u' xmlns:q='u'><n p:a='' q:a=''/></m>", C::NotWellFormed),
        ("<m xmlns:xml='urn:x'/>", C::NotWellFormed),
        ("<m xmlns:p='http://www.w3.org/XML/1998/namespace'/>", C::NotWellFormed),
        ("<m xmlns:p=''/>", C::NotWellFormed),
        ("\u{FEFF}<m/>", C::NotWellFormed),
        ("<m/>\u{FEFF}", C::NotWellFormed),
    ] {
        // An unfinished section must not be finished by what comes after it.
        let error = error(format!("{xml}<\u{1}"));
        assert_eq!(error.condition(), condition, "{xml}");
    }
    for declaration in ["version='1.1'", "version='1.0' encoding='utf-16'", "version='2.0'"] {
        let xml = format!("<?xml {declaration}?>{OPEN}");
        assert!(feed(&mut Reader::new(ReadLimits::BEFORE_AUTH), xml.as_bytes(), 3).is_err());
    }
}

#[test]
fn security_029_many_attributes_are_refused_and_found_in_linear_time() {
    let attrs = |n: usize, name: &str| {
        (0..n).fold(String::new(), |mut out, i| {
            write!(out, " {name}{i}='{i}'").unwrap();
            out
        })
    };
    assert_eq!(error(format!("<a{}/>", attrs(50_000, "a"))), Limit::Attributes.into());
    // Declarations are attributes too.
    let error = error(format!("<a{}/>", attrs(50_000, "xmlns:p")));
    assert_eq!(error, Limit::Attributes.into());
    // The whole limit, with names whose keys are the same, over and over.
    let tag = format!("<a{}/>", attrs(48, "attribute-name-"));
    let xml = format!("<m>{}</m>", tag.repeat(200_000 / tag.len()));
    let spent = best_ns(|| {
        assert_eq!(
            feed(&mut opened(ReadLimits::AFTER_AUTH), xml.as_bytes(), 4096).unwrap().len(),
            1
        );
    });
    assert!(spent <= 50 * xml.len() as u64, "{spent} ns for {} bytes", xml.len());
}
