//! `carillon-bench`: load on XMPP servers, and what it costs there.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("carillon-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
