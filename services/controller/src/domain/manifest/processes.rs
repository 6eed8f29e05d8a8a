//! The local target: one process per worker, with its settings and limits.

use super::{Model, outer_memory_limit, worker_settings};
use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, Plan, RevisionId};

/// The media type of the document.
pub const MEDIA_TYPE: &str = "application/vnd.slipway.processes.v1+json";

/// Open files a worker may have: 4096 connections, and a few for itself.
pub const MAX_OPEN_FILES: u64 = 8_192;

/// The document.
#[must_use]
pub fn processes(deployment: &DeploymentId, revision: RevisionId, plan: &Plan, model: &Model) -> Value {
    let processes: Vec<Value> = (0..plan.replicas)
        .map(|n| {
            json!({
                "name": format!("{}-{revision}-{n}", deployment.name),
                "program": "inference-worker",
                "settings": worker_settings(deployment, revision, plan, model),
                "limits": {
                    "cpu": plan.cpu.to_string(),
                    "memoryBytes": outer_memory_limit(plan.memory.0).to_string(),
                    "openFiles": MAX_OPEN_FILES,
                },
            })
        })
        .collect();
    json!({
        "apiVersion": "slipway.dev/v1",
        "kind": "Processes",
        "deployment": deployment.to_string(),
        "revision": revision.to_string(),
        "planDigest": plan.digest().to_string(),
        "processes": processes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::{id, plan};

    #[test]
    fn there_is_a_process_for_each_worker_with_what_the_plan_says() {
        let plan = Plan { replicas: 2, ..plan() };
        let document = processes(&id(), RevisionId::new(2, 1), &plan, &Model::default());
        let names: Vec<_> = document["processes"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
        assert_eq!(names, ["digits-2-1-0", "digits-2-1-1"]);
        let first = &document["processes"][0];
        assert_eq!(first["settings"]["max_delay"], "2ms");
        assert_eq!(first["settings"]["memory"], "512Mi");
        assert_eq!(first["settings"]["device"], "cpu");
        assert_eq!(first["limits"]["memoryBytes"], (576_u64 << 20).to_string());
        assert_eq!(document["planDigest"], plan.digest().to_string());
    }

    #[test]
    fn the_same_plan_makes_the_same_document() {
        let render = || processes(&id(), RevisionId::new(1, 1), &plan(), &Model::default()).to_string();
        assert_eq!(render(), render());
    }
}
