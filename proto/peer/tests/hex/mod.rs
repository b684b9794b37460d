//! Golden files: lines of a name and bytes in hexadecimal, sorted by name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a file holds, with what is new if `UPDATE_GOLDEN` says so. A line that is there never
/// changes.
pub(crate) fn committed(
    file: &str,
    new: impl Iterator<Item = (String, Vec<u8>)>,
) -> BTreeMap<String, Vec<u8>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').expect("a name and bytes");
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (name.to_owned(), (0..hex.len()).step_by(2).map(byte).collect())
    };
    let mut golden: BTreeMap<String, Vec<u8>> = text.lines().map(line).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (name, bytes) in new {
            golden.entry(name).or_insert(bytes);
        }
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, written(&golden)).expect("a file");
    }
    golden
}

fn written(golden: &BTreeMap<String, Vec<u8>>) -> String {
    let mut text = String::new();
    for (name, bytes) in golden {
        write!(text, "{name} ").expect("a string takes all");
        bytes.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes all"));
        text.push('\n');
    }
    text
}
