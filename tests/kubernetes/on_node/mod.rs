//! What only a node can show: pods that run or do not, models that answer, promises that are kept under traffic.

mod failures;
mod released;
