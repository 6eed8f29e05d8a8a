//! What a module is told of a deployment.

use crate::domain::demands::Demands;
use serde_json::{Map, Value, json};
use slipway_kernel::{DeploymentId, Digest};

/// How much of a deployment's name is in that of its stack: with a hyphen and eight digits it is 20 letters, which every vendor allows.
const READABLE: usize = 11;

/// The name of a deployment's stack: readable, and no two alike.
#[must_use]
pub fn name(deployment: &DeploymentId) -> String {
    let digest = Digest::of(deployment.to_string().as_bytes());
    let readable: String = deployment.name.to_string().chars().take(READABLE).collect();
    // Names of resources begin with a letter.
    let readable =
        if readable.starts_with(|first: char| first.is_ascii_digit()) { format!("m{readable}") } else { readable };
    let readable: String = readable.chars().take(READABLE).collect();
    format!("{}-{}", readable.trim_end_matches('-'), &digest.as_str()[..8])
}

/// What the module is told of a deployment: the pool of nodes that its workers need.
#[must_use]
pub fn of(deployment: &DeploymentId, demands: &Demands, region: Option<&str>, gpu: Option<&str>) -> Map<String, Value> {
    let told = json!({
        "name": name(deployment),
        "region": region,
        "workers": {
            "min": demands.workers,
            "max": demands.max_workers,
            "cpu_millis": demands.cpu.0,
            "memory_bytes": demands.memory.0,
            "gpus": demands.gpus(1),
            "gpu_type": gpu,
            "gpu_memory_bytes": demands.gpu_memory.0,
        },
        "tags": { "slipway-deployment": deployment.to_string() },
    });
    told.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::demands::tests::modest;
    use slipway_kernel::spec::Gpu;

    fn named(text: &str) -> String {
        name(&text.parse().unwrap())
    }

    #[test]
    fn a_name_is_readable_short_and_that_of_one_deployment() {
        assert_eq!(named("default.digits"), named("default.digits"));
        assert!(named("default.digits").starts_with("digits-"));
        let long = "a".repeat(63);
        for id in
            ["default.digits", "other.digits", "default.7b-chat", "default.abcdefghij-l", &format!("default.{long}")]
        {
            let name = named(id);
            assert!(name.len() <= 20 && name.starts_with(|first: char| first.is_ascii_lowercase()), "{id}: {name}");
            assert!(!name.contains("--"), "{id}: {name}");
        }
        assert_ne!(named("default.digits"), named("other.digits"));
        assert_ne!(named(&format!("default.{long}")), named(&format!("default.{}", &long[1..])));
    }

    #[test]
    fn the_module_is_told_what_the_workers_need() {
        let demands = Demands { gpu: Gpu::Required, workers: 2, max_workers: 3, ..modest() };
        let told = of(&"default.digits".parse().unwrap(), &demands, Some("eu-west-1"), Some("l4"));
        assert_eq!(told["region"], "eu-west-1");
        assert_eq!((&told["workers"]["min"], &told["workers"]["max"]), (&json!(2), &json!(3)));
        assert_eq!((&told["workers"]["gpus"], &told["workers"]["gpu_type"]), (&json!(1), &json!("l4")));
        assert_eq!(told["tags"]["slipway-deployment"], "default.digits");
        assert_eq!(of(&"default.digits".parse().unwrap(), &modest(), None, None)["region"], Value::Null);
    }
}
