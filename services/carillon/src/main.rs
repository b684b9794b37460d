//! The server's one binary.

mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    carillon::cli::main()
}
