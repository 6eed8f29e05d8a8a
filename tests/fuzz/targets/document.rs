//! Drives [`slipway_fuzz::document`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::document::run(data));
