//! Replays the corpora of the fuzz targets, all golden files, and neighbours of each.

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
fn replay(body: fn(&[u8]), data: &[u8]) {
    body(data);
    for at in (0..data.len()).step_by(data.len() / 1000 + 1) {
        body(&data[..at]);
        for with in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut data = data.to_vec();
            data[at] = with;
            body(&data);
        }
    }
}

/// Replays every line of the golden files in a folder, each with what stands in front of it.
fn golden(body: fn(&[u8]), folder: &str, change: fn(Vec<u8>) -> Vec<u8>) {
    for file in files(folder) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let (_, hex) = line.split_once(' ').unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            replay(body, &change((0..hex.len()).step_by(2).map(byte).collect()));
        }
    }
}

#[test]
fn the_corpus_of_frames() {
    for file in files("fuzz/corpus/frame") {
        replay(bodies::frame, &std::fs::read(file).unwrap());
    }
}

#[test]
fn the_corpus_of_the_control_plane() {
    for file in files("fuzz/corpus/control") {
        replay(bodies::control, &std::fs::read(file).unwrap());
    }
}

#[test]
fn golden_frames_and_their_neighbours() {
    // Without their length.
    golden(bodies::frame, "tests/golden/v1", |line| line[4..].to_vec());
}

#[test]
fn golden_entries_and_their_neighbours() {
    golden(bodies::control, "tests/golden/log-v1", |line| [vec![0], line].concat());
}
