//! What the controller decides, and nothing of how it is done.
//!
//! Everything here is pure: it knows the kernel and the standard library, no `async`, no clock, no randomness, no file
//! and no network. The time is an argument, so every decision can be tabulated and replayed.
//!
//! - [`due`](due::due) is the transition table: deployment and time in, one [`Duty`] out. Read [`standing`] first.
//! - [`revise`](revise::revise) is the loop that must end: what follows a failure.
//! - [`bridge`] says what is to be done about a custom resource, and what it is told.
//! - [`wanted`](wanted::wanted) says which revisions must have workers now.

pub mod bridge;
pub mod deadlines;
pub mod diagnose;
pub mod due;
pub mod duty;
pub mod history;
pub mod invariants;
pub mod judge;
pub mod manifest;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod revise;
#[cfg(test)]
pub(crate) mod scenario;
pub mod standing;
#[cfg(test)]
mod table;
pub mod wanted;

pub use deadlines::Deadlines;
pub use due::due;
pub use duty::Duty;
pub use history::History;
pub use plan::first_plan;
pub use revise::{NextStep, revise};
pub use wanted::{Wanted, wanted};
