//! Tables 2 to 9 of RFC 6121 Appendix A, row by row in their own notation; removal; pre-approval;
//! and both ends of a subscription together, explored without gaps.

use super::*;
use std::collections::{HashSet, VecDeque};

/// A state by its name in Appendix A.1.
fn state(name: &str) -> Subscription {
    let (base, pending) = name.split_once(" + ").unwrap_or((name, ""));
    let base = match base {
        "None" => 0,
        "To" => TO,
        "From" => FROM,
        "Both" => TO | FROM,
        other => panic!("no state {other}"),
    };
    let pending = match pending {
        "" => 0,
        "Pending Out" => PENDING_OUT,
        "Pending In" => PENDING_IN,
        "Pending Out+In" => PENDING_OUT | PENDING_IN,
        other => panic!("no sub-state {other}"),
    };
    Subscription::from_bits(base | pending | LISTED).expect("a possible state")
}

/// Cuts a table of the RFC into its rows of three cells, without quotes and footnotes.
fn rows(table: &str) -> Vec<[String; 3]> {
    let cell = |text: &str| {
        let text = text.trim();
        let text = text.split_once('[').map_or(text, |(text, _)| text);
        text.trim().trim_matches('"').to_owned()
    };
    let rows: Vec<_> = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(cell).collect();
            <[String; 3]>::try_from(cells).expect("three cells")
        })
        .collect();
    assert_eq!(rows.len(), 9, "all nine states");
    rows
}

/// The state of the third cell.
fn new_state(row: &[String; 3]) -> Subscription {
    let old = state(&row[0]);
    match row[2].as_str() {
        "no state change" => old,
        "pre-approval" => old.with(APPROVED, 0),
        name => state(name),
    }
}

fn check_outbound(verb: Verb, table: &str) {
    for row in rows(table) {
        let old = state(&row[0]);
        let change = old.outbound(verb);
        assert_eq!(change.state, new_state(&row), "outbound {verb:?} in {old}");
        let route = match row[1].as_str() {
            "MUST" => true,
            "M.N." | "S.N." => false,
            other => panic!("cell {other}"),
        };
        assert_eq!(change.has(Effect::Route), route, "outbound {verb:?} in {old}");
        assert_eq!(change.has(Effect::Push), old.shows(change.state), "outbound {verb:?} in {old}");
    }
}

fn check_inbound(verb: Verb, table: &str, reply: Option<Verb>) {
    for row in rows(table) {
        let old = state(&row[0]);
        let change = old.inbound(verb);
        assert_eq!(change.state, new_state(&row), "inbound {verb:?} in {old}");
        let delivered = change.has(Effect::Deliver(Audience::Available))
            || change.has(Effect::Deliver(Audience::Interested));
        let deliver = match row[1].as_str() {
            "MUST" => true,
            "S.N." => false,
            other => panic!("cell {other}"),
        };
        assert_eq!(delivered, deliver, "inbound {verb:?} in {old}");
        assert_eq!(change.has(Effect::Push), old.shows(change.state), "inbound {verb:?} in {old}");
        assert!(!change.has(Effect::Route));
        if verb == Verb::Unsubscribe {
            let replied = reply.is_some_and(|reply| change.has(Effect::Send(reply)));
            assert_eq!(replied, deliver, "inbound {verb:?} in {old}");
        }
    }
}

#[test]
fn table_2_outbound_subscribe() {
    check_outbound(
        Verb::Subscribe,
        r#"
        |  "None"                  |  MUST [1] |  "None + Pending Out"     |
        |  "None + Pending Out"    |  MUST     |  no state change          |
        |  "None + Pending In"     |  MUST [1] |  "None + Pending Out+In"  |
        |  "None + Pending Out+In" |  MUST     |  no state change          |
        |  "To"                    |  MUST     |  no state change          |
        |  "To + Pending In"       |  MUST     |  no state change          |
        |  "From"                  |  MUST [1] |  "From + Pending Out"     |
        |  "From + Pending Out"    |  MUST     |  no state change          |
        |  "Both"                  |  MUST     |  no state change          |
        "#,
    );
}

