//! Replays the corpus of the fuzz targets, and what proptest makes, through the same functions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

#[path = "../fuzz/bodies.rs"]
mod bodies;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use xmpp::limits::ReadLimits;
use xmpp::xml::{Item, Reader};

fn replay(target: &str, body: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the corpus of {target} is there");
    for file in files {
        let data = std::fs::read(&file).unwrap();
        let result = std::panic::catch_unwind(|| body(&data));
        assert!(result.is_ok(), "{}", file.display());
    }
}

#[test]
fn the_corpus_of_the_reader() {
    replay("reader", bodies::reader);
}

#[test]
fn the_corpus_of_addresses() {
    replay("jid", bodies::jid);
}

/// Makes a document of decisions: well-formed, and odd in every way that XMPP allows.
struct Maker<'a> {
    bytes: std::slice::Iter<'a, u8>,
    out: String,
    prefixes: Vec<&'static str>,
}

const PREFIXES: [&str; 3] = ["p", "q", "é-1"];
const NAMESPACES: [&str; 8] = [
    "urn:a",
    "urn:b",
    "jabber:client",
    "jabber:server",
    "urn:&lt;&amp;&#10;",
    "u|}r\u{E9}n",
    "a&#x20;b",
    "x'y",
];
const NAMES: [&str; 7] = ["body", "x", "message", "iq", "a-b.c_1", "été", "Ω"];
const VALUES: [&str; 9] = [
    "",
    "1",
    "&lt;&gt;&amp;&apos;",
    "a\tb\r\nc\rd\ne",
    "&#65;&#x1F600;&#13;",
    ">",
    "é漢😀",
    "]]>",
    "x y",
];
const TEXTS: [&str; 12] = [
    "hi",
    " ",
    "\r\n",
    "\r",
    "&amp;&lt;&quot;",
    "]]",
    ">",
    "<![CDATA[<&>]]]]>",
    "<![CDATA[]]>",
    "<![CDATA[\r\n]] > é]]>",
    "漢字 & x",
    "&#xE9;&#93;",
];

impl Maker<'_> {
    fn next(&mut self, below: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % below
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len())]
    }

    fn element(&mut self, depth: usize) {
        let declared = self.prefixes.len();
        let mut attrs: Vec<(String, String)> = Vec::new();
        for _ in 0..self.next(3) {
            let ns = self.pick(&NAMESPACES).to_owned();
            if self.next(2) == 0 {
                attrs.push(("xmlns".into(), if self.next(8) == 0 { String::new() } else { ns }));
            } else {
                let prefix = self.pick(&PREFIXES);
                self.prefixes.push(prefix);
                attrs.push((format!("xmlns:{prefix}"), ns));
            }
        }
        let name = self.name();
        for _ in 0..self.next(4) {
            let value = self.pick(&VALUES).to_owned();
            attrs.push((
                self.pick(&["a", "b", "to", "id", "type", "xml:lang", "long-attribute-name"])
                    .into(),
                value,
            ));
        }
        if self.next(4) == 0
            && let Some(prefix) = self.prefixes.last()
        {
            attrs.push((format!("{prefix}:k"), "1".into()));
        }
        attrs.sort();
        attrs.dedup_by(|a, b| a.0 == b.0);
        self.out.push('<');
        self.out.push_str(&name);
        for (name, value) in attrs {
            let space = self.pick(&[" ", " ", " ", "  ", "\n", "\r\n\t"]);
            let equals = self.pick(&["=", "=", "=", " =", "= "]);
            let quote = if value.contains('\'') { '"' } else { self.pick(&['\'', '"']) };
            self.out.push_str(&format!("{space}{name}{equals}{quote}{value}{quote}"));
        }
        let space = self.pick(&["", "", " ", "\n"]);
        self.out.push_str(space);
        if depth > 5 || self.next(3) == 0 {
            self.out.push_str("/>");
        } else {
            self.out.push('>');
            for _ in 0..self.next(4) {
                if self.next(2) == 0 {
                    let text = self.pick(&TEXTS);
                    let bracket = self.out.ends_with(']') && text.starts_with('>');
                    self.out.push_str(match text {
                        _ if bracket => "&gt;",
                        "漢字 & x" => "漢字 &amp; x",
                        text => text,
                    });
                } else {
                    self.element(depth + 1);
                }
            }
            self.out.push_str(&format!("</{name}{space}>"));
        }
        self.prefixes.truncate(declared);
    }

    fn name(&mut self) -> String {
        let local = self.pick(&NAMES);
        match self.prefixes.last().copied() {
            Some(prefix) if self.next(2) == 0 => format!("{prefix}:{local}"),
            _ => local.to_owned(),
        }
    }
}

fn document(decisions: &[u8]) -> String {
    let mut maker = Maker { bytes: decisions.iter(), out: String::new(), prefixes: Vec::new() };
    for _ in 0..=maker.next(3) {
        maker.element(0);
        maker.out.push_str(["", " ", "\n"][decisions.len() % 3]);
    }
    maker.out
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Documents that are right are accepted, read the same however they are cut, and forwarded
    /// with the same meaning by the judgement of two other readers (security case 13).
    #[test]
    fn what_is_right_is_forwarded_as_it_was_meant(
        decisions in vec(any::<u8>(), 0..120),
    ) {
        let xml = document(&decisions);
        let whole = format!("{}{xml}</stream:stream>", bodies::OPEN);
        let reader = Reader::new(ReadLimits::AFTER_AUTH);
        let (items, error) = bodies::read(reader, whole.as_bytes(), usize::MAX);
        prop_assert_eq!(error, None, "{}", whole);
        prop_assert!(matches!(items.last(), Some(Item::Close)));
        let mut data = vec![0];
        data.extend_from_slice(format!("{xml}</stream:stream>").as_bytes());
        bodies::reader(&data);
    }

    /// With some bytes changed, dropped or doubled it is refused, or what is let through is read
    /// alike.
    #[test]
    fn what_is_damaged_is_refused_or_read_alike(
        decisions in vec(any::<u8>(), 0..80),
        changes in vec((any::<Index>(), 0..4u8, any::<Index>()), 1..4),
    ) {
        let mut data = vec![0];
        data.extend_from_slice(document(&decisions).as_bytes());
        data.extend_from_slice(b"</stream:stream>");
        const BYTES: &[u8] = b"<>&;'\"=/:!?[]- #x\r\n\0\x7F\x80\xC0\xE2\xED\xEF\xBF\xF4\xFFa";
        for (at, what, with) in changes {
            let at = at.index(data.len() - 1) + 1;
            match what {
                0 => { data.remove(at); }
                1 => data.insert(at, BYTES[with.index(BYTES.len())]),
                2 => data[at] = BYTES[with.index(BYTES.len())],
                _ => { let b = data[at]; data.insert(at, b); }
            }
            if data.len() < 2 { break; }
        }
        bodies::reader(&data);
    }

    #[test]
    fn any_bytes_are_read_without_harm(data in vec(any::<u8>(), 0..200)) {
        bodies::reader(&data);
        bodies::jid(&data);
    }

    #[test]
    fn any_text_is_an_address_that_is_stable_or_none(text in "\\PC{0,40}") {
        bodies::jid(text.as_bytes());
    }
}
