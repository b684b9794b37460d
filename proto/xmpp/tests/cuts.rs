//! Where the input is cut never matters: pieces of any length give the items and the error that the
//! whole gives. This holds the way of short plain pieces to the way of everything else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use proptest::prelude::*;
use xmpp::limits::ReadLimits;
use xmpp::xml::Reader;

const OPEN: &[u8] = b"<stream:stream to='a.example' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

/// What a reader makes of some input, cut into pieces of these lengths, over and over.
fn shown(limits: ReadLimits, xml: &[u8], lengths: &[usize]) -> Vec<String> {
    let mut reader = Reader::new(limits);
    assert!(reader.read(&mut &OPEN[..]).unwrap().is_some());
    let mut shown = Vec::new();
    let mut lengths = lengths.iter().cycle();
    let mut rest = xml;
    while !rest.is_empty() {
        let length = lengths.next().map_or(rest.len(), |length| rest.len().min(*length));
        let (mut piece, after) = rest.split_at(length);
        rest = after;
        loop {
            match reader.read(&mut piece) {
                Ok(Some(item)) => shown.push(format!("{item:?}")),
                Ok(None) => break,
                Err(error) => {
                    shown.push(format!("{error:?}"));
                    return shown;
                }
            }
        }
        assert!(piece.is_empty());
    }
    shown.push(format!("at rest: {}", reader.is_at_rest()));
    shown
}

/// Plain words, and everything that ends a run of plain bytes, right and wrong.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let plain = proptest::collection::vec(b' '..=b'~', 0..40)
        .prop_map(|bytes| bytes.into_iter().filter(|b| !b"<>&'\"".contains(b)).collect::<Vec<_>>());
    let odd = proptest::sample::select(vec![
        "é",
        "漢字",
        "😀",
        "\r\n",
        "\r",
        "\n",
        "\t",
        "&amp;",
        "&#x41;",
        "'",
        "\"",
        ">",
        "]]",
        "]",
        "слово",
    ]);
    let wrong = proptest::sample::select(vec![
        &b"\0"[..],
        b"\x1F",
        b"\x80",
        b"\xC3",
        b"\xED\xA0\x80",
        b"\xEF\xBF\xBF",
        b"&x;",
        b"<",
        b"]]>",
        b"\xFF",
        b"&",
    ]);
    let part = prop_oneof![
        20 => plain,
        10 => odd.prop_map(|odd| odd.as_bytes().to_vec()),
        1 => wrong.prop_map(<[u8]>::to_vec),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn document() -> impl Strategy<Value = Vec<u8>> {
    let tag = ("['\"]", content(), content(), any::<bool>());
    let tag = tag.prop_map(|(quote, value, text, cdata)| {
        let (open, close) = if cdata { ("<![CDATA[", "]]>") } else { ("", "") };
        let quote = quote.as_bytes();
        let value = value.into_iter().filter(|b| [*b] != *quote).collect::<Vec<_>>();
        [b"<b a=", quote, &value, quote, b">", open.as_bytes(), &text, close.as_bytes(), b"</b>"]
            .concat()
    });
    let tags = proptest::collection::vec(tag, 1..4);
    proptest::collection::vec((content(), tags), 1..3).prop_map(|stanzas| {
        let stanzas = stanzas.into_iter().map(|(id, tags)| {
            let id = id.into_iter().filter(|b| *b != b'\'').collect::<Vec<_>>();
            [b"<message id='", &id[..], b"'>", &tags.concat(), b"</message> "].concat()
        });
        stanzas.collect::<Vec<_>>().concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn cuts_never_matter(
        xml in document(),
        lengths in proptest::collection::vec(1..80usize, 1..10),
        bytes in prop_oneof![Just(256 * 1024u32), 30..400u32],
    ) {
        let limits = ReadLimits { element_bytes: bytes, ..ReadLimits::AFTER_AUTH };
        let whole = shown(limits, &xml, &[usize::MAX]);
        prop_assert_eq!(&shown(limits, &xml, &lengths), &whole);
        prop_assert_eq!(&shown(limits, &xml, &[1]), &whole);
        prop_assert_eq!(&shown(limits, &xml, &[16]), &whole);
    }
}
