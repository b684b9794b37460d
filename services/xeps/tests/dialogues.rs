//! Dialogues with a small server that has all extensions.

use session::testing::play;

#[test]
fn chat() {
    play(xeps::LIST, include_str!("dialogues/chat.txt"));
}

#[test]
fn carbons() {
    play(xeps::LIST, include_str!("dialogues/carbons.txt"));
}

#[test]
fn presence() {
    play(xeps::LIST, include_str!("dialogues/presence.txt"));
}

#[test]
fn discovery() {
    play(xeps::LIST, include_str!("dialogues/discovery.txt"));
}

#[test]
fn resume() {
    play(xeps::LIST, include_str!("dialogues/resume.txt"));
}

#[test]
fn archive() {
    play(xeps::LIST, include_str!("dialogues/archive.txt"));
}
