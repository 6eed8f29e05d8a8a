//! What is due, decided from the folded log alone: no clock, no network, no randomness.

mod due;

pub use due::{Duty, due};
