//! `carillon cluster`: made, looked at, changed.

use std::fmt::Write as _;
use std::time::Duration;

use super::accounts::{ask_server, unexpected};
use super::{block_on, configuration, say};
use crate::admin::protocol::{ClusterRequest, ClusterView, MemberView, Reply, Request};
use crate::cli::{Cluster, Domain, Place};
use crate::cluster;
use crate::config::Config;
use crate::demo;
use crate::exit::Failure;

/// Does what is asked about a cluster.
///
/// # Errors
/// A sentence; with exit code 69 where no node runs.
pub fn cluster(place: &Place, asked: &Cluster) -> Result<(), Failure> {
    let config = || configuration(place).map(|it| it.0);
    let request = match asked.clone() {
        Cluster::Demo if place.config.is_some() => {
            return Err(Failure::usage(
                "a demonstration writes its own configurations: use --data",
            ));
        }
        Cluster::Demo => return demo::demo(place.data.as_deref()),
        Cluster::Init => return init(&config()?),
        Cluster::Status { json, watch } => return status(&config()?, json, watch),
        Cluster::Token { roles } => ClusterRequest::Token { roles },
        Cluster::Drain { node } => ClusterRequest::Drain { node },
        Cluster::Undrain { node } => ClusterRequest::Undrain { node },
        Cluster::Remove { node } => ClusterRequest::Remove { node },
        Cluster::Rebalance => ClusterRequest::Rebalance,
        Cluster::Domain(Domain::Add { domain }) => ClusterRequest::Domain { domain, served: true },
        Cluster::Domain(Domain::Remove { domain }) => {
            ClusterRequest::Domain { domain, served: false }
        }
        Cluster::Set { name, value } => ClusterRequest::Set { name, value },
    };
    match block_on(ask(&config()?, request))?? {
        Reply::Done => Ok(()),
        Reply::Token { token, host } => {
            say(&how_to_join(&token, &host));
            Ok(())
        }
        Reply::Refused { text, .. } => Err(Failure::new(text)),
        other => Err(unexpected(other)),
    }
}

fn init(config: &Config) -> Result<(), Failure> {
    let (id, token) = block_on(cluster::init(config))??;
    let node = &config.cluster;
    let host = match node.advertise.is_empty() {
        true => node.listen.to_string(),
        false => node.advertise.clone(),
    };
    let mut text = format!("Cluster {id} is made. Start its first node:\n\n    carillon serve\n\n");
    text.push_str(&how_to_join(&token, &host));
    say(&text);
    Ok(())
}

fn how_to_join(token: &str, host: &str) -> String {
    format!(
        "One more node may join within a day, with\n\n    carillon serve --join {token}@{host}\n\n\
         where its configuration says its name, roles and address ([cluster]). This is shown\n\
         once.\n"
    )
}

async fn ask(config: &Config, request: ClusterRequest) -> Result<Reply, Failure> {
    ask_server(config, &Request::Cluster(request)).await
}

fn status(config: &Config, json: bool, watch: bool) -> Result<(), Failure> {
    let look = || match block_on(ask(config, ClusterRequest::Status))?? {
        Reply::Cluster(view) if json => Ok(to_json(&view)),
        Reply::Cluster(view) => Ok(for_people(&view)),
        Reply::Refused { text, .. } => Err(Failure::new(text)),
        other => Err(unexpected(other)),
    };
    if !watch {
        say(&look()?);
        return Ok(());
    }
    loop {
        // Who watches wants to see the node come back, too.
        let text = look().unwrap_or_else(|why| format!("{why}\n"));
        // The screen is cleared and written in one go, so that it does not flicker.
        say(&format!("\x1b[H\x1b[2J{text}"));
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn to_json(view: &ClusterView) -> String {
    let mut text = serde_json::to_string_pretty(view).unwrap_or_default();
    text.push('\n');
    text
}

fn for_people(view: &ClusterView) -> String {
    let mut text = format!(
        "cluster {}, as {} sees it (map {})\nleader  {}\ndomains {}\n",
        view.cluster,
        view.node,
        view.version,
        view.leader.as_deref().unwrap_or("none: a majority of the control nodes must run"),
        view.domains.join(", "),
    );
    if view.free > 0 {
        let _ =
            writeln!(text, "shards  {} have no owner: a router with a store takes them", view.free);
    }
    if view.moving > 0 {
        let _ = writeln!(text, "shards  {} are moving", view.moving);
    }
    let head = ["NODE", "ROLES", "STANDING", "SHARDS", "REPLICA", "HEARD", "ADDRESS", "VERSION"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(view.members.iter().map(row));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    text.push('\n');
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn row(it: &MemberView) -> [String; 8] {
    let replica = match it.lag {
        Some(lag) if lag > 0 && !it.replica.is_empty() => format!("{} -{lag}", it.replica),
        _ => it.replica.clone(),
    };
    [
        it.name.clone(),
        it.roles.clone(),
        it.standing.clone(),
        it.shards.to_string(),
        replica,
        it.heard.clone(),
        it.address.clone(),
        it.program.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_who_has_what() {
        let member = |name: &str, shards| MemberView {
            name: name.to_owned(),
            roles: "router, control".to_owned(),
            standing: "active".to_owned(),
            shards,
            replica: "leader".to_owned(),
            heard: "yes".to_owned(),
            ..MemberView::default()
        };
        let view = ClusterView {
            cluster: "c0ffee".to_owned(),
            node: "r1".to_owned(),
            version: 7,
            leader: Some("r1".to_owned()),
            members: vec![member("r1", 2048), member("router-2", 0)],
            free: 2048,
            domains: vec!["a.example".to_owned()],
            ..ClusterView::default()
        };
        let text = for_people(&view);
        assert!(text.starts_with("cluster c0ffee, as r1 sees it (map 7)\nleader  r1\n"), "{text}");
        assert!(text.contains("\nshards  2048 have no owner"), "{text}");
        assert!(
            text.contains("\nNODE      ROLES            STANDING  SHARDS  REPLICA  HEARD"),
            "{text}"
        );
        assert!(
            text.contains("\nrouter-2  router, control  active    0       leader   yes"),
            "{text}"
        );
        let read: ClusterView = serde_json::from_str(&to_json(&view)).unwrap();
        assert_eq!(read, view);
    }
}
