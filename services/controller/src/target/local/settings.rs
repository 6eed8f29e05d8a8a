//! The file a worker is started with.

use crate::{
    domain::manifest::{Model, worker_settings},
    target::Group,
};
use serde_json::{Map, Value, json};
use slipway_bus::BusConfig;
use slipway_kernel::{Plan, Span};
use slipway_runtime::TelemetryConfig;
use std::path::{Path, PathBuf};

/// What all workers of this machine have in common.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The data folder, absolute.
    pub data: PathBuf,
    /// The host of the lease.
    pub host: String,
    /// The broker, with the workers' key.
    pub bus: BusConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// How long a worker may finish what it has.
    pub drain: Span,
}

/// The text of the file, TOML.
///
/// # Errors
/// When a value has no TOML.
pub(super) fn file(
    around: &Surroundings,
    group: &Group,
    instance: &str,
    plan: &Plan,
    model: &Model,
    token: u64,
) -> Result<String, toml::ser::Error> {
    let mut worker = worker_settings(&group.deployment, group.revision, plan, model);
    if let Value::Object(worker) = &mut worker {
        worker.insert("instance".to_owned(), json!(instance));
        worker.insert("host".to_owned(), json!(around.host));
        worker.insert("fencing_token".to_owned(), json!(token));
    }
    let document = json!({
        "common": {
            "data_dir": path(&around.data),
            "drain": around.drain.to_string(),
            "admin": { "listen": "127.0.0.1:0" },
            "telemetry": present(json!({
                "otlp_endpoint": around.telemetry.otlp_endpoint,
                "log": around.telemetry.log,
                "filter": around.telemetry.filter,
                "sample_ratio": around.telemetry.sample_ratio,
            })),
        },
        "bus": present(json!({
            "url": around.bus.url,
            "nkey_seed_file": around.bus.nkey_seed_file.as_deref().map(path),
            "ca_file": around.bus.ca_file.as_deref().map(path),
            "connect_timeout": around.bus.connect_timeout,
            "request_timeout": around.bus.request_timeout,
        })),
        "worker": worker,
    });
    toml::to_string(&document)
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// Without what is not there: TOML has no null.
fn present(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(fields.into_iter().filter(|(_, v)| !v.is_null()).collect::<Map<_, _>>()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::{id, plan};
    use slipway_kernel::RevisionId;

    #[test]
    fn the_file_says_all_a_worker_must_know() {
        let around = Surroundings {
            data: "/data".into(),
            host: "box".into(),
            bus: BusConfig { nkey_seed_file: Some("/data/worker.nk".into()), ..BusConfig::default() },
            telemetry: TelemetryConfig::default(),
            drain: Span::seconds(10),
        };
        let group = Group { deployment: id(), revision: RevisionId::new(2, 1), attempt: 0 };
        let text = file(&around, &group, "digits-2-1-0-1a2b3c4d", &plan(), &Model::default(), 42).unwrap();
        let read: toml::Table = text.parse().unwrap();
        assert_eq!(read["bus"]["nkey_seed_file"].as_str(), Some("/data/worker.nk"));
        assert_eq!(read["common"]["data_dir"].as_str(), Some("/data"));
        assert!(read["bus"].get("ca_file").is_none());
        let worker = read["worker"].as_table().unwrap();
        assert_eq!(worker["instance"].as_str(), Some("digits-2-1-0-1a2b3c4d"));
        assert_eq!(worker["deployment"].as_str(), Some("default.digits"));
        assert_eq!((worker["revision"].as_str(), worker["fencing_token"].as_integer()), (Some("2-1"), Some(42)));
        assert_eq!((worker["memory"].as_str(), worker["max_delay"].as_str()), (Some("512Mi"), Some("2ms")));
    }
}
