//! Slipway on Kubernetes, against a real API server, and a real node where there is one.
//!
//! `make test-kubernetes` starts both, or uses the cluster of `KUBECONFIG`; by hand: `tests/kubernetes/run target::`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod chart;
#[path = "../flow/client.rs"]
mod client;
#[path = "../flow/documents.rs"]
mod documents;
#[path = "../flow/facts.rs"]
mod facts;
mod installed;
mod kubectl;
mod manifests;
mod on_node;
mod target;
mod world;

/// `default.<name>`.
fn id(name: &str) -> slipway_kernel::DeploymentId {
    format!("default.{name}").parse().unwrap()
}
