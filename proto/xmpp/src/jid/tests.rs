//! Tests of addresses: tables by RFC, rows of security-cases by number, properties.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(input: &str, want: &str) {
    let jid = Jid::parse(input).unwrap_or_else(|error| panic!("{input:?}: {error}"));
    assert_eq!(jid.as_str(), want);
    check_whole(&jid);
}

#[track_caller]
fn refused(input: &str, part: Part, reason: Reason) {
    assert_eq!(Jid::parse(input), Err(JidError { part, reason }), "{input:?}");
}

/// What holds for every address.
#[track_caller]
fn check_whole(jid: &Jid) {
    let again = Jid::parse(jid.as_str()).expect("a normalised address is one");
    assert_eq!(again.as_str(), jid.as_str(), "parsing twice changes nothing");
    assert_eq!(
        (again.local(), again.domain(), again.resource()),
        (jid.local(), jid.domain(), jid.resource())
    );
    let parts = Jid::from_parts(jid.local(), jid.domain(), jid.resource()).unwrap();
    assert_eq!(&parts, jid);
    let mut text = String::new();
    if let Some(local) = jid.local() {
        text += &format!("{local}@");
        assert!((1..=PART_BYTES_MAX).contains(&local.len()));
    }
    text += jid.domain();
    assert!((1..=PART_BYTES_MAX).contains(&jid.domain().len()));
    assert_eq!(jid.bare_str(), text);
    assert_eq!(jid.to_bare().as_str(), text);
    assert!(jid.to_bare().is_bare());
    assert_eq!(jid.domain_jid().as_str(), jid.domain());
    assert_eq!((jid.domain_jid().local(), jid.domain_jid().resource()), (None, None));
    if let Some(resource) = jid.resource() {
        text += &format!("/{resource}");
        assert!((1..=PART_BYTES_MAX).contains(&resource.len()));
    }
    assert_eq!(jid.to_string(), text);
    assert_eq!(jid.is_bare(), jid.resource().is_none());
}

#[test]
fn what_was_normalised_is_only_cut_and_measured() {
    for text in ["a.example", "a@b", "a@b/c", "b/c@d/e", "ünï@exämple/ß ✓"] {
        let parsed = Jid::parse(text).unwrap();
        let again = Jid::trusted(parsed.as_str()).unwrap();
        assert_eq!(again, parsed);
        check_whole(&again);
        assert_eq!(again.to_bare(), parsed.to_bare());
    }
    let most = "a".repeat(PART_BYTES_MAX);
    assert!(Jid::trusted(&format!("{most}@{most}/{most}")).is_ok());
    for (text, part, reason) in [
        (String::new(), Part::Domain, Reason::Empty),
        ("@b".into(), Part::Local, Reason::Empty),
        ("a@".into(), Part::Domain, Reason::Empty),
        ("a@b/".into(), Part::Resource, Reason::Empty),
        (format!("{most}a@b"), Part::Local, Reason::TooLong),
        (format!("{most}a"), Part::Domain, Reason::TooLong),
        (format!("b/{most}a"), Part::Resource, Reason::TooLong),
    ] {
        assert_eq!(Jid::trusted(&text), Err(JidError { part, reason }), "{text:.20}");
    }
}

#[test]
fn an_address_is_small() {
    assert_eq!(size_of::<Jid>(), 24);
    assert_eq!(size_of::<Option<Jid>>(), 24);
}

#[test]
fn addresses_of_rfc_7622() {
    // §3.5, table 1.
    for valid in [
        "juliet@example.com",
        "juliet@example.com/foo",
        "juliet@example.com/foo bar",
        "juliet@example.com/foo@bar",
        "foo\\20bar@example.com",
        "fussball@example.com",
        "π@example.com",
        "example.com",
        "example.com/foobar",
        "a.example.com/b@example.net",
        "king@example.com/♚",
    ] {
        check(valid, valid);
    }
    check("Σ@example.com/foo", "σ@example.com/foo");
    check("Σ@example.com/Foo", "σ@example.com/Foo");
    // §3.5, table 2.
    refused("\"juliet\"@example.com", Part::Local, Reason::Forbidden);
    refused("foo bar@example.com", Part::Local, Reason::Forbidden);
    refused("juliet@example.com/", Part::Resource, Reason::Empty);
    refused("@example.com", Part::Local, Reason::Empty);
    refused("@example.com/", Part::Local, Reason::Empty);
    refused("/foobar", Part::Domain, Reason::Empty);
    refused("user@", Part::Domain, Reason::Empty);
    refused("", Part::Domain, Reason::Empty);
    // U+2163 becomes U+2173 in lower case, and `iv` by stringprep; PRECIS knows neither.
    refused("henry\u{2163}@example.com", Part::Local, Reason::Forbidden);
}

