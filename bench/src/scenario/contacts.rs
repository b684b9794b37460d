//! Accounts in groups in which everyone is subscribed to everyone: what presence needs.

use std::rc::Rc;

use super::crowd;
use crate::Failure;
use crate::client::{Client, Shared};
use crate::frames;
use crate::run::Port;

/// The members of a group, by the number of one of them.
pub(super) fn group(user: usize, size: usize) -> std::ops::Range<usize> {
    let first = user / size * size;
    first..first + size
}

/// Subscribes the members of each group to each other, where they are not yet. The range is whole
/// groups.
pub(super) async fn befriend(
    shared: &Rc<Shared>,
    port: &Port,
    range: std::ops::Range<usize>,
    size: usize,
) -> Result<(), Failure> {
    let groups = range.len() / size;
    let first = range.start;
    // Few groups at once: all their members are online together.
    crowd::each(0..groups, 4, port, "groups", |index| {
        let shared = shared.clone();
        let members = first + index * size..first + (index + 1) * size;
        async move { one_group(&shared, members).await }
    })
    .await?;
    Ok(())
}

async fn one_group(shared: &Rc<Shared>, members: std::ops::Range<usize>) -> Result<(), Failure> {
    let mut clients = Vec::new();
    for user in members.clone() {
        clients.push(Client::login(shared, user).await?);
    }
    let wanted = members.len() - 1;
    let Some(first) = clients.first_mut() else { return Ok(()) };
    if both(first).await? == wanted {
        return Ok(());
    }
    let mut tasks = tokio::task::JoinSet::new();
    for (user, mut client) in members.clone().zip(clients) {
        // Only who asked for the roster is told of its changes (RFC 6121 §2.1.6).
        both(&mut client).await?;
        client.conn.say(b"<presence/>").await?;
        let (shared, members) = (shared.clone(), members.clone());
        tasks.spawn_local(async move { subscribe(&shared, client, user, members).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

/// Asks all others, answers all who ask, until the roster shows both ways with everyone.
async fn subscribe(
    shared: &Shared,
    mut client: Client,
    user: usize,
    members: std::ops::Range<usize>,
) -> Result<(), Failure> {
    for other in members.clone().filter(|other| *other != user) {
        let ask = format!("<presence to='{}' type='subscribe'/>", shared.target.jid(other));
        client.conn.say(ask.as_bytes()).await?;
    }
    let wanted = members.len() - 1;
    let mut done = std::collections::HashSet::new();
    while done.len() < wanted {
        let frame = client.conn.hear().await?;
        if frames::is(frame, "presence") && frames::attribute(frame, "type") == Some(b"subscribe") {
            let from = frames::attribute(frame, "from").unwrap_or_default();
            let from = String::from_utf8_lossy(from).into_owned();
            let yes = format!("<presence to='{from}' type='subscribed'/>");
            client.conn.say(yes.as_bytes()).await?;
        } else if frames::is(frame, "iq") && frames::has(frame, "jabber:iq:roster") {
            let text = String::from_utf8_lossy(frame).into_owned();
            if text.contains("subscription='both'") || text.contains("subscription=\"both\"") {
                done.extend(item(&text));
            }
            if let Some(id) = frames::attribute(text.as_bytes(), "id") {
                let id = String::from_utf8_lossy(id);
                client.conn.say(format!("<iq type='result' id='{id}'/>").as_bytes()).await?;
            }
        }
    }
    // Others of the group may still wait for an answer: it comes with the roster, which is there.
    both(&mut client).await?;
    client.conn.close().await
}

/// The JID of the one item of a roster push.
fn item(text: &str) -> Option<String> {
    let rest = text.split_once("<item")?.1;
    let rest = rest.split_once("jid=")?.1;
    let quote = rest.chars().next()?;
    rest[1..].split_once(quote).map(|(jid, _)| jid.to_owned())
}

/// How many contacts of a client's roster are subscribed both ways.
async fn both(client: &mut Client) -> Result<usize, Failure> {
    let get = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
    let is_it = |frame: &[u8]| frames::attribute(frame, "id") == Some(b"roster");
    let answer = client.ask(get, is_it).await?;
    let count = frames::count(&answer, "subscription='both'")
        + frames::count(&answer, "subscription=\"both\"");
    Ok(usize::try_from(count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_apart() {
        assert_eq!(group(0, 21), 0..21);
        assert_eq!(group(20, 21), 0..21);
        assert_eq!(group(21, 21), 21..42);
    }

    #[test]
    fn the_item_of_a_push_is_read() {
        let push = "<iq><query><item subscription='both' jid=\"a@b\"/></query></iq>";
        assert_eq!(item(push).as_deref(), Some("a@b"));
        assert_eq!(item("<iq/>"), None);
    }
}
