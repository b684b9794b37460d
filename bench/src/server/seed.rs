//! Accounts and rosters that are there before a server is measured: each written by the fastest way
//! that the server has. The server is started anew after that, so that nothing of it is in memory
//! that the server would not keep there.

use xmpp::scram::{Hash, Verifier};

use super::{Kind, PASSWORD, Setup, ejabberd, launch, prosody};
use crate::Failure;
use crate::run::{self, Job, Way};
use crate::scenario::{Needs, Scenario};
use crate::target::{Accounts, Target, Transport};

/// Few iterations: they cost clients, not servers.
const ITERATIONS: u32 = 4096;
const SALT: &[u8] = b"one salt for all";

/// Accounts with one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Accounts are called this and a number.
    pub prefix: String,
    /// How many, and what is in their rosters.
    pub needs: Needs,
}

/// Makes accounts on a server that does not run.
///
/// # Errors
/// If files cannot be written, or the server refuses.
pub fn seed(setup: &Setup, seeds: &[Seed]) -> Result<(), Failure> {
    let verifier = Verifier::derive(Hash::Sha1, PASSWORD, SALT, ITERATIONS);
    let verifier = verifier.ok_or("the password cannot be used")?;
    match setup.kind {
        Kind::Relay => Ok(()),
        Kind::Prosody | Kind::ProsodyIncremental => prosody::seed(setup, seeds, &verifier),
        Kind::Ejabberd | Kind::EjabberdMnesia => ejabberd::seed(setup, seeds, &verifier),
        Kind::Carillon => over_xmpp(setup, seeds),
    }
}

/// Accounts through the administration socket, rosters as clients fill them.
fn over_xmpp(setup: &Setup, seeds: &[Seed]) -> Result<(), Failure> {
    let running = launch::start(setup.clone())?;
    for seed in seeds {
        let target = Target {
            accounts: Accounts::Admin(vec![setup.folder.join("data").join("admin.sock")]),
            ..running.target(Transport::Plain, &seed.prefix)
        };
        let scenario = Scenario::Accounts(seed.needs.into());
        let job = Job { target, scenario, worker: 0, workers: 1 };
        run::run(&job, 1, Way::Processes)?;
    }
    Ok(())
}
