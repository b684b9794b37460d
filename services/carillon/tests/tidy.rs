//! What the compiler cannot check: the arrows between crates, the size of files and functions,
//! words with a better replacement, and that lists and documents name what exists. Every check can
//! fail: its self-test feeds it something bad. `docs/STYLE.md` says why each rule is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tidy {
    pub(crate) mod arrows;
    pub(crate) mod keys;
    pub(crate) mod lexer;
    pub(crate) mod lists;
    pub(crate) mod security;
    pub(crate) mod text;
    pub(crate) mod tree;
}

use tidy::tree::{Finding, Tree};
use tidy::{arrows, keys, lists, security, text};

/// What may break a rule: file, rule, date, reason. This list may only shrink, and an entry that
/// is no longer needed is itself a finding.
const EXCEPTIONS: [(&str, &str, &str, &str); 2] = [
    (
        "cluster/kv/src/conformance/mod.rs",
        "pure",
        "2026-11-21",
        "a suite for tests, which waits for whatever a backend does: it parks its thread",
    ),
    (
        "cluster/kv/src/mem.rs",
        "pure",
        "2026-11-21",
        "the table is pure; only the store around it, which the trait shares, has a lock",
    ),
];

/// Fails with every finding that is not excepted.
fn report(rules: &[&str], findings: Vec<Finding>) {
    let excepted = |f: &Finding| EXCEPTIONS.iter().any(|e| e.0 == f.file && e.1 == f.rule);
    let mut lines: Vec<String> =
        findings.iter().filter(|f| !excepted(f)).map(Finding::to_string).collect();
    for (file, rule, date, reason) in EXCEPTIONS.iter().filter(|e| rules.contains(&e.1)) {
        assert!(!reason.is_empty(), "an exception needs a reason: {file} {rule}");
        if !findings.iter().any(|f| f.file == *file && f.rule == *rule) {
            lines.push(format!("{file}: the exception of {date} from `{rule}` is not needed"));
        }
    }
    assert!(lines.is_empty(), "{} findings:\n{}", lines.len(), lines.join("\n"));
}

#[test]
fn arrows_between_crates() {
    report(&["arrow", "third-party", "lints"], arrows::check(&arrows::workspace()));
}

#[test]
fn dependencies_that_one_place_may_name() {
    report(&["named-in-one-place"], arrows::names(&Tree::read()));
}

#[test]
fn pure_crates_stay_pure() {
    let tree = Tree::read();
    report(&["pure-lints"], arrows::pure_lints(&tree));
    report(&["pure"], text::pure(&tree));
}

#[test]
fn files_and_functions_are_small() {
    report(&["file-length", "function-length", "columns"], text::sizes(&Tree::read()));
}

#[test]
fn files_say_what_they_are() {
    report(&["first-line", "file-name"], text::first_lines(&Tree::read()));
}

#[test]
fn words_with_a_replacement() {
    report(&["word"], text::words(&Tree::read()));
}

#[test]
fn namespaces_live_in_one_file() {
    report(&["namespace"], text::namespaces(&Tree::read()));
}

#[test]
fn markup_is_written_by_few() {
    report(&["markup"], text::markup(&Tree::read()));
}

#[test]
fn extensions_are_listed_documented_and_apart() {
    let tree = Tree::read();
    report(&["xep-list", "xep-docs", "xep-first-line"], lists::extensions(&tree));
    report(&["xep-apart"], lists::extensions_apart(&tree));
}

#[test]
fn keys_are_unique_and_documented() {
    let tree = Tree::read();
    report(&["key", "key-docs"], keys::unique_and_documented(&tree));
    report(&["key"], keys::by_name(&tree));
}

#[test]
fn security_cases_are_held() {
    report(&["security"], security::cases(&Tree::read()));
}

#[test]
fn architecture_names_every_crate() {
    report(&["architecture"], lists::architecture(&Tree::read(), &arrows::workspace()));
}

#[test]
fn top_level_is_known() {
    report(&["top-level"], lists::top_level(&lists::root_entries()));
}

#[test]
fn bans_are_in_the_policy() {
    report(&["ban"], lists::bans(&Tree::read()));
}
