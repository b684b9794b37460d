//! Rosters: their size, their rows, their versions, and random editing against a model.

use super::*;
use crate::subscription::Verb;
use std::collections::BTreeMap;

fn contact(jid: &str, state: Subscription, version: u64) -> Contact {
    Contact { state, version, ..Contact::new(jid) }
}

/// A state by the stanzas that lead to it: `>` the user's, `<` the contact's.
fn state(steps: &str) -> Subscription {
    steps.split_whitespace().fold(Subscription::NONE, |state, step| {
        let (way, verb) = step.split_at(1);
        let verb = Verb::ALL.into_iter().find(|one| one.name() == verb).expect("a verb");
        match way {
            ">" => state.outbound(verb).state,
            "<" => state.inbound(verb).state,
            other => panic!("way {other}"),
        }
    })
}

const BOTH: &str = ">subscribe <subscribed <subscribe >subscribed";

/// Twenty contacts as people have them.
fn twenty() -> Vec<Bytes> {
    (0..20u64)
        .map(|n| {
            let mut one = contact(&format!("person.{n:02}@example.com"), state(BOTH), 1_000 + n);
            one.name = format!("Person {n:02}");
            one.groups = vec!["Friends".to_owned()];
            one.encode()
        })
        .collect()
}

fn load(rows: &[Bytes]) -> Roster {
    Roster::load(rows.iter().map(|row| &row[..])).expect("good rows")
}

#[test]
fn twenty_contacts_take_little() {
    let roster = load(&twenty());
    assert_eq!(roster.items().count(), 20);
    let bytes = size_of::<Roster>() + roster.heap_bytes();
    assert!(bytes <= 1228, "{bytes} bytes, more than 1.2 KiB");
    assert_eq!(Roster::default().heap_bytes(), 0);
}

#[test]
fn a_row_is_the_same_bytes_for_ever() {
    let mut one = contact("juliet@capulet.example", state(BOTH), 300);
    one.name = "Juliet".to_owned();
    one.groups = vec!["Friends".to_owned(), "VIPs".to_owned()];
    let row = one.encode();
    let golden = b"\x01\x23\xAC\x02\x16juliet@capulet.example\x06Juliet\x02\x07Friends\x04VIPs\x00";
    assert_eq!(&row[..], golden);
    assert_eq!(decode_row(&row).expect("a row").to_contact(), one);

    let mut asked = contact("nurse@capulet.example", state("<subscribe"), 0);
    asked.request = Bytes::from_static(b"<presence/>");
    let row = asked.encode();
    assert_eq!(&row[..], b"\x01\x08\x00\x15nurse@capulet.example\x00\x00\x0B<presence/>");
    assert_eq!(decode_row(&row).expect("a row").to_contact(), asked);
}

#[test]
fn a_damaged_row_is_refused() {
    let row = twenty().remove(0);
    for cut in 0..row.len() {
        assert!(decode_row(&row[..cut]).is_err(), "cut at {cut}");
    }
    let mut long = row.to_vec();
    long.push(0);
    assert_eq!(decode_row(&long), Err(BadValue::Trailing));
    let mut newer = row.to_vec();
    newer[0] = 2;
    assert_eq!(decode_row(&newer), Err(BadValue::Version(2)));
    let mut impossible = row.to_vec();
    impossible[1] = 0xFF;
    assert_eq!(decode_row(&impossible), Err(BadValue::Field));
    assert!(Roster::load([&impossible[..]]).is_err());
}

#[test]
fn any_bytes_are_read_without_panic() {
    let mut random = 1u64;
    for _ in 0..20_000 {
        let mut row = twenty().remove(0).to_vec();
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (random >> 33) as usize % row.len();
            row[at] = (random >> 24) as u8;
        }
        if let Ok(item) = decode_row(&row) {
            let groups = item.groups.iter().count();
            assert_eq!(groups, item.groups.len());
        }
    }
}

#[test]
fn contacts_are_found_and_listed_in_order() {
    let mut rows = twenty();
    rows.reverse();
    rows.push(contact("asker@example.net", state("<subscribe"), 0).encode());
    rows.push(contact("gone@example.net", Subscription::NONE, 7).encode());
    let roster = load(&rows);
    let items: Vec<_> = roster.items().map(|item| item.jid).collect();
    assert!(items.is_sorted() && items.len() == 20, "requests and tombstones are not shown");
    let found = roster.find("person.07@example.com").expect("an item");
    assert_eq!((found.name, found.version), ("Person 07", 1_007));
    assert_eq!(found.groups.iter().collect::<Vec<_>>(), ["Friends"]);
    assert!(roster.state("person.07@example.com").from());
    assert!(roster.state("asker@example.net").pending_in());
    assert!(roster.state("gone@example.net").is_none());
    assert!(roster.state("nobody@example.net").is_none() && roster.find("nobody@x").is_none());
    assert_eq!(roster.states().count(), 21);
    assert_eq!(roster.requests().map(|(jid, _)| jid).collect::<Vec<_>>(), ["asker@example.net"]);
    assert_eq!((roster.len(), roster.requests_len()), (22, 1));
}

