//! Fuzzes [`bodies::frame`].
#![no_main]
#![allow(dead_code)] // the other targets' bodies

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::frame(data));
