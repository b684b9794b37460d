//! What scenarios have in common: accounts, and many clients at once.

use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use carillon::admin::Client as Admin;
use carillon::admin::protocol::{Fault, Reply, Request, Verifier};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xmpp::scram::{self, Hash};

use crate::Failure;
use crate::client::{Client, Shared, register};
use crate::limits::{DESCRIPTORS_KEPT, SEED_TIME_MAX};
use crate::run::Port;
use crate::target::{Accounts, Target};

/// Sessions that are made at once, so that no server sees a storm where none is measured.
pub(super) const AT_ONCE: usize = 32;

/// Connections of one worker to administration sockets, which take sixteen each.
const ADMINS: usize = 3;

/// Few iterations: what is measured is the server, not the client's key derivation.
const ITERATIONS: u32 = 4096;

/// Does something for each number, some at once; gives the results in order.
pub(super) async fn each<T, F>(
    range: Range<usize>,
    at_once: usize,
    port: &Port,
    what: &str,
    make: impl Fn(usize) -> F,
) -> Result<Vec<T>, Failure>
where
    T: 'static,
    F: Future<Output = Result<T, Failure>> + 'static,
{
    let gate = Rc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    let total = range.len();
    for number in range {
        let (gate, work) = (gate.clone(), make(number));
        tasks.spawn_local(async move {
            let _permit = gate.acquire().await?;
            Ok::<_, Failure>((number, work.await?))
        });
    }
    let mut results = Vec::with_capacity(total);
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
        if results.len().is_multiple_of(50) || results.len() == total {
            port.progress(what, results.len(), total);
        }
    }
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Makes accounts, where the target says how and they are not there yet.
pub(super) async fn accounts(
    shared: &Rc<Shared>,
    port: &Port,
    range: Range<usize>,
) -> Result<(), Failure> {
    match &shared.target.accounts {
        Accounts::Exist => Ok(()),
        Accounts::Register => {
            each(range, AT_ONCE, port, "accounts", |user| {
                let shared = shared.clone();
                async move { register(&shared, user).await }
            })
            .await?;
            Ok(())
        }
        Accounts::Command(command) => by_command(&shared.target, command, range, port),
        Accounts::Admin(paths) => by_admin(shared, paths, range, port).await,
    }
}

/// Over administration sockets: a server commits what several ask for at once together.
async fn by_admin(
    shared: &Rc<Shared>,
    paths: &[PathBuf],
    range: Range<usize>,
    port: &Port,
) -> Result<(), Failure> {
    let verifiers = Rc::new(verifiers(&shared.target)?);
    let paths = Rc::new(paths.to_vec());
    let parts = range.len().clamp(1, ADMINS);
    let (start, total) = (range.start, range.len());
    each(0..parts, parts, port, "accounts", |part| {
        let (shared, verifiers, paths) = (shared.clone(), verifiers.clone(), paths.clone());
        let part_of = |part: usize| start + total * part / parts;
        let users = part_of(part)..part_of(part + 1);
        async move {
            let number = shared.worker * ADMINS + part;
            let path = paths.get(number % paths.len().max(1)).ok_or("no administration socket")?;
            add_all(&shared.target, path, &verifiers, users).await
        }
    })
    .await?;
    Ok(())
}

async fn add_all(
    target: &Target,
    path: &Path,
    verifiers: &[Verifier],
    users: Range<usize>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut admin = None;
    for user in users {
        let request = Request::Add { jid: target.jid(user), verifiers: verifiers.to_vec() };
        loop {
            let why = match add(&mut admin, path, &request).await {
                Ok(()) => break,
                Err(why) => why,
            };
            // A socket that has many callers turns some away for a while.
            if begun.elapsed() > SEED_TIME_MAX {
                return Err(why);
            }
            admin = None;
            rest(1).await;
        }
    }
    Ok(())
}

async fn add(admin: &mut Option<Admin>, path: &Path, request: &Request) -> Result<(), Failure> {
    let connected = match admin.take() {
        Some(admin) => admin,
        None => Admin::connect(path).await?,
    };
    match admin.insert(connected).call(request).await? {
        Reply::Done | Reply::Refused { fault: Fault::Exists, .. } => Ok(()),
        other => Err(format!("an account was refused: {other:?}").into()),
    }
}

fn verifiers(target: &Target) -> Result<Vec<Verifier>, Failure> {
    let derive =
        |hash| scram::Verifier::derive(hash, &target.password, b"the same salt", ITERATIONS);
    let derived = [derive(Hash::Sha1), derive(Hash::Sha256)].into_iter().flatten();
    let verifiers: Vec<Verifier> = derived.map(|it| Verifier::from(&it)).collect();
    if verifiers.is_empty() { Err("the password cannot be used".into()) } else { Ok(verifiers) }
}

fn by_command(
    target: &Target,
    command: &str,
    range: Range<usize>,
    port: &Port,
) -> Result<(), Failure> {
    let total = range.len();
    for (done, user) in range.enumerate() {
        let filled = command
            .replace("{user}", &word(&target.name(user)))
            .replace("{domain}", &word(&target.domain))
            .replace("{password}", &word(&target.password));
        let output = Command::new("sh").arg("-c").arg(&filled).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("`{filled}` failed ({}): {said}", output.status).into());
        }
        port.progress("accounts", done + 1, total);
    }
    Ok(())
}

/// A text as one word of the shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Logs accounts in, some at once; none is available yet.
pub(super) async fn sessions(
    shared: &Rc<Shared>,
    port: &Port,
    range: Range<usize>,
) -> Result<Vec<Client>, Failure> {
    each(range, AT_ONCE, port, "sessions", |user| {
        let shared = shared.clone();
        async move { Client::login(&shared, user).await }
    })
    .await
}

/// Refuses more sessions than one process can have.
pub(super) fn fits(sessions: usize, workers: usize) -> Result<(), Failure> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let room = limit.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_KEPT);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if sessions.div_ceil(workers) <= room {
        return Ok(());
    }
    let needed = sessions.div_ceil(room.max(1));
    Err(format!("a process may hold {room} sockets here: use --workers {needed}").into())
}

/// Time since the worker began, in microseconds: one clock for all its clients.
#[derive(Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now_us(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Microseconds since some moment.
pub(super) fn since_us(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Lets time pass.
pub(super) async fn rest(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_in_the_shell() {
        for text in ["load1", "a load generator's password", "", "$(false) `x` \\ \"y\" *"] {
            let command = format!("printf %s {}", word(text));
            let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn a_command_makes_each_account() {
        let folder = tempfile::tempdir().unwrap();
        let mut target = crate::target::tests::target("127.0.0.1:1");
        target.password = "it's one".into();
        let list = folder.path().join("list");
        let port = || {
            let (_, go) = tokio::sync::mpsc::channel(1);
            Port::new(|_| {}, go)
        };
        let command = format!("echo {{user}}@{{domain}} {{password}} >> {}", list.display());
        by_command(&target, &command, 3..5, &port()).unwrap();
        let made = std::fs::read_to_string(&list).unwrap();
        assert_eq!(made, "load3@localhost it's one\nload4@localhost it's one\n");
        let why = by_command(&target, "echo no >&2; false", 0..1, &port()).unwrap_err();
        assert!(why.to_string().contains(": no"), "{why}");
    }
}
