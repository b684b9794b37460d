//! What the texts in commands may be: they end up in logs, command lines and every node's memory.

use super::refusal::{Refusal, TextOf};
use crate::limits::{ADDRESS_BYTES_MAX, DOMAIN_BYTES_MAX, NAME_BYTES_MAX, SETTING_BYTES_MAX};

fn judged(holds: bool, which: TextOf) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::BadText(which)) }
}

fn is_name(text: &str, more: &str) -> bool {
    let may = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(may)
}

pub(super) fn name(text: &str, which: TextOf) -> Result<(), Refusal> {
    judged(is_name(text, "-."), which)
}

pub(super) fn address(text: &str) -> Result<(), Refusal> {
    let parts = text.rsplit_once(':');
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let holds = text.len() <= ADDRESS_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && parts.is_some_and(|(host, given)| !host.is_empty() && port(given));
    judged(holds, TextOf::Address)
}

pub(super) fn program(text: &str) -> Result<(), Refusal> {
    let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
    judged((1..=NAME_BYTES_MAX).contains(&text.len()) && graphic, TextOf::Program)
}

/// Normalised by whoever proposed it: what a domain is may change with a program's tables, what a
/// command does may not.
pub(super) fn domain(text: &str) -> Result<(), Refusal> {
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '/');
    let holds = (1..=DOMAIN_BYTES_MAX).contains(&text.len()) && !text.contains(strange);
    judged(holds, TextOf::Domain)
}

pub(super) fn setting(name: &str, value: Option<&str>) -> Result<(), Refusal> {
    judged(is_name(name, "-._"), TextOf::Setting)?;
    judged(value.is_none_or(|value| value.len() <= SETTING_BYTES_MAX), TextOf::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_held_to_their_limits_on_both_sides() {
        let long = |bytes: usize| "a".repeat(bytes);
        for (text, holds) in [
            ("router-1.hall-b", true),
            ("", false),
            ("Router", false),
            ("a b", false),
            ("a_b", false),
            (&long(NAME_BYTES_MAX), true),
            (&long(NAME_BYTES_MAX + 1), false),
        ] {
            assert_eq!(name(text, TextOf::Name).is_ok(), holds, "{text}");
        }
        for (text, holds) in [
            ("10.0.0.1:5270", true),
            ("[::1]:5270", true),
            ("host", false),
            (":5270", false),
            ("host:0", false),
            ("host:65536", false),
            ("ho st:5270", false),
            (&format!("{}:5270", long(ADDRESS_BYTES_MAX - 5)), true),
            (&format!("{}:5270", long(ADDRESS_BYTES_MAX - 4)), false),
        ] {
            assert_eq!(address(text).is_ok(), holds, "{text}");
        }
        for (text, holds) in [
            ("exämple.org", true),
            ("", false),
            ("a@b", false),
            ("a/b", false),
            ("a b", false),
            (&long(DOMAIN_BYTES_MAX), true),
            (&long(DOMAIN_BYTES_MAX + 1), false),
        ] {
            assert_eq!(domain(text).is_ok(), holds, "{text}");
        }
        assert!(setting("resume.max_s", Some(&long(SETTING_BYTES_MAX))).is_ok());
        assert!(setting("resume.max_s", Some(&long(SETTING_BYTES_MAX + 1))).is_err());
        assert!(setting("Resume", None).is_err());
        assert!(program("0.1.0+x").is_ok() && program("").is_err() && program("a b").is_err());
    }
}
