//! ejabberd from Debian's packages, as a good operator would set it up for this machine: kernel
//! polling, no shapers, warnings only, the modules that match what Carillon does and no others.
//! It runs without Erlang's distribution, so that no other process (epmd) is left behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Kind, Setup, launch, shown};
use crate::Failure;

const INSTALL: &str = "Install it: apt-get install ejabberd erlang-p1-sqlite3 (Debian starts a \
                       service; stop it: systemctl disable --now ejabberd)";

/// Where Debian puts Erlang's libraries.
fn libraries() -> Option<PathBuf> {
    let places = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut places = places.filter(|path| version_in(path).is_some());
    places.next()
}

fn version_in(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    let versions =
        names.filter_map(|name| name.to_str()?.strip_prefix("ejabberd-").map(str::to_owned));
    versions.max()
}

pub(super) fn version() -> Result<String, Failure> {
    let version = libraries().and_then(|folder| version_in(&folder));
    Ok(version.ok_or_else(|| format!("ejabberd is not installed. {INSTALL}"))?)
}

pub(super) fn config(setup: &Setup) -> String {
    let (port, port_tls) = (setup.port, setup.port_tls);
    let (certificate, archive) = (shown(&setup.certificate), shown(&setup.archive_file));
    let (archive_db, mnesia) = ("sql", setup.kind == Kind::EjabberdMnesia);
    let archive_db = if mnesia { "mnesia" } else { archive_db };
    let mam = if setup.archive {
        format!("  mod_mam:\n    default: always\n    db_type: {archive_db}\n")
    } else {
        String::new()
    };
    format!(
        r#"loglevel: warning
log_rotate_count: 0
hosts:
  - localhost
certfiles:
  - "{certificate}"
listen:
  -
    port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    backlog: 4096
    starttls: true
  -
    port: {port_tls}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    backlog: 4096
    tls: true
auth_method: internal
auth_password_format: scram
disable_sasl_mechanisms:
  - "digest-md5"
  - "X-OAUTH2"
acl:
  local:
    user_regexp: ""
access_rules:
  local:
    allow: local
  register:
    allow: all
registration_timeout: infinity
default_db: mnesia
sql_type: sqlite
sql_database: "{archive}"
modules:
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_client_state: {{}}
  mod_disco: {{}}
{mam}  mod_offline: {{}}
  mod_ping: {{}}
  mod_register:
    ip_access: all
    access: register
  mod_roster:
    versioning: true
  mod_stream_mgmt:
    resume_timeout: 300
    max_resume_timeout: 300
"#
    )
}

pub(super) fn command(setup: &Setup) -> Result<Command, Failure> {
    let libraries = libraries().ok_or("ejabberd is not installed")?;
    let path = setup.path("ejabberd.yml");
    std::fs::write(&path, config(setup))?;
    let mut command = launch::command("erl", setup);
    command
        .env("EJABBERD_CONFIG_PATH", path)
        .env("EJABBERD_LOG_PATH", setup.path("ejabberd.log"))
        .env("ERL_LIBS", libraries)
        .env("ERL_MAX_PORTS", "32000")
        .env("ERL_CRASH_DUMP_BYTES", "0")
        .args(["+K", "true", "+P", "250000", "-noinput", "-mnesia", "dir"])
        .arg(format!("{:?}", shown(&setup.path("mnesia"))))
        .args(["-s", "ejabberd"]);
    Ok(command)
}
