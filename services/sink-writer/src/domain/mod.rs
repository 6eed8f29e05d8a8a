//! What a row is, whose rows are refused, and what may be appended to a sequence of objects. Pure: no database, no broker, no clock.

mod date;
mod fence;
mod fleeting;
pub mod place;
mod row;
mod sequence;

pub use date::Moment;
pub use fence::Fence;
pub use fleeting::fleeting;
pub use row::Row;
pub use sequence::{RowKey, Sequence};

#[cfg(test)]
pub(crate) use row::tests::row as row_for_test;
