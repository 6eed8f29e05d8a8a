//! Stacks, made for real: by OpenTofu with modules that need no provider, and by a program of one's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod opentofu;
mod own_program;
mod workshop;