#[test]
fn stringprep_and_precis_must_agree_on_localparts() {
    // Table 1 of RFC 7622 has these two; older servers fold them to `ss` and `σ`, another account.
    refused("fußball@example.com", Part::Local, Reason::Ambiguous);
    refused("ς@example.com", Part::Local, Reason::Ambiguous);
    // Soft hyphen, joiner: stringprep drops them.
    refused("ju\u{ad}liet@example.com", Part::Local, Reason::Forbidden);
    refused("ju\u{200d}liet@example.com", Part::Local, Reason::Forbidden);
    check("Ωmega@example.com", "ωmega@example.com");
    check("ｊｕｌｉｅｔ@example.com", "juliet@example.com");
    check("e\u{301}@example.com", "é@example.com");
    check("Édith@example.com", "édith@example.com");
    check("иван@пример.рф", "иван@пример.рф");
    check("李@例え.jp", "李@例え.jp");
}

#[test]
fn what_one_of_both_allows_is_told_apart() {
    // Letters newer than Unicode 3.2: stringprep does not know them.
    check("\u{2c30}@example.com", "\u{2c30}@example.com");
    // RFC 3454 wants an Arabic letter at both ends, RFC 5893 is content with a digit at the last.
    check("محمد1@example.com", "محمد1@example.com");
    refused("محمدa@example.com", Part::Local, Reason::Forbidden);
    // Symbols.
    check("♥@example.com", "♥@example.com");
    check("Anna♥@example.com", "anna♥@example.com");
    // But not what looks the same or like nothing.
    refused("\u{fb01}sh@example.com", Part::Local, Reason::Forbidden);
    refused("\u{3164}@example.com", Part::Local, Reason::Forbidden);
    refused("a\u{a0}b@example.com", Part::Local, Reason::Forbidden);
    refused("a\u{e000}@example.com", Part::Local, Reason::Forbidden);
}

#[test]
fn mapping_makes_no_separator() {
    refused("a\u{ff20}b@example.com", Part::Local, Reason::Forbidden);
    refused("a\u{ff0f}b@example.com", Part::Local, Reason::Forbidden);
    refused("a@b\u{ff0f}c", Part::Domain, Reason::Forbidden);
    refused("a@b\u{ff20}c", Part::Domain, Reason::Forbidden);
    refused("a@\u{2100}.example", Part::Domain, Reason::Forbidden);
}

#[test]
fn domains() {
    check("EXAMPLE.org", "example.org");
    check("example.org.", "example.org");
    check("a@example.org./r", "a@example.org/r");
    check("a@EXAMPLE。org。", "a@example.org");
    check("MÜLLER.example", "müller.example");
    check("xn--mller-kva.example", "müller.example");
    check("XN--MLLER-KVA.example", "müller.example");
    check("straße.example", "straße.example");
    check("a--b.example", "a--b.example");
    check("-a-.example", "-a-.example");
    check("_xmpp.my_host", "_xmpp.my_host");
    check("a@192.0.2.1/r", "a@192.0.2.1/r");
    check("a@[2001:DB8:0::1]/r", "a@[2001:db8::1]/r");
    assert_eq!(Jid::parse("müller.example").unwrap().domain_ascii(), "xn--mller-kva.example");
    assert_eq!(Jid::parse("straße.example").unwrap().domain_ascii(), "xn--strae-oqa.example");
    assert_eq!(Jid::parse("a@example.org").unwrap().domain_ascii(), "example.org");

    for bad in [
        "a@b@c",
        "a b",
        "example..org",
        ".example.org",
        "example.org..",
        "example.org。.",
        ".",
        "[::1",
        "[]",
        "[::g]",
        "[192.0.2.1]",
        "[::1].org",
        "a:5222",
        "ex%41mple.org",
        "ex\u{202e}ample.org",
        "a\u{0}b",
        "xn--a",
        "xn--\u{fc}",
    ] {
        let error = Jid::parse(bad).expect_err(bad);
        assert_eq!(error.part, Part::Domain, "{bad}");
    }
}