/// Applies a stanza of the user (`>`) or of the contact (`<`).
fn step(roster: &mut Roster, jid: &str, step: &str, version: u64, request: &[u8]) -> Option<Write> {
    let old = roster.state(jid);
    let change = match step.split_at(1) {
        (">", verb) => {
            old.outbound(Verb::ALL.into_iter().find(|one| one.name() == verb).expect("a verb"))
        }
        ("<", verb) => {
            old.inbound(Verb::ALL.into_iter().find(|one| one.name() == verb).expect("a verb"))
        }
        _ => old.removed().expect("an item"),
    };
    roster.apply(jid, &change, version, request)
}

#[test]
fn a_request_is_kept_until_it_is_answered_and_never_seen() {
    let mut roster = Roster::default();
    let asker = "romeo@montague.example";
    let write = step(&mut roster, asker, "<subscribe", 10, b"<presence>hello</presence>");
    let Some(Write::Put(row)) = write else { panic!("a row is written") };
    assert_eq!(decode_row(&row).expect("a row").request, b"<presence>hello</presence>");
    assert_eq!(
        roster.requests().collect::<Vec<_>>(),
        [(asker, &b"<presence>hello</presence>"[..])]
    );
    assert_eq!((roster.items().count(), roster.version()), (0, 0));
    // Asking again changes nothing.
    assert_eq!(step(&mut roster, asker, "<subscribe", 11, b"<presence>again</presence>"), None);

    let mut denied = roster.clone();
    assert_eq!(step(&mut denied, asker, ">unsubscribed", 12, b""), Some(Write::Delete));
    assert!(denied.is_empty() && denied.version() == 0);

    assert!(matches!(step(&mut roster, asker, ">subscribed", 12, b""), Some(Write::Put(_))));
    let item = roster.find(asker).expect("an item");
    assert!(item.state.from() && item.request.is_empty());
    assert_eq!((roster.items().count(), roster.version()), (1, 12));
    assert_eq!(roster.requests_len(), 0);
}

#[test]
fn a_request_that_is_too_long_is_kept_bare() {
    let mut roster = Roster::default();
    let long = vec![b'x'; limits::REQUEST_BYTES_MAX + 1];
    step(&mut roster, "a@b.example", "<subscribe", 1, &long);
    assert_eq!(roster.requests().collect::<Vec<_>>(), [("a@b.example", &b""[..])]);
}

