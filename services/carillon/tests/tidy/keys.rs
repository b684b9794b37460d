//! Keys: what their bytes say is said once, and `docs/DATA.md` lists it.

use std::collections::BTreeMap;

use super::tree::{Finding, Source, Tree};

const KEYS: &str = "services/session/src/keys.rs";
const DATA: &str = "docs/DATA.md";
const XEPS: &str = "services/xeps/src/";

/// One byte literal of a line: `b'l'`.
fn byte(line: &str) -> Option<char> {
    let (_, rest) = line.split_once("b'")?;
    rest.chars().next().filter(|_| rest.chars().nth(1) == Some('\''))
}

/// The tags of rows: line, name, value.
fn tags(file: &Source) -> Vec<(usize, &str, char)> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let Some(rest) = line.trim_start().strip_prefix("pub const ") else { continue };
        let Some((name, value)) = rest.split_once(": u8 = ") else { continue };
        found.extend(byte(value).map(|value| (index + 1, name, value)));
    }
    found
}

/// What keys begin with, if no entity's: `b'c'` in code, and the whole keys in byte strings.
fn kinds(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let code = !line.trim_start().starts_with("//") && !line.contains("const ");
        if code && !file.masked.is_test(index + 1) {
            found.extend(byte(line).map(|kind| (index + 1, kind.to_string())));
        }
    }
    let strings = file.masked.strings.iter().filter(|s| !file.masked.is_test(s.0));
    found.extend(strings.map(|s| (s.0, s.1.clone())));
    found
}

/// Every tag and every other beginning of a key is given once, and stands in the document; what
/// stands there exists.
pub(crate) fn unique_and_documented(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(file) = tree.file(KEYS) else {
        let what = "the file of keys is gone".into();
        return vec![Finding { file: KEYS.into(), line: 0, rule: "key", what }];
    };
    let data = tree.file(DATA).map_or("", |f| f.text.as_str());
    let tags = tags(file);
    let mut owners: BTreeMap<char, &str> = BTreeMap::new();
    for (line, name, value) in &tags {
        let owner = owners.entry(*value).or_insert(name);
        if owner != name {
            found.push(file.finding(*line, "key", format!("`{value}` is the tag {owner}")));
        }
        if !data.contains(&format!("\n| `e` hash `{value}` ")) {
            let what = format!("the row `e` hash `{value}` ({name}) is not in {DATA}");
            found.push(file.finding(*line, "key-docs", what));
        }
    }
    if tags.is_empty() {
        found.push(file.finding(
            0,
            "key",
            "no tags are found: does the check still read them?".into(),
        ));
    }
    for (line, kind) in kinds(file) {
        if !data.contains(&format!("\n| `{kind}` ")) {
            found.push(file.finding(line, "key-docs", format!("`{kind}` is not in {DATA}")));
        }
    }
    let rows = data.lines().filter_map(|l| l.strip_prefix("| `e` hash `")?.chars().next());
    for row in rows.filter(|row| !owners.contains_key(row)) {
        let what = format!("no row has the tag `{row}`");
        found.push(Finding { file: DATA.into(), line: 0, rule: "key-docs", what });
    }
    found.extend(of_modules(tree, &tags));
    found
}

/// A module's `tags: &[tag::LOG]`: named in the file of keys, and of one module alone.
fn of_modules(tree: &Tree, tags: &[(usize, &str, char)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for file in tree.rust().filter(|f| f.path.starts_with(XEPS)) {
        for (index, line) in file.masked.code.iter().enumerate() {
            let Some(list) = line.trim_start().strip_prefix("tags:") else { continue };
            if file.masked.is_test(index + 1) {
                continue;
            }
            let names = list.split(['[', ',', ']', '&']).map(str::trim).filter(|n| !n.is_empty());
            for name in names {
                let name = name.rsplit("::").next().unwrap_or(name).to_owned();
                if !tags.iter().any(|t| t.1 == name) {
                    let what = format!("`{name}` is no tag of {KEYS}");
                    found.push(file.finding(index + 1, "key", what));
                } else if let Some(owner) = owners.insert(name.clone(), &file.path) {
                    let what = format!("rows with the tag {name} are those of {owner}");
                    found.push(file.finding(index + 1, "key", what));
                }
            }
        }
    }
    found
}

/// A key of an entity says what it is by a tag that has a name.
pub(crate) fn by_name(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust().filter(|f| f.path != KEYS && f.path.starts_with("services/")) {
        for (index, line) in file.masked.code.iter().enumerate() {
            for verb in ["entity.key(", "entity.span("] {
                let Some((_, argument)) = line.split_once(verb) else { continue };
                let named = argument.is_empty() || argument.contains("tag::");
                if !named && !file.masked.is_test(index + 1) {
                    let what = format!("`{verb}` with a tag of {KEYS}, by its name");
                    found.push(file.finding(index + 1, "key", what));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::rules;
    use super::*;

    const GOOD: &str = "//! x\npub mod tag {\n    pub const LOG: u8 = b'l';\n}\n\
                        fn f() {\n    key.push(b'e');\n    g(b\"m/cluster\");\n}\n";
    const DOC: &str = "\n| `e` hash `l` id(8) | x |\n| `e` hash | x |\n| `m/cluster` | x |\n";

    #[test]
    fn keys_that_are_said_twice_or_nowhere_are_found() {
        let good = Tree::of(&[
            (KEYS, GOOD),
            (DATA, DOC),
            ("services/xeps/src/mam.rs", "//! x\nSpec {\n    tags: &[tag::LOG],\n}\n"),
        ]);
        assert_eq!(rules(&unique_and_documented(&good)), []);
        let twice = GOOD.replace("b'l';\n", "b'l';\n    pub const LIST: u8 = b'l';\n");
        let bad = Tree::of(&[
            (KEYS, &twice),
            (DATA, "\n| `e` hash `q` | x |\n"),
            ("services/xeps/src/a.rs", "//! x\nSpec {\n    tags: &[tag::LOG, tag::NONE],\n}\n"),
            ("services/xeps/src/b.rs", "//! x\nSpec {\n    tags: &[tag::LOG],\n}\n"),
        ]);
        let found = rules(&unique_and_documented(&bad));
        assert_eq!(
            found,
            [
                (3, "key-docs"),
                (4, "key"),
                (4, "key-docs"),
                (8, "key-docs"),
                (0, "key-docs"),
                (3, "key"),
                (3, "key"),
            ]
        );
        assert_eq!(rules(&unique_and_documented(&Tree::of(&[]))), [(0, "key")]);
    }

    #[test]
    fn keys_with_a_bare_number_are_found() {
        let text = "//! x\nfn f() {\n    entity.key(7, &[]);\n    entity.key(tag::LOG, &[]);\n}\n";
        let tree = Tree::of(&[("services/xeps/src/a.rs", text)]);
        assert_eq!(rules(&by_name(&tree)), [(3, "key")]);
    }
}
