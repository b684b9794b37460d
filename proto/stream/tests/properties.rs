//! What holds for any order and any cut of anything. The checks are in `drive/mod.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod drive;

use proptest::prelude::*;

/// Words of a client, and events; most sequences of them are wrong.
const WORDS: [&str; 30] = [
    drive::OPEN,
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "\u{1}",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABwZW5jaWw=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1qLHI9eA==</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdzLHI9eA==</response>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "\u{2}",
    "\u{2}\u{2}\u{2}",
    "\u{3}",
    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<resume xmlns='urn:xmpp:sm:3' previd='id' h='4294967295'/>",
    "<enable xmlns='urn:xmpp:sm:3' resume='true'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3' h='0'/>",
    "<message to='romeo@a.example'><body>hi</body></message>",
    "<presence/>",
    "<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>",
    "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    "<message to='@'/>",
    "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
    "\u{4}",
    "\u{5}",
    "\u{6}",
    "\u{7}",
    "\u{c}",
    "\u{e}",
    "\u{f}",
    "</stream:stream>",
];

/// What a client does that gets somewhere.
const WAYS: [&[usize]; 6] =
    [&[], &[0], &[0, 4, 8], &[0, 1, 2, 0], &[0, 3, 9, 0], &[0, 3, 9, 0, 11, 8]];

fn sequence() -> impl Strategy<Value = String> {
    let way = prop::sample::select(WAYS.to_vec());
    let words = prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..24);
    (way, words).prop_map(|(way, words)| {
        way.iter().map(|i| WORDS[*i]).chain(words).collect::<Vec<_>>().concat()
    })
}

/// Each takes a few microseconds, so there are many; `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(2000)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases())
    })]

    /// Security cases 12 and 57: whatever the order of features, no stanza is accepted without TLS
    /// (where it is required), authentication and a resource.
    #[test]
    fn nothing_is_accepted_before_its_time_cases_12_and_57(
        first in prop::sample::select(vec!["p", "t", "n"]),
        words in sequence(),
    ) {
        drive::c2s(format!("{first}{words}").as_bytes(), |all| all);
    }

    /// Where the client's bytes are cut does not matter.
    #[test]
    fn any_cut_gives_the_same(
        words in sequence(),
        cuts in prop::collection::vec(1..40_usize, 1..9),
    ) {
        let words = format!("t{words}");
        let mut cuts = cuts.into_iter().cycle();
        let whole = drive::c2s(words.as_bytes(), |all| all);
        let cut = drive::c2s(words.as_bytes(), |_| cuts.next().unwrap_or(1));
        prop_assert_eq!(whole, cut);
    }

    /// Nothing panics.
    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
        drive::c2s(&data, |all| all);
        drive::sasl(&data);
    }
}

/// Found with random cases: a refusal that does not exist made the driver forget what it was asked.
#[test]
fn a_question_to_enable_stays_open() {
    let way: String = [0, 3, 9, 0, 11, 8, 16, 13, 10, 16].iter().map(|i| WORDS[*i]).collect();
    drive::c2s(format!("t{way}\u{f}").as_bytes(), |all| all);
}

/// The driver itself sees the end of the way: the properties are not empty.
#[test]
fn the_driver_gets_to_a_session() {
    let way: String = [0, 3, 9, 0, 11, 8, 16].iter().map(|i| WORDS[*i]).collect();
    let said = drive::c2s(format!("t{way}").as_bytes(), |all| all);
    assert!(said.contains("Stanza { number: 1"), "{said}");
    let way: String = [0, 1, 2, 0, 3, 9, 0, 12, 8, 14, 17].iter().map(|i| WORDS[*i]).collect();
    let said = drive::c2s(format!("p{way}").as_bytes(), |all| all);
    assert!(said.contains("Stanza { number: 4294967295"), "{said}");
}
