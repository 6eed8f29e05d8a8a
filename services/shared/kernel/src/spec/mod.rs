//! What the user writes: one document, one model in production.
//!
//! Every field has a default that serves, except `metadata.name` and `spec.model.uri`. Reading is strict at the gate
//! ([`ModelDeployment::read`]: unknown fields and values out of range are refused, all of them at once) and lenient in
//! the log, where a newer writer may know more.

mod check;
mod infrastructure;
mod outputs;
mod placement;
mod read;
mod serving;
mod stored;
mod validation;

pub use infrastructure::{Approval, Control, Elasticity, Gpu, Infrastructure, Target};
pub use outputs::{
    Compression, FilesFormat, FilesOutput, Layout, ObjectFormat, Output, Partitioning, PostgresOutput, Record,
    S3Output, SecretReference, SqliteOutput,
};
pub use placement::{
    AccessMode, NodeAffinity, NodeOperator, Placement, Spread, Storage, TaintEffect, Toleration, TolerationOperator,
};
pub use serving::{
    Access, Batching, Cache, Container, Hedging, HttpInput, Input, Jwt, MAX_BODY_BYTES, Model, ModelSignature,
    NatsInput, Platform, Protocol, Resources, Scale, ScaleSignal, Serving,
};
pub use stored::{BLOB, blob_digest, blob_uri};
pub use validation::{Fault, Load, Rollout, Slo, Validation};

use crate::{
    blob::Digest,
    ids::{DeploymentId, Label, Namespace},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `apiVersion` this version reads.
pub const API_VERSION: &str = "slipway.dev/v1";
/// The `kind` of the document.
pub const KIND: &str = "ModelDeployment";

/// A model and what it must do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelDeployment {
    /// `slipway.dev/v1`.
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `ModelDeployment`.
    #[serde(default = "kind")]
    pub kind: String,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// What it is and must do.
    pub spec: Spec,
}

fn api_version() -> String {
    API_VERSION.to_owned()
}

fn kind() -> String {
    KIND.to_owned()
}

fn default_namespace() -> Namespace {
    // A constant that is a label; `Label` has no other way in than parsing.
    "default".parse().unwrap_or_else(|_| unreachable!("`default` is a DNS label"))
}

/// Name and namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The deployment's name, a DNS label; also the model's name in the inference API.
    pub name: Label,
    /// The namespace, a DNS label.
    #[serde(default = "default_namespace")]
    pub namespace: Namespace,
}

/// What it is and must do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The artifact.
    pub model: Model,
    /// Where it may run.
    #[serde(default)]
    pub infrastructure: Infrastructure,
    /// Which nodes of a cluster workers run on, and what they have there. On a single machine (`local`) it has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// How it is served.
    #[serde(default)]
    pub serving: Serving,
    /// What one worker gets; where the first plan starts.
    #[serde(default)]
    pub resources: Resources,
    /// How many workers.
    #[serde(default)]
    pub scale: Scale,
    /// The doors; HTTP if none is named.
    #[serde(default = "serving::default_inputs")]
    pub inputs: Vec<Input>,
    /// Who may come in.
    #[serde(default)]
    pub access: Access,
    /// Where results are kept; the embedded database if none is named.
    #[serde(default = "outputs::default_outputs")]
    pub outputs: Vec<Output>,
    /// When results are recorded for them.
    #[serde(default)]
    pub record: Record,
    /// What it must keep in production.
    #[serde(default)]
    pub slo: Slo,
    /// What is proved before production.
    #[serde(default)]
    pub validation: Validation,
    /// How the traffic moves to it.
    #[serde(default)]
    pub rollout: Rollout,
    /// Paths under `spec` that no revision may change (`resources.memory`, `serving.batching.maxSize`).
    #[serde(default)]
    pub fixed: Vec<String>,
}

impl ModelDeployment {
    /// `<namespace>.<deployment>`.
    #[must_use]
    pub fn id(&self) -> DeploymentId {
        DeploymentId { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// SHA-256 over the JSON with defaults filled in.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // A tree of structs with string keys has no JSON that fails to be written.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The JSON Schema of the document, generated from these types.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
