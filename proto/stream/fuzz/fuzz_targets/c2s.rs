//! See `tests/drive/mod.rs`.
#![no_main]
#![allow(dead_code)]

#[path = "../../tests/drive/mod.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    drive::c2s(data, |all| all);
});
