//! How a command ends: its exit code and, where it failed, what is said about it.

use std::fmt;
use std::process::ExitCode;

/// Exit codes, the same for every command; the manual page lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Something went wrong.
    Failure = 1,
    /// The command line says nothing that can be done.
    Usage = 2,
    /// The command needs a running server and there is none (`EX_UNAVAILABLE` of sysexits).
    NotRunning = 69,
    /// The configuration is wrong (`EX_CONFIG` of sysexits).
    Configuration = 78,
}

/// A command that failed: what to say, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What was wrong, where, and what to do; for standard error.
    pub text: String,
}

impl Failure {
    /// Something went wrong.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { code: Code::Failure, text: text.into() }
    }

    /// The command line says nothing that can be done.
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: Code::Usage, text: text.into() }
    }

    /// There is no running server.
    #[must_use]
    pub fn not_running(text: impl Into<String>) -> Self {
        Self { code: Code::NotRunning, text: text.into() }
    }

    /// The configuration is wrong.
    #[must_use]
    pub fn configuration(text: impl Into<String>) -> Self {
        Self { code: Code::Configuration, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}
