//! The engine on the example models, and a worker among real parts: nats-server with permissions, mutual TLS, the example models. The test plays the controller,
//! security and ingress.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::large_futures,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod control;
mod direct;
mod examples;
mod failing;
mod gpu;
mod harness;
mod lifetime;
mod platform;
mod process;
mod queued;