// Security case 24.
#[test]
fn punycode_of_ascii_is_no_second_name() {
    for bad in ["xn--example-.org", "XN--EXAMPLE-.org", "a.xn--example-", "xn--.org", "xn--a-.org"]
    {
        refused(bad, Part::Domain, Reason::Forbidden);
        assert!(Jid::from_parts(Some("a"), bad, None).is_err());
    }
}

// Security case 22.
#[test]
fn long_parts_are_refused_and_never_cut() {
    let fits = "a".repeat(PART_BYTES_MAX);
    let over = "a".repeat(PART_BYTES_MAX + 1);
    check(&format!("{fits}@b/c"), &format!("{fits}@b/c"));
    check(&format!("a@{fits}/c"), &format!("a@{fits}/c"));
    check(&format!("{fits}@{fits}/{fits}"), &format!("{fits}@{fits}/{fits}"));
    refused(&format!("{over}@b/c"), Part::Local, Reason::TooLong);
    refused(&format!("a@{over}/c"), Part::Domain, Reason::TooLong);
    refused(&format!("a@b/{over}"), Part::Resource, Reason::TooLong);

    // 1,023 bytes of two-byte characters cannot be; 1,022 can, and 1,024 would end in the middle of
    // one if cut.
    let fits = "é".repeat(511);
    let over = "é".repeat(512);
    check(&format!("{fits}x@b/{fits}x"), &format!("{fits}x@b/{fits}x"));
    refused(&format!("{over}@b"), Part::Local, Reason::TooLong);
    refused(&format!("b/{over}"), Part::Resource, Reason::TooLong);
    refused(&over, Part::Domain, Reason::TooLong);
    // Grows in preparation: U+1F82 composes from nothing shorter, U+0958 decomposes for good.
    let grows = "\u{958}".repeat(341);
    refused(&format!("b/{grows}"), Part::Resource, Reason::TooLong);
}

#[test]
fn resources() {
    for same in [" ", " leading and trailing ", "'\"&<>:@/\\", "Ünïcode", "ß", "ﬁ", "🤖", "a🥑b🫠"]
    {
        check(&format!("b/{same}"), &format!("b/{same}"));
        assert_eq!(resourceprep(same).unwrap(), same);
    }
    check("b/a\u{a0}b\u{3000}", "b/a b ");
    check("b/e\u{301}", "b/é");
    check("b/🤖e\u{301}🤖", "b/🤖é🤖");
    // Variation selector and joiner: RFC 6122 maps them to nothing.
    check("b/❤\u{fe0f}", "b/❤");
    check("b/👩\u{200d}🚀", "b/👩🚀");
    for bad in ["a\u{0}", "a\n", "\u{7f}", "\u{85}", "\u{200b}", "\u{ad}", "\u{e000}", "\u{fffe}"] {
        let want = JidError { part: Part::Resource, reason: Reason::Forbidden };
        assert_eq!(resourceprep(bad), Err(want), "{bad:?}");
    }
    assert_eq!(resourceprep("").unwrap_err().reason, Reason::Empty);

    let jid = Jid::parse("a@b/c").unwrap();
    assert_eq!(jid.with_resource("d/e").unwrap().as_str(), "a@b/d/e");
    assert_eq!(jid.domain_jid().with_resource("x").unwrap().as_str(), "b/x");
    assert!(jid.with_resource("").is_err());
    assert!(jid.same_bare(&jid.with_resource("d").unwrap()));
    assert!(!jid.same_bare(&Jid::parse("b/c").unwrap()));
}

