//! Drives [`slipway_fuzz::json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::json::run(data));
