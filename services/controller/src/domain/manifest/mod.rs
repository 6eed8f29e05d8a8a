//! The manifests of a revision: what its target is to run. They are stored as a blob before `planned`, so that what ran can be read long
//! after, and a target that makes objects of them makes exactly these.

pub mod kubernetes;
pub mod processes;

use serde_json::{Value, json};
use slipway_kernel::{
    DeploymentId, ModelFormat, Plan, PlatformSelected, RevisionId,
    spec::{Gpu, ModelSignature},
};

/// The most memory a worker may have resident beyond its plan before it is killed from outside: the worker watches its
/// own limit and ends with a finding of its own; this is for one that cannot.
const MARGIN_SHARE: u64 = 8;

/// The outer memory limit in bytes for a planned limit: an eighth above it.
#[must_use]
pub const fn outer_memory_limit(planned_bytes: u64) -> u64 {
    planned_bytes.saturating_add(planned_bytes / MARGIN_SHARE)
}

/// What a worker must know of its model beside the plan: no revision changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Format of the artifact.
    pub format: ModelFormat,
    /// Whether it is computed on a GPU.
    pub gpu: Gpu,
    /// The model server that computes it, where that is not the worker itself.
    pub server: Option<Server>,
}

impl Model {
    /// What is known once a platform is selected.
    #[must_use]
    pub fn of(selected: &PlatformSelected, gpu: Gpu) -> Self {
        Self { format: selected.model.format, gpu, server: Server::of(selected) }
    }
}

/// The platform that is a container of one's own.
pub const CONTAINER: &str = "container";

/// A model server beside the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Which platform.
    pub platform: String,
    /// Its image.
    pub image: String,
    /// Size of the artifact, which the worker hands over.
    pub model_bytes: u64,
    /// What the model is said to take and give, where that is not read off its file.
    pub signature: Option<ModelSignature>,
}

impl Server {
    /// That of a platform that has one.
    fn of(selected: &PlatformSelected) -> Option<Self> {
        let model = &selected.model;
        let is_said = selected.platform == CONTAINER
            || matches!(model.format, ModelFormat::Torchscript | ModelFormat::TensorrtPlan | ModelFormat::Other);
        (!selected.image.is_empty()).then(|| Self {
            platform: selected.platform.clone(),
            image: selected.image.clone(),
            model_bytes: model.size_bytes,
            signature: is_said.then(|| ModelSignature { inputs: model.inputs.clone(), outputs: model.outputs.clone() }),
        })
    }
}

impl Default for Model {
    /// What nearly every worker runs.
    fn default() -> Self {
        Self { format: ModelFormat::Onnx, gpu: Gpu::None, server: None }
    }
}

/// The worker's word for where it computes.
const fn device(gpu: Gpu) -> &'static str {
    match gpu {
        Gpu::None => "cpu",
        Gpu::Optional => "auto",
        Gpu::Required => "cuda",
    }
}

/// The settings of one worker as they stand under `[worker]` in its file, without those of the single process.
#[must_use]
pub fn worker_settings(deployment: &DeploymentId, revision: RevisionId, plan: &Plan, model: &Model) -> Value {
    let mut settings = json!({
        "deployment": deployment.to_string(),
        "revision": revision.to_string(),
        "model_digest": plan.model_digest.to_string(),
        "model_format": model.format.to_string(),
        "device": device(model.gpu),
        "max_batch": plan.max_batch,
        "max_delay": plan.max_delay.to_string(),
        "threads": plan.threads,
        "queue_limit": plan.queue_limit,
        "memory": plan.memory.to_string(),
    });
    if plan.fixed_batching {
        settings["fixed_batch"] = json!(true);
        settings["fixed_delay"] = json!(true);
    }
    if let Some(target) = plan.latency_target {
        settings["latency_target"] = json!(target.to_string());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::{id, plan};

    #[test]
    fn a_gpu_that_is_required_is_the_only_device_and_one_that_is_optional_is_used_where_it_is() {
        for (gpu, device) in [(Gpu::Required, "cuda"), (Gpu::Optional, "auto"), (Gpu::None, "cpu")] {
            let model = Model { gpu, ..Model::default() };
            assert_eq!(worker_settings(&id(), RevisionId::new(1, 1), &plan(), &model)["device"], device);
        }
    }
}