#[test]
fn parts_are_shared_not_copied() {
    let jid = Jid::parse("romeo@example.net/orchard").unwrap();
    let (bare, domain, copy) = (jid.to_bare(), jid.domain_jid(), jid.clone());
    assert_eq!(Arc::strong_count(&jid.text), 4);
    assert!(std::ptr::eq(bare.as_str().as_ptr(), jid.as_str().as_ptr()));
    assert_eq!(domain.to_bare(), domain);
    assert_eq!(bare.domain_jid(), domain);
    assert_eq!(copy, jid);
}

#[test]
fn equal_texts_are_equal_keys() {
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    let cut = Jid::parse("a@example.org/x").unwrap().to_bare();
    let made = Jid::parse("A@Example.ORG").unwrap();
    assert_eq!(cut, made);
    assert_eq!(cut.cmp(&made), Ordering::Equal);
    assert_eq!(hash(&|h| cut.hash(h)), hash(&|h| made.hash(h)));
    assert_eq!(HashMap::from([(cut, 1)]).get("a@example.org"), Some(&1));
}

#[test]
fn credentials() {
    // RFC 4013 §3.
    assert_eq!(prepare_password("I\u{ad}X").unwrap(), "IX");
    assert_eq!(prepare_password("user").unwrap(), "user");
    assert_eq!(prepare_password("\u{aa}").unwrap(), "a");
    assert_eq!(prepare_password("\u{2168}").unwrap(), "IX");
    assert_eq!(prepare_password("\u{7}"), None);
    // §3 refuses this one for its direction; RFC 8265 §4.2 has no such rule.
    assert_eq!(prepare_password("\u{627}1").unwrap(), "\u{627}1");
    // Newer than both tables.
    assert_eq!(prepare_password("correct 🐴 battery").unwrap(), "correct 🐴 battery");
    assert_eq!(prepare_password(""), None);
    assert_eq!(prepare_password("\u{ad}"), None);
    assert_eq!(prepare_username("I\u{ad}X"), "IX");
    assert_eq!(prepare_username("🐴"), "🐴");
    assert_eq!(prepare_username("\u{ad}"), "\u{ad}");
}

#[test]
fn escaping_of_xep_0106() {
    for (name, escaped) in [
        ("space cadet", "space\\20cadet"),
        ("call me \"ishmael\"", "call\\20me\\20\\22ishmael\\22"),
        ("at&t guy", "at\\26t\\20guy"),
        ("d'artagnan", "d\\27artagnan"),
        ("/.fanboy", "\\2f.fanboy"),
        ("::foo::", "\\3a\\3afoo\\3a\\3a"),
        ("<foo>", "\\3cfoo\\3e"),
        ("user@host", "user\\40host"),
        ("c:\\net", "c\\3a\\net"),
        ("c:\\\\net", "c\\3a\\\\net"),
        ("c:\\cool stuff", "c\\3a\\cool\\20stuff"),
        ("c:\\5commas", "c\\3a\\5c5commas"),
        ("plain", "plain"),
        ("ünï", "ünï"),
        ("\\", "\\"),
        ("\\2plus\\2is\\4", "\\2plus\\2is\\4"),
        ("foo\\bar", "foo\\bar"),
        ("foob\\41r", "foob\\41r"),
    ] {
        assert_eq!(escape_local(name), escaped);
        assert_eq!(unescape_local(escaped), name);
        check(&format!("{escaped}@example.com"), &format!("{escaped}@example.com"));
    }
    // §4.2: no name begins or ends with a space, so these are plain text.
    assert_eq!(unescape_local("\\20foo\\20"), "\\20foo\\20");
    assert_eq!(unescape_local("\\5c20"), "\\20");
    assert_eq!(unescape_local("\\2"), "\\2");
    assert_eq!(unescape_local("\\é2"), "\\é2");
}

