//! All dialogues at the boundary of a client's stream.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

mod common;

use common::play;

#[test]
fn negotiation() {
    play(include_str!("dialogues/negotiation.txt"));
}

#[test]
fn sasl() {
    play(include_str!("dialogues/sasl.txt"));
}

#[test]
fn bind() {
    play(include_str!("dialogues/bind.txt"));
}

#[test]
fn session() {
    play(include_str!("dialogues/session.txt"));
}

#[test]
fn management() {
    play(include_str!("dialogues/management.txt"));
}
