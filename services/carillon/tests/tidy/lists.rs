//! Lists and documents that must name what exists.

use std::collections::BTreeMap;

use super::arrows::Package;
use super::lexer::word_positions;
use super::tree::{Finding, Source, Tree, root};

const XEPS: &str = "services/xeps/src/";
/// The ordered list of modules.
const XEPS_LIST: &str = "services/xeps/src/lib.rs";
const XEPS_DOC: &str = "docs/XEPS.md";

/// Files of the crate of extensions that are not one.
const NOT_EXTENSIONS: [&str; 4] = ["lib", "limits", "keys", "docs"];

/// Extensions that may name another one, and why. (The design foresees one: PEP on PubSub.)
const MAY_IMPORT: [(&str, &str, &str); 0] = [];

/// What `deny.toml` refuses for good; `.ci/run` holds the graph against it.
const BANNED: [&str; 5] = ["openssl", "openssl-sys", "native-tls", "ring", "jemallocator"];

/// What may stand at the top of the repository.
const TOP_LEVEL: [&str; 20] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bench",
    "chaos",
    "clippy.toml",
    "cluster",
    "deny.toml",
    "docs",
    "fuzz",
    "proto",
    "rustfmt.toml",
    "services",
    "terraform",
];
/// What tools leave there and git ignores.
const IGNORED: [&str; 2] = ["target", "carillon-data"];

/// The module that a file of the crate of extensions belongs to, unless it is none.
fn extension(file: &Source) -> Option<&str> {
    let rest = file.path.strip_prefix(XEPS)?;
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (file.is_rust() && !NOT_EXTENSIONS.contains(&name)).then_some(name)
}

/// The head of an extension: `name.rs`, or `name/mod.rs` of a folder.
fn is_head(file: &Source) -> bool {
    file.path.matches('/').count() == XEPS.matches('/').count() || file.path.ends_with("/mod.rs")
}

/// `XEP-0198` and the like in a text.
fn xep_numbers(text: &str) -> Vec<String> {
    let number = |at: usize| text.get(at..at + 8).map(str::to_owned);
    let digits = |n: &String| n[4..].chars().all(|c| c.is_ascii_digit());
    text.match_indices("XEP-").filter_map(|(at, _)| number(at)).filter(digits).collect()
}

/// Each extension says its number first, stands in the list, and is documented.
pub(crate) fn extensions(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let list = tree.file(XEPS_LIST).map_or_else(String::new, |f| f.masked.code.join("\n"));
    let doc = tree.file(XEPS_DOC).map_or("", |f| f.text.as_str());
    for file in tree.rust().filter(|f| is_head(f)) {
        let Some(name) = extension(file) else { continue };
        if word_positions(&list, name).len() < 2 {
            let what = format!("declare `{name}` and put it in the list of {XEPS_LIST}");
            found.push(file.finding(0, "xep-list", what));
        }
        let head: Vec<&str> = file.text.lines().take_while(|l| l.starts_with("//!")).collect();
        let first = head.first().map_or_else(Vec::new, |l| xep_numbers(l));
        if first.is_empty() {
            let what = "the first line says number and version: `//! XEP-0199 (2.0.1): …`".into();
            found.push(file.finding(1, "xep-first-line", what));
        }
        for number in first.iter().filter(|n| !doc.contains(n.trim_start_matches("XEP-"))) {
            let what = format!("{number} is not in {XEPS_DOC}");
            found.push(file.finding(1, "xep-docs", what));
        }
    }
    found
}

/// Extensions do not import each other: what two need belongs to the engine or to `xmpp`.
pub(crate) fn extensions_apart(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut names: Vec<&str> = tree.rust().filter_map(extension).collect();
    names.dedup();
    for file in tree.rust() {
        let Some(own) = extension(file) else { continue };
        for (index, line) in file.masked.code.iter().enumerate() {
            for other in names.iter().filter(|n| **n != own) {
                let paths = [format!("crate::{other}"), format!("super::{other}")];
                let used = paths.iter().any(|p| !word_positions(line, p).is_empty());
                let excused = MAY_IMPORT.iter().any(|m| m.0 == own && m.1 == *other);
                if used && !excused && !file.masked.is_test(index + 1) {
                    let what = format!("`{own}` imports `{other}`");
                    found.push(file.finding(index + 1, "xep-apart", what));
                }
            }
        }
    }
    found
}

