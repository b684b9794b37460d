//! `carillon config`.

use super::{configuration, say};
use crate::cli::Place;
use crate::config::{ConfigError, example};
use crate::exit::Failure;

/// `config check`: says everything that is wrong, or that nothing is.
///
/// # Errors
/// With exit code 78, one line for each mistake.
pub fn config_check(place: &Place) -> Result<(), Failure> {
    let (config, file) = configuration(place)?;
    let problems = config.check_files();
    let file = file.unwrap_or_else(|| "the defaults".into());
    if !problems.is_empty() {
        return Err(Failure::configuration(ConfigError { file, problems }.to_string()));
    }
    say(&format!("{}: nothing is wrong\n", file.display()));
    Ok(())
}

/// `config example`.
///
/// # Errors
/// None.
pub fn config_example() -> Result<(), Failure> {
    say(&example());
    Ok(())
}
