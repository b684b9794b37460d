//! Replays the corpora of the fuzz targets, and neighbours of each entry.

mod drive;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut entries = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let data = fs::read(entry.path()).unwrap_or_default();
        run(&data);
        // Every prefix, and every byte replaced: what a fuzzer tries first.
        for at in 0..data.len() {
            run(&data[..at]);
            let mut data = data.clone();
            data[at] = [0x00, 0x01, 0xFF, b'|'][at % 4];
            run(&data);
        }
        entries += 1;
    }
    assert!(entries > 0, "the corpus of {target} is missing");
}

#[test]
fn key() {
    replay("key", drive::key);
}

#[test]
fn value() {
    replay("value", drive::value);
}

#[test]
fn split() {
    replay("split", drive::split);
}
