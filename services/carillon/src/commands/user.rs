//! `carillon user`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use xmpp::Jid;
use xmpp::scram::{Hash, SALT_BYTES, Secret, Verifier};

use super::accounts::{Accounts, unexpected};
use super::{block_on, configuration, say};
use crate::admin::protocol::{self, Reply, Request};
use crate::cli::{Place, User};
use crate::config::Config;
use crate::exit::Failure;
use crate::limits::SCRAM_ITERATIONS;
use crate::{password, secrets};

/// Does what `carillon user …` says.
///
/// # Errors
/// With a sentence: the address is none, the account exists or does not, the data cannot be opened.
pub fn user(place: &Place, user: &User) -> Result<(), Failure> {
    let (config, _) = configuration(place)?;
    let (request, done) = match user {
        User::List { domain } => return list(&config, domain.as_deref()),
        User::Add { jid } => {
            let jid = address(jid)?;
            let verifiers = verifiers(&jid)?;
            (Request::Add { jid: jid.clone(), verifiers }, format!("{jid} can log in"))
        }
        User::Passwd { jid } => {
            let jid = address(jid)?;
            let verifiers = verifiers(&jid)?;
            let done = format!("{jid} has a new password");
            (Request::SetPassword { jid, verifiers }, done)
        }
        User::Disable { jid } => {
            let jid = address(jid)?;
            (Request::Disable { jid: jid.clone() }, format!("{jid} cannot log in any more"))
        }
        User::Enable { jid } => {
            let jid = address(jid)?;
            (Request::Enable { jid: jid.clone() }, format!("{jid} can log in again"))
        }
        User::Delete { jid, yes } => {
            let jid = address(jid)?;
            confirm_delete(&jid, *yes)?;
            (Request::Delete { jid: jid.clone() }, format!("{jid} is deleted"))
        }
    };
    block_on(async {
        let mut accounts = Accounts::open(&config).await?;
        let result = accounts.change(request).await;
        accounts.close().await;
        result
    })??;
    say(&format!("{done}\n"));
    Ok(())
}

/// Prints the accounts of one domain or of all, page by page.
fn list(config: &Config, domain: Option<&str>) -> Result<(), Failure> {
    let domain = domain.map(one_domain).transpose()?;
    block_on(async {
        let mut accounts = Accounts::open(config).await?;
        let result = list_pages(&mut accounts, domain).await;
        accounts.close().await;
        result
    })?
}

async fn list_pages(accounts: &mut Accounts, domain: Option<String>) -> Result<(), Failure> {
    let domains = match domain {
        Some(domain) => vec![domain],
        None => accounts.domains().await?,
    };
    for domain in domains {
        let mut after = None;
        loop {
            let request = Request::List { domain: domain.clone(), after: after.take() };
            let (page, more) = match accounts.call(request).await? {
                Reply::Accounts { accounts, more } => (accounts, more),
                other => return Err(unexpected(other)),
            };
            let lines: String = page
                .iter()
                .map(|it| format!("{}{}\n", it.jid, if it.disabled { " (disabled)" } else { "" }))
                .collect();
            say(&lines);
            match page.last() {
                Some(last) if more => after = Some(last.jid.clone()),
                _ => break,
            }
        }
    }
    Ok(())
}

fn one_domain(text: &str) -> Result<String, Failure> {
    match Jid::parse(text) {
        Ok(jid) if jid.local().is_none() && jid.resource().is_none() => Ok(jid.domain().to_owned()),
        _ => Err(Failure::usage(format!("{text:?} is not a domain"))),
    }
}

/// The bare address of an account, in normal form.
fn address(text: &str) -> Result<String, Failure> {
    let jid = Jid::parse(text)
        .map_err(|why| Failure::usage(format!("{text:?} is not an address: its {why}")))?;
    if jid.local().is_none() {
        return Err(Failure::usage(format!(
            "{text:?} has no domain: an account's address is like {text}@localhost"
        )));
    }
    if jid.resource().is_some() {
        return Err(Failure::usage(format!(
            "{text:?} is the address of one client: an account's is {}",
            jid.bare_str()
        )));
    }
    Ok(jid.bare_str().to_owned())
}

fn verifiers(jid: &str) -> Result<Vec<protocol::Verifier>, Failure> {
    derive(&password::ask_new(jid)?)
}

/// What the server keeps of a password: one verifier for each hash, each with a salt of its own.
pub(crate) fn derive(password: &Secret) -> Result<Vec<protocol::Verifier>, Failure> {
    let text = password.expose_str().unwrap_or_default();
    Hash::ALL
        .into_iter()
        .map(|hash| {
            let salt = secrets::random(SALT_BYTES).map_err(Failure::new)?;
            let verifier = Verifier::derive(hash, text, &salt, SCRAM_ITERATIONS);
            verifier.as_ref().map(protocol::Verifier::from).ok_or_else(|| {
                Failure::new(
                    "the password has characters that passwords may not have (control characters, \
                     for example); nothing was changed",
                )
            })
        })
        .collect()
}

fn confirm_delete(jid: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "deleting needs --yes where nobody can be asked (standard input is no terminal)",
        ));
    }
    let mut err = io::stderr();
    let question = format!("Delete {jid} with all contacts and messages? Type the address again: ");
    let _ = err.write_all(question.as_bytes()).and_then(|()| err.flush());
    let mut line = String::new();
    let _ = stdin.lock().read_line(&mut line);
    if line.trim() == jid { Ok(()) } else { Err(Failure::new("nothing was deleted")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_accounts() {
        assert_eq!(address("Anna@LocalHost").unwrap(), "anna@localhost");
        for (text, told) in [
            ("anna", "\"anna\" has no domain: an account's address is like anna@localhost"),
            ("anna@localhost/phone", "an account's is anna@localhost"),
            ("@localhost", "is not an address: its localpart is empty"),
            ("an na@localhost", "its localpart has a character"),
            ("anna@", "its domainpart is empty"),
            ("", "is not an address"),
        ] {
            let why = address(text).unwrap_err();
            assert!(why.text.contains(told), "{text}: {why}");
        }
        assert_eq!(one_domain("LocalHost").unwrap(), "localhost");
        assert!(one_domain("a@b").is_err());
    }

    #[test]
    fn a_password_becomes_three_verifiers() {
        let made = derive(&Secret::from("canary")).unwrap();
        let again = derive(&Secret::from("canary")).unwrap();
        let read: Vec<_> = made.iter().map(|it| it.read().unwrap()).collect();
        assert_eq!(read.iter().map(Verifier::hash).collect::<Vec<_>>(), Hash::ALL);
        assert!(read.iter().all(|it| it.iterations() == SCRAM_ITERATIONS));
        assert!(read.iter().all(|it| it.salt().len() == SALT_BYTES));
        assert!(made.iter().all(|it| !again.contains(it)), "salts are drawn each time");
        assert!(read[0].salt() != read[1].salt() && read[1].salt() != read[2].salt());
        assert!(derive(&Secret::from("\u{7}")).unwrap_err().text.contains("characters"));
    }
}
