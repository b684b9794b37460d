//! Carillon: the release binary that stands beside this one.

use std::path::PathBuf;
use std::process::Command;

use super::{Setup, ask, launch, shown};
use crate::Failure;

const INSTALL: &str = "Build it: cargo build --release -p carillon";

/// Where it is.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    // Tests run from `deps`, one folder below the binaries.
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("carillon")).find(|path| path.is_file());
    Ok(found.ok_or_else(|| format!("there is no carillon beside {}. {INSTALL}", own.display()))?)
}

pub(super) fn version() -> Result<String, Failure> {
    ask(&shown(&binary()?), &["--version"], INSTALL)
}

pub(super) fn config(setup: &Setup) -> String {
    let (port, port_tls, port_http) = (setup.port, setup.port_tls, setup.port_http);
    let (archive, certificate, key) = (setup.archive, &setup.certificate, &setup.key);
    format!(
        "data = \"data\"\n\
         [listen]\n\
         c2s = [\"127.0.0.1:{port}\"]\n\
         c2s_tls = [\"127.0.0.1:{port_tls}\"]\n\
         http = [\"127.0.0.1:{port_http}\"]\n\
         clear_text = true\n\
         [tls]\n\
         certificate = {certificate:?}\n\
         key = {key:?}\n\
         [limits]\n\
         connections_per_source = 100000\n\
         connects_per_source_per_second = 100000\n\
         connects_per_source_at_once = 100000\n\
         [archive]\n\
         enabled = {archive}\n\
         [log]\n\
         level = \"warn\"\n"
    )
}

pub(super) fn command(setup: &Setup) -> Result<Command, Failure> {
    let path = setup.path("carillon.toml");
    std::fs::write(&path, config(setup))?;
    let mut command = launch::command(binary()?, setup);
    command.arg("serve").arg("--config").arg(path);
    Ok(command)
}