/// The changes as a client sees them, or `whole`.
fn caught_up(roster: &Roster, ver: Option<&str>, now: u64) -> String {
    match roster.catch_up(ver, now) {
        Catchup::Whole => "whole".to_owned(),
        Catchup::Changes(items) => items
            .iter()
            .map(|item| {
                let sign = if item.state.listed() { '+' } else { '-' };
                format!("{sign}{}@{}", &item.jid[..1], item.version)
            })
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// The text of a version.
fn ver(version: u64) -> String {
    String::from_utf8(version_text(version).to_vec()).expect("digits")
}

#[test]
fn a_client_gets_what_changed_since_its_version() {
    const DAY: u64 = 24 * 3600 * 1_000_000;
    let start = 1000 * DAY;
    let mut roster = Roster::default();
    for (n, jid) in ["a@x.example", "b@x.example", "c@x.example", "d@x.example"].iter().enumerate()
    {
        step(&mut roster, jid, ">subscribe", start + n as u64, b"");
    }
    let all = start + 3;
    assert_eq!(roster.version(), all);
    assert_eq!(caught_up(&roster, Some(&ver(all)), start), "");
    // Versions that were never given, or not in this form.
    for garbage in ["", "ver14", "0", "zzzzzzzzzzzzzzzz", "+00000000000000a", "ÄÄÄÄÄÄÄÄ"] {
        assert_eq!(caught_up(&roster, Some(garbage), start), "whole", "{garbage}");
    }
    assert_eq!(caught_up(&roster, None, start), "whole");
    assert_eq!(caught_up(&roster, Some(&ver(all + 1)), start), "whole");

    step(&mut roster, "c@x.example", "<subscribed", start + 10, b"");
    step(&mut roster, "a@x.example", "remove", start + 20, b"");
    step(&mut roster, "b@x.example", "<subscribed", start + 30, b"");
    assert_eq!(
        caught_up(&roster, Some(&ver(all)), start + 40),
        format!("+c@{} -a@{} +b@{}", start + 10, start + 20, start + 30)
    );
    assert_eq!(
        caught_up(&roster, Some(&ver(start + 20)), start + 40),
        format!("+b@{}", start + 30)
    );
    assert_eq!(roster.find("a@x.example").map(|item| item.groups.len()), Some(0));

    // Somebody who was removed asks: clients still learn of the removal, and only of that.
    step(&mut roster, "a@x.example", "<subscribe", start + 35, b"<presence/>");
    assert_eq!(roster.version(), start + 30);
    assert_eq!(
        caught_up(&roster, Some(&ver(start + 10)), start + 40),
        format!("-a@{} +b@{}", start + 20, start + 30)
    );
    let refused = step(&mut roster, "a@x.example", ">unsubscribed", start + 36, b"");
    assert!(matches!(refused, Some(Write::Put(_))), "the tombstone is still needed");

    // After thirty days the tombstone goes, and who is older than it gets everything.
    let late = start + 31 * DAY;
    assert_eq!(caught_up(&roster, Some(&ver(start + 10)), late), "whole");
    assert_eq!(caught_up(&roster, Some(&ver(start + 30)), late), "", "nothing newer, however old");
    assert!(roster.purge(start + 29 * DAY).is_empty());
    assert_eq!(roster.purge(late), [Box::from("a@x.example")]);
    assert_eq!(roster.len(), 3);
}

#[test]
fn many_changes_are_sent_as_the_whole_roster() {
    let mut roster = Roster::default();
    step(&mut roster, "a@x.example", ">subscribe", 1, b"");
    for n in 0..5u64 {
        let jid = format!("{n}@x.example");
        step(&mut roster, &jid, ">subscribe", 10 + 2 * n, b"");
        step(&mut roster, &jid, "remove", 11 + 2 * n, b"");
    }
    assert_eq!(caught_up(&roster, Some(&ver(1)), 50), "whole");
}

#[test]
fn versions_as_text_are_fixed_and_come_back() {
    assert_eq!(ver(0), "0000000000000000");
    assert_eq!(ver(0x0006_3ABC_DEF0_1234), "00063abcdef01234");
    for version in [0, 1, 0xFEDC_BA98_7654_3210, u64::MAX] {
        assert_eq!(parse_version(&ver(version)), Some(version));
    }
    assert_eq!(parse_version("00063ABCDEF01234"), None, "not as this server writes it");
}

/// Thousands of random edits leave what a plain map would hold, and loading the rows gives the same
/// roster.
#[test]
fn random_edits_match_a_model_and_its_rows() {
    let mut random = 7u64;
    let mut next = |bound: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut roster = Roster::default();
    let mut rows: BTreeMap<String, Bytes> = BTreeMap::new();
    for round in 1..4_000u64 {
        let jid = format!("{}@example.com", "x".repeat(1 + next(12) as usize));
        let old = roster.state(&jid);
        let write = match next(10) {
            0 => {
                let mut one = roster.contact(&jid);
                one.name = "n".repeat(next(40) as usize);
                one.groups = (0..next(3)).map(|n| format!("group {n}")).collect();
                one.state = one.state.with_item();
                one.version = roster.next_version(round);
                Some(roster.put(&one))
            }
            1 => old.removed().and_then(|change| roster.apply(&jid, &change, round, b"")),
            pick => {
                let verb = Verb::ALL[pick as usize % 4];
                let change = if next(2) == 0 { old.outbound(verb) } else { old.inbound(verb) };
                roster.apply(&jid, &change, round, b"<presence type='subscribe'/>")
            }
        };
        match write {
            Some(Write::Put(row)) => drop(rows.insert(jid, row)),
            Some(Write::Delete) => drop(rows.remove(&jid)),
            None => {}
        }
        if round % 50 == 0 {
            let loaded = load(&rows.values().cloned().collect::<Vec<_>>());
            let all = |roster: &Roster| {
                roster.entries.iter().map(|e| roster.item(e).to_contact()).collect::<Vec<_>>()
            };
            assert_eq!(all(&loaded), all(&roster));
            assert_eq!(loaded.text_bytes(), roster.text_bytes());
            assert_eq!(loaded.version(), roster.version());
            assert!(roster.unused <= roster.text.len() / 2);
        }
    }
}

fn item_set(jid: &str, name: &str) -> ItemSet {
    let jid = xmpp::jid::Jid::parse(jid).expect("a JID");
    ItemSet { jid, name: name.to_owned(), groups: Vec::new() }
}

#[test]
fn a_set_changes_name_and_groups_and_nothing_else() {
    let mut roster = Roster::default();
    step(&mut roster, "romeo@example.net", "<subscribe", 1, b"<presence/>");
    let write = roster.set(&item_set("romeo@example.net", "Romeo"), 2).expect("room");
    let Write::Put(row) = write else { panic!("a row is written") };
    let item = decode_row(&row).expect("a row");
    assert_eq!((item.name, item.version, item.request), ("Romeo", 2, &b"<presence/>"[..]));
    assert!(item.state.listed() && item.state.pending_in());
    step(&mut roster, "romeo@example.net", ">subscribed", 3, b"");
    roster.set(&item_set("romeo@example.net", ""), 4).expect("room");
    let item = roster.find("romeo@example.net").expect("an item");
    assert_eq!((item.name, item.version), ("", 4));
    assert!(item.state.from());
}

#[test]
fn a_roster_has_limits() {
    let rows: Vec<_> = (0..ITEMS_MAX as u64)
        .map(|n| contact(&format!("{n}@example.com"), Subscription::LISTED, n + 1).encode())
        .collect();
    let mut full = load(&rows);
    let version = ITEMS_MAX as u64 + 1;
    let refused = full.set(&item_set("new@example.com", ""), version);
    assert_eq!(refused, Err(Condition::PolicyViolation));
    assert!(full.set(&item_set("7@example.com", "Seven"), version).is_ok(), "known already");
    let asking = Subscription::NONE.outbound(Verb::Subscribe);
    assert_eq!(full.admit("new@example.com", &asking), Err(Condition::PolicyViolation));
    let known = full.state("7@example.com").outbound(Verb::Subscribe);
    assert_eq!(full.admit("7@example.com", &known), Ok(()));

    // A request still fits, until there are too many of them.
    let asked = Subscription::NONE.inbound(Verb::Subscribe);
    for n in 0..REQUESTS_MAX {
        assert_eq!(full.admit(&format!("{n}@example.net"), &asked), Ok(()));
        full.apply(&format!("{n}@example.net"), &asked, 0, &[b'x'; REQUEST_BYTES_MAX]);
    }
    let refused = full.admit("one.more@example.net", &asked);
    assert_eq!(refused, Err(Condition::ResourceConstraint));
    assert_eq!(full.admit("7@example.net", &asked), Ok(()), "asks already");

    // Strangers' requests take nothing of the user's own room.
    let name = "n".repeat(limits::NAME_BYTES_MAX);
    let mut roster = Roster::default();
    let mut version = 0;
    let refused = loop {
        version += 1;
        if let Err(refused) = roster.set(&item_set(&format!("{version}@x.example"), &name), version)
        {
            break refused;
        }
    };
    assert_eq!(refused, Condition::PolicyViolation);
    assert!(
        version as usize > TEXT_BYTES_MAX / 1100 && roster.text_bytes() <= TEXT_BYTES_MAX + 2048
    );
}

#[test]
fn the_addresses_of_contacts_count_too() {
    let long = |n: u64| {
        let jid = format!("{n}{}@{}example", "l".repeat(900), "label.".repeat(150));
        xmpp::jid::Jid::parse(&jid).expect("a JID").as_str().to_owned()
    };
    let asking = Subscription::NONE.outbound(Verb::Subscribe);
    let mut asked = Roster::default();
    let all = (0..).take_while(|n| {
        let room = asked.admit(&long(*n), &asking).is_ok();
        if room {
            asked.apply(&long(*n), &asking, n + 1, b"");
        }
        room
    });
    assert!(all.count() > TEXT_BYTES_MAX / 2 / long(9).len());
    assert!(asked.items_bytes() <= TEXT_BYTES_MAX + 2048);
    assert_eq!(asked.admit(&long(9999), &asking), Err(Condition::PolicyViolation));
    let mut named = Roster::default();
    let all = (0..).take_while(|n| named.set(&item_set(&long(*n), ""), n + 1).is_ok());
    assert!(all.count() > TEXT_BYTES_MAX / 2 / long(9).len());
    assert!(named.items_bytes() <= TEXT_BYTES_MAX + 2048);
}
