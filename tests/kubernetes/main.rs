//! Slipway on Kubernetes, against a real API server, and real nodes where there are any.
//!
//! `make test-kubernetes` starts both, or uses the cluster of `KUBECONFIG`; by hand: `tests/kubernetes/run target::`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod bridge;
mod chart;
#[path = "../flow/client.rs"]
mod client;
mod definition;
#[path = "../flow/documents.rs"]
#[expect(dead_code, reason = "flows hand in what is not waited for")]
mod documents;
#[path = "../flow/facts.rs"]
#[expect(dead_code, reason = "flows look closer")]
mod facts;
mod faulty;
mod installed;
mod kubectl;
mod manifests;
mod on_node;
#[path = "../../services/controller/tests/controller/others.rs"]
mod others;
mod outside;
mod resources;
mod survives;
mod target;
mod world;

/// `default.<name>`.
fn id(name: &str) -> slipway_kernel::DeploymentId {
    format!("default.{name}").parse().unwrap()
}
