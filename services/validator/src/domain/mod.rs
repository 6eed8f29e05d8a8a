//! What is due and what a measurement means. Pure: no clock, randomness, network, file or task; it knows the kernel only.
//!
//! [`due`] joins the four and says when a revision is to be proved. [`judge`] turns what was measured into checks and typed
//! findings, one file per check; [`noise`] says what a measurement is worth; [`verdict`] sums the checks up.

pub mod assignment;
pub mod burn;
pub mod contention;
pub mod due;
pub mod golden;
pub mod judge;
pub mod noise;
pub mod report;
pub mod verdict;
