//! The wire format, held fast: golden samples of every message, both ways, and the published schemas.
//!
//! `SLIPWAY_UPDATE_GOLDEN=1` writes the files anew; the difference is then reviewed like any other change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod asyncapi;
mod doorbells;
mod facts;
mod golden;
mod history;
mod routes;
