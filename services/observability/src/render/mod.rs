//! What Prometheus and Grafana are given: one file per kind, each a pure function of the deployment.

mod dashboard;
mod prometheus;
mod rules;

pub use dashboard::dashboard;
pub use prometheus::{prometheus, targets};
pub use rules::rules;
