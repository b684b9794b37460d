//! The bare relay: this program, started again.

use std::process::Command;

use super::{Setup, launch};
use crate::Failure;

pub(super) fn command(setup: &Setup) -> Result<Command, Failure> {
    let mut command = launch::command(std::env::current_exe()?, setup);
    command
        .arg("limit")
        .arg("--listen")
        .arg(format!("127.0.0.1:{}", setup.port))
        .arg("--listen-tls")
        .arg(format!("127.0.0.1:{}", setup.port_tls))
        .arg("--certificate")
        .arg(&setup.certificate)
        .arg("--key")
        .arg(&setup.key);
    Ok(command)
}
