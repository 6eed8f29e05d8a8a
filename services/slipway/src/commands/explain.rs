//! `slipway explain`: why each choice was made, from the facts alone.

use super::{folded, id, replay};
use crate::{
    cli::{ExplainArgs, Format, Global},
    context::session,
    failure::Failure,
    logline::{LogLine, time},
    output::{self, Mark, heading, line, table},
    steps,
};
use comfy_table::Cell;
use slipway_kernel::{
    Answer, Candidate, Deployment, Generation, GenerationState, Outcome, PlatformCandidate, RevisionState, Slot,
    ValidationReport, Veto,
};
use slipway_provisioner::domain::choose::WOULD_DO;

pub(crate) async fn run(args: ExplainArgs, global: &Global) -> Result<(), Failure> {
    let (_, bus) = session(global).await?;
    let (_, folded) = folded(&bus, &id(global, &args.name)).await?;
    let deployment = &folded.deployment;
    let generation = match args.generation {
        Some(number) => deployment.generations.get(&Generation(number)),
        None => deployment.newest(),
    };
    let Some(generation) = generation else {
        let known: Vec<String> = deployment.generations.keys().map(ToString::to_string).collect();
        return Err(Failure::input(format!("{} has no such generation", deployment.id))
            .hint(format!("it has {}", known.join(", "))));
    };
    let again = match (&args.with, generation.answer(Slot::Choice)) {
        (Some(prices), Some(Answer::InfrastructureChosen(chosen))) => {
            Some((chosen, replay::replay(prices, chosen, generation, global).await?))
        }
        (Some(_), _) => return Err(Failure::input(format!("where {} runs is not chosen yet", deployment.id))),
        (None, _) => None,
    };
    match global.output {
        Format::Json => {
            let facts: Vec<LogLine> = generation.facts().map(|fact| LogLine::of(fact)).collect();
            let mut told = serde_json::json!({
                "deployment": deployment.id.to_string(),
                "generation": generation.generation,
                "phase": deployment.phase_of(generation).to_string(),
                "facts": facts,
            });
            if let Some((_, replayed)) = again {
                told["with"] = serde_json::json!(replayed.with);
            }
            output::json(&told);
        }
        Format::Human => {
            explain(deployment, generation);
            if let Some((chosen, replayed)) = again {
                replay::tell(chosen, &replayed);
            }
        }
    }
    Ok(())
}

fn explain(deployment: &Deployment, generation: &GenerationState) {
    let phase = deployment.phase_of(generation);
    let number = generation.generation;
    line(heading(format!("{}, generation {number}: {phase}", deployment.id)));
    let request = generation.request();
    line(format!("asked for by {} at {}", request.actor, time(request.at)));
    line(format!("  model {}", generation.spec().model.uri));
    infrastructure(generation);
    platform(generation);
    for revision in generation.revisions.values() {
        explain_revision(revision);
    }
    ending(generation);
}

fn infrastructure(generation: &GenerationState) {
    if let Some(Answer::InfrastructureChosen(chosen)) = generation.answer(Slot::Choice) {
        line(format!("\n{}", heading("Where it runs")));
        let target = if chosen.target.is_empty() { "nowhere" } else { &chosen.target };
        line(format!("  {target}: {}", chosen.reason));
        candidates(chosen.candidates.iter().map(|c: &Candidate| (&c.target, c.score, &c.vetoes, &c.reasons)));
    }
    told(generation.answer(Slot::Approval), generation, Slot::Approval);
    told(generation.answer(Slot::Infrastructure), generation, Slot::Infrastructure);
}

fn platform(generation: &GenerationState) {
    let (reason, all) = match generation.answer(Slot::Platform) {
        Some(Answer::PlatformSelected(selected)) => {
            (format!("{}: {}", selected.platform, selected.reason), &selected.candidates)
        }
        Some(Answer::PlatformRejected(rejected)) => {
            (rejected.findings.iter().map(steps::finding).collect::<Vec<_>>().join("\n  "), &rejected.candidates)
        }
        _ => return,
    };
    line(format!("\n{}", heading("What serves it")));
    line(format!("  {reason}"));
    candidates(all.iter().map(|c: &PlatformCandidate| (&c.platform, c.score, &c.vetoes, &c.reasons)));
    if let Some(selected) = generation.platform() {
        let model = &selected.model;
        let tensors = |tensors: &[slipway_kernel::TensorSpec]| {
            tensors.iter().map(|t| format!("{} {}{:?}", t.name, t.datatype, t.shape)).collect::<Vec<_>>().join(", ")
        };
        line(format!("  the model: {} → {}", tensors(&model.inputs), tensors(&model.outputs)));
    }
}

