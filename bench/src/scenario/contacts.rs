//! Rosters, filled over XMPP: contacts of another domain, and groups in which everyone is
//! subscribed to everyone.

use std::rc::Rc;

use super::crowd;
use super::needs::stranger;
use crate::Failure;
use crate::client::{Client, Shared};
use crate::frames;
use crate::run::Port;

/// Fills a roster with contacts of another domain, where it has fewer, and reads it back. All is
/// sent at once: a server that answers each in turn does not wait for this side.
pub(super) async fn strangers(client: &mut Client, contacts: usize) -> Result<(), Failure> {
    let items = frames::count(&roster(client).await?, "<item");
    if items >= u64::try_from(contacts)? {
        return Ok(());
    }
    let mut sets = String::new();
    for contact in 0..contacts {
        sets.push_str(&format!(
            "<iq type='set' id='r{contact}'><query xmlns='jabber:iq:roster'><item jid='{}' \
             name='Contact {contact}'/></query></iq>",
            stranger(contact)
        ));
    }
    client.conn.say(sets.as_bytes()).await?;
    let items = frames::count(&roster(client).await?, "<item");
    if items == u64::try_from(contacts)? {
        return Ok(());
    }
    Err(format!("a roster has {items} contacts, not {contacts}").into())
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
    let wanted = members.len() - 1;
    let mut first = Client::login(shared, members.start).await?;
    if both(&mut first).await? == wanted {
        return first.conn.close().await;
    }
    let mut clients = vec![first];
    for user in members.clone().skip(1) {
        clients.push(Client::login(shared, user).await?);
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

async fn roster(client: &mut Client) -> Result<Vec<u8>, Failure> {
    let get = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
    let is_it = |frame: &[u8]| frames::attribute(frame, "id") == Some(b"roster");
    client.ask(get, is_it).await
}

/// How many contacts of a client's roster are subscribed both ways.
async fn both(client: &mut Client) -> Result<usize, Failure> {
    let answer = roster(client).await?;
    let count = frames::count(&answer, "subscription='both'")
        + frames::count(&answer, "subscription=\"both\"");
    Ok(usize::try_from(count)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_of_a_push_is_read() {
        let push = "<iq><query><item subscription='both' jid=\"a@b\"/></query></iq>";
        assert_eq!(item(push).as_deref(), Some("a@b"));
        assert_eq!(item("<iq/>"), None);
    }
}
