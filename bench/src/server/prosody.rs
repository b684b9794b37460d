//! Prosody from Debian's packages, as a good operator would set it up for this machine: epoll, no
//! shapers, warnings only, the modules that match what Carillon does and no others; archives in
//! SQLite. Once with generational and once with incremental garbage collection.

use std::process::Command;

use xmpp::scram::Verifier;

use super::{Kind, Seed, Setup, launch, shown};
use crate::Failure;
use crate::scenario::Contacts;

const INSTALL: &str = "Install it: apt-get install prosody lua-dbi-sqlite3 (Debian starts a \
                       service; stop it: systemctl disable --now prosody)";

pub(super) fn version() -> Result<String, Failure> {
    // Asked with `--version`, the program starts a server.
    let version = std::fs::read_to_string("/usr/lib/prosody/prosody.version");
    let version = version.map_err(|_| format!("prosody is not installed. {INSTALL}"))?;
    Ok(version.trim().to_owned())
}

pub(super) fn config(setup: &Setup) -> String {
    let (port, port_tls) = (setup.port, setup.port_tls);
    let (data, pid) = (shown(&setup.path("data")), shown(&setup.path("prosody.pid")));
    let (certificate, key) = (shown(&setup.certificate), shown(&setup.key));
    let log = shown(&setup.path("prosody.log"));
    let archive_file = shown(&setup.archive_file);
    let archive = if setup.archive { ", \"mam\"" } else { "" };
    let gc = match setup.kind {
        Kind::ProsodyIncremental => "incremental",
        _ => "generational",
    };
    format!(
        r#"daemonize = false
run_as_root = true
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ {port_tls} }}
data_path = "{data}"
pidfile = "{pid}"
modules_enabled = {{ "disco", "roster", "saslauth", "tls", "carbons", "smacks", "csi_simple",
    "ping", "register"{archive} }}
modules_disabled = {{ "s2s" }}
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
gc = {{ mode = "{gc}" }}
network_backend = "epoll"
network_settings = {{ tcp_backlog = 4096 }}
smacks_hibernation_time = 300
smacks_max_hibernated_sessions = 1
storage = {{ archive = "sql" }}
sql = {{ driver = "SQLite3", database = "{archive_file}" }}
archive_expires_after = "never"
default_archive_policy = true
ssl = {{ certificate = "{certificate}", key = "{key}" }}
log = {{ {{ levels = {{ min = "warn" }}, to = "file", filename = "{log}" }} }}
VirtualHost "localhost"
"#
    )
}

/// Writes the files in which its storage keeps accounts and rosters.
pub(super) fn seed(setup: &Setup, seeds: &[Seed], verifier: &Verifier) -> Result<(), Failure> {
    let host = setup.path("data").join("localhost");
    let (accounts, rosters) = (host.join("accounts"), host.join("roster"));
    std::fs::create_dir_all(&accounts)?;
    std::fs::create_dir_all(&rosters)?;
    let credentials = credentials(verifier);
    for seed in seeds {
        for user in 0..seed.needs.accounts {
            let file = format!("{}{user}.dat", seed.prefix);
            std::fs::write(accounts.join(&file), &credentials)?;
            if user < seed.needs.rosters {
                std::fs::write(rosters.join(&file), roster(seed, user))?;
            }
        }
    }
    Ok(())
}

fn credentials(verifier: &Verifier) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        "return {{ [\"iteration_count\"] = {}; [\"salt\"] = \"{}\"; [\"stored_key\"] = \"{}\"; \
         [\"server_key\"] = \"{}\"; }};\n",
        verifier.iterations(),
        String::from_utf8_lossy(verifier.salt()),
        hex(verifier.stored_key().expose()),
        hex(verifier.server_key().expose())
    )
}

fn roster(seed: &Seed, user: usize) -> String {
    let subscription = match seed.needs.contacts {
        Contacts::Friends(_) => "both",
        Contacts::Strangers(_) => "none",
    };
    let mut text = String::from("return { [false] = { [\"version\"] = 1; [\"pending\"] = {}; };\n");
    let jid = |other: usize| format!("{}{other}@localhost", seed.prefix);
    for (number, contact) in seed.needs.roster(user, jid).iter().enumerate() {
        text.push_str(&format!(
            "[\"{contact}\"] = {{ [\"subscription\"] = \"{subscription}\"; [\"groups\"] = {{}}; \
             [\"name\"] = \"Contact {number}\"; }};\n"
        ));
    }
    text + "};\n"
}

pub(super) fn command(setup: &Setup) -> Result<Command, Failure> {
    std::fs::create_dir_all(setup.path("data"))?;
    std::fs::create_dir_all(setup.path("certs"))?;
    let path = setup.path("prosody.cfg.lua");
    std::fs::write(&path, config(setup))?;
    let mut command = launch::command("prosody", setup);
    command.arg("-F").arg("--config").arg(path);
    Ok(command)
}