/// Texts that look like addresses, of characters that have been trouble somewhere.
fn odd_text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        6 => proptest::char::range('!', '~'),
        3 => proptest::sample::select(
            concat!(
                "@/.:-_ \0\u{7f}\u{ad}\u{df}\u{e9}\u{130}\u{131}\u{301}\u{345}\u{3a3}\u{3c2}\u{587}",
                "\u{5d0}\u{627}\u{661}\u{6f1}\u{958}\u{1100}\u{1e9e}\u{1f82}\u{200c}\u{200d}\u{202e}",
                "\u{2126}\u{212a}\u{2163}\u{2665}\u{3002}\u{3164}\u{30fb}\u{fb01}\u{fe0f}\u{ff0e}",
                "\u{ff20}\u{ff61}\u{1f916}\u{1d400}\u{e0041}",
            )
            .chars()
            .collect::<Vec<_>>()
        ),
        1 => any::<char>(),
    ];
    proptest::collection::vec(odd, 0..12).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    // Security case 23: whatever the text, preparation is defined on it.
    #[test]
    fn every_text_is_an_address_or_an_error(
        local in odd_text(),
        domain in odd_text(),
        resource in odd_text(),
    ) {
        for text in [
            format!("{local}@{domain}/{resource}"),
            format!("{local}@example.org/{resource}"),
            format!("{local}@example.org"),
            format!("{domain}/{resource}"),
            format!("xn--{domain}"),
            local.clone(),
        ] {
            fuzz(text.as_bytes());
            if let Ok(jid) = Jid::parse(&text) {
                check_whole(&jid);
            }
        }
        if let Ok(jid) = Jid::from_parts(Some(&local), "example.org", Some(&resource)) {
            check_whole(&jid);
        }
        let _ = prepare_password(&resource);
        let _ = prepare_username(&local);
    }

    #[test]
    fn both_paths_agree_on_ascii(
        local in "[!-~]{0,8}",
        domain in "[!-~]{0,8}",
        resource in "[ -~]{0,8}",
    ) {
        let (l, r) = (Some(local.as_str()), Some(resource.as_str()));
        let plain = ascii::judge(l, &domain, r);
        let by_the_book = Jid::prepared(l, &domain, r);
        match plain {
            Ok(ascii::Judged::Unknown) => {}
            Ok(_) => {
                let jid = by_the_book.unwrap();
                prop_assert_eq!(jid.local(), Some(&*local.to_ascii_lowercase()));
                prop_assert_eq!(jid.domain(), domain.to_ascii_lowercase());
                prop_assert_eq!(jid.resource(), r);
                // What the tables say must be what the look at the bytes said.
                for (part, text, want) in [
                    (Part::Local, &local, local.to_ascii_lowercase()),
                    (Part::Domain, &domain, domain.to_ascii_lowercase()),
                    (Part::Resource, &resource, resource.clone()),
                ] {
                    prop_assert_eq!(prep::by_tables(part, text), Ok(want));
                }
            }
            Err(_) => prop_assert!(by_the_book.is_err()),
        }
    }

    #[test]
    fn case_does_not_count_in_a_bare_address(
        local in "[a-zA-Z0-9äÄöÖжЖ]{1,9}",
        domain in "[a-zA-Z0-9äÄ]{1,9}\\.org",
    ) {
        let text = format!("{local}@{domain}");
        let jid = Jid::parse(&text).unwrap();
        prop_assert_eq!(&Jid::parse(&text.to_uppercase()).unwrap(), &jid);
        prop_assert_eq!(&Jid::parse(&text.to_lowercase()).unwrap(), &jid);
        prop_assert_eq!(jid.as_str(), text.to_lowercase());
    }

    #[test]
    fn escapes_come_back(name in "[ -~ä\\\\\\\\2405ac]{1,12}") {
        prop_assume!(!name.starts_with(' ') && !name.ends_with(' '));
        let escaped = escape_local(&name);
        prop_assert_eq!(unescape_local(&escaped), &*name);
        prop_assert!(Jid::from_parts(Some(&escaped), "example.org", None).is_ok());
    }

    #[test]
    fn unescaping_takes_any_text(text in "\\PC{0,12}") {
        let _ = unescape_local(&text);
    }

    #[test]
    fn order_is_that_of_the_text(
        a in "[a-c]{1,2}@[a-c]/[a-c]{1,2}",
        b in "[a-c]{1,2}@[a-c]/[a-c]{1,2}",
    ) {
        let (x, y) = (Jid::parse(&a).unwrap(), Jid::parse(&b).unwrap());
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        prop_assert_eq!(x == y, a == b);
    }
}
