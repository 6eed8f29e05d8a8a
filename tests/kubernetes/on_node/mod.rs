//! What only a node can show: pods that run or do not, models that answer, promises that are kept under traffic.

mod adopted;
mod beside;
mod durable;
mod failures;
mod healed;
mod kept;
mod lost;
mod released;
mod scaled;
mod upgraded;
mod volume;

use crate::{client::Caller, documents::Document, installed::Installed};
use serde_json::{Value, json};

/// Deploys the digits with so much of the node's processor time for each worker, and gives a caller.
async fn digits(installed: &Installed, cpu: &str, scale: Value) -> Caller {
    let folder = &installed.folder;
    let document = Document::digits("digits", "digits-v1")
        .with("spec.outputs", json!([{ "postgres": { "url": "env:DATABASE_URL", "table": "predictions" } }]))
        .with("spec.resources", json!({ "cpu": cpu }))
        .with("spec.scale", scale);
    document.deploy(folder).await.ok();
    folder.cli(["api-key", "digits"]).await.ok();
    Caller::of(folder, "digits")
}
