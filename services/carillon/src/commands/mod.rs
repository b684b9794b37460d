//! What each command does.

mod accounts;
mod cluster;
mod config;
mod serve;
mod status;
mod user;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use cluster::cluster;
pub use config::{config_check, config_example};
pub use serve::serve;
pub use status::status;
pub(crate) use user::derive;
pub use user::user;

use crate::cli::Place;
use crate::config::Config;
use crate::exit::Failure;

/// Read if no other file is named.
const SYSTEM_CONFIG: &str = "/etc/carillon/carillon.toml";

/// The configuration that a command is to use, `--data` applied, and the file it came from.
fn configuration(place: &Place) -> Result<(Config, Option<PathBuf>), Failure> {
    let file = match &place.config {
        Some(file) => Some(file.clone()),
        None => Some(PathBuf::from(SYSTEM_CONFIG)).filter(|it| it.exists()),
    };
    let mut config = match &file {
        Some(file) => Config::load(file).map_err(|why| Failure::configuration(why.to_string()))?,
        None => Config::default(),
    };
    if let Some(data) = &place.data {
        config.data.clone_from(data);
    }
    Ok((config, file))
}

/// Writes to standard output. Nobody listening is no error of ours.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes what went wrong to standard error.
pub fn complain(text: &str) {
    let mut err = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(err, "carillon: {line}");
    }
}

/// Runs `work` on a runtime of this thread.
pub(crate) fn block_on<F: Future>(work: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::new(format!("the runtime cannot start: {why}")))?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, work))
}

/// A path that works from any folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// How this program was called, if that works from here.
pub(crate) fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.contains('/') { quoted(Path::new(&called)) } else { "carillon".to_owned() }
}

/// A path as a shell reads it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_the_shell() {
        for (path, text) in [("/a/b-c.d", "/a/b-c.d"), ("/a b", "'/a b'"), ("/a'b", "'/a'\\''b'")] {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }
}
