//! Security on a real broker with its real permissions: replicas, the exchange of identities, keys, proofs, removal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod deployed;
mod identities;
mod support;
