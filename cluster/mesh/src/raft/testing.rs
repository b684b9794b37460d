//! A state machine that is easy to compare: it keeps its commands as lines.

use peer::control::Seen;

use super::{Copied, StateMachine};
use crate::link::Peer;

/// Each command is a line; the answer says which line it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines(pub(crate) Vec<String>);

impl StateMachine for Lines {
    fn apply(&mut self, _: u64, command: &[u8]) -> Vec<u8> {
        assert_ne!(command, b"panic", "a bug on purpose");
        self.0.push(String::from_utf8_lossy(command).into_owned());
        self.0.len().to_string().into_bytes()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.join("\n").into_bytes()
    }

    fn restore(&mut self, snapshot: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(snapshot) else { return false };
        self.0 = text.lines().map(str::to_owned).collect();
        true
    }

    fn may_propose(&self, _: &Peer, asked: &[u8]) -> bool {
        asked != b"forbidden"
    }

    fn stamp(&self, asked: Vec<u8>, _: u64) -> Option<Vec<u8>> {
        (asked != b"unreadable").then_some(asked)
    }

    fn news(&self, Seen { version: have, .. }: Seen) -> Option<Vec<u8>> {
        let new = usize::try_from(have).ok().and_then(|have| self.0.get(have..));
        let Some(new) = new else { return Some(b"0\n".to_vec()) };
        (!new.is_empty()).then(|| format!("{have}\n{}", new.join("\n")).into_bytes())
    }
}

impl Copied for Lines {
    fn seen(&self) -> Seen {
        Seen { lineage: 1, version: self.0.len() as u64 }
    }

    fn take(&mut self, news: &[u8]) -> bool {
        let text = String::from_utf8_lossy(news).into_owned();
        let mut lines = text.lines();
        let follows = lines.next() == Some(&self.0.len().to_string());
        if follows {
            self.0.extend(lines.map(str::to_owned));
        }
        follows
    }
}