pub(crate) fn candidates<'a>(all: impl Iterator<Item = (&'a String, f64, &'a Vec<Veto>, &'a Vec<String>)>) {
    let mut table = table(["candidate", "score", "why"]);
    for (name, score, vetoes, reasons) in all {
        let why: Vec<String> = if vetoes.is_empty() {
            reasons.clone()
        } else {
            let way = reasons.iter().filter(|reason| reason.starts_with(WOULD_DO));
            vetoes
                .iter()
                .map(|veto| format!("not possible ({}): {}", veto.rule, veto.reason))
                .chain(way.cloned())
                .collect()
        };
        table.add_row([name.clone(), format!("{score:.2}"), why.join("\n")]);
    }
    line(table);
}

fn explain_revision(revision: &RevisionState) {
    line(format!("\n{}", heading(format!("Revision {}", revision.id))));
    if let Some(planned) = revision.planned() {
        let plan = &planned.plan;
        line(format!(
            "  plan {}: {} × {} cpu, {}, {} thread(s), batches of up to {} within {}",
            planned.digest.short(),
            plan.replicas,
            plan.cpu,
            plan.memory,
            plan.threads,
            plan.max_batch,
            plan.max_delay
        ));
        if let Some(revised) = planned.revises {
            line(format!("  differs from {revised} in:"));
        }
        for change in &planned.changes {
            line(format!("    {}: {} → {}", change.path, change.from, change.to));
            line(format!("      because of {}: {}", change.finding, change.reason));
        }
    }
    for fact in revision.facts().filter(|fact| fact.key.slot != Slot::Plan) {
        let step = steps::describe(fact);
        line(format!("  {} {:<15} {}", step.mark.sign(), fact.key.slot.to_string(), step.text));
        if let Answer::Validated(report) | Answer::ValidationFailed(report) | Answer::ValidationInconclusive(report) =
            &fact.answer
        {
            checks(report);
        }
        for more in step.more {
            line(format!("      {more}"));
        }
    }
}

fn checks(report: &ValidationReport) {
    let mut table = table(["", "check", "measured", "wanted", "detail"]);
    for check in &report.checks {
        let mark = match check.outcome {
            Outcome::Passed => Mark::Good,
            Outcome::Failed => Mark::Bad,
            Outcome::Inconclusive | Outcome::Skipped => Mark::Note,
        };
        let figure = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.3} {}", check.unit));
        let texts = [check.name.clone(), figure(check.measured), figure(check.wanted), check.detail.clone()];
        table.add_row(std::iter::once(mark.cell()).chain(texts.map(Cell::new)));
    }
    line(table);
}

fn told(answer: Option<&Answer>, generation: &GenerationState, slot: Slot) {
    if answer.is_none() {
        return;
    }
    if let Some(fact) = generation.fact(slot) {
        let step = steps::describe(fact);
        line(format!("  {} {}: {}", step.mark.sign(), slot, step.text));
        for more in step.more {
            line(format!("      {more}"));
        }
    }
}

fn ending(generation: &GenerationState) {
    let commands = generation.commands();
    let rest = generation.facts().filter(|fact| {
        matches!(fact.key.slot, Slot::Removal(_) | Slot::End)
            || (fact.key.slot == Slot::Rollback && fact.key.revision.0 == 0)
    });
    let facts: Vec<_> = commands.chain(rest).collect();
    if facts.is_empty() {
        return;
    }
    line(format!("\n{}", heading("Commands and end")));
    for fact in facts {
        let step = steps::describe(fact);
        line(format!("  {} {:<24} {} (by {})", step.mark.sign(), fact.key.slot.to_string(), step.text, fact.actor));
        for more in step.more {
            line(format!("      {more}"));
        }
    }
}
