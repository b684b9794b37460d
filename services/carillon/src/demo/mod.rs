//! `carillon cluster demo`: a whole cluster of child processes on this machine, for a person to
//! look at and to break.
//!
//! Nothing in here is another way to run a cluster: each node is `carillon serve` with a
//! configuration of its own, and all that is asked of them goes through their admin sockets.

mod crew;
mod folder;
mod guide;

use std::path::Path;

use tokio::time::{Instant, sleep};
use xmpp::scram::Secret;

use crate::admin::Client;
use crate::admin::protocol::{ClusterRequest, Fault, Reply, Request};
use crate::cluster;
use crate::commands::{block_on, derive, say};
use crate::config::Config;
use crate::exit::Failure;
use crate::home::Home;
use crate::limits::{DEMO_LOOK, DEMO_TELL};
use crate::process::{Stop, StopSignal};
use crate::secrets::random;
use crew::Crew;
use folder::{Folder, Node};

/// What the cluster serves.
const DOMAIN: &str = "localhost";
/// Where it is kept, unless another folder is named.
const FOLDER: &str = "carillon-demo";
/// Who may log in.
const PEOPLE: [&str; 2] = ["anna", "ben"];

/// Runs a demonstration until a signal ends it.
///
/// # Errors
/// A sentence: the folder cannot be used, a node cannot start, not all could be stopped in order.
pub(crate) fn demo(data: Option<&Path>) -> Result<(), Failure> {
    let folder = Folder::open(data.unwrap_or(Path::new(FOLDER)))?;
    block_on(run(&folder))?
}

async fn run(folder: &Folder) -> Result<(), Failure> {
    let mut stop = Stop::listen()
        .map_err(|why| Failure::new(format!("signals cannot be listened to: {why}")))?;
    let crew = Crew::new(folder)?;
    let begun = async {
        match begin(folder, &crew).await {
            Ok(()) => std::future::pending().await,
            Err(why) => why,
        }
    };
    let ended = tokio::select! {
        () = stopped(&mut stop) => Ok(()),
        () = crew.watch() => Ok(()),
        why = begun => Err(why),
    };
    say("\nStopping all nodes in order; a second signal kills them.\n");
    let in_order = tokio::select! {
        in_order = crew.stop() => in_order,
        () = stopped(&mut stop) => false,
    };
    crew.kill();
    ended?;
    if !in_order {
        return Err(Failure::new("not all nodes were stopped in order"));
    }
    say("All nodes have stopped. The same command starts them again.\n");
    Ok(())
}

/// Waits for a signal that stops.
async fn stopped(stop: &mut Stop) {
    while let StopSignal::Reload = stop.next().await {}
}

/// Starts all nodes and waits until they serve; says then what can be done with them.
async fn begin(folder: &Folder, crew: &Crew<'_>) -> Result<(), Failure> {
    let [founder, others @ ..] = folder.nodes() else {
        return Err(Failure::new("the demonstration has no nodes"));
    };
    if !cluster::Folder::exists(&folder.data(founder)) {
        say("Making a cluster of six nodes.\n");
        let config = Config::load(&folder.config(founder));
        let config = config.map_err(|why| Failure::configuration(why.to_string()))?;
        cluster::init(&config).await?;
    }
    crew.start(&founder.name, None)?;
    let (known, new): (Vec<&Node>, Vec<&Node>) =
        others.iter().partition(|node| cluster::Folder::exists(&folder.data(node)));
    for node in known {
        crew.start(&node.name, None)?;
    }
    for node in new {
        let token = until("the control plane", async || token(folder, founder, node).await).await;
        crew.start(&node.name, Some(token))?;
    }
    until("the cluster", async || serves(folder, founder).await).await;
    let mut people = Vec::new();
    for name in PEOPLE {
        let jid = format!("{name}@{DOMAIN}");
        let password = draw()?;
        let verifiers = derive(&Secret::from(password.as_str()))?;
        let add = Request::Add { jid: jid.clone(), verifiers };
        let is_new = until("the accounts", async || added(folder, founder, &add).await).await;
        people.push((jid, is_new.then_some(password)));
    }
    say(&guide::text(folder, &people, |node| crew.process(node)));
    Ok(())
}

/// Asks until there is an answer, and says now and then why there is none.
async fn until<T>(what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
    let mut told = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(why) if told.elapsed() >= DEMO_TELL => {
                told = Instant::now();
                say(&format!("Waiting for {what}: {why}.\n"));
            }
            Err(_) => {}
        }
        sleep(DEMO_LOOK).await;
    }
}

/// What a node answers.
async fn ask(folder: &Folder, node: &Node, request: &Request) -> Result<Reply, String> {
    let failed = |why| format!("{}: {why}", node.name);
    let socket = Home::socket(&folder.data(node));
    let mut client = Client::connect(&socket).await.map_err(failed)?;
    match client.call(request).await.map_err(failed)? {
        Reply::Refused { fault: Fault::Unavailable, text } => Err(format!("{}: {text}", node.name)),
        reply => Ok(reply),
    }
}

/// With what a node may join.
async fn token(folder: &Folder, founder: &Node, node: &Node) -> Result<String, String> {
    let roles = Some(node.roles.clone());
    let request = Request::Cluster(ClusterRequest::Token { roles });
    match ask(folder, founder, &request).await? {
        Reply::Token { token, host } => Ok(format!("{token}@{host}")),
        Reply::Refused { text, .. } => Err(text),
        _ => Err("the answer is none".to_owned()),
    }
}

/// Whether all nodes serve and all shards have owners.
async fn serves(folder: &Folder, founder: &Node) -> Result<(), String> {
    for node in folder.nodes() {
        ask(folder, node, &Request::Status).await?;
    }
    match ask(folder, founder, &Request::Cluster(ClusterRequest::Status)).await? {
        Reply::Cluster(view) => match view.members.iter().find(|it| it.standing != "active") {
            Some(member) => Err(format!("{} is {}", member.name, member.standing)),
            None if view.free > 0 => Err(format!("{} shards have no owner yet", view.free)),
            None => Ok(()),
        },
        _ => Err("the answer is none".to_owned()),
    }
}

/// Makes an account; `false`: it was there.
async fn added(folder: &Folder, node: &Node, add: &Request) -> Result<bool, String> {
    match ask(folder, node, add).await? {
        Reply::Done => Ok(true),
        Reply::Refused { fault: Fault::Exists, .. } => Ok(false),
        Reply::Refused { text, .. } => Err(text),
        _ => Err("the answer is none".to_owned()),
    }
}

/// A password that a person can read off and type: 60 bits, in letters that look like no other.
fn draw() -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for (at, byte) in random(12).map_err(Failure::new)?.into_iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_can_be_read_off() {
        let (one, two) = (draw().unwrap(), draw().unwrap());
        assert!(one != two && one.len() == 14, "{one} {two}");
        assert!(one.split('-').all(|it| it.len() == 4), "{one}");
    }
}