#[test]
fn table_3_outbound_unsubscribe() {
    check_outbound(
        Verb::Unsubscribe,
        r#"
        |  "None"                  |  MUST    |  no state change          |
        |  "None + Pending Out"    |  MUST    |  "None"                   |
        |  "None + Pending In"     |  MUST    |  no state change          |
        |  "None + Pending Out+In" |  MUST    |  "None + Pending In"      |
        |  "To"                    |  MUST    |  "None"                   |
        |  "To + Pending In"       |  MUST    |  "None + Pending In"      |
        |  "From"                  |  MUST    |  no state change          |
        |  "From + Pending Out"    |  MUST    |  "From"                   |
        |  "Both"                  |  MUST    |  "From"                   |
        "#,
    );
}

#[test]
fn table_4_outbound_subscribed() {
    check_outbound(
        Verb::Subscribed,
        r#"
        |  "None"                  |  M.N.    |  pre-approval [1]         |
        |  "None + Pending Out"    |  M.N.    |  pre-approval [1]         |
        |  "None + Pending In"     |  MUST    |  "From"                   |
        |  "None + Pending Out+In" |  MUST    |  "From + Pending Out"     |
        |  "To"                    |  M.N.    |  pre-approval [1]         |
        |  "To + Pending In"       |  MUST    |  "Both"                   |
        |  "From"                  |  M.N.    |  no state change          |
        |  "From + Pending Out"    |  M.N.    |  no state change          |
        |  "Both"                  |  M.N.    |  no state change          |
        "#,
    );
}

#[test]
fn table_5_outbound_unsubscribed() {
    check_outbound(
        Verb::Unsubscribed,
        r#"
        |  "None"                  |  S.N.    |  no state change [1]      |
        |  "None + Pending Out"    |  S.N.    |  no state change [1]      |
        |  "None + Pending In"     |  MUST    |  "None"                   |
        |  "None + Pending Out+In" |  MUST    |  "None + Pending Out"     |
        |  "To"                    |  S.N.    |  no state change [1]      |
        |  "To + Pending In"       |  MUST    |  "To"                     |
        |  "From"                  |  MUST    |  "None"                   |
        |  "From + Pending Out"    |  MUST    |  "None + Pending Out"     |
        |  "Both"                  |  MUST    |  "To"                     |
        "#,
    );
}

#[test]
fn table_6_inbound_subscribe() {
    check_inbound(
        Verb::Subscribe,
        r#"
        |  "None"                  |  MUST [1]  |  "None + Pending In"     |
        |  "None + Pending Out"    |  MUST      |  "None + Pending Out+In" |
        |  "None + Pending In"     |  S.N.      |  no state change         |
        |  "None + Pending Out+In" |  S.N.      |  no state change         |
        |  "To"                    |  MUST      |  "To + Pending In"       |
        |  "To + Pending In"       |  S.N.      |  no state change         |
        |  "From"                  |  S.N. [2]  |  no state change         |
        |  "From + Pending Out"    |  S.N. [2]  |  no state change         |
        |  "Both"                  |  S.N. [2]  |  no state change         |
        "#,
        None,
    );
    // Note 2: who is subscribed already is answered.
    for name in ["From", "From + Pending Out", "Both"] {
        let change = state(name).inbound(Verb::Subscribe);
        assert!(change.has(Effect::Send(Verb::Subscribed)), "{name}");
    }
}

#[test]
fn table_7_inbound_unsubscribe() {
    check_inbound(
        Verb::Unsubscribe,
        r#"
        |  "None"                  |  S.N.      |  no state change         |
        |  "None + Pending Out"    |  S.N.      |  no state change         |
        |  "None + Pending In"     |  MUST [1]  |  "None"                  |
        |  "None + Pending Out+In" |  MUST [1]  |  "None + Pending Out"    |
        |  "To"                    |  S.N.      |  no state change         |
        |  "To + Pending In"       |  MUST [1]  |  "To"                    |
        |  "From"                  |  MUST [1]  |  "None"                  |
        |  "From + Pending Out"    |  MUST [1]  |  "None + Pending Out"    |
        |  "Both"                  |  MUST [1]  |  "To"                    |
        "#,
        Some(Verb::Unsubscribed),
    );
}

