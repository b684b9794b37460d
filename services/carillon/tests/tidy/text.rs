//! Rules that one file can be judged by.

use super::arrows::PURE;
use super::lexer::word_positions;
use super::tree::{Finding, Source, Tree};

/// Without tests. A file that grows beyond becomes a folder with one file per concern.
const FILE_LINES_MAX: usize = 800;
/// Without tests.
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// What stands for something better: in code, what to write instead.
const WORDS: [(&str, &str); 10] = [
    ("unbounded_channel", "a bounded channel: every queue refuses, none grows"),
    ("UnboundedSender", "a bounded channel: every queue refuses, none grows"),
    ("mpsc::channel()", "std::sync::mpsc::sync_channel with a limit"),
    ("channel::unbounded", "a bounded channel with a limit from limits.rs"),
    ("lazy_static!", "std::sync::LazyLock"),
    ("once_cell", "std::sync::OnceLock or LazyLock"),
    ("pub fn get_", "the noun alone: getters have no `get_`"),
    ("native_tls", "rustls"),
    ("openssl", "rustls with aws-lc-rs"),
    ("chrono::", "microseconds since the Unix epoch in a u64"),
];

/// Marks of unfinished work: an issue says what is missing, the code says what is. (Written apart,
/// so that this file passes.)
const MARKS: [&str; 4] =
    [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("X", "XX"), concat!("HA", "CK")];

/// File names that say nothing: a type lives where its verb lives.
const VAGUE: [&str; 6] = ["util.rs", "utils.rs", "helper.rs", "helpers.rs", "common.rs", "misc.rs"];

/// What a pure crate never names outside its tests, and whose job it is.
const IMPURE: [(&str, &str); 14] = [
    ("std::fs", "files belong to shells"),
    ("std::thread", "threads belong to shells"),
    ("std::process", "processes belong to shells"),
    ("std::env", "settings are arguments"),
    ("std::io::stdin", "the command line belongs to the binary"),
    ("std::sync::mpsc", "a pure crate returns what it has to say"),
    ("TcpStream", "sockets belong to shells"),
    ("UdpSocket", "sockets belong to shells"),
    ("Instant", "time is an argument: u64 microseconds"),
    ("SystemTime", "time is an argument: u64 microseconds"),
    ("Mutex", "one owner instead of a lock"),
    ("RwLock", "one owner instead of a lock"),
    ("thread_local", "state is a field of its owner"),
    ("RandomState", "hashes are seeded by arguments, or use an ordered map"),
];

/// The one file that spells namespaces.
const NAMESPACES: &str = "proto/xmpp/src/ns.rs";
/// How XMPP's namespaces begin.
const NAMESPACE_STARTS: [&str; 6] = [
    "urn:xmpp:",
    "urn:ietf:params:xml:ns:xmpp",
    "jabber:",
    "http://jabber.org/",
    "https://jabber.org/",
    "http://etherx.jabber.org",
];

/// Length of files, functions and lines.
pub(crate) fn sizes(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        let lines = file.masked.test_lines.iter().filter(|test| !**test).count();
        if lines > FILE_LINES_MAX {
            let what = format!("{lines} lines without tests, at most {FILE_LINES_MAX}");
            found.push(file.finding(0, "file-length", what));
        }
        for function in file.masked.functions() {
            let lines = function.last + 1 - function.first;
            if lines > FUNCTION_LINES_MAX && !file.masked.is_test(function.first) {
                let what = format!("`{}` has {lines} lines, at most 70", function.name);
                found.push(file.finding(function.first, "function-length", what));
            }
        }
        found.extend(columns(file));
    }
    found
}

/// A longer line is fine where it holds an address, and in tests where it holds a string.
fn columns(file: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut in_string = false;
    for (index, line) in file.text.lines().enumerate() {
        let code = file.masked.code.get(index).map_or("", String::as_str);
        let quotes = code.matches('"').count();
        let text = in_string || quotes > 0;
        in_string ^= quotes % 2 == 1;
        let excused = line.contains("://") || (text && file.masked.is_test(index + 1));
        let columns = line.chars().count();
        if columns > COLUMNS_MAX && !excused {
            found.push(file.finding(index + 1, "columns", format!("{columns}, at most 100")));
        }
    }
    found
}

/// Every source file starts by saying what it is, under a name that says something.
pub(crate) fn first_lines(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in tree.rust() {
        if !file.text.starts_with("//! ") {
            found.push(file.finding(1, "first-line", "start with `//! ` and what it is".into()));
        }
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if VAGUE.contains(&name) {
            let what = format!("`{name}` says nothing: put each item where its verb lives");
            found.push(file.finding(0, "file-name", what));
        }
    }
    found
}

/// Words that have a better replacement, in code; marks of unfinished work, anywhere.
pub(crate) fn words(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            for mark in MARKS.iter().filter(|m| !word_positions(line, m).is_empty()) {
                let what = format!("`{mark}`: finish it, or open an issue");
                found.push(file.finding(index + 1, "word", what));
            }
        }
        if !file.is_rust() {
            continue;
        }
        for (index, line) in file.masked.code.iter().enumerate() {
            for (word, instead) in WORDS.iter().filter(|w| line.contains(w.0)) {
                let what = format!("`{word}`: write {instead}");
                found.push(file.finding(index + 1, "word", what));
            }
        }
    }
    found
}

