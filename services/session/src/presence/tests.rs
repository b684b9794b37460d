//! Priorities, what a change of presence does, directed presence, and answers to probes.

use super::*;
use crate::roster::Roster;

fn jid(text: &str) -> Jid {
    Jid::parse(text).expect("a JID")
}

fn priority_of(content: &str) -> Result<i8, Condition> {
    priority(&Body::parse(content.as_bytes()).expect("XML"))
}

#[test]
fn priorities() {
    let cases = [
        ("", Ok(0)),
        ("<show>away</show>", Ok(0)),
        ("<priority>1</priority>", Ok(1)),
        ("<priority> \n+5\t</priority>", Ok(5)),
        ("<priority>-128</priority>", Ok(-128)),
        ("<priority>127</priority><show>chat</show>", Ok(127)),
        ("<priority>-0</priority>", Ok(0)),
        ("<priority xmlns='urn:other'>9</priority>", Ok(0)),
        ("<priority>128</priority>", Err(Condition::BadRequest)),
        ("<priority>-129</priority>", Err(Condition::BadRequest)),
        ("<priority/>", Err(Condition::BadRequest)),
        ("<priority>high</priority>", Err(Condition::BadRequest)),
        ("<priority>1.0</priority>", Err(Condition::BadRequest)),
        ("<priority>1 2</priority>", Err(Condition::BadRequest)),
        ("<priority>99999999999999999999</priority>", Err(Condition::BadRequest)),
        ("<priority>1<b/></priority>", Err(Condition::BadRequest)),
        ("<priority>1</priority><priority>1</priority>", Err(Condition::BadRequest)),
    ];
    for (content, expected) in cases {
        assert_eq!(priority_of(content), expected, "{content}");
    }
}

/// A roster with one contact in each of some states, named after them.
fn roster() -> Roster {
    let mut roster = Roster::default();
    let mut apply = |contact: &str, steps: &[(bool, Verb)], version: u64| {
        for (n, (outbound, verb)) in steps.iter().enumerate() {
            let old = roster.state(contact);
            let change = if *outbound { old.outbound(*verb) } else { old.inbound(*verb) };
            roster.apply(contact, &change, version + n as u64, b"<presence/>");
        }
    };
    let (user, other) = (true, false);
    let to = [(user, Verb::Subscribe), (other, Verb::Subscribed)];
    let from = [(other, Verb::Subscribe), (user, Verb::Subscribed)];
    apply("asked@x.example", &[(user, Verb::Subscribe)], 1);
    apply("asker@x.example", &[(other, Verb::Subscribe)], 2);
    apply("both@x.example", &[to[0], to[1], from[0], from[1]], 10);
    apply("from@x.example", &from, 20);
    apply("to@x.example", &to, 30);
    roster
}

/// The effects as words.
fn script(before: Option<i8>, after: Option<i8>, directed: &Directed) -> String {
    let roster = roster();
    let name = |jid: &str| jid.split('@').next().unwrap_or_default().to_owned();
    let words: Vec<_> = effects(before, after, &roster, directed)
        .map(|effect| match effect {
            Effect::Contact(to) => format!("to {}", name(to)),
            Effect::ContactAndProbe(to) => format!("to and probe {}", name(to)),
            Effect::Own => "own".to_owned(),
            Effect::Others => "others".to_owned(),
            Effect::Probe(to) => format!("probe {}", name(to)),
            Effect::Ask(to) => format!("ask {}", name(to)),
            Effect::Request(from, stanza) => {
                assert_eq!(stanza, b"<presence/>");
                format!("request of {}", name(from))
            }
            Effect::Inbox => "inbox".to_owned(),
            Effect::Directed(to) => format!("directed {to}"),
        })
        .collect();
    words.join(", ")
}

#[test]
fn what_a_change_of_presence_does() {
    let nobody = Directed::default();
    let initial = "to and probe both, to from, own, others, probe to, ask asked, request of asker";
    assert_eq!(script(None, Some(0), &nobody), format!("{initial}, inbox"));
    assert_eq!(script(None, Some(-1), &nobody), initial, "messages are not wanted");
    assert_eq!(script(Some(0), Some(5), &nobody), "to both, to from, own");
    assert_eq!(script(Some(-1), Some(0), &nobody), "to both, to from, own, inbox");
    assert_eq!(script(Some(3), Some(-1), &nobody), "to both, to from, own");
    assert_eq!(script(Some(0), None, &nobody), "to both, to from, own");
    assert_eq!(script(None, None, &nobody), "");
}

