//! Real clients against the real binary: slixmpp, @xmpp/client, and a small client of our own that
//! counts what goes over the wire. Each scenario is a script in `clients/` with a server of its
//! own.
//!
//! One of them: `cargo test -p carillon --test clients carbons`. The script alone, against any
//! server:
//!
//! ```text
//! target/clients/venv/bin/python services/carillon/tests/clients/carbons.py \
//!     --port 5222 --tls-port 5223 --ca carillon-data/tls/localhost.crt romeo:secret juliet:secret
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients {
    pub(crate) mod scenario;
    pub(crate) mod server;
    pub(crate) mod tools;
}

use clients::scenario::{Program, Scenario};
use clients::tools;
use libtest_mimic::{Arguments, Trial};

const LOVERS: &[&str] = &["romeo", "juliet"];

/// A Python script with two accounts, one minute, and no further arguments.
const PYTHON: Scenario = Scenario {
    name: "",
    program: Program::Python,
    script: "",
    accounts: LOVERS,
    strangers: &[],
    arguments: &[],
    level: "info",
    seconds: 60,
};

/// A login with one mechanism.
const fn login(name: &'static str, arguments: &'static [&'static str]) -> Scenario {
    Scenario { name, script: "login.py", accounts: &["romeo"], arguments, ..PYTHON }
}

/// A Python script with two accounts.
const fn two(name: &'static str, script: &'static str) -> Scenario {
    Scenario { name, script, ..PYTHON }
}

const SCENARIOS: &[Scenario] = &[
    login("login_plain", &["--mechanism", "PLAIN"]),
    login("login_scram_sha_1", &["--mechanism", "SCRAM-SHA-1"]),
    login("login_scram_sha_256", &["--mechanism", "SCRAM-SHA-256"]),
    login("login_scram_sha_512", &["--mechanism", "SCRAM-SHA-512"]),
    login("login_direct_tls", &["--transport", "direct"]),
    Scenario { accounts: &["benvolio"], ..login("login_other_letters", &[]) },
    Scenario {
        accounts: &["benvolio"],
        ..login("login_other_letters_plain", &["--mechanism", "PLAIN"])
    },
    Scenario { script: "binding.py", ..login("login_bound_to_certificate", &[]) },
    Scenario { script: "exporter.mjs", program: Program::Node, ..login("login_bound_to_tls", &[]) },
    Scenario { script: "refused.py", strangers: &["nobody"], ..login("login_refused", &[]) },
    Scenario { script: "roster.py", ..login("roster", &[]) },
    Scenario { script: "conflict.py", ..login("resource_conflict", &[]) },
    two("subscription", "subscription.py"),
    two("chat", "chat.py"),
    two("carbons", "carbons.py"),
    two("offline", "offline.py"),
    Scenario { accounts: &["romeo", "juliet", "nurse"], ..two("archive", "archive.py") },
    two("resume", "resume.py"),
    two("counters", "counters.py"),
    Scenario { script: "caps.py", ..login("capabilities", &[]) },
    two("orderly_restart", "restart.py"),
    two("accounts", "accounts.py"),
    two("metrics", "metrics.py"),
    Scenario { seconds: 120, ..two("security", "security.py") },
    Scenario { script: "tls.py", ..login("versions_and_suites_of_tls", &[]) },
    Scenario { script: "canary.py", level: "trace", ..login("secrets_stay_out_of_logs", &[]) },
    Scenario { script: "renewal.py", ..login("certificates_are_renewed", &[]) },
    Scenario { program: Program::Node, ..two("xmppjs", "xmppjs.mjs") },
    Scenario { seconds: 480, ..two("loss", "loss.py") },
    Scenario { seconds: 180, ..two("loss_slixmpp", "slixloss.py") },
];

fn main() {
    let arguments = Arguments::from_args();
    let trials = SCENARIOS.iter().map(|scenario| {
        let missing = tools::missing(scenario.program);
        let trial = Trial::test(scenario.name, move || scenario.run().map_err(Into::into));
        match missing {
            // The kind is printed before the name: `test [python3 is missing] chat ... ignored`.
            Some(reason) => trial.with_kind(reason).with_ignored_flag(true),
            None => trial,
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