#[test]
fn table_8_inbound_subscribed() {
    check_inbound(
        Verb::Subscribed,
        r#"
        |  "None"                  |  S.N.      |  no state change         |
        |  "None + Pending Out"    |  MUST      |  "To"                    |
        |  "None + Pending In"     |  S.N.      |  no state change         |
        |  "None + Pending Out+In" |  MUST      |  "To + Pending In"       |
        |  "To"                    |  S.N.      |  no state change         |
        |  "To + Pending In"       |  S.N.      |  no state change         |
        |  "From"                  |  S.N.      |  no state change         |
        |  "From + Pending Out"    |  MUST      |  "Both"                  |
        |  "Both"                  |  S.N.      |  no state change         |
        "#,
        None,
    );
}

#[test]
fn table_9_inbound_unsubscribed() {
    check_inbound(
        Verb::Unsubscribed,
        r#"
        |  "None"                  |  S.N.      |  no state change         |
        |  "None + Pending Out"    |  MUST      |  "None"                  |
        |  "None + Pending In"     |  S.N.      |  no state change         |
        |  "None + Pending Out+In" |  MUST      |  "None + Pending In"     |
        |  "To"                    |  MUST      |  "None"                  |
        |  "To + Pending In"       |  MUST      |  "None + Pending In"     |
        |  "From"                  |  S.N.      |  no state change         |
        |  "From + Pending Out"    |  MUST      |  "From"                  |
        |  "Both"                  |  MUST      |  "From"                  |
        "#,
        None,
    );
}

/// The effects of a change, in order, in the words of the checks below.
fn script(change: &Change) -> String {
    let words: Vec<_> = change
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Route => "route".to_owned(),
            Effect::Deliver(Audience::Available) => "deliver to available".to_owned(),
            Effect::Deliver(Audience::Interested) => "deliver to interested".to_owned(),
            Effect::Send(verb) => format!("send {}", verb.name()),
            Effect::Push => "push".to_owned(),
            Effect::SendAvailable => "available".to_owned(),
            Effect::SendUnavailable => "unavailable".to_owned(),
            Effect::StoreRequest => "store".to_owned(),
            Effect::ForgetRequest => "forget".to_owned(),
        })
        .collect();
    words.join(", ")
}

#[test]
fn effects_come_in_the_order_of_section_3() {
    let none = Subscription::NONE;
    assert_eq!(script(&none.outbound(Verb::Subscribe)), "route, push");
    assert_eq!(script(&none.inbound(Verb::Subscribe)), "store, deliver to available");
    let asked = none.inbound(Verb::Subscribe).state;
    assert!(!asked.listed(), "a request makes no item (3.1.3)");
    assert_eq!(script(&asked.outbound(Verb::Subscribed)), "forget, route, push, available");
    assert!(asked.outbound(Verb::Subscribed).state.listed());
    assert_eq!(script(&asked.outbound(Verb::Unsubscribed)), "forget, route");
    assert!(asked.outbound(Verb::Unsubscribed).state.is_none());
    assert_eq!(
        script(&asked.inbound(Verb::Unsubscribe)),
        "forget, deliver to available, send unsubscribed"
    );
    assert!(asked.inbound(Verb::Unsubscribe).state.is_none());
    let asking = state("None + Pending Out");
    assert_eq!(script(&asking.inbound(Verb::Subscribed)), "deliver to interested, push");
    assert_eq!(script(&asking.inbound(Verb::Unsubscribed)), "deliver to interested, push");
    let both = state("Both");
    assert_eq!(script(&both.outbound(Verb::Unsubscribed)), "unavailable, route, push");
    assert_eq!(
        script(&both.inbound(Verb::Unsubscribe)),
        "deliver to interested, push, unavailable, send unsubscribed"
    );
    assert_eq!(script(&both.inbound(Verb::Subscribe)), "send subscribed, available");
}

