//! `slipway plan`: what would be decided for a document, here and now. Nothing is written, pinned or started.

use super::{explain::candidates, manifests};
use crate::{
    cli::{Format, Global, PlanArgs},
    document,
    failure::{Failure, chain},
    output::{self, Mark, heading, line},
    steps,
};
use serde_json::json;
use slipway_controller::domain::plan::first_plan;
use slipway_kernel::{
    ByteSize, Finding, InfrastructureChosen, InfrastructureReady, MachineFacts, Plan, PlatformSelected, TensorSpec,
    spec::{BLOB, ModelDeployment},
};
use slipway_platform_selector::Preview;

pub(crate) async fn run(args: PlanArgs, global: &Global) -> Result<(), Failure> {
    if args.manifests {
        return manifests::show(&args.file, &args.installation, global).await;
    }
    let document = document::read(&args.file)?;
    let chosen = infrastructure(&document, global).await?;
    if chosen.target.is_empty() {
        show(&document, &chosen, None, None, global);
        return Err(Failure::outcome(format!("nothing fulfils the demands: {}", chosen.reason)));
    }
    let preview = platform(&document, &chosen.target, &chosen.machine, global).await?;
    let Some(selected) = selected(&preview) else {
        show(&document, &chosen, Some(&preview), None, global);
        return Err(unserved(&preview));
    };
    let ready =
        InfrastructureReady { target: chosen.target.clone(), machine: chosen.machine.clone(), proofs: Vec::new() };
    let plan = first_plan(&document.spec, &selected, &ready);
    show(&document, &chosen, Some(&preview), plan.as_ref().ok(), global);
    plan.map(drop).map_err(|finding| roomless(&finding))
}

/// What the selector would write, if something can serve the model.
pub(super) fn selected(preview: &Preview) -> Option<PlatformSelected> {
    let platform = preview.choice.platform.clone()?;
    Some(PlatformSelected {
        platform: platform.name,
        image: platform.image,
        reason: platform.reason,
        model: preview.facts.clone(),
        candidates: preview.choice.candidates.clone(),
        golden: None,
    })
}

/// Nothing can serve the model.
pub(super) fn unserved(preview: &Preview) -> Failure {
    let findings: Vec<String> = preview.findings.iter().map(steps::finding).collect();
    Failure::outcome(format!("nothing can serve the model:\n  {}", findings.join("\n  ")))
}

/// The first plan does not fit where it is to run.
pub(super) fn roomless(finding: &Finding) -> Failure {
    Failure::outcome(format!("the first plan has no room: {}", steps::finding(finding)))
}

async fn infrastructure(document: &ModelDeployment, global: &Global) -> Result<InfrastructureChosen, Failure> {
    let config = slipway_provisioner::Config::default();
    let chosen = slipway_provisioner::preview(&config, &global.data, &document.spec).await;
    chosen.map_err(|error| Failure::local(chain(&error)))
}

/// What would serve the model on a target that has this.
pub(super) async fn platform(
    document: &ModelDeployment,
    target: &str,
    machine: &MachineFacts,
    global: &Global,
) -> Result<Preview, Failure> {
    let config = slipway_platform_selector::Config::default();
    let folder = tempfile::tempdir().map_err(|error| Failure::local(format!("no temporary folder: {error}")))?;
    // Only an artifact in the mesh's own store needs the mesh.
    let uri = &document.spec.model.uri;
    let bus = match ["nats-object://", BLOB].iter().any(|scheme| uri.starts_with(scheme)) {
        true => Some(crate::context::session(global).await?.1),
        false => None,
    };
    let previewed =
        slipway_platform_selector::preview(&config, folder.path(), bus.as_ref(), &document.spec, target, machine);
    previewed.await.map_err(|findings| {
        let told: Vec<String> = findings.iter().map(steps::finding).collect();
        Failure::outcome(format!("the model cannot be used:\n  {}", told.join("\n  ")))
    })
}

fn show(
    document: &ModelDeployment,
    chosen: &InfrastructureChosen,
    preview: Option<&Preview>,
    plan: Option<&Plan>,
    global: &Global,
) {
    if global.output == Format::Json {
        output::json(&json!({
            "deployment": document.id().to_string(),
            "infrastructure": chosen,
            "platform": preview.map(|p| json!({
                "platform": p.choice.platform.as_ref().map(|chosen| &chosen.name),
                "reason": p.choice.platform.as_ref().map(|chosen| &chosen.reason),
                "candidates": p.choice.candidates,
                "model": p.facts, "goldenRows": p.golden_rows, "findings": p.findings,
            })),
            "plan": plan,
        }));
        return;
    }
    line(heading(format!("{}: what would be decided now", document.id())));
    line(format!("\n{}", heading("Where it would run")));
    line(format!("  {}: {}", if chosen.target.is_empty() { "nowhere" } else { &chosen.target }, chosen.reason));
    candidates(chosen.candidates.iter().map(|c| (&c.target, c.score, &c.vetoes, &c.reasons)));
    if chosen.needs_approval {
        line(format!("  {} a person must approve this first: `slipway approve NAME`", Mark::Note.sign()));
    }
    if document.spec.placement.is_some() && chosen.target == "local" {
        line(format!("  {} spec.placement has no effect here: there are no nodes to choose among", Mark::Note.sign()));
    }
    if let Some(preview) = preview {
        line(format!("\n{}", heading("What would serve it")));
        let chosen = preview.choice.platform.as_ref();
        line(format!(
            "  {}",
            chosen.map_or("nothing can".to_owned(), |chosen| format!("{}: {}", chosen.name, chosen.reason))
        ));
        candidates(preview.choice.candidates.iter().map(|c| (&c.platform, c.score, &c.vetoes, &c.reasons)));
        let model = &preview.facts;
        line(format!(
            "  the model: {}, {} parameters, sha256 {}",
            model.format,
            model.parameters,
            model.digest.short()
        ));
        for (does, tensors) in [("takes", &model.inputs), ("gives", &model.outputs)] {
            if !tensors.is_empty() {
                line(format!("  it {does} {}", tensors.iter().map(tensor).collect::<Vec<_>>().join(", ")));
            }
        }
        if model.memory_estimate_bytes > 0 {
            line(format!("  a copy of it is expected to take {} of memory", rounded(model.memory_estimate_bytes)));
        }
        if let Some(rows) = preview.golden_rows {
            line(format!("  golden file: {rows} rows fit the model"));
        }
    }
    if let Some(plan) = plan {
        line(format!("\n{}", heading("The first plan")));
        line(format!(
            "  {} × {} cpu, {}, {} thread(s), batches of up to {} within {}, {} requests may wait",
            plan.replicas, plan.cpu, plan.memory, plan.threads, plan.max_batch, plan.max_delay, plan.queue_limit
        ));
    }
}

/// `X FP32 [any, 64]`
fn tensor(tensor: &TensorSpec) -> String {
    let size = |size: &i32| if *size < 0 { "any".to_owned() } else { size.to_string() };
    let sizes: Vec<String> = tensor.shape.iter().map(size).collect();
    format!("{} {} [{}]", tensor.name, tensor.datatype, sizes.join(", "))
}

/// Whole mebibytes, upwards: it is an estimate.
fn rounded(bytes: u64) -> ByteSize {
    ByteSize(bytes.div_ceil(1 << 20) << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_told_with_what_any_size_fits() {
        let scores = TensorSpec { name: "scores".to_owned(), datatype: "FP32".to_owned(), shape: vec![-1, 10] };
        assert_eq!(tensor(&scores), "scores FP32 [any, 10]");
        assert_eq!(rounded(1).to_string(), "1Mi");
    }
}
