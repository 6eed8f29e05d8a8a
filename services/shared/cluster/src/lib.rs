//! The API server of a cluster, for the services that make objects there: the way to it, the calls and what their refusals mean, and what one
//! service keeps for a deployment ([`Part`]).
//!
//! Objects are data, not types: what is sent is what was rendered, and a kind that a cluster may not serve needs no library of its own.
//!
//! It never decides what an object looks like, and never touches one that does not bear the labels it was told.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connect;
mod kind;
mod objects;
mod part;

pub use connect::{Cluster, ConnectError, connect};
pub use kind::Kind;
pub use objects::{ApiError, Objects, annotation, is_leaving, label, place, text};
pub use part::{Kept, PART, Part};
