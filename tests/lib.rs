//! What the tests across crates share: one sample of every message.

pub mod results;
pub mod samples;
