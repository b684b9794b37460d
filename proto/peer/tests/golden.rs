//! Frames as committed bytes: what one version wrote, every later one reads and writes alike.
//!
//! `golden/vN/KIND.hex` holds the frames of a kind as version N writes them, one on each line after
//! its name. Lines may be added; one that changes is a new version, from the first release on.
//! `UPDATE_GOLDEN=1` adds what is missing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hex;
mod samples;

use bytes::Bytes;
use peer::Frame;
use peer::codec::{BadFrame, Kind, LENGTH_BYTES, VERSION, VERSION_MIN};
use peer::codec::{decode, encode, head, length};

fn file(version: u8, kind: Kind) -> String {
    let name: String = format!("{kind:?}")
        .char_indices()
        .flat_map(|(at, c)| [(at > 0 && c.is_uppercase()).then_some('-'), Some(c)])
        .flatten()
        .collect();
    format!("v{version}/{}.hex", name.to_lowercase())
}

fn encoded(frame: &Frame, version: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(frame, version, &mut bytes).unwrap();
    bytes
}

/// Reads a frame with its length in front.
fn decoded(bytes: &[u8]) -> Result<Frame, BadFrame> {
    let (front, frame) = bytes.split_first_chunk::<LENGTH_BYTES>().expect("a length");
    assert_eq!(length(*front), Ok(frame.len()));
    decode(&Bytes::copy_from_slice(frame))
}

#[test]
fn every_frame_is_written_as_ever_and_read_as_ever() {
    for version in VERSION_MIN..=VERSION {
        for kind in Kind::ALL {
            let samples = samples::of(kind).into_iter();
            let new = samples.map(|(name, frame)| (name.into(), encoded(&frame, version)));
            let golden = hex::committed(&file(version, kind), new);
            let names: Vec<&str> = samples::of(kind).iter().map(|(name, _)| *name).collect();
            for name in golden.keys() {
                assert!(names.contains(&name.as_str()), "{kind:?} {name}: no sample is like it");
            }
            for (name, frame) in samples::of(kind) {
                let bytes = golden.get(name).unwrap_or_else(|| {
                    panic!("{kind:?} {name} is not committed: UPDATE_GOLDEN=1 adds it")
                });
                assert_eq!(&encoded(&frame, version), bytes, "{kind:?} {name} is written anew");
                assert_eq!(decoded(bytes).as_ref(), Ok(&frame), "{kind:?} {name} is read anew");
            }
        }
    }
}

/// The same frame as a node of the next version writes it: its version, and fields at the end.
fn of_the_next(bytes: &[u8], added: &[u8]) -> Vec<u8> {
    let mut next = bytes.to_vec();
    next[LENGTH_BYTES] = VERSION + 1;
    next.extend_from_slice(added);
    let length = next.len() - LENGTH_BYTES;
    next[..LENGTH_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
    next
}

#[test]
fn a_node_of_the_next_version_is_understood() {
    for (name, frame) in samples::all() {
        let bytes = encoded(&frame, VERSION);
        for added in [&b""[..], b"\x01", b"new field"] {
            assert_eq!(decoded(&of_the_next(&bytes, added)).as_ref(), Ok(&frame), "{name}");
        }
        let mut own = of_the_next(&bytes, b"\x01");
        own[LENGTH_BYTES] = VERSION;
        assert_eq!(decoded(&own), Err(BadFrame::Trailing), "{name}: nothing is added to ours");
        for version in [0, VERSION_MIN - 1, VERSION + 2, u8::MAX] {
            let mut strange = bytes.clone();
            strange[LENGTH_BYTES] = version;
            assert_eq!(decoded(&strange), Err(BadFrame::Version(version)), "{name}");
        }
    }
}

#[test]
fn the_head_says_who_speaks_to_whom() {
    for (name, frame) in samples::all() {
        let bytes = Bytes::from(encoded(&frame, VERSION)).slice(LENGTH_BYTES..);
        let head = head(&bytes).unwrap();
        assert_eq!((head.source, head.target), (frame.source(), frame.target()), "{name}");
        assert_eq!(head.version, VERSION);
    }
}

#[test]
fn cut_frames_are_refused_wherever_they_are_cut() {
    for (name, frame) in samples::all() {
        let bytes = Bytes::from(encoded(&frame, VERSION)).slice(LENGTH_BYTES..);
        for end in (0..bytes.len()).step_by(bytes.len() / 1000 + 1) {
            let cut = decode(&bytes.slice(..end));
            assert!(cut.is_err(), "{name} at {end}: {cut:?}");
        }
    }
}

#[test]
fn unknown_kinds_and_variants_are_refused() {
    let (_, frame) = samples::ups().remove(0);
    let mut bytes = encoded(&frame, VERSION);
    bytes[LENGTH_BYTES + 1] = 0xEE;
    assert_eq!(decoded(&bytes), Err(BadFrame::Kind(0xEE)));
    let mut bytes = encoded(&frame, VERSION);
    // Version, kind, edge (2), owner (3), and then the variant.
    bytes[LENGTH_BYTES + 7] = 0xEE;
    assert_eq!(decoded(&bytes), Err(BadFrame::Choice));
}

#[test]
fn a_chat_message_costs_few_bytes_more_than_its_text() {
    let stanza = samples::chat();
    let mut text = Vec::new();
    stanza.write(&mut text);
    let sizes: Vec<usize> = ["stanza", "pass"]
        .into_iter()
        .map(|name| {
            let mut all = samples::ups().into_iter().chain(samples::betweens());
            let (_, frame) = all.find(|sample| sample.0 == name).unwrap();
            encoded(&frame, VERSION).len()
        })
        .collect();
    assert!(sizes[0] < text.len() + 16, "up: {} for {}", sizes[0], text.len());
    assert!(sizes[1] < text.len() + 48, "between: {} for {}", sizes[1], text.len());
}

#[test]
fn frames_are_small_in_memory() {
    assert!(size_of::<Frame>() <= 336, "{}", size_of::<Frame>());
}
