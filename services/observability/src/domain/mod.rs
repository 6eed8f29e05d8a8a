//! What was promised, and whether objectives are kept. Pure.

mod exposition;
mod objectives;
mod promise;

pub use exposition::{Sample, parse};
pub use objectives::{Counts, Judgement, Thresholds, judge};
pub use promise::{Promise, Where, missing, promised};