#[test]
fn directed_presence_ends_with_the_resource() {
    let room = jid("room@conference.example/nick");
    let mut directed = Directed::default();
    directed.sent(PresenceType::Available, &room, false).expect("room for it");
    directed.sent(PresenceType::Available, &room, false).expect("known already");
    assert_eq!(directed.len(), 1);
    assert_eq!(script(Some(0), Some(1), &directed), "to both, to from, own");
    let gone = "to both, to from, directed room@conference.example/nick, own";
    assert_eq!(script(Some(0), None, &directed), gone);

    // 4.6.3, rule 1: a subscriber gets the broadcast, and one copy of it.
    let subscriber = jid("from@x.example/phone");
    directed.sent(PresenceType::Available, &subscriber, true).expect("nothing to keep");
    assert_eq!(directed.len(), 1);
    // Rule 3: before initial presence it is kept; the broadcast tells of the end if there is one.
    directed.sent(PresenceType::Available, &subscriber, false).expect("room for it");
    assert_eq!(script(Some(0), None, &directed), gone);
    let without_broadcast = "directed room@conference.example/nick, directed from@x.example/phone";
    assert_eq!(script(None, None, &directed), without_broadcast);

    directed.sent(PresenceType::Unavailable, &room, false).expect("it only goes");
    assert_eq!(script(Some(0), None, &directed), "to both, to from, own");
    directed.clear();
    assert!(directed.is_empty());
}

#[test]
fn who_leaves_or_is_left_is_forgotten() {
    let mut directed = Directed::default();
    let (nick, other) = (jid("room@conference.example/nick"), jid("room@conference.example/other"));
    let romeo = jid("romeo@montague.example");
    for to in [&nick, &other, &romeo] {
        directed.sent(PresenceType::Available, to, false).expect("room for it");
    }
    directed.came_unavailable(&jid("romeo@montague.example/orchard"));
    assert!(directed.knows(&romeo), "another resource of his may be there");
    assert!(directed.knows(&jid("romeo@montague.example/orchard")));
    directed.came_unavailable(&nick);
    assert_eq!(directed.iter().collect::<Vec<_>>(), [&other, &romeo]);
    assert!(directed.knows(&jid("room@conference.example/somebody")));
    directed.came_unavailable(&jid("room@conference.example"));
    assert_eq!(directed.iter().collect::<Vec<_>>(), [&romeo]);
    assert!(!directed.knows(&other));
}

#[test]
fn directed_presence_is_bounded() {
    let mut directed = Directed::default();
    for n in 0..DIRECTED_MAX {
        let to = jid(&format!("room{n}@conference.example"));
        directed.sent(PresenceType::Available, &to, false).expect("room for it");
    }
    let one_more = jid("one.more@conference.example");
    let refused = directed.sent(PresenceType::Available, &one_more, false);
    assert_eq!(refused, Err(Condition::ResourceConstraint));
    assert_eq!(directed.sent(PresenceType::Available, &one_more, true), Ok(()));
    let known = jid("room7@conference.example");
    assert_eq!(directed.sent(PresenceType::Available, &known, false), Ok(()));
    assert_eq!(directed.sent(PresenceType::Unavailable, &one_more, false), Ok(()));
    assert_eq!(directed.len(), DIRECTED_MAX);
}

