//! `slipway diff`: what differs between two revisions, and why.

use super::{folded, id};
use crate::{
    cli::{DiffArgs, Format, Global},
    context::session,
    failure::Failure,
    output,
};
use serde::Serialize;
use serde_json::Value;
use slipway_kernel::{Change, Deployment, Plan, RevisionId};

/// One difference.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    path: String,
    from: String,
    to: String,
    /// The revisions' own reasons for it, oldest first; empty if the spec itself differs.
    because: Vec<String>,
}

pub(crate) async fn run(args: DiffArgs, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let (_, folded) = folded(&bus, &id(global, &args.name)).await?;
    let deployment = &folded.deployment;
    let differences = differences(deployment, args.from, args.to)?;
    match global.output {
        Format::Json => {
            output::json(&serde_json::json!({ "from": args.from, "to": args.to, "differences": differences }));
        }
        Format::Human if differences.is_empty() => {
            output::line(format!("{} and {} have the same plan", args.from, args.to));
        }
        Format::Human => {
            output::line(output::heading(format!("{}: {} → {}", deployment.id, args.from, args.to)));
            for difference in differences {
                output::line(format!("  {}: {} → {}", difference.path, difference.from, difference.to));
                if difference.because.is_empty() {
                    output::line("      because the document asks for it");
                }
                for reason in difference.because {
                    output::line(format!("      because of {reason}"));
                }
            }
        }
    }
    Ok(())
}

fn differences(deployment: &Deployment, from: RevisionId, to: RevisionId) -> Result<Vec<Difference>, Failure> {
    let old = fields(plan(deployment, from)?);
    let new = fields(plan(deployment, to)?);
    let (first, last) = if from < to { (from, to) } else { (to, from) };
    let reasons: Vec<&Change> = deployment
        .revisions()
        .filter(|revision| revision.id > first && revision.id <= last)
        .filter_map(|revision| revision.planned())
        .flat_map(|planned| &planned.changes)
        .collect();
    Ok(new
        .into_iter()
        .zip(old)
        .filter(|((_, after), (_, before))| after != before)
        .map(|((path, after), (_, before))| Difference {
            because: reasons
                .iter()
                .filter(|change| change.path == path)
                .map(|change| format!("{}: {}", change.finding, change.reason))
                .collect(),
            path,
            from: before,
            to: after,
        })
        .collect())
}

fn plan(deployment: &Deployment, id: RevisionId) -> Result<&Plan, Failure> {
    let known = || {
        let ids: Vec<String> = deployment.revisions().map(|revision| revision.id.to_string()).collect();
        Failure::input(format!("{} has no revision {id}", deployment.id)).hint(format!("it has {}", ids.join(", ")))
    };
    deployment.revision(id).and_then(|revision| revision.planned()).map(|planned| &planned.plan).ok_or_else(known)
}

/// The plan's fields as text, in the type's own order.
fn fields(plan: &Plan) -> Vec<(String, String)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(plan) else { return Vec::new() };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    fields.into_iter().map(|(path, value)| (path, text(value))).collect()
}
