//! `slipway api-key`: the key of a deployment for whoever calls it, told by security this once.

use super::id;
use crate::{
    cli::{ApiKeyArgs, Format, Global},
    context::{Context, write_private},
    failure::Failure,
    output::{self, Mark},
};
use serde_json::json;
use slipway_kernel::DeploymentId;
use std::time::Duration;

/// How long security may take. Behind it stand a lease and one write.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: &ApiKeyArgs, global: &Global) -> Result<(), Failure> {
    let id = id(global, &args.name);
    let context = Context::read(&global.data)?;
    let key = make(&context, global, &id).await?;
    let file = Context::api_key_file(&global.data, &id);
    match global.output {
        Format::Json => output::json(&json!({ "deployment": id.to_string(), "key": key, "file": file })),
        Format::Human => {
            output::line(key);
            output::line(format!("{} kept in {}; the mesh keeps its digest only", Mark::Note.sign(), file.display()));
        }
    }
    Ok(())
}

/// Has a key made, and keeps it in the data folder, where `infer` finds it.
pub(crate) async fn make(context: &Context, global: &Global, id: &DeploymentId) -> Result<String, Failure> {
    let bus = context.connect().await?;
    let issued = bus.api_keys().issue(id, TIMEOUT).await?;
    let Some(key) = issued.key else { return Err(Failure::refused(issued.refused)) };
    write_private(&Context::api_key_file(&global.data, id), &format!("{key}\n"))?;
    Ok(key)
}