#[test]
fn an_unknown_contact_is_not_listed_by_what_changes_nothing() {
    for verb in [Verb::Unsubscribe, Verb::Unsubscribed] {
        assert!(Subscription::NONE.outbound(verb).state.is_none());
    }
    for verb in [Verb::Subscribed, Verb::Unsubscribe, Verb::Unsubscribed] {
        let change = Subscription::NONE.inbound(verb);
        assert!(change.state.is_none() && change.effects.is_empty());
    }
}

#[test]
fn an_approval_in_advance_answers_one_request() {
    for name in ["None", "None + Pending Out", "To"] {
        let before = state(name);
        let change = before.outbound(Verb::Subscribed);
        assert_eq!(script(&change), "push", "{name}");
        assert!(change.state.approved());
        let again = change.state.outbound(Verb::Subscribed);
        assert_eq!((again.state, script(&again).as_str()), (change.state, ""));

        let asked = change.state.inbound(Verb::Subscribe);
        assert_eq!(script(&asked), "push, send subscribed, available", "{name}");
        assert!(asked.state.from() && !asked.state.approved());

        let cancelled = change.state.outbound(Verb::Unsubscribed);
        assert_eq!((cancelled.state, script(&cancelled).as_str()), (before, "push"));

        // What the contact says does not take the user's approval back.
        for verb in [Verb::Unsubscribe, Verb::Unsubscribed, Verb::Subscribed] {
            assert!(change.state.inbound(verb).state.approved());
        }
    }
    assert!(Subscription::NONE.outbound(Verb::Subscribed).state.listed(), "3.4.2 rule 4");
}

#[test]
fn removal_ends_what_the_state_holds() {
    let cases = [
        ("None", "push"),
        ("None + Pending Out", "push, send unsubscribe"),
        ("None + Pending In", "push, forget, send unsubscribed"),
        ("None + Pending Out+In", "push, forget, send unsubscribe, send unsubscribed"),
        ("To", "push, send unsubscribe"),
        ("To + Pending In", "push, forget, send unsubscribe, send unsubscribed"),
        ("From", "push, unavailable, send unsubscribed"),
        ("From + Pending Out", "push, send unsubscribe, unavailable, send unsubscribed"),
        ("Both", "push, send unsubscribe, unavailable, send unsubscribed"),
    ];
    for (name, expected) in cases {
        let change = state(name).removed().expect("an item");
        assert_eq!(script(&change), expected, "{name}");
        assert!(change.state.is_none());
    }
    assert_eq!(Subscription::NONE.removed(), None);
    let asked = Subscription::NONE.inbound(Verb::Subscribe).state;
    assert_eq!(asked.removed(), None, "a mere request is no item");
}

/// Every byte that `from_bits` takes.
fn possible() -> Vec<Subscription> {
    (0..=u8::MAX).filter_map(Subscription::from_bits).collect()
}

#[test]
fn no_stanza_leads_out_of_the_possible_states() {
    let all = possible();
    assert_eq!(all.len(), 14, "nine listed, three of them approved too, and two unlisted");
    for &old in &all {
        for verb in Verb::ALL {
            for change in [old.outbound(verb), old.inbound(verb)] {
                assert!(Subscription::from_bits(change.state.bits()).is_some(), "{old:?} {verb:?}");
                assert_eq!(change.has(Effect::Push), old.shows(change.state), "{old:?} {verb:?}");
                let kept = change.has(Effect::StoreRequest);
                assert_eq!(kept, !old.pending_in() && change.state.pending_in());
                let dropped = change.has(Effect::ForgetRequest);
                assert_eq!(dropped, old.pending_in() && !change.state.pending_in());
                // Presence goes only to whom it may, and ends for exactly those who lose it.
                assert!(!change.has(Effect::SendAvailable) || change.state.from());
                let lost = old.from() && !change.state.from();
                assert_eq!(change.has(Effect::SendUnavailable), lost, "{old:?} {verb:?}");
            }
        }
    }
}

/// What a user can do about the other.
#[derive(Clone, Copy, Debug)]
enum Act {
    Say(Verb),
    List,
    Remove,
}

