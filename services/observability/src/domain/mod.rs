//! What was promised, and whether objectives are kept. Pure.

mod course;
mod exposition;
mod objectives;
mod promise;
mod shown;

pub use course::{Course, counts};
pub use exposition::{Sample, parse};
pub use objectives::{Judgement, Thresholds, judge};
pub use promise::{Promise, Where, missing, promised};
pub use shown::shown;