/// The code map names the folder of every crate.
pub(crate) fn architecture(tree: &Tree, packages: &BTreeMap<String, Package>) -> Vec<Finding> {
    let path = "docs/ARCHITECTURE.md";
    let text = tree.file(path).map_or("", |f| f.text.as_str());
    let missing = packages.values().filter(|p| !text.contains(&format!("`{}`", p.folder)));
    missing
        .map(|p| Finding {
            file: path.into(),
            line: 0,
            rule: "architecture",
            what: format!("the code map does not name `{}`", p.folder),
        })
        .collect()
}

/// The policy for dependencies still refuses what the design refuses.
pub(crate) fn bans(tree: &Tree) -> Vec<Finding> {
    let path = "deny.toml";
    let text = tree.file(path).map_or("", |f| f.text.as_str());
    let refused = |name: &&str| !text.contains(&format!("{{ crate = \"{name}\""));
    let finding = |name: &str| Finding {
        file: path.into(),
        line: 0,
        rule: "ban",
        what: format!("`{name}` is not among the bans"),
    };
    BANNED.iter().filter(|n| refused(n)).map(|n| finding(n)).collect()
}

/// The names at the top of the repository.
pub(crate) fn root_entries() -> Vec<String> {
    let entries = std::fs::read_dir(root()).expect("a readable root");
    entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Nothing at the top but what the list names.
pub(crate) fn top_level(entries: &[String]) -> Vec<Finding> {
    let known = |e: &&String| {
        !TOP_LEVEL.contains(&e.as_str())
            && !IGNORED.contains(&e.as_str())
            && !e.ends_with(".profraw")
    };
    let finding = |e: &String| Finding {
        file: e.clone(),
        line: 0,
        rule: "top-level",
        what: "put it in a folder, or add it to the list with the change that needs it".into(),
    };
    entries.iter().filter(known).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::rules;
    use super::*;

    const LIST: &str =
        "//! x\nmod ping;\nmod mam;\nmod roster;\nconst ALL: [M; 2] = [&ping::Ping, &mam::Mam];\n";

    #[test]
    fn unlisted_and_undocumented_extensions_are_found() {
        let tree = Tree::of(&[
            (XEPS_LIST, LIST),
            (XEPS_DOC, "| 0199 | ping |\n"),
            ("services/xeps/src/ping.rs", "//! XEP-0199 (2.0.1): ping.\n"),
            ("services/xeps/src/mam/mod.rs", "//! XEP-0313 (1.1.1): archive.\n"),
            ("services/xeps/src/mam/page.rs", "//! One page.\n"),
            ("services/xeps/src/roster.rs", "//! The roster.\n"),
        ]);
        let found = extensions(&tree);
        assert_eq!(rules(&found), [(1, "xep-docs"), (0, "xep-list"), (1, "xep-first-line")]);
    }

    #[test]
    fn imports_between_extensions_are_found() {
        let tree = Tree::of(&[
            (XEPS_LIST, LIST),
            ("services/xeps/src/ping.rs", "//! x\nuse crate::mam::Page;\nuse crate::limits;\n"),
            ("services/xeps/src/mam/mod.rs", "//! x\nuse crate::mam::page;\n"),
        ]);
        assert_eq!(rules(&extensions_apart(&tree)), [(2, "xep-apart")]);
    }

    #[test]
    fn unnamed_crates_and_strange_entries_are_found() {
        let mut packages = BTreeMap::new();
        for folder in ["proto/xmpp", "proto/stream"] {
            let package = Package { folder: folder.into(), ..Package::default() };
            packages.insert(folder.to_owned(), package);
        }
        let tree = Tree::of(&[("docs/ARCHITECTURE.md", "- `proto/xmpp`: words\n")]);
        assert_eq!(architecture(&tree, &packages).len(), 1);
        assert_eq!(bans(&Tree::of(&[("deny.toml", "{ crate = \"ring\", x = 1 }")])).len(), 4);
        let entries = ["docs", "target", "notes.txt"].map(str::to_owned);
        assert_eq!(rules(&top_level(&entries)), [(0, "top-level")]);
    }
}