#[test]
fn probes_are_answered_by_section_4_3_2() {
    const HERE: Probed = Probed { available: true, addressed: false, told: false };
    const CONNECTED: Probed = Probed { available: false, addressed: false, told: false };
    let named = |one: Probed| Probed { addressed: true, ..one };
    let told = |one: Probed| Probed { told: true, ..one };
    let from = roster().state("from@x.example");
    let targets = |positions: &[usize]| positions.iter().copied().collect::<Targets>();
    let answer = |state, full, resources: &[Probed]| {
        answer_probe(true, state, false, full, resources.iter().copied())
    };

    // Rule 1: strangers, and whoever has only asked, is asked, or is subscribed to.
    for name in ["asked", "asker", "to", "nobody"] {
        let state = roster().state(&format!("{name}@x.example"));
        for full in [false, true] {
            assert_eq!(answer(state, full, &[named(HERE)]), ProbeAnswer::Unsubscribed, "{name}");
        }
    }
    assert_eq!(answer_probe(false, from, false, false, [].into_iter()), ProbeAnswer::Unsubscribed);
    // Rules 3 and 4.
    assert_eq!(answer(from, false, &[]), ProbeAnswer::Unavailable);
    assert_eq!(answer(from, false, &[CONNECTED]), ProbeAnswer::Unavailable);
    let three = [HERE, CONNECTED, HERE];
    assert_eq!(answer(from, false, &three), ProbeAnswer::Whole(targets(&[0, 2])));
    assert_eq!(
        answer_probe(true, Subscription::NONE, true, false, three.into_iter()),
        ProbeAnswer::Whole(targets(&[0, 2])),
        "one is subscribed to oneself"
    );
    // A full JID: that resource and no other.
    let full = [HERE, named(HERE)];
    assert_eq!(answer(from, true, &full), ProbeAnswer::Mere(targets(&[1])));
    assert_eq!(answer(from, true, &three), ProbeAnswer::Unavailable);
    assert_eq!(answer(from, true, &[HERE, named(CONNECTED)]), ProbeAnswer::Unavailable);
    // 4.6.6: who was sent directed presence learns of that resource only.
    let none = Subscription::NONE;
    let some = [HERE, told(HERE), told(CONNECTED)];
    assert_eq!(answer(none, false, &some), ProbeAnswer::Mere(targets(&[1, 2])));
    let ghost = [named(HERE), told(HERE)];
    assert_eq!(answer(none, true, &ghost), ProbeAnswer::Unsubscribed);
    let alive = [HERE, named(told(HERE))];
    assert_eq!(answer(none, true, &alive), ProbeAnswer::Mere(targets(&[1])));
}

fn written(stanza: &Stanza) -> String {
    let mut out = Vec::new();
    stanza.write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn stanzas_are_stamped() {
    let balcony = jid("juliet@capulet.example/balcony");
    let orchard = jid("romeo@montague.example/orchard");
    let mut presence = Stanza::new(Kind::Presence(PresenceType::Available));
    presence.id = Some(Text::from("pres1"));
    presence.body = Body::parse(b"<show>away</show>").expect("XML");
    assert_eq!(
        written(&copy(&presence, &balcony, &orchard.to_bare())),
        "<presence to='romeo@montague.example' from='juliet@capulet.example/balcony' id='pres1'>\
         <show>away</show></presence>"
    );
    presence.kind = Kind::Presence(PresenceType::Subscribe);
    assert_eq!(
        written(&routed_subscription(&presence, &balcony, &orchard)),
        "<presence to='romeo@montague.example' from='juliet@capulet.example' id='pres1' \
         type='subscribe'><show>away</show></presence>"
    );
    let id = Some(Text::from("p1"));
    assert_eq!(
        written(&subscription(Verb::Unsubscribed, &balcony, &orchard, id.clone())),
        "<presence to='romeo@montague.example' from='juliet@capulet.example' id='p1' \
         type='unsubscribed'/>"
    );
    assert_eq!(
        written(&probe(&balcony, &orchard)),
        "<presence to='romeo@montague.example' from='juliet@capulet.example' type='probe'/>"
    );
    assert_eq!(
        written(&available(&balcony, &orchard.to_bare())),
        "<presence to='romeo@montague.example' from='juliet@capulet.example/balcony'/>"
    );
    let since = 1_031_701_267_000_000;
    assert_eq!(
        written(&unavailable(&balcony.to_bare(), &orchard.to_bare(), id, Some(since))),
        "<presence to='romeo@montague.example' from='juliet@capulet.example' id='p1' \
         type='unavailable'><delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:41:07Z'/></presence>"
    );
    assert_eq!(
        written(&unavailable(&balcony, &orchard.to_bare(), None, None)),
        "<presence to='romeo@montague.example' from='juliet@capulet.example/balcony' \
         type='unavailable'/>"
    );
}
