//! The files of the project and what a check says about them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::lexer::Masked;

/// One broken rule at one place.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) file: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.what)
    }
}

/// One text file.
pub(crate) struct Source {
    /// Relative to the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Rust only: the same text without comments and string contents, and which lines are tests.
    pub(crate) masked: Masked,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let mut masked = Masked::new(text);
        let test_path =
            ["/tests/", "/benches/", "/examples/", "/fuzz/"].iter().any(|p| path.contains(p))
                || path.ends_with("/tests.rs");
        if test_path {
            masked.test_lines.iter_mut().for_each(|t| *t = true);
        }
        Source { path: path.to_owned(), text: text.to_owned(), masked }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn finding(&self, line: usize, rule: &'static str, what: String) -> Finding {
        Finding { file: self.path.clone(), line, rule, what }
    }
}

/// All text files of the project.
pub(crate) struct Tree {
    pub(crate) files: Vec<Source>,
}

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("workspace root")
}

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "corpus"];
const KINDS: [&str; 7] = ["rs", "toml", "md", "py", "mjs", "sh", "txt"];

impl Tree {
    pub(crate) fn read() -> Tree {
        let root = root();
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a readable folder") {
                let path = entry.expect("a readable entry").path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| KINDS.iter().any(|k| e == *k))
                    || path.ends_with(".ci/run")
                {
                    let short = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                    files.push(Source::new(&short, &fs::read_to_string(&path).expect("UTF-8")));
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.iter().any(|f| f.path == "Cargo.toml"), "the walk starts at the root");
        Tree { files }
    }

    /// A tree of the given files, for self-tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| Source::new(path, text)).collect() }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|f| f.is_rust())
    }

    pub(crate) fn file(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|f| f.path == path)
    }
}

/// The rules that a list of findings names, for self-tests.
#[cfg(test)]
pub(crate) fn rules(findings: &[Finding]) -> Vec<(usize, &'static str)> {
    findings.iter().map(|f| (f.line, f.rule)).collect()
}
