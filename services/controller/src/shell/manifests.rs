//! What is rendered of a plan, by where it runs.

use crate::domain::manifest::{
    Model,
    kubernetes::{self, Cluster, Order},
    processes,
};
use serde_json::Value;
use slipway_kernel::{DeploymentId, Plan, RevisionId, spec::Spec};

/// Renders the manifests of revisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renderer {
    /// The cluster that this installation deploys to, if it does.
    pub(crate) cluster: Option<Cluster>,
}

impl Renderer {
    /// The document and its media type.
    pub(crate) fn render(
        &self,
        deployment: &DeploymentId,
        revision: RevisionId,
        plan: &Plan,
        model: &Model,
        spec: &Spec,
    ) -> (Value, &'static str) {
        match &self.cluster {
            Some(cluster) if plan.is_in_cluster() => {
                let (scale, placement) = (spec.scale, &spec.placement());
                let order = Order { deployment, revision, plan, model, scale, placement, cluster };
                (kubernetes::document(&order), kubernetes::MEDIA_TYPE)
            }
            _ => (processes::processes(deployment, revision, plan, model), processes::MEDIA_TYPE),
        }
    }
}
