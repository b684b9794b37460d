//! Replays the corpora of the fuzz targets, and neighbours of each entry.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod drive;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut entries = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let data = fs::read(entry.unwrap().path()).unwrap();
        run(&data);
        // Every prefix, and every byte replaced: what a fuzzer tries first.
        for at in 0..data.len() {
            run(&data[..at]);
            let mut data = data.clone();
            data[at] = [b'<', 2, 0xff, b' '][at % 4];
            run(&data);
        }
        entries += 1;
    }
    assert!(entries > 0);
}

#[test]
fn c2s() {
    replay("c2s", |data| drop(drive::c2s(data, |all| all)));
}

#[test]
fn sasl() {
    replay("sasl", drive::sasl);
}
