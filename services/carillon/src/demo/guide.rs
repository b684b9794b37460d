//! What a person is told who has started a demonstration.

use std::fmt::Write as _;

use mesh::Role;

use super::folder::{Folder, Node};
use crate::commands::{program, quoted};
use crate::limits::DEMO_RESTART;

/// The whole text. Each account comes with its password if it was made just now.
pub(super) fn text(
    folder: &Folder,
    people: &[(String, Option<String>)],
    process: impl Fn(&Node) -> Option<u32>,
) -> String {
    let carillon = program();
    let config = |node: &Node| quoted(&folder.config(node));
    let mut text = "\nThe cluster serves localhost. Clients log in as\n\n".to_owned();
    for (jid, password) in people {
        match password {
            Some(password) => _ = writeln!(text, "  {jid:16}{password}"),
            None => _ = writeln!(text, "  {jid:16}(made by an earlier start)"),
        }
    }
    if people.iter().any(|it| it.1.is_some()) {
        text.push_str("\nwith these passwords, which are shown only now, at\n\n");
    } else {
        let first = folder.nodes().first().map(config).unwrap_or_default();
        let jid = people.first().map_or("", |it| it.0.as_str());
        let _ = writeln!(
            text,
            "\nwith the passwords that were shown then (a new one: \
             {carillon} user passwd {jid} --config {first}), at\n"
        );
    }
    for node in folder.nodes() {
        if let Some((c2s, c2s_tls)) = node.clients {
            let name = &node.name;
            let _ =
                writeln!(text, "  {name}   127.0.0.1:{c2s} (STARTTLS), 127.0.0.1:{c2s_tls} (TLS)");
        }
    }
    let _ = writeln!(text, "\nand trust {}\n", quoted(&folder.certificate()));
    text.push_str("  NODE  ROLES           PROCESS  LOG\n");
    for node in folder.nodes() {
        let (name, roles) = (&node.name, &node.roles);
        let process = process(node).map_or_else(String::new, |it| it.to_string());
        let _ = writeln!(text, "  {name:6}{roles:16}{process:9}{}", folder.log(node).display());
    }
    let routers = || folder.nodes().iter().filter(|it| it.has(Role::Router));
    let watcher = folder.nodes().iter().find(|it| it.has(Role::Edge)).map(config);
    let _ = writeln!(
        text,
        "\nWatch it:  {carillon} cluster status --watch --config {}",
        watcher.unwrap_or_default()
    );
    if let Some((node, process)) = routers().filter_map(|it| Some((it, process(it)?))).next_back() {
        let _ = writeln!(
            text,
            "Break it:  kill -9 {process}    ({}; it is started again after {} seconds)",
            node.name,
            DEMO_RESTART.as_secs()
        );
    }
    text.push_str("Stop it:   Ctrl-C\n\n");
    text
}
