//! Table 1 of RFC 6121 §8.5.4 in its own notation, and each sentence of §8.5.1 to §8.5.3 that the
//! table leaves out.

use super::*;

/// An available resource.
fn at(priority: i8) -> Resource {
    Resource { priority, available: true, addressed: false }
}

/// A resource that is connected but has sent no presence.
const CONNECTED: Resource = Resource { priority: 0, available: false, addressed: false };

/// The same resource, as the one that the stanza names.
fn named(resource: Resource) -> Resource {
    Resource { addressed: true, ..resource }
}

const BARE: Addressee = Addressee { exists: true, full: false, trusted: false };
const FULL: Addressee = Addressee { exists: true, full: true, trusted: false };

fn deliver(positions: &[usize]) -> Action {
    Action::Deliver(positions.iter().copied().collect())
}

/// Whether the action is one that the cell allows. `A` for all is also right where the cell offers
/// `M`.
fn allowed(cell: &str, action: Action, resources: &[Resource]) -> bool {
    let willing = positions(resources.iter().copied(), |one| one.available && one.priority >= 0);
    let matched = resources.iter().position(|one| one.addressed);
    cell.trim().trim_end_matches('*').split('/').any(|letter| match letter {
        "S" => action == Action::Drop,
        "E" => action == Action::Refuse,
        "O" => action == Action::Store,
        // "The resource specified in the 'to' address", or the only one that there is.
        "D" => match matched {
            Some(position) => action == deliver(&[position]),
            None => willing.len() == 1 && action == Action::Deliver(willing),
        },
        "A" => action == Action::Deliver(willing),
        // This server never picks the most available.
        "M" => false,
        other => panic!("letter {other}"),
    })
}

/// One block of the table: a heading in capitals, and rows of five cells.
fn check_block(account: bool, heading: &str, situations: &[Vec<Resource>], table: &str) {
    let mut rows = 0;
    for row in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [condition, kinds @ ..] = &cells[..] else { panic!("no cells") };
        assert_eq!(kinds.len(), 4);
        rows += 1;
        for situation in situations {
            let mut resources = situation.clone();
            if *condition == "full match" {
                resources[0] = named(resources[0]);
            }
            let full = *condition != "bare";
            let to = Addressee { exists: account, full, trusted: false };
            let types = [
                MessageType::Normal,
                MessageType::Chat,
                MessageType::Groupchat,
                MessageType::Headline,
            ];
            for (cell, message) in kinds.iter().zip(types) {
                let action = route(Kind::Message(message), to, resources.iter().copied());
                // The one cell that this server reads otherwise (see `unmatched_message`): a normal
                // message to a resource that is gone goes the way of a chat message.
                let no_match = condition.starts_with("full") && *condition != "full match";
                let cell = match message {
                    MessageType::Normal if no_match => kinds[1],
                    _ => cell,
                };
                assert!(
                    allowed(cell, action, &resources),
                    "{heading}, {condition}, {message:?}: {action:?} is not {cell}"
                );
            }
        }
    }
    assert!(rows >= 2);
}

#[test]
fn table_1_message_delivery_rules() {
    check_block(
        false,
        "ACCOUNT DOES NOT EXIST",
        &[vec![]],
        "
        |  bare            |  S/E   |  S/E  |     E     |    S     |
        |  full            |  S/E   |  S/E  |    S/E    |   S/E    |
        ",
    );
    check_block(
        true,
        "ACCOUNT EXISTS, BUT NO ACTIVE RESOURCES",
        &[vec![]],
        "
        |  bare            |  O/E   |  O/E  |     E     |    S     |
        |  full (no match) |  S/E   |  O/E  |    S/E    |   S/E    |
        ",
    );
    check_block(
        true,
        "1+ NEGATIVE RESOURCES BUT ZERO NON-NEGATIVE RESOURCES",
        &[vec![at(-1)], vec![at(-128), at(-1)], vec![at(-1), CONNECTED]],
        "
        |  bare            |  O/E   |  O/E  |     E     |    S     |
        |  full match      |   D    |   D   |     D     |    D     |
        |  full no match   |  S/E   |  O/E  |    S/E    |   S/E    |
        ",
    );
    check_block(
        true,
        "1 NON-NEGATIVE RESOURCE",
        &[vec![at(0)], vec![at(127), at(-1)], vec![at(5), CONNECTED]],
        "
        |  bare            |   D    |   D   |     E     |    D     |
        |  full match      |   D    |   D   |     D     |    D     |
        |  full no match   |  S/E   |   D   |    S/E    |   S/E    |
        ",
    );
    check_block(
        true,
        "1+ NON-NEGATIVE RESOURCES",
        &[vec![at(0), at(0)], vec![at(1), at(-1), at(0)], vec![at(9), CONNECTED, at(9)]],
        "
        |  bare            |  M/A   |  M/A* |     E     |    A     |
        |  full match      |   D    |  D/A* |     D     |    D     |
        |  full no match   |  S/E   |  M/A* |    S/E    |   S/E    |
        ",
    );
}

/// `exists`, `to`, resources: one line of the checks below.
fn check(kind: Kind, to: Addressee, resources: &[Resource], expected: Action) {
    let action = route(kind, to, resources.iter().copied());
    assert_eq!(action, expected, "{kind:?} to {to:?} with {resources:?}");
}

