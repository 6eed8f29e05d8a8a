//! Drives [`slipway_fuzz::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::body::run(data));
