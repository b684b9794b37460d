//! `carillon serve`.

use std::fmt::Write as _;
use std::path::Path;

use mesh::Role;
use tracing::info;

use super::{absolute, block_on, configuration, program, quoted, say};
use crate::cli::Place;
use crate::config::ConfigError;
use crate::exit::Failure;
use crate::log;
use crate::metrics::VERSION;
use crate::node::{Figures, Node, Start};
use crate::process::{self, Stop, StopSignal};

/// Threads whose panic ends the process: what they hold could be half-written.
const VITAL: &[&str] = &["store-commit", "store-mark"];

/// Runs the server until it is told to stop.
///
/// # Errors
/// With exit code 78 if the configuration is wrong, else 1, and a sentence.
pub fn serve(place: &Place, start: Start<'_>) -> Result<(), Failure> {
    let (config, file) = configuration(place)?;
    let problems = config.check_files();
    if !problems.is_empty() {
        let file = file.unwrap_or_default();
        return Err(Failure::configuration(ConfigError { file, problems }.to_string()));
    }
    let log = log::start(&config.log).map_err(Failure::new)?;
    process::watch_panics(VITAL);
    let files = process::raise_open_files();
    let from = file.as_deref().unwrap_or(Path::new("defaults"));
    info!(version = VERSION, config = %from.display(), open_files = files, "starting");
    let result = block_on(async {
        // From here on a signal waits until the server can stop in order.
        let mut stop = Stop::listen()
            .map_err(|why| Failure::new(format!("signals cannot be listened to: {why}")))?;
        let node = tokio::select! {
            node = Node::start(&config, start) => node?,
            name = stopped(&mut stop) => {
                info!(signal = name, "stopped before it served");
                return Ok(());
            }
        };
        let may_manage =
            config.cluster.roles.has(Role::Router) || config.cluster.roles.has(Role::Control);
        say(&banner(node.figures(), place, may_manage));
        info!("serving");
        node.run(&mut stop).await
    });
    drop(log);
    result?
}

/// The name of the first signal that stops the server.
async fn stopped(stop: &mut Stop) -> &'static str {
    loop {
        if let StopSignal::Stop(name) = stop.next().await {
            return name;
        }
    }
}

/// What the person at the terminal wants to know. In a cluster, not every node may make accounts.
fn banner(figures: &Figures, place: &Place, may_manage: bool) -> String {
    let of = |kind: &str| -> Vec<String> {
        let all = figures.addresses().iter();
        all.filter(|it| it.0 == kind).map(|it| it.1.to_string()).collect()
    };
    let domains = figures.domains();
    let mut text = format!("Carillon {VERSION} serves {}\n\n", domains.join(", "));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:12}{value}");
    };
    for (kind, how) in [("c2s", "STARTTLS"), ("c2s_tls", "TLS")] {
        let addresses = of(kind);
        if !addresses.is_empty() {
            line("clients", &format!("{} ({how})", addresses.join(", ")));
        }
    }
    if let Some(node) = figures.node() {
        line("node", node);
    }
    line("data", figures.data());
    let mut add = format!("{} user add NAME@", program());
    add.push_str(domains.first().map_or("localhost", String::as_str));
    for (option, path) in [("--config", &place.config), ("--data", &place.data)] {
        if let Some(path) = path {
            let _ = write!(add, " {option} {}", quoted(&absolute(path)));
        }
    }
    if may_manage || figures.node().is_none() {
        line("new account", &add);
    }
    for address in of("http") {
        line("metrics", &format!("http://{address}/metrics, http://{address}/health"));
    }
    text.push('\n');
    text
}
