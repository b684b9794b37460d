//! The secrets of an installation: drawn once, on the first start, never changed by themselves.
//!
//! All come from the system's generator; nothing is built in, so two installations share nothing
//! (security case 56).

use std::fs;
use std::path::Path;

use xmpp::scram::Secret;

use crate::home::write_private;

/// The format of the file.
const VERSION: &str = "1";

/// What an installation must keep to itself. The secrets that accounts depend on (the key of the
/// shards, the salts of accounts that do not exist) are in the store, with the accounts.
#[derive(Debug)]
pub struct Secrets {
    /// From which the keys of TLS tickets are derived.
    pub tickets: Secret,
}

/// Names and lengths of the secrets in the file.
const FIELDS: [(&str, usize); 1] = [("tickets", 32)];

impl Secrets {
    /// Reads the file, or draws the secrets and writes it if it is absent.
    ///
    /// # Errors
    /// A sentence: the file is damaged or of a newer version, or the system has no random bytes.
    pub fn open(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|why| format!("{shown}: {why}")),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                let text = draw()?;
                write_private(path, text.as_bytes())
                    .map_err(|why| format!("{shown} cannot be written: {why}"))?;
                Self::parse(&text)
            }
            Err(why) => Err(format!("{shown} cannot be read: {why}")),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.trim())
        };
        match value("version") {
            Some(VERSION) => {}
            Some(other) => {
                return Err(format!(
                    "is of version {}, and this program reads version {VERSION}: it was written \
                     by another release",
                    other.escape_debug()
                ));
            }
            None => return Err("is damaged: put it back from your backup".to_owned()),
        }
        let [(name, length)] = FIELDS;
        let tickets = value(name)
            .and_then(unhex)
            .filter(|bytes| bytes.len() == length)
            .ok_or_else(|| format!("has no whole \"{name}\": put it back from your backup"))?;
        Ok(Self { tickets: Secret::new(tickets) })
    }
}

/// The text of a new file.
fn draw() -> Result<String, String> {
    let mut text = format!(
        "# Secrets of this installation of Carillon. Keep a copy in a safe place; show nobody.\n\
         version = {VERSION}\n"
    );
    for (name, length) in FIELDS {
        text.push_str(&format!("{name} = {}\n", hex(&random(length)?)));
    }
    Ok(text)
}

/// Bytes from the system's generator.
///
/// # Errors
/// A sentence, where the system has none.
pub fn random(length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|why| format!("the system gave no random bytes: {why}"))?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads hexadecimal; `None` where it is none.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(secrets: &Secrets) -> Vec<Vec<u8>> {
        vec![secrets.tickets.expose().to_vec()]
    }

    // Security case 56.
    #[test]
    fn two_installations_share_nothing() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = all(&Secrets::open(&one.path().join("secrets")).unwrap());
        let second = all(&Secrets::open(&two.path().join("secrets")).unwrap());
        for bytes in &first {
            assert!(bytes.len() >= 16 && bytes.iter().any(|it| *it != 0));
            assert!(!second.contains(bytes));
        }
        let again = all(&Secrets::open(&one.path().join("secrets")).unwrap());
        assert_eq!(first, again, "kept over a restart");
        for (index, bytes) in first.iter().enumerate() {
            assert!(!first[..index].contains(bytes), "drawn one by one");
        }
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        Secrets::open(&path).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for (damaged, told) in [
            (String::new(), "is damaged"),
            (whole.replace("version = 1", "version = 2"), "is of version 2"),
            (whole.replace("tickets", "tikcets"), "no whole \"tickets\""),
            (whole[..whole.len() - 3].to_owned(), "no whole \"tickets\""),
            (whole.replace("tickets = ", "tickets = x"), "no whole \"tickets\""),
        ] {
            fs::write(&path, &damaged).unwrap();
            let why = Secrets::open(&path).unwrap_err();
            assert!(why.contains(told), "{why}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn nothing_of_them_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(&folder.path().join("secrets")).unwrap();
        let shown = format!("{secrets:?}");
        assert_eq!(shown, "Secrets { tickets: Secret }");
    }
}
