//! Reading a TOML table key by key, so that all that is wrong is told at once, with the line of
//! each.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::KEYS;
use super::nearest::nearest;

/// One thing that is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line of the file, from 1; 0 where no line can be named.
    pub line: usize,
    /// What is wrong and what to do, as a sentence.
    pub text: String,
}

/// What is wrong, gathered while the file is read.
pub(super) struct Problems<'a> {
    source: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, found: Vec::new() }
    }

    /// Notes a problem at a byte of the file.
    pub(super) fn at(&mut self, byte: usize, text: String) {
        let before = self.source.get(..byte).unwrap_or(self.source);
        self.found.push(Problem { line: before.matches('\n').count() + 1, text });
    }

    /// All problems, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.found.sort();
        self.found.dedup();
        self.found
    }
}

/// One table of the file, being read.
pub(super) struct Section<'t, 'i> {
    name: &'static str,
    table: Option<&'t DeTable<'i>>,
    taken: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    /// The top of the file.
    pub(super) fn top(table: &'t DeTable<'i>) -> Self {
        Self { name: "", table: Some(table), taken: Vec::new() }
    }

    /// The table of one domain in `[tls]`.
    pub(super) fn of_domain(table: &'t DeTable<'i>) -> Self {
        Self { name: "tls", table: Some(table), taken: Vec::new() }
    }

    /// The table `name` of this one; empty if it is absent.
    pub(super) fn section(&mut self, name: &'static str, problems: &mut Problems<'_>) -> Self {
        self.taken.push(name);
        let table = self.table.and_then(|it| it.get(name)).and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                let kind = value.get_ref().type_str();
                let text = format!("`{name}` must be a table, written [{name}], and is a {kind}");
                problems.at(value.span().start, text);
            }
            table
        });
        Self { name, table, taken: Vec::new() }
    }

    /// Reads `name` into `into` if the file has it; what `read` refuses becomes a problem.
    pub(super) fn key<T>(
        &mut self,
        name: &'static str,
        into: &mut T,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) {
        debug_assert!(
            KEYS.iter().any(|key| key.section == self.name && key.name == name),
            "the key {name} is missing in keys.rs"
        );
        self.taken.push(name);
        let Some(value) = self.table.and_then(|it| it.get(name)) else { return };
        match read(value.get_ref()) {
            Ok(value) => *into = value,
            Err(why) => problems.at(value.span().start, format!("{}: {why}", self.path(name))),
        }
    }

    /// The byte at which the value of `name` stands.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.table.and_then(|it| it.get(name)).map(|value| value.span().start)
    }

    /// The keys that nothing has read: name, place of the name, value.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&'t str, usize, &'t Spanned<DeValue<'i>>)> {
        self.table
            .into_iter()
            .flat_map(|table| table.iter())
            .map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value))
            .filter(|(name, ..)| !self.taken.contains(name))
    }

    /// Makes a problem of every key that nothing has read.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        let unknown: Vec<_> = self.rest().map(|(name, place, _)| (name, place)).collect();
        for (name, place) in unknown {
            let mut text = format!("{} is not a key", self.path(name));
            let elsewhere = KEYS.iter().find(|key| key.name == name && key.section != self.name);
            if let Some(near) = nearest(name, self.taken.iter().copied()) {
                let _ = write!(text, "; did you mean `{near}`?");
            } else if let Some(key) = elsewhere {
                let home = match key.section {
                    "" => "at the top of the file".to_owned(),
                    section => format!("in [{section}]"),
                };
                let _ = write!(text, " here; it belongs {home}");
            } else if self.name.is_empty()
                && let Some(key) = KEYS.iter().find(|key| key.name == name)
            {
                let _ = write!(text, " here; it belongs in [{}]", key.section);
            } else {
                let _ = write!(text, "; `carillon config example` shows all there are");
            }
            problems.at(place, text);
        }
    }

    fn path(&self, name: &str) -> String {
        if self.name.is_empty() { format!("`{name}`") } else { format!("`{}.{name}`", self.name) }
    }
}

/// A text.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| expected("text in quotes", value))
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| expected("true or false", value))
}

/// A list of texts, each read by `read`.
pub(super) fn list<T>(
    value: &DeValue<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let Some(items) = value.as_array() else {
        return Err(expected("a list, written [\"…\", \"…\"],", value));
    };
    items.iter().map(|item| read(&text(item.get_ref())?)).collect()
}

/// A whole number from `least` to `most`.
pub(super) fn count(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, String> {
    let number = value.as_integer().ok_or_else(|| expected("a whole number", value))?;
    u64::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| format!("{} is not from {least} to {most}", number.as_str()))
}

/// A text that is one of `names`.
pub(super) fn choice<T: Copy>(value: &DeValue<'_>, names: &[(&str, T)]) -> Result<T, String> {
    let given = text(value)?;
    if let Some((_, found)) = names.iter().find(|(name, _)| *name == given) {
        return Ok(*found);
    }
    let known: Vec<String> = names.iter().map(|(name, _)| format!("{name:?}")).collect();
    Err(format!("{given:?} is none of {}", known.join(", ")))
}

fn expected(what: &str, value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("must be {what} and is {article} {kind}")
}
