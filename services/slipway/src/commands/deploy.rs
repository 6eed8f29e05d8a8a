//! `slipway deploy`: hand in a document and follow it to its end.

use super::order::send;
use crate::{
    cli::{DeployArgs, Format, Global},
    context::session,
    document,
    failure::Failure,
    logline::LogLine,
    output::{self, Mark},
    steps, upload,
};
use indicatif::{ProgressBar, ProgressStyle};
use slipway_bus::{Bus, IntakeAnswer, Verb, View};
use slipway_kernel::{Answer, Deployment, DeploymentId, Fact, FactKey, Generation, Phase, spec::ModelDeployment};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) async fn run(args: DeployArgs, global: &Global) -> Result<(), Failure> {
    let mut document = document::read(&args.file)?;
    let id = document.id();
    let (context, bus) = session(global).await?;
    if context.remote && !args.no_upload {
        upload::files(&bus, &mut document, global.output == Format::Human).await?;
    }
    let answer = request(&bus, &document, args.id).await?;
    let key = written(answer.subject.as_deref())?;
    if args.no_wait {
        match global.output {
            Format::Json => output::json(&answer),
            Format::Human => output::line(format!("{} {}", Mark::Good.sign(), answer.message)),
        }
        return Ok(());
    }
    match wait(&bus, &id, key.generation, args.timeout, global.output).await? {
        Ended::Released => {
            if global.output == Format::Human {
                let url = format!("{}/v2/models/{}/infer", context.ingress_url.trim_end_matches('/'), id.name);
                output::line(format!("\n{} {id} answers at {url}", Mark::Good.sign()));
                output::line(format!("  try: slipway infer {} --request @request.json", id.name));
            }
            Ok(())
        }
        Ended::Otherwise(message, advice) => Err(Failure::outcome(message).hint(advice)),
    }
}

/// Hands a document in.
async fn request(bus: &Bus, document: &ModelDeployment, id: Option<String>) -> Result<IntakeAnswer, Failure> {
    let data = serde_json::to_value(document).map_err(|error| Failure::local(error.to_string()))?;
    send(bus, &document.metadata.namespace, Verb::Deploy, data, id).await
}

/// Hands a document in and follows it to its end, printing each step.
pub(crate) async fn to_the_end(
    bus: &Bus,
    document: &ModelDeployment,
    timeout: Duration,
    format: Format,
) -> Result<(Generation, Ended), Failure> {
    let answer = request(bus, document, None).await?;
    let generation = written(answer.subject.as_deref())?.generation;
    Ok((generation, wait(bus, &document.id(), generation, timeout, format).await?))
}

async fn wait(
    bus: &Bus,
    id: &DeploymentId,
    generation: Generation,
    timeout: Duration,
    format: Format,
) -> Result<Ended, Failure> {
    let view = bus.log().follow().await?;
    let mut progress = Progress::new(format, id, generation);
    let ended = follow(bus, &view, id, generation, timeout, &mut progress).await;
    progress.finish();
    ended
}

/// The key of the fact that the gate wrote. Its subject ends with the key.
fn written(subject: Option<&str>) -> Result<FactKey, Failure> {
    let unreadable = || Failure::local(format!("the gate's answer names no fact: {subject:?}"));
    let subject = subject.ok_or_else(unreadable)?;
    let tokens: Vec<&str> = subject.split('.').collect();
    let start = tokens.len().checked_sub(6).ok_or_else(unreadable)?;
    tokens[start..].join(".").parse().map_err(|_| unreadable())
}

/// How a generation ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// In production.
    Released,
    /// Not: what happened, and what to do.
    Otherwise(String, String),
}