#[test]
fn no_such_user_8_5_1() {
    for full in [false, true] {
        let to = Addressee { exists: false, full, trusted: true };
        check(Kind::Iq(IqType::Get), to, &[], Action::Refuse);
        check(Kind::Iq(IqType::Set), to, &[], Action::Refuse);
        check(Kind::Iq(IqType::Result), to, &[], Action::Drop);
        check(Kind::Iq(IqType::Error), to, &[], Action::Drop);
        check(Kind::Message(MessageType::Error), to, &[], Action::Drop);
        for presence in [PresenceType::Available, PresenceType::Unavailable, PresenceType::Error] {
            check(Kind::Presence(presence), to, &[], Action::Drop);
        }
        check(Kind::Presence(PresenceType::Subscribe), to, &[], Action::Drop);
        for presence in SETTLING {
            check(Kind::Presence(presence), to, &[], Action::Drop);
        }
        check(Kind::Presence(PresenceType::Probe), to, &[], Action::Probe);
    }
}

/// Subscription stanzas other than a request.
const SETTLING: [PresenceType; 3] =
    [PresenceType::Subscribed, PresenceType::Unsubscribe, PresenceType::Unsubscribed];

#[test]
fn an_error_message_reaches_only_the_resource_it_names() {
    let error = Kind::Message(MessageType::Error);
    check(error, BARE, &[at(0), at(1)], Action::Drop);
    check(error, BARE, &[], Action::Drop);
    check(error, FULL, &[at(0)], Action::Drop);
    check(error, FULL, &[at(0), named(at(-5))], deliver(&[1]));
}

#[test]
fn a_connected_resource_gets_what_names_it_and_nothing_else() {
    for message in [
        MessageType::Normal,
        MessageType::Chat,
        MessageType::Groupchat,
        MessageType::Headline,
        MessageType::Error,
    ] {
        check(Kind::Message(message), FULL, &[at(0), named(CONNECTED)], deliver(&[1]));
    }
    check(Kind::Message(MessageType::Chat), BARE, &[CONNECTED], Action::Store);
    check(Kind::Message(MessageType::Normal), BARE, &[CONNECTED], Action::Store);
    check(Kind::Message(MessageType::Headline), BARE, &[CONNECTED], Action::Drop);
    check(Kind::Presence(PresenceType::Available), BARE, &[CONNECTED], Action::Drop);
    let notice = Kind::Presence(PresenceType::Available);
    check(notice, FULL, &[named(CONNECTED)], deliver(&[0]));
}

#[test]
fn presence_8_5_2_and_8_5_3() {
    let here = [at(-1), CONNECTED, at(3)];
    let matched = [at(0), named(at(-1))];
    for presence in [PresenceType::Available, PresenceType::Unavailable, PresenceType::Error] {
        let notice = Kind::Presence(presence);
        check(notice, BARE, &here, deliver(&[0, 2]));
        check(notice, BARE, &[], Action::Drop);
        check(notice, FULL, &matched, deliver(&[1]));
        check(notice, FULL, &here, Action::Drop);
    }
    for resources in [&[][..], &here[..], &matched[..]] {
        for to in [BARE, FULL] {
            check(Kind::Presence(PresenceType::Probe), to, resources, Action::Probe);
            check(Kind::Presence(PresenceType::Subscribe), to, resources, Action::Subscription);
        }
        for presence in SETTLING {
            check(Kind::Presence(presence), BARE, resources, Action::Subscription);
        }
    }
    for presence in SETTLING {
        check(Kind::Presence(presence), FULL, &here, Action::Drop);
        check(Kind::Presence(presence), FULL, &matched, Action::Subscription);
    }
}

#[test]
fn iq_8_5_2_and_8_5_3() {
    let matched = [at(0), named(at(-1))];
    let here = [at(0), at(1)];
    let trusted = Addressee { trusted: true, ..FULL };
    for kind in [IqType::Get, IqType::Set, IqType::Result, IqType::Error].map(Kind::Iq) {
        check(kind, BARE, &[], Action::Account);
        check(kind, BARE, &here, Action::Account);
    }
    for kind in [IqType::Get, IqType::Set].map(Kind::Iq) {
        check(kind, trusted, &matched, deliver(&[1]));
        check(kind, FULL, &matched, Action::Refuse);
        check(kind, trusted, &here, Action::Refuse);
        check(kind, FULL, &[], Action::Refuse);
    }
    for kind in [IqType::Result, IqType::Error].map(Kind::Iq) {
        check(kind, FULL, &matched, deliver(&[1]));
        check(kind, trusted, &here, Action::Drop);
        check(kind, FULL, &[], Action::Drop);
    }
}

#[test]
fn targets_are_positions_in_rising_order() {
    let targets: Targets = [31, 0, 7, 0].into_iter().collect();
    assert_eq!(targets.iter().collect::<Vec<_>>(), [0, 7, 31]);
    assert_eq!(targets.len(), 3);
    assert!(targets.contains(31) && !targets.contains(1) && !targets.contains(32));
    assert!(Targets::default().is_empty());
}
