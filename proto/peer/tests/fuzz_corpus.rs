//! Replays the corpus of the fuzz target, all golden frames, and neighbours of each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Every prefix, and every byte replaced: what a fuzzer tries first. Of a long one, some.
fn replay(data: &[u8]) {
    bodies::frame(data);
    for at in (0..data.len()).step_by(data.len() / 1000 + 1) {
        bodies::frame(&data[..at]);
        for with in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut data = data.to_vec();
            data[at] = with;
            bodies::frame(&data);
        }
    }
}

#[test]
fn the_corpus_of_frames() {
    for file in files("fuzz/corpus/frame") {
        replay(&std::fs::read(file).unwrap());
    }
}

#[test]
fn golden_frames_and_their_neighbours() {
    for file in files("tests/golden/v1") {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let (_, hex) = line.split_once(' ').unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            // Four bytes of length are not the frame's.
            let data: Vec<u8> = (8..hex.len()).step_by(2).map(byte).collect();
            replay(&data);
        }
    }
}
