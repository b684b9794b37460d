//! Fuzzes [`bodies::control`].
#![no_main]
#![allow(dead_code)] // the other targets' bodies

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::control(data));
