//! What workers are told, in a ConfigMap named by its content: one that is used never changes.

use super::{ADMIN_PORT, Order, WORKER_PORT, server};
use crate::domain::manifest::worker_settings;
use serde_json::{Value, json};
use slipway_kernel::names;

/// Where it is mounted.
pub(super) const FOLDER: &str = "/etc/slipway";
/// The file in it.
pub(super) const FILE: &str = "worker.toml";
/// Where the key of the broker is mounted.
pub(super) const KEYS: &str = "/etc/slipway-key";
/// Where the authority of the broker is mounted.
pub(super) const AUTHORITY: &str = "/etc/slipway-broker";
/// Where a worker may write.
pub(super) const DATA: &str = "/var/lib/slipway";
/// Where in it a worker keeps the files of models, by their digest.
pub(super) const ARTIFACTS: &str = "/var/lib/slipway/artifacts";

/// The object.
pub(super) fn config_map(order: &Order<'_>) -> Value {
    // A tree of strings, numbers and tables has a TOML.
    let text = toml::to_string(&settings(order)).unwrap_or_default();
    let metadata = order.metadata(&names::content(&order.name(), &text));
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "immutable": true,
        "data": { FILE: text },
    })
}

/// The settings but for those of a single pod, which come by its environment.
fn settings(order: &Order<'_>) -> Value {
    let cluster = order.cluster;
    let mut worker = worker_settings(order.deployment, order.revision, order.plan, order.model);
    worker["kept_by"] = "platform".into();
    worker["findings_file"] = "/dev/termination-log".into();
    worker["listen"] = format!("0.0.0.0:{WORKER_PORT}").into();
    if let Some(beside) = &order.model.server {
        server::settings(beside, &mut worker);
    }
    let mut bus = json!({ "url": cluster.broker_url, "nkey_seed_file": format!("{KEYS}/inference-worker.nk") });
    if cluster.ca_config_map.is_some() {
        bus["ca_file"] = format!("{AUTHORITY}/ca.crt").into();
    }
    json!({
        "common": {
            "data_dir": DATA,
            "drain": cluster.drain.to_string(),
            "admin": { "listen": format!("0.0.0.0:{ADMIN_PORT}") },
            "telemetry": cluster.telemetry,
        },
        "bus": bus,
        "worker": worker,
    })
}
