//! `spec.infrastructure`: where it may run.

use crate::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where it may run, and what binds the choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Infrastructure {
    /// A target, or `auto` to let Slipway choose.
    pub target: Target,
    /// Regions the data may be in (`eu`, `us`, `on-prem`); empty = anywhere.
    pub residency: Vec<String>,
    /// Regimes to comply with (`gdpr`, `hipaa`, `pci-dss`, `iso-27001`, `air-gapped`).
    pub compliance: Vec<String>,
    /// Who may run the machines and the cluster.
    pub control: Control,
    /// How the load behaves.
    pub elasticity: Elasticity,
    /// What the network to the clients may cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_budget: Option<Span>,
    /// The most it may cost an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_per_hour: Option<f64>,
    /// Whether a GPU is needed.
    pub gpu: Gpu,
    /// Whether a person must approve the choice.
    pub approval: Approval,
}

/// A place to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Slipway chooses.
    #[default]
    Auto,
    /// This machine: supervised processes.
    Local,
    /// A Kubernetes cluster that is already there.
    Kubernetes,
    /// Amazon EKS.
    Aws,
    /// Azure AKS.
    Azure,
    /// Google GKE.
    Gcp,
    /// Own machines, bootstrapped with kubeadm.
    BareMetal,
}

/// Who may run the machines and the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Anybody, a vendor among them.
    #[default]
    Any,
    /// Nobody but those who run this installation: hardware, network and cluster are under their own control.
    Own,
}

/// How the load behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Elasticity {
    /// Much the same all day.
    #[default]
    Steady,
    /// Peaks of many times the average.
    Bursty,
}

/// Whether a GPU is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gpu {
    /// No.
    #[default]
    None,
    /// Used where there is one.
    Optional,
    /// Nothing else will do.
    Required,
}

/// Whether a person must approve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// No.
    #[default]
    Auto,
    /// Yes: nothing is provisioned before `approved`.
    Manual,
}
