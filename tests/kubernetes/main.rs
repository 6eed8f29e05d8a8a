//! Slipway on Kubernetes, against a real API server, and a real node where there is one.
//!
//! `make test-kubernetes` starts both, or uses the cluster of `KUBECONFIG`; by hand: `tests/kubernetes/run target::`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod bridge;
mod definition;
mod kubectl;
#[path = "../../services/controller/tests/controller/others.rs"]
mod others;
mod resources;
mod target;
mod world;
