//! Golden rows: inputs with the answers that are right.
//!
//! A file of JSON lines, a row each: `{"inputs": {"X": [...]}, "expected": {"label": 3, "probabilities": [...]}}`. The
//! inputs are those of the model without the batch dimension; of the outputs any may be left out. Whole numbers, truth values
//! and texts must be equal (they are the *labels*, whose share is the accuracy); floating-point numbers may differ by the
//! tolerance.

mod answer;
mod compare;
mod read;
mod request;

pub use answer::{Answers, Column, read_answers};
pub use compare::{RowResult, compare, same};
pub use read::{GoldenError, Row, RowTensor, read};
pub use request::{batches, blank, body};