/// Where markup may be spelled: the writer with its building blocks, and the stream's own elements;
/// tools that are clients; the document that is generated for others to read, and the harness of
/// dialogues, which are as people write them.
const MARKUP: [&str; 6] = [
    "proto/xmpp/src/",
    "proto/stream/src/",
    "bench/",
    "chaos/",
    "services/xeps/src/docs.rs",
    "services/session/src/testing/",
];

/// Tags in strings: what is sent to clients is written by `xmpp::xml::Writer` alone.
pub(crate) fn markup(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let ours = |f: &&Source| !MARKUP.iter().any(|m| f.path.starts_with(m));
    for file in tree.rust().filter(ours) {
        for (line, text) in file.masked.strings.iter().filter(|s| !file.masked.is_test(s.0)) {
            let mut after = text.trim_start().strip_prefix('<').unwrap_or_default().chars();
            let (first, rest) = (after.next().unwrap_or(' '), after.as_str());
            let tag = matches!(first, '/' | '?' | '!') || first.is_ascii_lowercase();
            if tag && (rest.contains("='") || rest.contains("/>") || first == '/') {
                let what = "write it with `xmpp::xml::Writer`".into();
                found.push(file.finding(*line, "markup", what));
            }
        }
    }
    found
}

/// What pure crates do not name. Clippy bans the calls; this also bans what no call shows.
pub(crate) fn pure(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let inside = |path: &str| PURE.iter().any(|p| path.starts_with(&format!("{}/src/", p.1)));
    for file in tree.rust().filter(|f| inside(&f.path)) {
        for (index, line) in file.masked.code.iter().enumerate() {
            if file.masked.is_test(index + 1) {
                continue;
            }
            for (word, whose) in IMPURE.iter().filter(|w| !word_positions(line, w.0).is_empty()) {
                found.push(file.finding(index + 1, "pure", format!("`{word}`: {whose}")));
            }
        }
    }
    found
}

/// Namespaces are spelled in one file; elsewhere they are constants. Tests may quote the wire.
pub(crate) fn namespaces(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let elsewhere = |f: &&Source| f.path != NAMESPACES && !f.path.starts_with("bench/");
    for file in tree.rust().filter(elsewhere) {
        for (line, string) in &file.masked.strings {
            let start = NAMESPACE_STARTS.iter().find(|s| string.contains(**s));
            if let (Some(start), false) = (start, file.masked.is_test(*line)) {
                let what = format!("`{start}…`: name it in {NAMESPACES} and use the constant");
                found.push(file.finding(*line, "namespace", what));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::rules;
    use super::*;

    #[test]
    fn markup_in_the_wrong_place_is_found() {
        let text = "//! x\nfn f() {\n    g(\"<a x='1'>\");\n    g(\"</a>\");\n    g(\"<no>\");\n}\n\
                    #[cfg(test)]\nmod tests {\n    const A: &str = \"<a/>\";\n}\n";
        let tree = Tree::of(&[("services/xeps/src/a.rs", text), ("proto/xmpp/src/a.rs", text)]);
        assert_eq!(rules(&markup(&tree)), [(3, "markup"), (4, "markup")]);
    }

    #[test]
    fn long_things_are_found() {
        let file = format!("//! x\n{}", "const A: u8 = 1;\n".repeat(800));
        let function = format!("//! x\nfn a() {{\n{}}}\n", "    b();\n".repeat(69));
        let line = format!("//! x\n// {}\n", "x".repeat(98));
        let tree = Tree::of(&[("a/src/a.rs", &file), ("b.rs", &function), ("c.rs", &line)]);
        let want = [(0, "file-length"), (2, "function-length"), (2, "columns")];
        assert_eq!(rules(&sizes(&tree)), want);
        let tests = Tree::of(&[("a/tests/a.rs", &file), ("a/tests/b.rs", &function)]);
        assert!(sizes(&tests).is_empty());
        let quoted = format!("//! x\n#[test]\nfn a() {{\n    b(\"{}\");\n}}\n", "x".repeat(98));
        assert!(sizes(&Tree::of(&[("a/src/a.rs", &quoted)])).is_empty());
    }

    #[test]
    fn silent_files_are_found() {
        let tree = Tree::of(&[("a.rs", "fn a() {}\n"), ("b/util.rs", "//! b\n")]);
        assert_eq!(rules(&first_lines(&tree)), [(1, "first-line"), (0, "file-name")]);
    }

    #[test]
    fn words_are_found_in_code_and_marks_anywhere() {
        let mark = format!("# {}: later\n", MARKS[0]);
        let tree = Tree::of(&[
            ("a.md", &mark),
            (
                "b.rs",
                "//! b\n// an unbounded_channel would grow\nlet (a, b) = unbounded_channel();\n",
            ),
        ]);
        assert_eq!(rules(&words(&tree)), [(1, "word"), (3, "word")]);
    }

    #[test]
    fn impure_words_are_found() {
        let text =
            "//! x\nuse std::fs;\nfn a() -> Instant {}\n#[cfg(test)]\nmod t { use std::fs; }\n";
        let tree = Tree::of(&[("proto/xmpp/src/a.rs", text), ("services/edge/src/a.rs", text)]);
        assert_eq!(rules(&pure(&tree)), [(2, "pure"), (3, "pure")]);
    }

    #[test]
    fn namespaces_are_found() {
        let text = "//! x\n// \"urn:xmpp:a\"\nlet a = \"urn:xmpp:sm:3\";\n#[test]\nfn b() { \"jabber:client\" }\n";
        let tree = Tree::of(&[("services/edge/src/a.rs", text), (NAMESPACES, text)]);
        assert_eq!(rules(&namespaces(&tree)), [(3, "namespace")]);
    }
}
