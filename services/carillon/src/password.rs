//! Passwords come from a prompt that does not show them, or from standard input: never from an
//! argument or the environment, which other users and logs can see.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use xmpp::scram::Secret;

use crate::exit::Failure;
use crate::limits::PASSWORD_BYTES_MAX;

/// Asks for a new password: twice at a terminal, one line where standard input is none.
///
/// # Errors
/// Nothing was given, the two differ, or it is too long.
pub fn ask_new(account: &str) -> Result<Secret, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return from_pipe(&mut stdin.lock());
    }
    let first = prompt(&format!("New password for {account}: "))?;
    let second = prompt("The same again: ")?;
    if !first.matches(second.expose()) {
        return Err(Failure::new("the two passwords differ; nothing was changed"));
    }
    Ok(first)
}

/// The first line of `input`, without its end.
fn from_pipe(input: &mut dyn io::BufRead) -> Result<Secret, Failure> {
    let mut line = Vec::new();
    let cannot = |why| Failure::new(format!("the password cannot be read: {why}"));
    input.take(PASSWORD_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line).map_err(cannot)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    checked(line)
}

fn prompt(text: &str) -> Result<Secret, Failure> {
    let cannot = |why: io::Error| Failure::new(format!("the password cannot be asked for: {why}"));
    let stdin = io::stdin();
    let mut err = io::stderr();
    err.write_all(text.as_bytes()).and_then(|()| err.flush()).map_err(cannot)?;
    let quiet = Quiet::new(&stdin).map_err(|why| cannot(why.into()))?;
    let line = read_keys(&mut stdin.lock());
    drop(quiet);
    let _ = err.write_all(b"\n");
    match line.map_err(cannot)? {
        Some(line) => checked(line),
        None => Err(Failure::new("interrupted; nothing was changed")),
    }
}

fn checked(line: Vec<u8>) -> Result<Secret, Failure> {
    let length = line.len();
    let secret = Secret::new(line);
    if length == 0 {
        return Err(Failure::new("the password is empty; nothing was changed"));
    }
    if length > PASSWORD_BYTES_MAX {
        return Err(Failure::new(format!(
            "the password has more than {PASSWORD_BYTES_MAX} bytes; nothing was changed"
        )));
    }
    if secret.expose_str().is_none() {
        return Err(Failure::new("the password is not UTF-8; nothing was changed"));
    }
    Ok(secret)
}

/// Reads keys until Enter. The terminal hands them over one by one, so that Ctrl-C comes here and
/// the terminal is put back before the program ends. `None`: Ctrl-C, or Ctrl-D on an empty line.
fn read_keys(input: &mut dyn io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::with_capacity(PASSWORD_BYTES_MAX + 8);
    for byte in input.bytes() {
        match byte? {
            b'\r' | b'\n' => return Ok(Some(line)),
            0x03 => return Ok(None),
            0x04 if line.is_empty() => return Ok(None),
            0x04 => return Ok(Some(line)),
            0x15 => line.clear(),
            0x08 | 0x7f => {
                // A whole character: its continuation bytes, then its first.
                while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
            }
            // Refused afterwards by its length; what does not fit is not kept.
            byte if line.len() <= PASSWORD_BYTES_MAX => line.push(byte),
            _ => {}
        }
    }
    Ok(None)
}

/// A terminal that shows no keys, until this is dropped.
struct Quiet<'a, T: AsFd> {
    terminal: &'a T,
    before: Termios,
}

impl<'a, T: AsFd> Quiet<'a, T> {
    fn new(terminal: &'a T) -> rustix::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for Quiet<'_, T> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gives_its_first_line() {
        for (input, password) in [
            ("secret\n", Some("secret")),
            ("secret", Some("secret")),
            ("secret\r\nnot this", Some("secret")),
            (" blanks count \n", Some(" blanks count ")),
            ("pässwörd\n", Some("pässwörd")),
            ("", None),
            ("\nsecret\n", None),
        ] {
            let read = from_pipe(&mut input.as_bytes()).ok();
            assert_eq!(read.as_ref().and_then(Secret::expose_str), password, "{input:?}");
        }
        let fits = vec![b'x'; PASSWORD_BYTES_MAX];
        assert!(from_pipe(&mut [&fits[..], b"\r\n"].concat().as_slice()).is_ok());
        let long = from_pipe(&mut [&fits[..], b"x\n"].concat().as_slice()).unwrap_err();
        assert!(long.text.contains("more than 1024 bytes"), "{long}");
        assert!(from_pipe(&mut &b"\xff\xfe\n"[..]).unwrap_err().text.contains("UTF-8"));
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, line) in [
            (&b"abc\r"[..], Some(&b"abc"[..])),
            (b"abd\x7fc\n", Some(b"abc")),
            (b"\x7f\x7fabc\n", Some(b"abc")),
            ("abé\u{8}c\n".as_bytes(), Some(b"abc")),
            (b"wrong\x15abc\n", Some(b"abc")),
            (b"abc\x04", Some(b"abc")),
            (b"\n", Some(b"")),
            (b"abc\x03\n", None),
            (b"\x04", None),
            (b"abc", None),
        ] {
            assert_eq!(read_keys(&mut &keys[..]).unwrap().as_deref(), line, "{keys:?}");
        }
    }
}
