//! What the tests across crates share: one sample of every message.

pub mod samples;
