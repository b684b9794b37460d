//! The limits of frames, on both sides.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod samples;

use bytes::Bytes;
use peer::codec::{BadFrame, LENGTH_BYTES, TooLarge, VERSION, decode, encode, length};
use peer::limits::{FRAME_BYTES_MAX, OWN_BUFFER_BYTES};
use peer::{Down, Frame};
use xmpp::xml::Body;

#[test]
fn a_length_is_judged_before_anything_is_read() {
    for (bytes, is_taken) in [
        (0, false),
        (1, false),
        (2, true),
        (FRAME_BYTES_MAX, true),
        (FRAME_BYTES_MAX + 1, false),
        (u32::MAX as usize, false),
    ] {
        let front = (bytes as u32).to_be_bytes();
        let want = if is_taken { Ok(bytes) } else { Err(BadFrame::Length(bytes as u32)) };
        assert_eq!(length(front), want);
    }
}

#[test]
fn what_no_reader_takes_is_not_written() {
    let frame = |bytes: usize| {
        let said = Down::Challenge { salt: Bytes::from(vec![7; bytes]), iterations: 1 };
        Frame::Down { owner: samples::owner(1, 2), conn: samples::conn(1), said }
    };
    let mut out = b"before".to_vec();
    encode(&frame(0), VERSION, &mut out).unwrap();
    let around = out.len() - 6 - LENGTH_BYTES + 3;
    out.truncate(6);
    assert_eq!(encode(&frame(FRAME_BYTES_MAX - around + 1), VERSION, &mut out), Err(TooLarge));
    assert_eq!(out, b"before");
    encode(&frame(FRAME_BYTES_MAX - around), VERSION, &mut out).unwrap();
    let whole = Bytes::from(out).slice(6 + LENGTH_BYTES..);
    assert_eq!(whole.len(), FRAME_BYTES_MAX);
    assert_eq!(decode(&whole), Ok(frame(FRAME_BYTES_MAX - around)));
}

#[test]
fn what_is_kept_of_a_small_frame_does_not_hold_on_to_its_buffer() {
    for (body, is_shared) in [(OWN_BUFFER_BYTES / 2, false), (OWN_BUFFER_BYTES, true)] {
        let mut stanza = samples::chat();
        stanza.body = Body::parse("x".repeat(body).as_bytes()).unwrap();
        let said = Down::Stanza { number: 1, log: 0, stanza };
        let frame = Frame::Down { owner: samples::owner(1, 2), conn: samples::conn(1), said };
        let mut out = Vec::new();
        encode(&frame, VERSION, &mut out).unwrap();
        let bytes = Bytes::from(out).slice(LENGTH_BYTES..);
        let back = decode(&bytes).unwrap();
        assert_eq!(back, frame);
        let Frame::Down { said: Down::Stanza { stanza, .. }, .. } = back else { panic!() };
        let inside = bytes.as_ptr_range().contains(&stanza.body.as_bytes().as_ptr());
        assert_eq!(inside, is_shared, "{body}");
    }
}