async fn follow(
    bus: &Bus,
    view: &View,
    id: &DeploymentId,
    generation: Generation,
    timeout: Duration,
    progress: &mut Progress,
) -> Result<Ended, Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(folded) = view.get(id) {
            progress.show(&folded.deployment);
            if let Some(ended) = ended(&folded.deployment, generation) {
                return Ok(ended);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::unreachable(format!("{id} is not done after {} s", timeout.as_secs()))
                .hint(format!("it goes on without this command: `slipway status {}`", id.name)));
        }
        let seen = progress.seen();
        let wait = left.min(Duration::from_secs(2));
        // A look every two seconds is enough when nothing is announced; the view itself is pushed to.
        view.wait_until(id, wait, |folded| folded.deployment.facts().count() > seen).await;
        if !bus.is_connected() {
            progress.note("the broker is away; waiting for it");
        }
    }
}

fn ended(deployment: &Deployment, generation: Generation) -> Option<Ended> {
    let state = deployment.generations.get(&generation)?;
    let explain = format!("`slipway explain {}` tells the whole story", deployment.id.name);
    if state.latest().is_some_and(|revision| revision.is_released() && !revision.is_rolled_back())
        && state.ended().is_none()
    {
        return Some(Ended::Released);
    }
    if let Some(fact) = state.closed_by_rollback()
        && let Answer::RolledBack(back) = &fact.answer
    {
        let message = format!("generation {generation} was taken back, {} has the traffic: {}", back.to, back.reason);
        return Some(Ended::Otherwise(message, explain));
    }
    match state.ended()? {
        Answer::Abandoned(abandoned) => Some(Ended::Otherwise(
            format!("generation {generation} was abandoned: {}", abandoned.reason),
            format!("{}; {explain}", abandoned.advice),
        )),
        _ => {
            let message = format!("generation {generation} is {}", deployment.phase_of(state));
            Some(Ended::Otherwise(message, explain))
        }
    }
}

/// Prints each fact of the generation once, as it arrives, with the time since the request.
struct Progress {
    format: Format,
    generation: Generation,
    shown: HashSet<String>,
    count: usize,
    spinner: Option<ProgressBar>,
}

impl Progress {
    fn new(format: Format, id: &DeploymentId, generation: Generation) -> Self {
        let spinner = (format == Format::Human).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("  {spinner} {msg} ({elapsed})")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if format == Format::Human {
            output::line(output::heading(format!("{id}, generation {generation}")));
        }
        Self { format, generation, shown: HashSet::new(), count: 0, spinner }
    }

    const fn seen(&self) -> usize {
        self.count
    }

    fn show(&mut self, deployment: &Deployment) {
        self.count = deployment.facts().count();
        let Some(state) = deployment.generations.get(&self.generation) else { return };
        let begun = state.request().at;
        let mut fresh: Vec<&Arc<Fact>> =
            state.facts().filter(|fact| !self.shown.contains(&fact.key.to_string())).collect();
        fresh.sort_by_key(|fact| fact.sequence);
        for fact in fresh {
            self.shown.insert(fact.key.to_string());
            match self.format {
                Format::Json => output::json(&LogLine::of(fact)),
                Format::Human => {
                    let seconds = fact.at.since(begun).as_secs_f64();
                    let revision =
                        if fact.key.revision.0 == 0 { String::new() } else { fact.key.revision_id().to_string() };
                    let step = steps::describe(fact);
                    let slot = fact.key.slot.to_string();
                    let text = format!("{} {seconds:>7.2}s  {revision:<5} {slot:<15} {}", step.mark.sign(), step.text);
                    self.print(text);
                    for line in step.more {
                        self.print(format!("{:28}{line}", ""));
                    }
                }
            }
        }
        if let Some(spinner) = &self.spinner {
            spinner.set_message(doing(deployment.phase_of(state)));
        }
    }

    fn note(&self, text: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text.to_owned());
        }
    }

    fn print(&self, text: String) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| output::line(text)),
            None => output::line(text),
        }
    }

    fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn doing(phase: Phase) -> String {
    let words = phase.to_string().replace('-', " ");
    format!("{words}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_read_from_the_end_of_the_subject() {
        let key = written(Some("slipway.lifecycle.default.digits.3.0.request.0")).unwrap();
        assert_eq!(key.to_string(), "default.digits.3.0.request.0");
        assert!(written(Some("x.y")).is_err());
        assert!(written(None).is_err());
    }
}