const ACTS: [Act; 6] = [
    Act::Say(Verb::Subscribe),
    Act::Say(Verb::Subscribed),
    Act::Say(Verb::Unsubscribe),
    Act::Say(Verb::Unsubscribed),
    Act::List,
    Act::Remove,
];

/// Two users and the stanzas under way between them; index 0 and 1, and `wire[n]` is what `n` has
/// yet to receive.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Pair {
    state: [Subscription; 2],
    wire: [VecDeque<u8>; 2],
}

impl Pair {
    fn send(&mut self, who: usize, verb: Verb) {
        self.wire[1 - who].push_back(verb as u8);
    }

    fn act(&mut self, who: usize, act: Act) {
        let old = self.state[who];
        let (change, said) = match act {
            Act::Say(verb) => (old.outbound(verb), Some(verb)),
            Act::List => (Change::new(old.with_item(), &[]), None),
            Act::Remove => match old.removed() {
                Some(change) => (change, None),
                None => return,
            },
        };
        self.apply(who, change, said);
    }

    fn receive(&mut self, who: usize) {
        let Some(verb) = self.wire[who].pop_front() else { return };
        let change = self.state[who].inbound(Verb::ALL[usize::from(verb)]);
        self.apply(who, change, None);
    }

    fn apply(&mut self, who: usize, change: Change, said: Option<Verb>) {
        self.state[who] = change.state;
        for effect in change.effects {
            match effect {
                Effect::Route => self.send(who, said.expect("only what was said is routed")),
                Effect::Send(verb) => self.send(who, verb),
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while !self.is_quiet() {
            self.receive(0);
            self.receive(1);
            steps += 1;
            assert!(steps < 100, "the two answer each other for ever");
        }
    }

    fn is_quiet(&self) -> bool {
        self.wire.iter().all(VecDeque::is_empty)
    }
}

#[test]
fn two_users_who_take_turns_always_agree() {
    let mut seen = HashSet::from([Pair::default()]);
    let mut open = vec![Pair::default()];
    while let Some(pair) = open.pop() {
        for (n, other) in [(0, 1), (1, 0)] {
            let (mine, theirs) = (pair.state[n], pair.state[other]);
            assert_eq!(mine.to(), theirs.from(), "{mine:?} against {theirs:?}");
            assert_eq!(mine.pending_out(), theirs.pending_in(), "{mine:?} against {theirs:?}");
        }
        for who in [0, 1] {
            for act in ACTS {
                let mut next = pair.clone();
                next.act(who, act);
                next.settle();
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    assert_eq!(seen.len(), 25, "pairs of states");
}

/// With stanzas under way in both directions the two can differ (a request that was taken back and
/// sent again meets the answer to the first); but never so that one believes in what the other does
/// not grant.
#[test]
fn two_users_whose_stanzas_cross_never_believe_too_much() {
    let mut seen = HashSet::from([Pair::default()]);
    let mut open = vec![Pair::default()];
    let mut quiet = 0;
    while let Some(pair) = open.pop() {
        if pair.is_quiet() {
            quiet += 1;
            for (n, other) in [(0, 1), (1, 0)] {
                let (mine, theirs) = (pair.state[n], pair.state[other]);
                assert!(!mine.to() || theirs.from(), "{mine:?} against {theirs:?}");
                assert!(!mine.pending_out() || theirs.pending_in(), "{mine:?} against {theirs:?}");
            }
        }
        let mut nexts = Vec::new();
        for who in [0, 1] {
            if !pair.wire[who].is_empty() {
                let mut next = pair.clone();
                next.receive(who);
                nexts.push(next);
            }
            if pair.wire[1 - who].len() < 2 {
                for act in ACTS {
                    let mut next = pair.clone();
                    next.act(who, act);
                    nexts.push(next);
                }
            }
        }
        for next in nexts {
            // Answers may make a line longer than a user's acts do; a bound keeps the search
            // finite.
            if next.wire.iter().all(|wire| wire.len() <= 4) && seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    assert!(quiet > 30 && seen.len() > 1000, "{quiet} quiet of {}", seen.len());
}
