//! What a row is, and whose rows are refused. Pure: no database, no broker, no clock.

mod fence;
mod row;

pub use fence::Fence;
pub use row::Row;
